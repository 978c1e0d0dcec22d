//! All hosts of the process, and which of them a task is given to.
//!
//! The engine decides; a [`Driver`] acts. The driver knows the language: it starts an interpreter on a thread of its own,
//! adds threads to it, and throws cancellations. It reports back by the host's number, through [`crate::client`]: so the
//! same driver's code works in whatever copy of the library an interpreter has.
//!
//! Tasks that name no host go to a *crew* ([`crate::client::Placement`]): as many hosts of a kind as there are cores,
//! launched when there is work for them. A task waits in the queue of a host that is still starting, so spawning never
//! waits for a start; and if that host never comes, its tasks go to the others of the crew, as long as there is one. A task
//! that may go to any kind goes to isolates if they can be had, else to interpreters.

use crate::client::{self, HostId, Region};
use crate::crew::{Crews, Seat};
use crate::driver::{Driver, Launch, Setup};
use crate::host::{Host, HostKind, HostSummary};
use crate::message::Message;
use crate::park::Wait;
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::sync::{Arc, Mutex, lock};
use crate::task::{CancelStep, Job, Outcome, Task};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::OnceLock;

/// Where a task is to run.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Placement {
    /// On this host.
    On(HostId),
    /// On one of the hosts of this kind that tasks share.
    Crew(HostKind),
    /// On an isolate if there can be one, else on an interpreter; shared, too.
    Auto,
}

/// Why a task was not accepted or a host not launched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SubmitError {
    /// No host of this kind could be started.
    Unavailable {
        /// Of which kind.
        kind: HostKind,
        /// Why, and what to do instead if that is known (after a semicolon).
        reason: String,
    },
    /// The host with this name is closed or closing.
    HostClosed(String),
    /// There is no host with this number (any more).
    NoSuchHost(u64),
    /// This process is a fork of the one that has the threads.
    Forked,
}

impl fmt::Display for SubmitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unavailable { kind, reason } => {
                let word = match kind {
                    HostKind::Main | HostKind::Interpreter => "interpreter",
                    HostKind::Isolate => "isolate",
                };
                match (reason.split_once("; "), kind) {
                    (Some((why, instead)), _) => {
                        write!(f, "cannot start an {word} ({why}); {instead}")
                    }
                    (None, HostKind::Isolate) => write!(
                        f,
                        "cannot start an {word} ({reason}); use kind='interpreter'"
                    ),
                    (None, _) => write!(f, "cannot start an {word} ({reason})"),
                }
            }
            Self::HostClosed(name) => write!(
                f,
                "cannot run a task on {name} (it is closed); create another Interpreter"
            ),
            Self::NoSuchHost(id) => write!(
                f,
                "cannot run a task on host {id} (it is closed, or never was); create another Interpreter"
            ),
            Self::Forked => f.write_str(
                "cannot use a worker in a forked child (the threads stayed with the parent); \
                 use atoll in the parent, or start the child as a new process",
            ),
        }
    }
}

impl std::error::Error for SubmitError {}

/// What a new task consists of.
pub struct NewTask {
    /// Its name, if it has one.
    pub name: Option<String>,
    /// What to call and with what, encoded.
    pub payload: Message,
    /// The function's pickle, when it travels by value.
    pub function: Option<Region>,
}

struct Table {
    hosts: BTreeMap<u64, Arc<Host>>,
    /// Hosts of somebody's own whose launcher has not heard yet what came of it. One that never came is found here only.
    awaited: BTreeMap<u64, Arc<Host>>,
    crews: Crews,
    /// The process is ending: nothing starts any more.
    shut: bool,
}

pub(crate) struct HostsInner {
    driver: OnceLock<(client::Engine, Box<dyn Driver>)>,
    release: Box<dyn Fn(HostId) + Send + Sync>,
    table: Mutex<Table>,
    next_host: AtomicU64,
    next_task: AtomicU64,
    crew_size: usize,
    /// What came of the driver's retirement.
    retired: OnceLock<usize>,
    process: u32,
}

/// What had not come to an end when the process was to.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Restless {
    /// Threads that are in an interpreter which must not end before they leave it.
    pub threads: usize,
    /// Places of the driver's that could not be put to rest. They do not keep the others from their end.
    pub places: usize,
}

/// All hosts of the process. Clones share them.
#[derive(Clone)]
pub struct Hosts(Arc<HostsInner>);

impl Hosts {
    /// The main host only. `release` lets go of every channel end that an ended host held.
    pub fn new(release: impl Fn(HostId) + Send + Sync + 'static) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self::with_crew(cores.max(2), release)
    }

