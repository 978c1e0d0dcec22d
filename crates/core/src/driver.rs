//! What the engine needs from the layer that knows the language, and what it hands to it.

use crate::client::{self, HostId};
use crate::clock::Deadline;
use crate::host::HostKind;

/// Starts hosts, and does in them what the engine decides.
///
/// A reason that it gives is why something cannot be had; a remedy may follow it after a semicolon (`they are 5 of 5; close
/// one`).
pub trait Driver: Send + Sync {
    /// Start the host on a thread of its own, and return at once. Later that thread calls
    /// [`host_ready`](client::Engine::host_ready), or [`host_ended`](client::Engine::host_ended) with the reason.
    fn launch(&self, launch: Launch) -> Result<(), String>;

    /// Start one more thread that becomes an [`Agent`](client::Agent) of the host, and return at once.
    fn add_thread(&self, host: HostId) -> Result<(), String>;

    /// Throw the cancellation into the threads of these tasks ([`throw_cancellation`](client::Task::throw_cancellation)), and
    /// return at once.
    fn throw_cancellations(&self, host: HostId, tasks: Vec<client::Task>);

    /// Have a thread enter the host for a moment, the main one as well, and do there what the message says; return at once. If
    /// nobody can enter, the message is dropped.
    fn visit(&self, host: HostId, message: client::Message) {
        drop((host, message));
    }

    /// How many more hosts of the kind could be launched now. The error: why there can be none ever.
    fn room(&self, kind: HostKind) -> Result<usize, String>;

    /// The process ends, and the hosts have ended, or had their time: put to rest what outlives them. Called once. Returns
    /// how many places could not be put to rest in time.
    fn retire(&self, deadline: Deadline) -> usize {
        let _ = deadline;
        0
    }
}

/// A host that the driver is to start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Launch {
    /// Its number, by which everything about it is reported.
    pub host: HostId,
    /// What kind of host.
    pub kind: HostKind,
    /// Its name.
    pub name: String,
    /// Where its language looks for modules; `None`: the kind's own default.
    pub path: Option<Vec<String>>,
    /// What else the driver needs to know, as the front has put it.
    pub environment: Option<Vec<u8>>,
}

/// What a host starts with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Setup {
    /// Where its language looks for modules; `None`: the kind's own default.
    pub path: Option<Vec<String>>,
    /// What else its driver needs to know. The engine does not look into it.
    pub environment: Option<Vec<u8>>,
}
