//! An interpreter and the threads of Atoll's that work in it: what is the same for every kind of host that lives in this
//! process.
//!
//! # Threads of a host
//!
//! The *owner* thread is there first, works in the interpreter like any other of its threads, and leaves last. *Extra*
//! threads come when more tasks run at once. A *visitor* enters for a moment, to throw cancellations. All but a few owners
//! are Rust threads with a stack of [`threads::STACK_BYTES`] that no interpreter knew before.
//!
//! Everything here reaches the engine through its table and hosts by their numbers, so that it works in any copy of this
//! library; and one interpreter may be several hosts, one after the other.
//!
//! # Invariants
//!
//! - S1: whoever enters is counted by the host, as an agent or as a visitor, until its thread state is deleted; an owner ends
//!   its interpreter only after [`Engine::wait_host_alone`], and takes up another host in it only after that, too.

use crate::agent::{self, Place};
use crate::cancel::Errand;
use crate::threads;
use atoll_core::client::{AgentRole, Engine, HostId, Task};
use atoll_py::interpreter::{InterpreterHandle, ThreadState, thread_ident, throw_into};
use atoll_py::{Attached, Borrowed, Result, ffi};
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What ends the sleep or the lock wait of the thread that owns an interpreter, so that it sees what was thrown at it.
pub struct Kick {
    owner: u64,
    kick: Box<dyn Fn() + Send + Sync>,
}

impl Kick {
    /// `owner` is the thread's identity. `kick` is called detached, on a thread that no interpreter knows, once and again
    /// until the task that runs there has noticed; it may come when it runs that task no more.
    pub fn new(owner: u64, kick: impl Fn() + Send + Sync + 'static) -> Self {
        Self {
            owner,
            kick: Box::new(kick),
        }
    }
}

/// An interpreter that Atoll's threads work in. Clones share it.
#[derive(Clone)]
pub struct Inhabited(Arc<Inner>);

struct Inner {
    engine: Engine,
    interpreter: InterpreterHandle,
    /// Tells the native module, before it is imported there, that this thread works in a host.
    arrived: fn(HostId),
    kick: Option<Kick>,
    /// The states of the threads that serve, by the threads' identities.
    states: Mutex<HashMap<u64, ThreadState>>,
}

impl fmt::Debug for Inhabited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Inhabited")
            .field(&self.0.interpreter)
            .finish()
    }
}

impl Inhabited {
    /// `arrived` is called first on every thread that will work there; `kick` is for where the owner's waits can be ended.
    pub fn new(
        engine: Engine,
        interpreter: InterpreterHandle,
        arrived: fn(HostId),
        kick: Option<Kick>,
    ) -> Self {
        Self(Arc::new(Inner {
            engine,
            interpreter,
            arrived,
            kick,
            states: Mutex::default(),
        }))
    }

    /// The engine that it works for.
    pub fn engine(&self) -> Engine {
        self.0.engine
    }

    /// For an agent or a visitor of a host that lives here, to enter by.
    pub(crate) fn interpreter(&self) -> InterpreterHandle {
        self.0.interpreter
    }

    /// The state of a thread that serves.
    pub(crate) fn state_of(&self, thread: u64) -> Option<ThreadState> {
        self.states().get(&thread).copied()
    }

    /// What ends the waits of this thread, if it is the owner.
    pub(crate) fn kick_for(&self, thread: u64) -> Option<&(dyn Fn() + Send + Sync)> {
        let kick = self.0.kick.as_ref()?;
        (kick.owner == thread).then_some(&*kick.kick)
    }

    fn states(&self) -> MutexGuard<'_, HashMap<u64, ThreadState>> {
        self.0.states.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The calling thread takes up its work in a host that lives here. `None`: the host is gone.
    pub fn arrive(&self, host: HostId, role: AgentRole) -> Option<Place> {
        let place = Place::take(self.engine(), host, role)?;
        (self.0.arrived)(host);
        Some(place)
    }

    /// Runs jobs on this thread until the host sends it home.
    ///
    /// Needs: attached, with a [`Place`]. May run Python: yes.
    pub fn serve(&self, py: Attached<'_>) {
        self.states()
            .insert(thread_ident(), ThreadState::current(py));
        agent::serve(py);
        self.states().remove(&thread_ident());
    }

    /// One more thread for the host, which counts it already.
    pub fn add_thread(&self, host: HostId) -> std::result::Result<(), String> {
        let here = self.clone();
        threads::start(host, move || {
            let Some(place) = here.arrive(host, AgentRole::Extra) else {
                return;
            };
            // SAFETY: S1: this thread is counted until `place` drops, after the visit.
            let visit = unsafe { here.interpreter().enter() };
            here.serve(visit.attached());
            drop(visit);
            drop(place);
        })
    }

    /// Throws the cancellation into the threads of these tasks of the host, on a thread of its own.
    pub fn throw_cancellations(&self, host: HostId, tasks: Vec<Task>) {
        let errand = Errand::new(self.clone(), host, tasks);
        // Without a thread to be had, the tasks still notice it in their next blocking verb.
        let _ = threads::start(host, move || errand.run());
    }
}

/// Has `SystemExit` raised in every thread that the host's code started through `threading` and left behind. Those that wait
/// in a verb of Atoll have been interrupted already.
///
/// Needs: attached. May run Python: yes.
pub fn stop_python_threads(py: Attached<'_>) -> Result<()> {
    // SAFETY: attached; borrowed from the interpreter, which lives.
    let modules = unsafe { Borrowed::from_ptr(py, ffi::PyImport_GetModuleDict()) };
    let name = py.string("threading")?;
    let threading = modules.call_method(c"get", &[name.borrow()])?;
    if threading.borrow().is_none() {
        return Ok(());
    }
    let threads = threading.borrow().call_method(c"enumerate", &[])?;
    let threads = threads.borrow().iter()?;
    while let Some(thread) = threads.borrow().next()? {
        let ident = thread.borrow().attr(c"ident")?;
        if ident.borrow().is_none() {
            continue;
        }
        // SAFETY: attached, a live int.
        let ident = unsafe { ffi::PyLong_AsUnsignedLongMask(ident.as_ptr()) };
        if ident != thread_ident() {
            // SAFETY: a class that lives as long as the process; a thread that is gone is not found.
            unsafe { throw_into(py, ident, ffi::PyExc_SystemExit) };
        }
    }
    Ok(())
}
