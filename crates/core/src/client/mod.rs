//! The safe face of the engine for glue code: every call goes through [`abi::Table`].
//!
//! The same code serves the copy of the library that owns the engine and any copy that attached to it.

mod channels;
mod driving;
mod hosts;
mod pending;
mod tasks;
mod terminal;
mod waits;

pub use crate::abi::RawStats as ChannelStats;
pub use crate::channel::{Blocked, Capacity, RecvError};
pub use crate::clock::Deadline;
pub use crate::message::Message;
pub use crate::region::Region;
pub use channels::{
    BatchError, Case, End, Op, Outcome, Poisoner, Role, SelectError, Selected, SendError,
};
pub use driving::{Agent, AgentRole, HostVisit};
pub use hosts::*;
pub use pending::{Begun, Chime, Pending, Watch};
pub use tasks::{CancelStep, Job, Phase, Task, TaskOutcome};
pub use terminal::Line;
pub use waits::{Bell, Interrupt, Wait};

use crate::abi::{self, Table};
use std::fmt;

/// Names a host: a place where code runs and that holds channel ends.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(transparent)]
pub struct HostId(pub u64);

impl HostId {
    /// No host: the reference is inside a message.
    pub const IN_FLIGHT: Self = Self(0);
    /// The main interpreter.
    pub const MAIN: Self = Self(1);

    /// As the function table carries it.
    #[must_use]
    pub const fn to_raw(self) -> u64 {
        self.0
    }

    /// The inverse of [`Self::to_raw`].
    #[must_use]
    pub const fn from_raw(raw: u64) -> Self {
        Self(raw)
    }
}

/// A handle to the engine of this process. It lives as long as the process.
#[derive(Copy, Clone)]
pub struct Engine {
    table: &'static Table,
}

/// The engine belongs to another release of this library.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct AbiMismatch {
    /// The table version of the engine.
    pub engine: u32,
    /// The table version of this copy.
    pub own: u32,
}

impl fmt::Display for AbiMismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "cannot attach to the running engine (its table has version {}, this copy needs {}); \
             install the same release of atoll in both environments",
            self.engine, self.own
        )
    }
}

impl std::error::Error for AbiMismatch {}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Engine({:p})", self.table)
    }
}

impl Engine {
    /// Starts the engine of this process. To be called once, by the copy in the main namespace.
    #[must_use]
    pub fn start() -> Self {
        Self {
            table: Table::start(None),
        }
    }

    /// As [`Self::start`], with crews of this size at most.
    #[must_use]
    pub fn start_with_crew(size: usize) -> Self {
        Self {
            table: Table::start(Some(size)),
        }
    }

    /// Attaches to an engine that another copy of this library has started.
    ///
    /// # Safety
    /// *table* came from [`Self::table`] in this process.
    pub unsafe fn attach(table: *const Table) -> Result<Self, AbiMismatch> {
        // SAFETY: by the caller; the version is the first field in every release, and tables live for ever.
        let version = unsafe { table.cast::<u32>().read() };
        if version != abi::VERSION {
            return Err(AbiMismatch {
                engine: version,
                own: abi::VERSION,
            });
        }
        // SAFETY: the same version has the same layout.
        let table = unsafe { &*table };
        if table.size as usize != size_of::<Table>() {
            return Err(AbiMismatch {
                engine: version,
                own: abi::VERSION,
            });
        }
        Ok(Self { table })
    }

    /// For another copy of the library to attach to.
    #[must_use]
    pub fn table(&self) -> *const Table {
        self.table
    }
}
