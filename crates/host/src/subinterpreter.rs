//! Hosts of kind `interpreter`: CPython sub-interpreters with a GIL of their own.
//!
//! # Threads of a host
//!
//! The *owner* thread creates the interpreter, works in it like any other of its threads, and ends it when the host
//! closes. *Extra* threads come when more tasks run at once. A *visitor* enters for a moment, to throw cancellations. All
//! are Rust threads with a stack of [`STACK_BYTES`] that no interpreter knew before.
//!
//! # Invariants
//!
//! - S1: a handle is in the map of interpreters only while its interpreter lives. Whoever enters through it is counted by
//!   the host, as an agent or as a visitor, until its thread state is deleted; the owner ends the interpreter only after
//!   [`Host::wait_alone`].

use crate::agent::{self, Place};
use crate::cancel::Errand;
use atoll_core::client::{Agent, Engine, HostId};
use atoll_core::host::{self, AgentRole, Host, HostState};
use atoll_core::hosts::Driver;
use atoll_core::park::Wait;
use atoll_core::task::Task;
use atoll_py::interpreter::{
    InterpreterHandle, SubInterpreter, ThreadState, thread_ident, throw_into,
};
use atoll_py::{Attached, Borrowed, Result, ffi};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// The stack of every thread that runs Python: CPython's own recursion checks strike long before it is used up.
pub const STACK_BYTES: usize = 16 << 20;

/// Starts sub-interpreters for the engine.
#[derive(Clone)]
pub struct SubinterpreterDriver {
    engine: Engine,
    /// Tells the native module, before it is imported there, that this thread works in a host.
    arrived: fn(HostId),
    interpreters: Arc<Mutex<HashMap<HostId, InterpreterHandle>>>,
    /// The states of the threads that serve, by the threads' identities.
    states: Arc<Mutex<HashMap<u64, ThreadState>>>,
}

impl SubinterpreterDriver {
    /// A driver for this engine. `arrived` is called first on every thread that will work in a host.
    ///
    /// Needs: attached.
    pub fn new(engine: Engine, arrived: fn(HostId)) -> Self {
        crate::fork::prepare();
        Self {
            engine,
            arrived,
            interpreters: Arc::default(),
            states: Arc::default(),
        }
    }

    /// The calling thread takes up its work in the host.
    fn arrive(&self, host: &Arc<Host>, role: AgentRole) -> Place {
        let place = Place::take(Agent::new(
            self.engine,
            host::Agent::new(host.clone(), role),
        ));
        (self.arrived)(host.id());
        place
    }

    fn interpreters(&self) -> MutexGuard<'_, HashMap<HostId, InterpreterHandle>> {
        self.interpreters
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn states(&self) -> MutexGuard<'_, HashMap<u64, ThreadState>> {
        self.states.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The state of a thread that serves.
    pub(crate) fn state_of(&self, thread: u64) -> Option<ThreadState> {
        self.states().get(&thread).copied()
    }

    /// Runs jobs on this thread until the host sends it home.
    ///
    /// Needs: attached, with a [`Place`]. May run Python: yes.
    fn serve(&self, py: Attached<'_>) {
        self.states()
            .insert(thread_ident(), ThreadState::current(py));
        agent::serve(py);
        self.states().remove(&thread_ident());
    }

    pub(crate) fn handle_of(&self, host: &Host) -> Option<InterpreterHandle> {
        self.interpreters().get(&host.id()).copied()
    }
}

impl Driver for SubinterpreterDriver {
    fn launch(
        &self,
        host: Arc<Host>,
        path: Option<Vec<String>>,
    ) -> std::result::Result<(), String> {
        let driver = self.clone();
        start_thread(&host.clone(), move || own(&driver, &host, path))
    }