    /// As [`Self::new`], with crews of this size at most.
    pub fn with_crew(crew_size: usize, release: impl Fn(HostId) + Send + Sync + 'static) -> Self {
        Self(Arc::new_cyclic(|hosts| {
            let main = Host::new(
                HostId::MAIN,
                HostKind::Main,
                "main".to_owned(),
                hosts.clone(),
            );
            HostsInner {
                driver: OnceLock::new(),
                release: Box::new(release),
                table: Mutex::new(Table {
                    hosts: BTreeMap::from([(HostId::MAIN.0, main)]),
                    awaited: BTreeMap::new(),
                    crews: Crews::new(),
                    shut: false,
                }),
                next_host: AtomicU64::new(HostId::MAIN.0 + 1),
                next_task: AtomicU64::new(1),
                crew_size,
                retired: OnceLock::new(),
                process: std::process::id(),
            }
        }))
    }

    /// Installs what starts hosts, and the engine that it knows them by. The first call counts.
    pub fn install(&self, engine: client::Engine, driver: Box<dyn Driver>) -> bool {
        self.0.driver.set((engine, driver)).is_ok()
    }

    /// Runs a task.
    pub fn submit(&self, placement: Placement, new: NewTask) -> Result<Arc<Task>, SubmitError> {
        self.check_process()?;
        let mut host = match placement {
            // The main interpreter's threads are its own: none of them asks for jobs.
            Placement::On(HostId::MAIN) => return Err(SubmitError::NoSuchHost(HostId::MAIN.0)),
            Placement::On(id) => self.find(id).ok_or(SubmitError::NoSuchHost(id.0))?,
            Placement::Crew(_) | Placement::Auto => self.0.place(placement)?,
        };
        let id = self.0.next_task.fetch_add(1, Ordering::Relaxed);
        let task = Task::new(id, new.name, host.id());
        let mut job = Job {
            task: task.clone(),
            placement,
            payload: new.payload,
            function: new.function,
        };
        while let Err((error, refused)) = host.submit(job) {
            // It closed, or its launch failed, after it was chosen.
            host = self.0.place_elsewhere(placement, &host, error)?;
            task.move_to(host.id());
            job = refused;
        }
        Ok(task)
    }

    /// Starts a host of the caller's own, outside the crews, and returns at once; see [`Host::wait_ready`].
    pub fn launch(
        &self,
        kind: HostKind,
        name: Option<String>,
        setup: Setup,
    ) -> Result<Arc<Host>, SubmitError> {
        self.check_process()?;
        let host = {
            let mut table = lock(&self.0.table);
            let host = self.0.add(&mut table, kind, name)?;
            table.awaited.insert(host.id().0, host.clone());
            host
        };
        let started = self.0.start(&host, setup);
        if started.is_err() {
            self.heard_of(host.id());
        }
        started.map(|()| host)
    }

    /// A host that was launched, also if it has ended, until [`Self::heard_of`].
    pub(crate) fn launched(&self, id: HostId) -> Option<Arc<Host>> {
        lock(&self.0.table).awaited.get(&id.0).cloned()
    }

    /// The launcher of a host knows what came of it, or does not want to know.
    pub(crate) fn heard_of(&self, id: HostId) {
        // Outside of the lock: the last reference may be this one.
        let _host = lock(&self.0.table).awaited.remove(&id.0);
    }

    /// What hosts of this kind's crew that start from now on start with.
    pub fn set_setup(&self, kind: HostKind, setup: Setup) {
        lock(&self.0.table).crews.of_mut(kind).setup = Some(Arc::new(setup));
    }

    /// There can be no isolates, says whoever makes their set-up: tasks that may go to any kind go to interpreters.
    pub fn refuse_isolates(&self) {
        lock(&self.0.table).crews.isolates_refused = true;
    }

    /// The kind of host that a task with this placement would start if it came now. `None`: it goes to a host that is there.
    pub fn wants_setup(&self, placement: Placement) -> Option<HostKind> {
        let (kind, spare) = {
            let table = lock(&self.0.table);
            let kind = match placement {
                Placement::On(_) => return None,
                Placement::Crew(kind) => kind,
                Placement::Auto
                    if !table.crews.isolates_refused
                        && table.crews.of(HostKind::Isolate).is_untried() =>
                {
                    HostKind::Isolate
                }
                Placement::Auto => table.crews.any_kind(),
            };
            match table.crews.of(kind).seat(self.0.crew_size) {
                Seat::Taken(_) => return None,
                Seat::Wanted(spare) => (kind, spare),
            }
        };
        match (self.0.has_room(placement, kind), spare) {
            (true, _) => Some(kind),
            (false, Some(_)) => None,
            // The driver will say why.
            (false, None) if placement == Placement::Crew(kind) => Some(kind),
            (false, None) => self.wants_setup(Placement::Crew(HostKind::Interpreter)),
        }
    }

