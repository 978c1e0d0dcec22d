//! Which driver serves a host: one for each kind.

use crate::isolate::IsolateDriver;
use crate::subinterpreter::SubinterpreterDriver;
use crate::visit;
use atoll_core::client::{Deadline, Driver, Engine, HostId, HostKind, Launch, Message, Task};

/// Starts hosts of every kind for the engine.
pub struct KindDriver {
    engine: Engine,
    interpreters: SubinterpreterDriver,
    isolates: IsolateDriver,
}

impl KindDriver {
    /// Serves this engine by these drivers.
    pub fn new(
        engine: Engine,
        interpreters: SubinterpreterDriver,
        isolates: IsolateDriver,
    ) -> Self {
        Self {
            engine,
            interpreters,
            isolates,
        }
    }

    fn of(&self, kind: HostKind) -> Result<&dyn Driver, String> {
        match kind {
            HostKind::Interpreter => Ok(&self.interpreters),
            HostKind::Isolate => Ok(&self.isolates),
            HostKind::Main => Err("nothing starts a main interpreter".to_owned()),
        }
    }

    fn serving(&self, host: HostId) -> Result<&dyn Driver, String> {
        let kind = self.engine.host_kind(host).ok_or("the host is gone")?;
        self.of(kind)
    }
}

impl Driver for KindDriver {
    fn launch(&self, launch: Launch) -> Result<(), String> {
        self.of(launch.kind)?.launch(launch)
    }

    fn add_thread(&self, host: HostId) -> Result<(), String> {
        self.serving(host)?.add_thread(host)
    }

    fn throw_cancellations(&self, host: HostId, tasks: Vec<Task>) {
        if let Ok(driver) = self.serving(host) {
            driver.throw_cancellations(host, tasks);
        }
    }

    fn visit(&self, host: HostId, message: Message) {
        if host == HostId::MAIN {
            visit::send_to_main(self.engine, message);
        } else if let Ok(driver) = self.serving(host) {
            driver.visit(host, message);
        }
    }

    fn room(&self, kind: HostKind) -> Result<usize, String> {
        self.of(kind)?.room(kind)
    }

    fn retire(&self, deadline: Deadline) -> usize {
        self.isolates.retire(deadline)
    }
}
