//! Which of a kind's shared hosts a task is given to, and when there should be one more.
//!
//! A *crew* is the hosts of one kind that tasks share. An idle one is preferred, then a new one, then the one with the least
//! to do. How many there may be is limited by the machine's cores and by the *room* that the driver has for more of the kind;
//! where a launch has failed, the crew makes do with those that it had.

use crate::client::HostId;
use crate::driver::Setup;
use crate::host::{Host, HostKind};
use crate::sync::Arc;

/// The shared hosts of one kind.
pub(crate) struct Crew {
    hosts: Vec<Arc<Host>>,
    /// What its hosts start with, once somebody has said it.
    pub(crate) setup: Option<Arc<Setup>>,
    /// As many hosts as there were when the last launch failed.
    limit: usize,
}

/// Where a crew's next task would go.
#[derive(Debug)]
pub(crate) enum Seat {
    /// To this host: it is idle, or there can be no more of them.
    Taken(Arc<Host>),
    /// To one more host, if there is room for it; else to this one, if there is one.
    Wanted(Option<Arc<Host>>),
}

impl Crew {
    pub(crate) fn new() -> Self {
        Self {
            hosts: Vec::new(),
            setup: None,
            limit: usize::MAX,
        }
    }

    /// Where the next task would go in a crew of `size` hosts at most.
    pub(crate) fn seat(&self, size: usize) -> Seat {
        match self.least_loaded() {
            Some(host) if host.load() == 0 || self.hosts.len() >= size.min(self.limit) => {
                Seat::Taken(host)
            }
            least => Seat::Wanted(least),
        }
    }

    pub(crate) fn least_loaded(&self) -> Option<Arc<Host>> {
        self.hosts.iter().min_by_key(|host| host.load()).cloned()
    }

    /// Whether it is worth asking for a host, or for room for the first one.
    pub(crate) fn is_promising(&self) -> bool {
        self.setup.is_some() && (!self.hosts.is_empty() || self.limit > 0)
    }

    /// Whether a first set-up could bring it to life.
    pub(crate) fn is_untried(&self) -> bool {
        self.setup.is_none() && self.limit > 0
    }

    pub(crate) fn add(&mut self, host: Arc<Host>) {
        if self.hosts.is_empty() {
            self.hope_again();
        }
        self.hosts.push(host);
    }

    /// The host takes no more tasks. True: it was one of this crew's until now.
    pub(crate) fn remove(&mut self, id: HostId) -> bool {
        let before = self.hosts.len();
        self.hosts.retain(|host| host.id() != id);
        self.hosts.len() < before
    }

    /// The host did not start.
    pub(crate) fn give_up(&mut self, host: &Host) {
        // Isolates are few for the whole life of the process, so there will be no more than there are, until one has ended.
        // For another interpreter there may be room the next moment.
        if self.remove(host.id()) && host.kind() == HostKind::Isolate {
            self.limit = self.hosts.len();
        }
    }

    /// A host of the kind has ended, so there may be room again.
    pub(crate) fn hope_again(&mut self) {
        self.limit = usize::MAX;
    }
}

/// A crew for each kind that has one, and what is to be thought of isolates.
pub(crate) struct Crews {
    interpreters: Crew,
    isolates: Crew,
    /// There can be none: nobody is to be asked for their set-up.
    pub(crate) isolates_refused: bool,
}

impl Crews {
    pub(crate) fn new() -> Self {
        Self {
            interpreters: Crew::new(),
            isolates: Crew::new(),
            isolates_refused: false,
        }
    }

    /// The crew of a kind. The main interpreter, which has none, stands for interpreters.
    pub(crate) fn of(&self, kind: HostKind) -> &Crew {
        match kind {
            HostKind::Isolate => &self.isolates,
            HostKind::Main | HostKind::Interpreter => &self.interpreters,
        }
    }

    /// As [`Self::of`].
    pub(crate) fn of_mut(&mut self, kind: HostKind) -> &mut Crew {
        match kind {
            HostKind::Isolate => &mut self.isolates,
            HostKind::Main | HostKind::Interpreter => &mut self.interpreters,
        }
    }

    /// The kind that a task goes to that may go to any, as far as this can be said without asking for room.
    pub(crate) fn any_kind(&self) -> HostKind {
        if !self.isolates_refused && self.isolates.is_promising() {
            HostKind::Isolate
        } else {
            HostKind::Interpreter
        }
    }

    /// What a host of this kind starts with. Tasks that wanted an isolate and go to interpreters take its path along.
    pub(crate) fn setup_for(&self, kind: HostKind) -> Option<Arc<Setup>> {
        let own = self.of(kind).setup.clone();
        own.or_else(|| {
            let path = self.isolates.setup.as_ref()?.path.clone();
            (kind == HostKind::Interpreter).then(|| {
                Arc::new(Setup {
                    path,
                    environment: None,
                })
            })
        })
    }
}
