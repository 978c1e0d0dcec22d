//! Sleeping as the threads of hosts do it: a cancellation ends it.

use std::ffi::CStr;
use std::thread;

use atoll_core::client::{Deadline, SelectError};
use atoll_py::module::Module;
use atoll_py::{Arguments, Owned, Result, Signature};

use crate::blocking::{self, Attempt};
use crate::channel::parameters;
use crate::current;
use crate::module::ModuleState;

/// Whether this is a thread of Atoll's that has no task: what it does then is to be done in spite of its host's closing.
fn is_between_tasks() -> bool {
    current::get().is_some_and(|current| current.task.is_none())
}

pub(crate) const SLEEP_DOC: &CStr =
    c"time.sleep() of this host: a cancellation of the task, or the closing of the host, ends it.";

/// `sleep(seconds) -> None`.
pub(crate) fn sleep<'py>(
    module: Module<'_, 'py, ModuleState>,
    arguments: Arguments<'_, 'py>,
) -> Result<Owned<'py>> {
    const SIGNATURE: Signature<1> = Signature {
        function: "sleep",
        parameters: ["seconds"],
        required: 1,
        positional: 1,
    };
    let (py, state) = (module.py(), module.state()?);
    let [Some(seconds)] = arguments.parse(py, &SIGNATURE)? else {
        unreachable!("it is required")
    };
    let deadline = Deadline::after_seconds(parameters::seconds(py, seconds, "seconds")?);
    let engine = state.engine();
    if deadline.has_passed() {
        py.detach(thread::yield_now);
    } else if engine.is_forked() || is_between_tasks() {
        // In a forked child, what would end the sleep early stayed with the parent, and so may have the locks of its waiters.
        py.detach(|| {
            while let Some(rest) = deadline.remaining().filter(|rest| !rest.is_zero()) {
                thread::park_timeout(rest);
            }
        });
    } else {
        blocking::wait(py, state, deadline, |wait| {
            match engine.select(&mut [], wait) {
                Err(SelectError::Interrupted) => Attempt::Interrupted,
                Ok(_) | Err(SelectError::NoneReady | SelectError::TimedOut) => Attempt::Done(()),
            }
        })?;
    }
    Ok(py.none().to_owned())
}
