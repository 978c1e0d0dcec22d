//! The value that owns everything shared: channel numbers, and which host holds which channel ends.

use crate::channel::{Capacity, Channel};
use crate::client::{HostId, Role};
use crate::message::Message;
use crate::stats::ChannelCounts;
use crate::streams::Streams;
use crate::terminal::Terminal;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// The engine of one process. Glue reaches it through [`crate::abi::Table`] only.
pub(crate) struct Engine {
    next_channel: AtomicU64,
    ledger: Mutex<Ledger>,
    pub(crate) streams: Streams,
    pub(crate) terminal: Terminal,
}

/// Which host holds how many references to which channel's ends.
///
/// The ledger is the truth: a host that dies takes its references with it, whatever became of the
/// objects that stood for them. References inside messages ([`HostId::IN_FLIGHT`]) are not in it.
#[derive(Default)]
struct Ledger {
    hosts: HashMap<HostId, HashMap<u64, Held>>,
}

/// The references of one host to one channel.
struct Held {
    channel: Arc<EngineChannel>,
    senders: usize,
    receivers: usize,
}

/// A channel of messages that counts its ends.
pub(crate) struct EngineChannel {
    pub(crate) id: u64,
    pub(crate) channel: Channel<Message>,
    senders: AtomicUsize,
    receivers: AtomicUsize,
}

impl EngineChannel {
    fn acquire(&self, role: Role) {
        // ORDERING: Relaxed: the caller holds a reference already, so no count is raised from zero.
        if role.can_send() {
            self.senders.fetch_add(1, Ordering::Relaxed);
        }
        if role.can_recv() {
            self.receivers.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Gives ends back. The last sender closes the channel; the last receiver shuts it, too.
    fn release(&self, senders: usize, receivers: usize) {
        // ORDERING: AcqRel: what other holders did comes before the closing by the last one.
        if senders > 0 && self.senders.fetch_sub(senders, Ordering::AcqRel) == senders {
            self.channel.close();
        }
        if receivers > 0 && self.receivers.fetch_sub(receivers, Ordering::AcqRel) == receivers {
            self.channel.shut();
        }
    }

    /// The numbers of its ends: senders, receivers.
    pub(crate) fn ends(&self) -> (usize, usize) {
        (
            self.senders.load(Ordering::Relaxed),
            self.receivers.load(Ordering::Relaxed),
        )
    }

    pub(crate) fn counts(&self) -> ChannelCounts {
        self.channel.counts()
    }
}

impl Engine {
    pub(crate) fn new() -> Self {
        Self {
            next_channel: AtomicU64::new(1),
            ledger: Mutex::default(),
            streams: Streams::new(),
            terminal: Terminal::new(libc::STDIN_FILENO),
        }
    }

    fn ledger(&self) -> std::sync::MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A new channel of which *owner* holds both ends.
    pub(crate) fn new_channel(&self, capacity: Capacity, owner: HostId) -> Arc<EngineChannel> {
        let channel = Arc::new(EngineChannel {
            id: self.next_channel.fetch_add(1, Ordering::Relaxed),
            channel: Channel::new(capacity),
            senders: AtomicUsize::new(0),
            receivers: AtomicUsize::new(0),
        });
        self.acquire(&channel, Role::Both, owner);
        channel
    }

    /// Counts one more reference of *owner*.
    pub(crate) fn acquire(&self, channel: &Arc<EngineChannel>, role: Role, owner: HostId) {
        channel.acquire(role);
        self.ledger().enter(channel, role, owner);
    }

    /// Gives one reference of *owner* back, unless the owner's death did so already.
    pub(crate) fn release(&self, channel: &Arc<EngineChannel>, role: Role, owner: HostId) {
        let held = self.ledger().strike(channel.id, role, owner);
        if held {
            channel.release(role.can_send().into(), role.can_recv().into());
        }
    }

    /// Moves one reference from one owner to another. False: the old owner's death came first.
    pub(crate) fn transfer(
        &self,
        channel: &Arc<EngineChannel>,
        role: Role,
        from: HostId,
        to: HostId,
    ) -> bool {
        let mut ledger = self.ledger();
        let held = ledger.strike(channel.id, role, from);
        if held {
            ledger.enter(channel, role, to);
        }
        held
    }

    /// Gives back every reference that a host still holds: it has ended.
    pub(crate) fn release_host(&self, host: HostId) {
        self.terminal.release_host(host);
        let held = self.ledger().hosts.remove(&host).unwrap_or_default();
        for (_, held) in held {
            held.channel.release(held.senders, held.receivers);
        }
    }
}

impl Ledger {
    fn enter(&mut self, channel: &Arc<EngineChannel>, role: Role, owner: HostId) {
        if owner == HostId::IN_FLIGHT {
            return;
        }
        let held = self
            .hosts
            .entry(owner)
            .or_default()
            .entry(channel.id)
            .or_insert_with(|| Held {
                channel: channel.clone(),
                senders: 0,
                receivers: 0,
            });
        held.senders += usize::from(role.can_send());
        held.receivers += usize::from(role.can_recv());
    }

    /// Removes one reference; whether it was there.
    fn strike(&mut self, channel: u64, role: Role, owner: HostId) -> bool {
        if owner == HostId::IN_FLIGHT {
            return true;
        }
        let Some(channels) = self.hosts.get_mut(&owner) else {
            return false;
        };
        let Some(held) = channels.get_mut(&channel) else {
            return false;
        };
        held.senders -= usize::from(role.can_send());
        held.receivers -= usize::from(role.can_recv());
        if held.senders == 0 && held.receivers == 0 {
            channels.remove(&channel);
        }
        if channels.is_empty() {
            self.hosts.remove(&owner);
        }
        true
    }
}
