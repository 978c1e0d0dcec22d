//! Having something done in another interpreter while its own threads go on with whatever they do.

use std::ffi::CStr;

use atoll_host::visit;
use atoll_py::module::Module;
use atoll_py::{Arguments, Attached, Owned, Result, Signature, ffi, threads};

use crate::clone;
use crate::host::only_host;
use crate::module::ModuleState;
use crate::task::{host_of, refuse_fork};

pub(crate) const SEND_VISITOR_DOC: &CStr =
    c"Have a thread enter the host and do there what *errand* says. If nobody can enter, the errand is dropped.";

/// `send_visitor(host_id, errand) -> None`.
pub(crate) fn send_visitor<'py>(
    module: Module<'_, 'py, ModuleState>,
    arguments: Arguments<'_, 'py>,
) -> Result<Owned<'py>> {
    const SIGNATURE: Signature<2> = Signature {
        function: "send_visitor",
        parameters: ["host_id", "errand"],
        required: 2,
        positional: 2,
    };
    let (py, state) = (module.py(), module.state()?);
    let [Some(host), Some(errand)] = arguments.parse(py, &SIGNATURE)? else {
        unreachable!("both are required")
    };
    refuse_fork(py, state)?;
    let (host, engine) = (host_of(py, host)?, state.engine());
    let message = clone::encode(py, state, errand, "errand")?;
    py.detach(|| engine.send_visitor(host, message));
    Ok(py.none().to_owned())
}

pub(crate) const TAKE_ERRAND_DOC: &CStr = c"What this thread, a visitor, is to do here; once.";

/// `take_errand() -> object`.
pub(crate) fn take_errand<'py>(
    module: Module<'_, 'py, ModuleState>,
    _: Arguments<'_, 'py>,
) -> Result<Owned<'py>> {
    let (py, state) = (module.py(), module.state()?);
    match visit::take_errand() {
        Some(message) => clone::decode(py, state, message),
        None => Ok(py.none().to_owned()),
    }
}

pub(crate) const RUNNING_TASKS_DOC: &CStr =
    c"(id, name, thread, seconds) of every task that runs on the host now; thread None: on an event loop.";

/// `running_tasks(host_id) -> list[tuple[int, str | None, int | None, float]]`.
pub(crate) fn running_tasks<'py>(
    module: Module<'_, 'py, ModuleState>,
    arguments: Arguments<'_, 'py>,
) -> Result<Owned<'py>> {
    let (py, state) = (module.py(), module.state()?);
    let host = only_host(py, arguments, "running_tasks")?;
    refuse_fork(py, state)?;
    let rows = list(py)?;
    for task in state.engine().running_tasks(host) {
        let name = match &task.name {
            Some(name) => py.string(name)?,
            None => py.none().to_owned(),
        };
        let thread = match task.thread {
            Some(thread) => py.uint(thread)?,
            None => py.none().to_owned(),
        };
        let row = py.tuple([py.uint(task.id)?, name, thread, py.float(task.seconds)?])?;
        append(&rows, &row)?;
    }
    Ok(rows)
}

pub(crate) const THREADS_HERE_DOC: &CStr =
    c"What every thread of this interpreter executes right now: \
(ident, is_own, [(file, line, function), ...], has_more), innermost frame first.";

/// `threads_here() -> list[tuple[int, bool, list[tuple[str, int, str]], bool]]`.
pub(crate) fn threads_here<'py>(
    module: Module<'_, 'py, ModuleState>,
    _: Arguments<'_, 'py>,
) -> Result<Owned<'py>> {
    let py = module.py();
    let rows = list(py)?;
    for thread in threads::snapshot(py)? {
        let frames = list(py)?;
        for place in &thread.frames {
            let line = py.uint(u64::try_from(place.line).unwrap_or(0))?;
            let row = py.tuple([py.string(&place.file)?, line, py.string(&place.function)?])?;
            append(&frames, &row)?;
        }
        append(
            &rows,
            &py.tuple([
                py.uint(thread.ident)?,
                py.bool(thread.is_own).to_owned(),
                frames,
                py.bool(thread.has_more).to_owned(),
            ])?,
        )?;
    }
    Ok(rows)
}

fn list(py: Attached<'_>) -> Result<Owned<'_>> {
    // SAFETY: attached.
    unsafe { Owned::from_result(py, ffi::PyList_New(0)) }
}

fn append(list: &Owned<'_>, row: &Owned<'_>) -> Result<()> {
    list.borrow()
        .call_method(c"append", &[row.borrow()])
        .map(drop)
}