    /// Asks a task to end; see [`Task::wait_cancelled`].
    pub fn cancel(&self, task: &Arc<Task>) {
        if self.check_process().is_err() {
            return;
        }
        match task.request_cancellation() {
            CancelStep::AlreadyEnded => {}
            CancelStep::Queued | CancelStep::Running => {
                let Some(host) = self.find(task.host()) else {
                    return;
                };
                if !host.cancel_queued(task) {
                    host.cancel(vec![task.clone()]);
                }
            }
        }
    }

    /// Has a thread enter the host for a moment and do there what the message says; returns at once. If nobody can enter, the
    /// message is dropped.
    pub fn visit(&self, id: HostId, message: Message) {
        if self.check_process().is_ok()
            && let Ok((_, driver)) = self.0.driver()
        {
            driver.visit(id, message);
        }
    }

    /// The host with this number, unless it has ended.
    pub fn find(&self, id: HostId) -> Option<Arc<Host>> {
        lock(&self.0.table).hosts.get(&id.0).cloned()
    }

    /// Every host that has not ended, oldest first.
    pub fn list(&self) -> Vec<HostSummary> {
        let hosts: Vec<_> = lock(&self.0.table).hosts.values().cloned().collect();
        hosts.iter().map(|host| host.summary()).collect()
    }

    /// Closes every host and waits for them, then has the driver put to rest what outlives them.
    pub fn shutdown(&self, wait: &Wait<'_>) -> Restless {
        if self.check_process().is_err() {
            return Restless::default();
        }
        let hosts: Vec<_> = {
            let mut table = lock(&self.0.table);
            table.shut = true;
            table
                .hosts
                .values()
                .filter(|host| host.id() != HostId::MAIN)
                .cloned()
                .collect()
        };
        for host in &hosts {
            host.close();
        }
        // An isolate outlives its hosts, so whatever still runs in one is a matter of the driver's, below.
        let threads: usize = hosts
            .iter()
            .filter(|host| host.wait_ended(wait).is_err() && host.kind() != HostKind::Isolate)
            .map(|host| host.summary().threads)
            .sum();
        let places = match self.0.driver() {
            Ok((_, driver)) => *self.0.retired.get_or_init(|| driver.retire(wait.deadline)),
            Err(_) => 0,
        };
        // The main interpreter ends after this, too, and whoever visits it has to be gone by then.
        let main = self.find(HostId::MAIN);
        let visitors = main.is_some_and(|main| main.wait_alone(wait).is_err());
        Restless {
            threads: threads + usize::from(visitors),
            places,
        }
    }

    /// Workers are threads, and threads do not survive a fork. Checked before any lock is taken: in a forked child a lock
    /// may be held by a thread that no longer exists.
    pub fn check_process(&self) -> Result<(), SubmitError> {
        if std::process::id() == self.0.process {
            Ok(())
        } else {
            Err(SubmitError::Forked)
        }
    }
}

impl HostsInner {
    pub(crate) fn driver(&self) -> Result<(client::Engine, &dyn Driver), String> {
        match self.driver.get() {
            Some((engine, driver)) => Ok((*engine, &**driver)),
            None => Err("nothing is installed that could start one".to_owned()),
        }
    }

    /// An idle host of the crew, else a new one, else the one with the least to do.
    fn place(self: &Arc<Self>, placement: Placement) -> Result<Arc<Host>, SubmitError> {
        let (kind, spare) = {
            let table = lock(&self.table);
            let kind = table.kind_for(placement);
            match table.crews.of(kind).seat(self.crew_size) {
                Seat::Taken(host) => return Ok(host),
                Seat::Wanted(spare) => (kind, spare),
            }
        };
        match spare {
            _ if self.has_room(placement, kind) => {}
            Some(host) => return Ok(host),
            None if placement == Placement::Auto && kind == HostKind::Isolate => {
                return self.place(Placement::Crew(HostKind::Interpreter));
            }
            // The driver will say why.
            None => {}
        }
        let (host, setup) = {
            let mut table = lock(&self.table);
            // Another thread may have launched one meanwhile.
            if let Seat::Taken(host) = table.crews.of(kind).seat(self.crew_size) {
                return Ok(host);
            }
            let host = self.add(&mut table, kind, None)?;
            let setup = table.crews.setup_for(kind);
            table.crews.of_mut(kind).add(host.clone());
            (host, setup)
        };
        let setup = setup.map(|setup| Setup::clone(&setup)).unwrap_or_default();
        match self.start(&host, setup) {
            Ok(()) => Ok(host),
            Err(error) => self.place_elsewhere(placement, &host, error),
        }
    }

