//! Hosts of kind `interpreter`: CPython sub-interpreters with a GIL of their own.
//!
//! The thread that creates a sub-interpreter is its owner and ends it when the host closes; what happens in between is the
//! same for every kind ([`crate::inhabited`]).

use crate::agent;
use crate::inhabited::{Inhabited, stop_python_threads};
use crate::threads;
use crate::visit;
use atoll_core::client::{
    AgentRole, Driver, Engine, HostId, HostKind, Launch, Message, Task, Wait,
};
use atoll_py::interpreter::SubInterpreter;
use atoll_py::{Attached, Result};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// Starts sub-interpreters for the engine.
#[derive(Clone)]
pub struct SubinterpreterDriver {
    engine: Engine,
    arrived: fn(HostId),
    interpreters: Arc<Mutex<HashMap<HostId, Inhabited>>>,
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
        }
    }

    fn interpreters(&self) -> MutexGuard<'_, HashMap<HostId, Inhabited>> {
        self.interpreters
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, host: HostId) -> Option<Inhabited> {
        self.interpreters().get(&host).cloned()
    }
}

impl Driver for SubinterpreterDriver {
    fn launch(&self, launch: Launch) -> std::result::Result<(), String> {
        let driver = self.clone();
        threads::start(launch.host, move || own(&driver, launch))
    }

    fn add_thread(&self, host: HostId) -> std::result::Result<(), String> {
        let interpreter = self.find(host).ok_or("its interpreter has ended")?;
        interpreter.add_thread(host)
    }

    fn throw_cancellations(&self, host: HostId, tasks: Vec<Task>) {
        if let Some(interpreter) = self.find(host) {
            interpreter.throw_cancellations(host, tasks);
        }
    }

    fn visit(&self, host: HostId, message: Message) {
        if let Some(interpreter) = self.find(host) {
            visit::send(&interpreter, host, message);
        }
    }

    fn room(&self, kind: HostKind) -> std::result::Result<usize, String> {
        match kind {
            HostKind::Interpreter => Ok(usize::MAX),
            HostKind::Main | HostKind::Isolate => Err("nothing here starts such hosts".to_owned()),
        }
    }
}

/// The owner's life: create the interpreter, work in it, end it.
fn own(driver: &SubinterpreterDriver, launch: Launch) {
    let (engine, host) = (driver.engine, launch.host);
    let interpreter = match SubInterpreter::create() {
        Ok(interpreter) => interpreter,
        Err(error) => return engine.host_ended(host, Some(&error.to_string())),
    };
    let inhabited = Inhabited::new(engine, interpreter.handle(), driver.arrived, None);
    let place = inhabited.arrive(host, AgentRole::Owner);
    let prepared = prepare(interpreter.attached(), launch.path)
        .map_err(|raised| agent::line_of(interpreter.attached(), raised));
    if prepared.is_ok() {
        driver.interpreters().insert(host, inhabited.clone());
        if engine.host_ready(host) {
            inhabited.serve(interpreter.attached());
        }
    }
    end(driver, host, interpreter);
    engine.host_ended(host, prepared.err().as_deref());
    drop(place);
}

/// Makes the new interpreter look for modules where its maker does and write whole lines, and loads the agent.
fn prepare(py: Attached<'_>, path: Option<Vec<String>>) -> Result<()> {
    if let Some(path) = path {
        agent::set_path(py, &path)?;
    }
    agent::module(py)?;
    py.import(c"atoll._rules")?
        .borrow()
        .call_method(c"write_whole_lines", &[])
        .map(drop)
}

/// Ends the interpreter once everybody else has left it.
fn end(driver: &SubinterpreterDriver, host: HostId, interpreter: SubInterpreter) {
    let engine = driver.engine;
    // Without deadline or interrupt this wait ends only one way.
    let alone = interpreter.detach(|| engine.wait_host_alone(host, &Wait::forever()));
    debug_assert!(alone.is_ok());
    driver.interpreters().remove(&host);
    // Ending the interpreter waits for them.
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
