//! The threads that work in a host: each has an agent, which the native module finds through [`with_current`].
//!
//! The loop that a thread runs is Python code (`atoll._agent.serve`), and may fail: its file and the native module may be of
//! different releases, say. A loop that fails with a job in hand ends that job's task, and is begun anew. One that fails before
//! it has taken a job would do so for ever, and the tasks wait for ever: so it costs the next job its task, which hears why, each
//! time that it fails. Nobody waits in vain, and an idle host whose loop is broken does nothing.

use atoll_core::client::{Agent, AgentRole, Engine, HostId, Job, TaskOutcome};
use atoll_py::interpreter::thread_ident;
use atoll_py::{Attached, Owned, Raised, Result};
use std::cell::{Cell, RefCell};

thread_local! {
    static CURRENT: RefCell<Option<Agent>> = const { RefCell::new(None) };
    static GOT: Cell<Got> = const { Cell::new(Got::Nothing) };
}

/// What this thread got since its loop began, when it asked for a job.
#[derive(Copy, Clone, PartialEq, Eq)]
enum Got {
    /// It has not asked.
    Nothing,
    /// A job, at least one.
    Job,
    /// There will be none: it is to go home.
    Leave,
}

/// Calls `body` with the agent of this thread, if it is a thread that works in a host.
///
/// # Panics
///
/// If `body` calls this again.
pub fn with_current<R>(body: impl FnOnce(Option<&mut Agent>) -> R) -> R {
    CURRENT.with_borrow_mut(|agent| body(agent.as_mut()))
}

/// While it lives, this thread is the agent's.
///
/// Drop it after the thread's Python state is gone: the host ends once its agents are gone.
#[derive(Debug)]
pub struct Place(());

impl Place {
    /// `None`: the host is gone.
    pub(crate) fn take(engine: Engine, host: HostId, role: AgentRole) -> Option<Self> {
        let agent = Agent::enter(engine, host, role)?;
        CURRENT.with_borrow_mut(|current| *current = Some(agent));
        Some(Self(()))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let agent = CURRENT.with_borrow_mut(Option::take);
        // Outside of the borrow: dropping it wakes whoever waits for this thread to go.
        drop(agent);
    }
}

/// The next job of this thread's host, waiting for one; the inner `None`: go home. `None`: this thread works in no host.
///
/// Needs: attached. May run Python: no.
pub fn next_job(py: Attached<'_>) -> Option<Option<Job>> {
    let thread = thread_ident();
    let next = with_current(|agent| Some(py.detach(|| agent?.next_job(thread))))?;
    GOT.set(match next {
        Some(_) => Got::Job,
        None => Got::Leave,
    });
    Some(next)
}

/// Runs jobs until the host sends this thread home.
///
/// Needs: attached to the host's interpreter, with a [`Place`]. May run Python: yes.
pub(crate) fn serve(py: Attached<'_>) {
    loop {
        GOT.set(Got::Nothing);
        let served = module(py).and_then(|agent| agent.borrow().call_method(c"serve", &[]));
        // It should have gone on until the host closes: jobs report their own exceptions.
        match (GOT.get(), served) {
            (Got::Nothing, Ok(_)) => fail_next_job(py, "it returned"),
            (Got::Nothing, Err(raised)) => fail_next_job(py, &line_of(py, raised)),
            // A task in hand has ended as died with its `Job`.
            (Got::Job | Got::Leave, Err(raised)) => raised.write_unraisable(None),
            (Got::Job | Got::Leave, Ok(_)) => {}
        }
        if GOT.get() == Got::Leave {
            return;
        }
    }
}

/// Ends the task of the next job as died.
fn fail_next_job(py: Attached<'_>, why: &str) {
    if let Some(Some(mut job)) = next_job(py) {
        job.finish(TaskOutcome::Died(format!(
            "cannot run the task (the agent of its host fails: {why}); start the process again, and reinstall atoll if that \
             does not help"
        )));
    }
}

/// Imports the agent's Python half, and with it the native module.
///
/// Returns: owned. Needs: attached. May run Python: yes.
pub fn module(py: Attached<'_>) -> Result<Owned<'_>> {
    py.import(c"atoll._agent")
}

/// Makes this interpreter look for modules in these folders.
///
/// Needs: attached. May run Python: yes.
pub fn set_path(py: Attached<'_>, path: &[String]) -> Result<()> {
    let list = py.import(c"sys")?.borrow().attr(c"path")?;
    list.borrow().call_method(c"clear", &[])?;
    for folder in path {
        let folder = py.string(folder)?;
        list.borrow().call_method(c"append", &[folder.borrow()])?;
    }
    Ok(())
}

/// What a person needs to know of an exception, in a line.
///
/// Needs: attached. May run Python: yes.
pub fn line_of(py: Attached<'_>, raised: Raised) -> String {
    let exception = raised.take(py);
    match exception.borrow().repr() {
        Ok(text) => text,
        Err(raised) => {
            raised.clear(py);
            exception.borrow().type_name()
        }
    }
}
