//! All hosts of the process, and which of them a task is given to.
//!
//! The engine decides; a [`Driver`] acts. The driver knows the language: it starts an interpreter on a thread of its own,
//! adds threads to it, and throws cancellations. It reports back through the [`Host`] it was handed.
//!
//! Tasks that name no host go to the *crew*: as many interpreters as there are cores, launched when there is work for
//! them. An idle one is preferred, then a new one, then the one with the least to do. A task waits in the queue of a host
//! that is still starting, so spawning never waits for a start.

use crate::client::{HostId, Region};
use crate::host::{Host, HostKind, HostSummary};
use crate::message::Message;
use crate::park::Wait;
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::sync::{Arc, Mutex, lock};
use crate::task::{CancelStep, Job, Task};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::OnceLock;

/// What the engine needs from the layer that knows the language.
pub trait Driver: Send + Sync {
    /// Start the host on a thread of its own, and return at once. Later that thread calls [`Host::ready`], or
    /// [`Host::ended`] with the reason. `path` is where its language looks for modules; `None` is its own default.
    fn launch(&self, host: Arc<Host>, path: Option<Vec<String>>) -> Result<(), String>;

    /// Start one more thread that becomes an [`Agent`](crate::host::Agent) of the host, and return at once.
    fn add_thread(&self, host: Arc<Host>) -> Result<(), String>;

    /// Throw the cancellation into the threads of these tasks ([`Task::throw_cancellation`]), and return at once.
    fn throw_cancellations(&self, host: Arc<Host>, tasks: Vec<Arc<Task>>);
}

/// Why a task was not accepted or a host not launched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SubmitError {
    /// No host could be started; the text says why.
    Unavailable(String),
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
            Self::Unavailable(reason) => write!(f, "cannot start an interpreter ({reason})"),
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
    crew: Vec<Arc<Host>>,
    /// Where hosts of the crew look for modules.
    path: Option<Vec<String>>,
    /// The process is ending: nothing starts any more.
    shut: bool,
}

pub(crate) struct HostsInner {
    driver: OnceLock<Box<dyn Driver>>,
    release: Box<dyn Fn(HostId) + Send + Sync>,
    table: Mutex<Table>,
    next_host: AtomicU64,
    next_task: AtomicU64,
    crew_size: usize,
    process: u32,
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

    /// As [`Self::new`], with a crew of this size.
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
                    crew: Vec::new(),
                    path: None,
                    shut: false,
                }),
                next_host: AtomicU64::new(HostId::MAIN.0 + 1),
                next_task: AtomicU64::new(1),
                crew_size,
                process: std::process::id(),
            }
        }))
    }

    /// Installs what starts hosts. The first call counts.
    pub fn install(&self, driver: Box<dyn Driver>) -> bool {
        self.0.driver.set(driver).is_ok()
    }

    /// Runs a task on the host *on*, or on the crew.
    pub fn submit(&self, on: Option<HostId>, new: NewTask) -> Result<Arc<Task>, SubmitError> {
        self.check_process()?;
        let host = match on {
            // The main interpreter's threads are its own: none of them asks for jobs.
            Some(HostId::MAIN) => return Err(SubmitError::NoSuchHost(HostId::MAIN.0)),
            Some(id) => self.find(id).ok_or(SubmitError::NoSuchHost(id.0))?,
            None => self.place()?,
        };
        let id = self.0.next_task.fetch_add(1, Ordering::Relaxed);
        let task = Task::new(id, new.name, host.id());
        host.submit(Job {
            task: task.clone(),
            payload: new.payload,
            function: new.function,
        })?;
        Ok(task)
    }

    /// Starts a host of the caller's own, outside the crew, and returns at once; see [`Host::wait_ready`].
    pub fn launch(
        &self,
        name: Option<String>,
        path: Option<Vec<String>>,
    ) -> Result<Arc<Host>, SubmitError> {
        self.check_process()?;
        let host = {
            let mut table = lock(&self.0.table);
            self.add(&mut table, name)?
        };
        self.start(&host, path)?;
        Ok(host)
    }

    /// Where hosts of the crew that start from now on look for modules.
    pub fn set_path(&self, path: Vec<String>) {
        lock(&self.0.table).path = Some(path);
    }

    /// Whether a task for the crew may start a host, which will want the current path.
    pub fn wants_path(&self) -> bool {
        lock(&self.0.table).crew.len() < self.0.crew_size
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

    /// The host with this number, unless it has ended.
    pub fn find(&self, id: HostId) -> Option<Arc<Host>> {
        lock(&self.0.table).hosts.get(&id.0).cloned()
    }

    /// Every host that has not ended, oldest first.
    pub fn list(&self) -> Vec<HostSummary> {
        let hosts: Vec<_> = lock(&self.0.table).hosts.values().cloned().collect();
        hosts.iter().map(|host| host.summary()).collect()
    }

    /// Closes every host and waits for them. Returns how many threads could not be joined before the deadline.
    pub fn shutdown(&self, wait: &Wait<'_>) -> usize {
        if self.check_process().is_err() {
            return 0;
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
        hosts
            .iter()
            .filter(|host| host.wait_ended(wait).is_err())
            .map(|host| host.summary().threads)
            .sum()
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

    /// An idle host of the crew, else a new one, else the one with the least to do.
    fn place(&self) -> Result<Arc<Host>, SubmitError> {
        let (host, path) = {
            let mut table = lock(&self.0.table);
            let least = table.crew.iter().min_by_key(|host| host.load()).cloned();
            match least {
                Some(host) if host.load() == 0 || table.crew.len() >= self.0.crew_size => {
                    return Ok(host);
                }
                _ => {}
            }
            let host = self.add(&mut table, None)?;
            table.crew.push(host.clone());
            (host, table.path.clone())
        };
        self.start(&host, path)?;
        Ok(host)
    }

    fn add(&self, table: &mut Table, name: Option<String>) -> Result<Arc<Host>, SubmitError> {
        if table.shut {
            return Err(SubmitError::Unavailable("the process is ending".to_owned()));
        }
        let id = self.0.next_host.fetch_add(1, Ordering::Relaxed);
        let name = name.unwrap_or_else(|| format!("interpreter-{id}"));
        let host = Host::new(
            HostId(id),
            HostKind::Interpreter,
            name,
            Arc::downgrade(&self.0),
        );
        table.hosts.insert(id, host.clone());
        Ok(host)
    }

    fn start(&self, host: &Arc<Host>, path: Option<Vec<String>>) -> Result<(), SubmitError> {
        let launched = self
            .0
            .driver()
            .and_then(|driver| driver.launch(host.clone(), path));
        launched.map_err(|reason| {
            host.ended(Some(reason.clone()));
            SubmitError::Unavailable(reason)
        })
    }
}

impl HostsInner {
    pub(crate) fn driver(&self) -> Result<&dyn Driver, String> {
        match self.driver.get() {
            Some(driver) => Ok(&**driver),
            None => Err("nothing is installed that could start one".to_owned()),
        }
    }

    /// The host takes no more jobs: the crew goes on without it.
    pub(crate) fn dismiss(&self, id: HostId) {
        lock(&self.table).crew.retain(|host| host.id() != id);
    }

    /// The host is gone.
    pub(crate) fn forget(&self, id: HostId) {
        // Who does not find it any more may rely on that.
        (self.release)(id);
        let mut table = lock(&self.table);
        table.crew.retain(|host| host.id() != id);
        table.hosts.remove(&id.0);
    }
}
