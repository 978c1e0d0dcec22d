//! The threads that work in a host: each has an agent, which the native module finds through [`with_current`].

use atoll_core::client::{Agent, AgentRole, Engine, HostId};
use atoll_py::{Attached, Owned, Raised, Result};
use std::cell::RefCell;

thread_local! {
    static CURRENT: RefCell<Option<Agent>> = const { RefCell::new(None) };
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

/// Runs jobs until the host sends this thread home.
///
/// Needs: attached to the host's interpreter, with a [`Place`]. May run Python: yes.
pub(crate) fn serve(py: Attached<'_>) {
    let served = module(py).and_then(|agent| agent.borrow().call_method(c"serve", &[]));
    if let Err(raised) = served {
        // A bug of ours: jobs report their own exceptions. The task in hand has ended as died with its `Job`.
        raised.write_unraisable(None);
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