    /// A host instead of one that takes no more tasks, for the reason that *error* tells.
    fn place_elsewhere(
        self: &Arc<Self>,
        placement: Placement,
        gone: &Host,
        error: SubmitError,
    ) -> Result<Arc<Host>, SubmitError> {
        let kind = gone.kind();
        let (others, shut) = {
            let mut table = lock(&self.table);
            let crew = table.crews.of_mut(kind);
            match &error {
                SubmitError::Unavailable { .. } => crew.give_up(gone),
                _ => drop(crew.remove(gone.id())),
            }
            (table.crews.of(kind).least_loaded(), table.shut)
        };
        match (placement, &error, others) {
            (Placement::On(_), ..) => Err(error),
            (_, SubmitError::HostClosed(_), _) if !shut => self.place(placement),
            (.., Some(other)) => Ok(other),
            (Placement::Auto, ..) if kind == HostKind::Isolate => {
                self.place(Placement::Crew(HostKind::Interpreter))
            }
            _ => Err(error),
        }
    }

    /// The driver may be asked, so no lock may be held.
    fn has_room(&self, placement: Placement, kind: HostKind) -> bool {
        match self.driver().and_then(|(_, driver)| driver.room(kind)) {
            Ok(room) => room > 0,
            Err(_) => {
                // There never will be any, so it need not be asked for again.
                if placement == Placement::Auto && kind == HostKind::Isolate {
                    lock(&self.table).crews.isolates_refused = true;
                }
                false
            }
        }
    }

    /// A task that waited for a host that never came goes to another one of the crew if there is one.
    pub(crate) fn again(self: &Arc<Self>, job: Job, gone: &Host, error: SubmitError) {
        let (task, placement) = (job.task.clone(), job.placement);
        let mut next = (job, self.place_elsewhere(placement, gone, error));
        loop {
            let (job, host) = match next {
                (job, Ok(host)) => (job, host),
                (_, Err(error)) => {
                    task.finish(Outcome::Unavailable(error.to_string()));
                    return;
                }
            };
            task.move_to(host.id());
            match host.submit(job) {
                Ok(()) => {
                    // See `Task::move_to`.
                    if task.is_cancelled() {
                        host.cancel_queued(&task);
                    }
                    return;
                }
                Err((error, job)) => next = (job, self.place_elsewhere(placement, &host, error)),
            }
        }
    }

    fn add(
        self: &Arc<Self>,
        table: &mut Table,
        kind: HostKind,
        name: Option<String>,
    ) -> Result<Arc<Host>, SubmitError> {
        if table.shut {
            return Err(SubmitError::Unavailable {
                kind,
                reason: "the process is ending; start it earlier".to_owned(),
            });
        }
        let id = self.next_host.fetch_add(1, Ordering::Relaxed);
        let name = name.unwrap_or_else(|| format!("{}-{id}", kind.word()));
        let host = Host::new(HostId(id), kind, name, Arc::downgrade(self));
        table.hosts.insert(id, host.clone());
        Ok(host)
    }

    fn start(&self, host: &Arc<Host>, setup: Setup) -> Result<(), SubmitError> {
        let launch = Launch {
            host: host.id(),
            kind: host.kind(),
            name: host.name().to_owned(),
            path: setup.path,
            environment: setup.environment,
        };
        let launched = match host.kind() {
            HostKind::Main => Err("there is one already".to_owned()),
            _ => self.driver().and_then(|(_, driver)| driver.launch(launch)),
        };
        launched.map_err(|reason| {
            host.ended(Some(reason.clone()));
            SubmitError::Unavailable {
                kind: host.kind(),
                reason,
            }
        })
    }

    /// The host takes no more jobs: the crew goes on without it.
    pub(crate) fn dismiss(&self, host: &Host) {
        lock(&self.table)
            .crews
            .of_mut(host.kind())
            .remove(host.id());
    }

    /// The host did not start: the crew, if it is one of a crew, goes on without it and with no more than it has.
    pub(crate) fn never_came(&self, host: &Host) {
        lock(&self.table).crews.of_mut(host.kind()).give_up(host);
    }

    /// The host is gone.
    pub(crate) fn forget(&self, host: &Host, never_came: bool) {
        // Who does not find it any more may rely on that.
        (self.release)(host.id());
        let mut table = lock(&self.table);
        let crew = table.crews.of_mut(host.kind());
        crew.remove(host.id());
        if !never_came {
            crew.hope_again();
        }
        table.hosts.remove(&host.id().0);
    }
}

impl Table {
    /// The kind of host that a task with this placement goes to, as far as this can be said without asking for room.
    fn kind_for(&self, placement: Placement) -> HostKind {
        match placement {
            Placement::Crew(kind) => kind,
            Placement::Auto | Placement::On(_) => self.crews.any_kind(),
        }
    }
}