    fn add_thread(&self, host: Arc<Host>) -> std::result::Result<(), String> {
        let handle = self.handle_of(&host).ok_or("its interpreter has ended")?;
        let driver = self.clone();
        start_thread(&host.clone(), move || {
            let place = driver.arrive(&host, AgentRole::Extra);
            // SAFETY: S1: this thread is counted until `place` drops, after the visit.
            let visit = unsafe { handle.enter() };
            driver.serve(visit.attached());
            drop(visit);
            drop(place);
        })
    }

    fn throw_cancellations(&self, host: Arc<Host>, tasks: Vec<Arc<Task>>) {
        let errand = Errand {
            driver: self.clone(),
            host: host.clone(),
            tasks,
        };
        // Without a thread to be had, the tasks still notice it in their next blocking verb.
        let _ = start_thread(&host, move || errand.run());
    }
}

/// Starts a detached thread. Its end is known to the host, which counts it.
fn start_thread(
    host: &Host,
    body: impl FnOnce() + Send + 'static,
) -> std::result::Result<(), String> {
    thread::Builder::new()
        .name(format!("atoll-{}", host.id().0))
        .stack_size(STACK_BYTES)
        .spawn(body)
        .map(drop)
        .map_err(|error| format!("no thread to be had: {error}"))
}

/// The owner's life: create the interpreter, work in it, end it.
fn own(driver: &SubinterpreterDriver, host: &Arc<Host>, path: Option<Vec<String>>) {
    let interpreter = match SubInterpreter::create() {
        Ok(interpreter) => interpreter,
        Err(error) => return host.ended(Some(error.to_string())),
    };
    let place = driver.arrive(host, AgentRole::Owner);
    let py = interpreter.attached();
    let prepared = prepare(py, path).map_err(|raised| agent::line_of(py, raised));
    if prepared.is_ok() {
        driver
            .interpreters()
            .insert(host.id(), interpreter.handle());
        if host.ready() {
            // Again only after a bug: serve returns when the host closes.
            while host.state() == HostState::Ready {
                driver.serve(interpreter.attached());
            }
        }
    }
    end(driver, host, interpreter);
    host.ended(prepared.err());
    drop(place);
}

/// Makes the new interpreter look for modules where its maker does, and loads the agent.
fn prepare(py: Attached<'_>, path: Option<Vec<String>>) -> Result<()> {
    if let Some(path) = path {
        set_path(py, &path)?;
    }
    agent::module(py).map(drop)
}

fn set_path(py: Attached<'_>, path: &[String]) -> Result<()> {
    let list = py.import(c"sys")?.borrow().attr(c"path")?;
    list.borrow().call_method(c"clear", &[])?;
    for folder in path {
        let folder = py.string(folder)?;
        list.borrow().call_method(c"append", &[folder.borrow()])?;
    }
    Ok(())
}

/// Ends the interpreter once everybody else has left it.
fn end(driver: &SubinterpreterDriver, host: &Arc<Host>, interpreter: SubInterpreter) {
    // Without deadline or interrupt this wait ends only one way.
    let alone = interpreter.detach(|| host.wait_alone(&Wait::forever()));
    debug_assert!(alone.is_ok());
    driver.interpreters().remove(&host.id());
    if let Err(raised) = stop_python_threads(interpreter.attached()) {
        raised.write_unraisable(None);
    }
    let mut rest = interpreter;
    let mut pause = Duration::from_millis(1);
    while let Err(still_inhabited) = rest.end() {
        // A thread that neither `threading` nor the host knows is in there (`_thread`, or C code): nothing tells when it
        // leaves, and ending the interpreter before would abort the process. So look again, ever more rarely.
        rest = still_inhabited;
        rest.detach(|| thread::park_timeout(pause));
        pause = (pause * 2).min(Duration::from_secs(1));
    }
}

/// Has `SystemExit` raised in every thread that the host's code started through `threading` and left behind: the end of the
/// interpreter waits for them. Those that wait in a verb of Atoll have been interrupted already.
fn stop_python_threads(py: Attached<'_>) -> Result<()> {
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
