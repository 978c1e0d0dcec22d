//! The terminal that the debuggers of all interpreters share: `atoll._debugger` is the only caller.

use std::ffi::CStr;

use atoll_core::client::{Deadline, Line, Unfinished};
use atoll_py::module::Module;
use atoll_py::types::Exact;
use atoll_py::{Arguments, Attached, Borrowed, Owned, Result, Signature};

use crate::blocking::{self, Attempt};
use crate::module::ModuleState;

pub(crate) const TAKE_TERMINAL_DOC: &CStr =
    c"Wait for the turn to talk at the terminal: *turn* is the one that the caller has had, or 0. The turn it has now.";

/// `take_terminal(turn, wants_ctrl_c) -> int`.
pub(crate) fn take_terminal<'py>(
    module: Module<'_, 'py, ModuleState>,
    arguments: Arguments<'_, 'py>,
) -> Result<Owned<'py>> {
    const SIGNATURE: Signature<2> = Signature {
        function: "take_terminal",
        parameters: ["turn", "wants_ctrl_c"],
        required: 2,
        positional: 2,
    };
    let (py, state) = (module.py(), module.state()?);
    let [Some(turn), Some(wants_ctrl_c)] = arguments.parse(py, &SIGNATURE)? else {
        unreachable!("both are required")
    };
    let (turn, wants_ctrl_c) = (turn_of(py, turn)?, wants_ctrl_c.is_true()?);
    let (engine, host) = (state.engine(), state.host());
    let taken = blocking::wait(py, state, Deadline::NEVER, |wait| {
        attempted(engine.take_terminal(turn, host, wants_ctrl_c, wait))
    })?;
    py.uint(taken)
}

pub(crate) const LEAVE_TERMINAL_DOC: &CStr =
    c"The code under the debugger that has this turn runs on, to its next stop.";

/// `leave_terminal(turn) -> None`.
pub(crate) fn leave_terminal<'py>(
    module: Module<'_, 'py, ModuleState>,
    arguments: Arguments<'_, 'py>,
) -> Result<Owned<'py>> {
    let (py, state) = (module.py(), module.state()?);
    let turn = only_turn(py, arguments, "leave_terminal")?;
    state.engine().leave_terminal_prompt(turn);
    Ok(py.none().to_owned())
}

pub(crate) const GIVE_TERMINAL_BACK_DOC: &CStr = c"The debugger that has this turn is done.";

/// `give_terminal_back(turn) -> None`.
pub(crate) fn give_terminal_back<'py>(
    module: Module<'_, 'py, ModuleState>,
    arguments: Arguments<'_, 'py>,
) -> Result<Owned<'py>> {
    let (py, state) = (module.py(), module.state()?);
    let turn = only_turn(py, arguments, "give_terminal_back")?;
    state.engine().give_terminal_back(turn);
    Ok(py.none().to_owned())
}

pub(crate) const READ_TERMINAL_LINE_DOC: &CStr =
    c"Wait for a line from the terminal, with its end; empty at the end of the input; None: Ctrl-C.";

/// `read_terminal_line() -> bytes | None`.
pub(crate) fn read_terminal_line<'py>(
    module: Module<'_, 'py, ModuleState>,
    _: Arguments<'_, 'py>,
) -> Result<Owned<'py>> {
    let (py, state) = (module.py(), module.state()?);
    let engine = state.engine();
    let line = blocking::wait(py, state, Deadline::NEVER, |wait| {
        attempted(engine.read_terminal_line(wait))
    })?;
    match line {
        Line::Text(text) => py.bytes(&text),
        Line::Interrupted => Ok(py.none().to_owned()),
        Line::Failed(number) => Err(py.raise_os_error(number)),
    }
}

pub(crate) const BREAKPOINTHOOK_DOC: &CStr =
    c"sys.breakpointhook(): pdb at the terminal of the process, one debugger at a time; \
what $PYTHONBREAKPOINT names, if it is set.";

/// `breakpointhook(*args, **kwargs)`. In C, so that what it calls finds the frame with the breakpoint above its own.
pub(crate) fn breakpointhook<'py>(
    module: Module<'_, 'py, ModuleState>,
    arguments: Arguments<'_, 'py>,
) -> Result<Owned<'py>> {
    let chosen = module
        .py()
        .import(c"atoll._debugger")?
        .borrow()
        .call_method(c"chosen_hook", &[])?;
    arguments.pass_to(chosen.borrow())
}

/// Without a deadline, what is not done was interrupted.
fn attempted<T>(waited: std::result::Result<T, Unfinished>) -> Attempt<T> {
    waited.map_or(Attempt::Interrupted, Attempt::Done)
}

fn only_turn(
    py: Attached<'_>,
    arguments: Arguments<'_, '_>,
    function: &'static str,
) -> Result<u64> {
    let signature = Signature {
        function,
        parameters: ["turn"],
        required: 1,
        positional: 1,
    };
    let [Some(turn)] = arguments.parse(py, &signature)? else {
        unreachable!("it is required")
    };
    turn_of(py, turn)
}

fn turn_of(py: Attached<'_>, turn: Borrowed<'_, '_>) -> Result<u64> {
    let number = match Exact::of(turn) {
        Exact::Int(number) => number.to_i64().and_then(|turn| u64::try_from(turn).ok()),
        _ => None,
    };
    number.ok_or_else(|| {
        py.raise_type_error(
            "cannot use that as a turn (it is none); pass what take_terminal() gave, or 0",
        )
    })
}
