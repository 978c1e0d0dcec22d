//! Hosts on the client's side of the table, as the threads see them that work in them: what a driver does its work with, in
//! the copy of the library that owns the engine and in any other.

use crate::abi::hosts::RawBytes;
use crate::client::hosts::finished;
use crate::client::{Engine, HostId, HostKind, HostState, Job, Unfinished, Wait};
use std::ffi::c_void;

pub use crate::host::AgentRole;

impl Engine {
    /// The owner reports that the interpreter is there. False: the host was closed meanwhile; end it at once.
    #[must_use]
    pub fn host_ready(&self, host: HostId) -> bool {
        let table = self.table;
        // SAFETY: B1.
        unsafe { (table.driving.ready)(table.hosts.hosts, host.to_raw()) }
    }

    /// Where a host stands; one that is not there (any more) has ended.
    #[must_use]
    pub fn host_state(&self, host: HostId) -> HostState {
        let table = self.table;
        // SAFETY: B1.
        unsafe { (table.driving.state)(table.hosts.hosts, host.to_raw()) }
    }

    /// Of which kind a host is; `None`: it is not there (any more).
    #[must_use]
    pub fn host_kind(&self, host: HostId) -> Option<HostKind> {
        let table = self.table;
        // SAFETY: B1.
        HostKind::from_raw(unsafe { (table.driving.kind)(table.hosts.hosts, host.to_raw()) })
    }

    /// The owner waits until it is the only one in the host; then nobody enters any more.
    pub fn wait_host_alone(&self, host: HostId, wait: &Wait<'_>) -> Result<(), Unfinished> {
        let table = self.table;
        // SAFETY: B1, B4.
        finished(unsafe {
            (table.driving.wait_alone)(table.hosts.hosts, host.to_raw(), &wait.to_raw())
        })
    }

    /// The owner reports that the host is gone, or never came (*reason* says why).
    pub fn host_ended(&self, host: HostId, reason: Option<&str>) {
        let table = self.table;
        // SAFETY: B1, B4.
        unsafe {
            (table.driving.ended)(table.hosts.hosts, host.to_raw(), RawBytes::of(reason));
        }
    }

    /// Enters a host for a moment without being one of its threads. `None`: it is too late, or too early.
    #[must_use]
    pub fn visit_host(&self, host: HostId) -> Option<HostVisit> {
        let table = self.table;
        // SAFETY: B1.
        let raw = unsafe { (table.driving.visit)(table.hosts.hosts, host.to_raw()) };
        (!raw.is_null()).then(|| HostVisit { engine: *self, raw })
    }
}

/// A short stay in a host: while it lives, the host does not end.
#[derive(Debug)]
pub struct HostVisit {
    engine: Engine,
    raw: *mut c_void,
}

// SAFETY: a counted reference to a thread-safe host.
unsafe impl Send for HostVisit {}

impl Drop for HostVisit {
    fn drop(&mut self) {
        // SAFETY: B3: ours alone, given back once.
        unsafe { (self.engine.table.driving.leave)(self.raw) }
    }
}

/// The calling thread as one that works for a host. Dropping it: the thread goes home.
pub struct Agent {
    engine: Engine,
    raw: *mut c_void,
}

// SAFETY: the agent may move to the thread that it stands for; it is used by one at a time (`&mut`).
unsafe impl Send for Agent {}

impl Agent {
    /// The calling thread, which the driver started for this host, takes up its place. `None`: there is no such host.
    #[must_use]
    pub fn enter(engine: Engine, host: HostId, role: AgentRole) -> Option<Self> {
        let table = engine.table;
        // SAFETY: B1.
        let raw = unsafe { (table.driving.enter)(table.hosts.hosts, host.to_raw(), role) };
        (!raw.is_null()).then(|| Self { engine, raw })
    }

    /// The host it works for.
    #[must_use]
    pub fn host(&self) -> HostId {
        // SAFETY: B3: ours alone.
        HostId::from_raw(unsafe { (self.engine.table.driving.agent_host)(self.raw) })
    }

    /// The next job, waiting for one. `None`: go home. *thread* names this thread to whoever throws a cancellation at it.
    pub fn next_job(&mut self, thread: u64) -> Option<Job> {
        // SAFETY: B3: ours alone.
        let raw = unsafe { (self.engine.table.driving.next_job)(self.raw, thread) };
        // SAFETY: handed out to us just now.
        (!raw.is_null()).then(|| unsafe { Job::from_raw(self.engine, raw) })
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // SAFETY: B3: ours alone, given back once.
        unsafe { (self.engine.table.driving.agent_release)(self.raw) }
    }
}
