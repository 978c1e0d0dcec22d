//! One host: its life from launch to end, and what becomes of its tasks. Who does them: [`crate::jobs`].
//!
//! # The life of a host
//!
//! `Starting` (jobs may queue already) → `Ready` ([`Host::ready`]) → `Closing` ([`Host::close`]: queued tasks end as
//! cancelled, running ones are cancelled, threads are sent home) → `Ended` ([`Host::ended`]). A launch that fails goes
//! from `Starting` to `Ended` with a reason, and the tasks that waited for it end with that reason.
//!
//! # Invariants
//! - H1: a thread counts from the moment it is asked for until its [`Agent`] is dropped; the owner, who created the
//!   interpreter, is the first and the last of them.
//! - H2: once [`Host::wait_alone`] has returned true, no thread and no visitor enters the host any more.
//! - H3: a host's lock is never held while a task is finished, a driver is called, or a waiter is woken. A task's lock may
//!   be taken under it, never the other way round.

use crate::client::HostId;
use crate::hosts::{HostsInner, SubmitError};
use crate::jobs::{Jobs, Seat};
use crate::park::{Interrupt, Wait, WaitQueue};
use crate::sync::Arc;
use crate::sync::atomic::{AtomicUsize, Ordering};
use crate::task::{Job, Outcome, Task};
use crate::waiting::{Unfinished, wait_for};
use std::fmt;
use std::sync::Weak;

pub use crate::jobs::AgentRole;

/// What kind of place a host is.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum HostKind {
    /// The interpreter that the process began with.
    Main = 0,
    /// A sub-interpreter with its own lock.
    Interpreter = 1,
    /// A session of a private copy of the language's library, in a linker namespace of its own.
    Isolate = 2,
}

impl HostKind {
    /// From its number.
    #[must_use]
    pub const fn from_raw(raw: u32) -> Option<Self> {
        match raw {
            0 => Some(Self::Main),
            1 => Some(Self::Interpreter),
            2 => Some(Self::Isolate),
            _ => None,
        }
    }

    /// The word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Main => "main",
            Self::Interpreter => "interpreter",
            Self::Isolate => "isolate",
        }
    }
}

/// Where a host stands.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum HostState {
    /// Being created; it takes jobs and starts them later.
    Starting = 0,
    /// Running jobs.
    Ready = 1,
    /// On its way out; it takes no more jobs.
    Closing = 2,
    /// Gone.
    Ended = 3,
}

/// A host as a list shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostSummary {
    /// Its number.
    pub id: HostId,
    /// Its kind.
    pub kind: HostKind,
    /// Its name.
    pub name: String,
    /// Where it stands.
    pub state: HostState,
    /// Tasks that run on it now.
    pub running: usize,
    /// Threads of Atoll's in it.
    pub threads: usize,
}

/// What a host keeps under the lock of its jobs.
struct Inner {
    state: HostState,
    running: Vec<Arc<Task>>,
    /// Threads that are in the interpreter for a moment.
    visitors: usize,
    /// Nobody may enter any more (H2).
    sealed: bool,
    /// Why it ended, when that was not anybody's wish.
    reason: Option<String>,
}

/// One place where code runs.
pub struct Host {
    id: HostId,
    kind: HostKind,
    name: String,
    interrupt: Interrupt,
    /// Its queue, its threads (H1), and everything else that its lock guards.
    jobs: Jobs<Job, Inner>,
    /// Queued and running tasks: what placement compares.
    load: AtomicUsize,
    /// Whoever waits for a change of state, or for threads to leave, waits here.
    changes: WaitQueue,
    hosts: Weak<HostsInner>,
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Host")
            .field("id", &self.id)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// What anybody may ask of a host.
impl Host {
    pub(crate) fn new(
        id: HostId,
        kind: HostKind,
        name: String,
        hosts: Weak<HostsInner>,
    ) -> Arc<Self> {
        let (state, has_owner) = match kind {
            HostKind::Main => (HostState::Ready, false),
            HostKind::Interpreter | HostKind::Isolate => (HostState::Starting, true),
        };
        let inner = Inner {
            state,
            running: Vec::new(),
            visitors: 0,
            sealed: false,
            reason: None,
        };
        Arc::new(Self {
            id,
            kind,
            name,
            interrupt: Interrupt::new(),
            // Sleeps and lock waits of an isolate's owner can be ended from outside, those of its other threads cannot.
            jobs: Jobs::new(inner, has_owner, kind == HostKind::Isolate),
            load: AtomicUsize::new(0),
            changes: WaitQueue::new(),
            hosts,
        })
    }

    /// Its number, unique in the process.
    pub fn id(&self) -> HostId {
        self.id
    }

    /// Its kind.
    pub fn kind(&self) -> HostKind {
        self.kind
    }

    /// Its name, for people.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Ends the blocked verbs of the host's threads that run no task; raised when it closes.
    pub fn interrupt(&self) -> &Interrupt {
        &self.interrupt
    }

    /// Where it stands now.
    pub fn state(&self) -> HostState {
        self.jobs.desk().state.state
    }

    /// Whether a task runs on it now.
    pub fn is_running(&self) -> bool {
        !self.jobs.desk().state.running.is_empty()
    }

    /// The tasks that run on it now.
    pub fn running(&self) -> Vec<Arc<Task>> {
        self.jobs.desk().state.running.clone()
    }

    /// What a list shows of it.
    pub fn summary(&self) -> HostSummary {
        let desk = self.jobs.desk();
        HostSummary {
            id: self.id,
            kind: self.kind,
            name: self.name.clone(),
            state: desk.state.state,
            running: desk.state.running.len(),
            threads: desk.threads(),
        }
    }

    /// Wait until it is ready. The inner error says why it never will be.
    pub fn wait_ready(&self, wait: &Wait<'_>) -> Result<Result<(), String>, Unfinished> {
        wait_for(&self.changes, None, wait, || {
            let inner = &self.jobs.desk().state;
            match inner.state {
                HostState::Starting => None,
                HostState::Ready => Some(Ok(())),
                HostState::Closing | HostState::Ended => {
                    let reason = inner.reason.clone();
                    Some(Err(reason.unwrap_or_else(|| "it was closed".to_owned())))
                }
            }
        })
    }

    /// Wait until it is gone.
    pub fn wait_ended(&self, wait: &Wait<'_>) -> Result<(), Unfinished> {
        wait_for(&self.changes, None, wait, || {
            (self.state() == HostState::Ended).then_some(())
        })
    }

    /// Begin to close it: take no more jobs, cancel what it has, send its threads home. Returns at once; idempotent.
    pub fn close(self: &Arc<Self>) {
        let (queue, running) = {
            let mut desk = self.jobs.desk();
            if desk.state.state == HostState::Ended || self.kind == HostKind::Main {
                return;
            }
            desk.state.state = HostState::Closing;
            (self.jobs.close(&mut desk), desk.state.running.clone())
        };
        if let Some(hosts) = self.hosts.upgrade() {
            hosts.dismiss(self);
        }
        for job in queue {
            job.task.finish(Outcome::Cancelled);
        }
        self.interrupt.raise();
        self.cancel(running);
        self.jobs.send_home();
        self.changes.notify_all();
    }
}

/// What the engine asks of a host.
impl Host {
    /// Queued and running tasks.
    pub(crate) fn load(&self) -> usize {
        self.load.load(Ordering::Relaxed)
    }

    /// Gives the job back if the host takes no more.
    pub(crate) fn submit(self: &Arc<Self>, job: Job) -> Result<(), (SubmitError, Job)> {
        self.load.fetch_add(1, Ordering::Relaxed);
        match self.jobs.put(job) {
            Ok(false) => {}
            Ok(true) => self.add_thread(),
            Err(job) => {
                self.load.fetch_sub(1, Ordering::Relaxed);
                let error = match &self.jobs.desk().state.reason {
                    Some(reason) => self.unavailable(reason),
                    None => SubmitError::HostClosed(self.name.clone()),
                };
                return Err((error, job));
            }
        }
        Ok(())
    }

    /// Takes a task that nobody has started out of the queue and ends it. False: a thread has it.
    pub(crate) fn cancel_queued(&self, task: &Arc<Task>) -> bool {
        let job = self.jobs.take_back(|job| Arc::ptr_eq(&job.task, task));
        job.is_some_and(|job| {
            self.load.fetch_sub(1, Ordering::Relaxed);
            job.task.finish(Outcome::Cancelled)
        })
    }

    /// Cancels running tasks: wakes their blocked verbs and has the driver throw the exception.
    pub(crate) fn cancel(self: &Arc<Self>, tasks: Vec<Arc<Task>>) {
        let tasks: Vec<_> = tasks
            .into_iter()
            .filter(|task| task.request_cancellation() != crate::task::CancelStep::AlreadyEnded)
            .collect();
        for task in &tasks {
            task.interrupt().raise();
        }
        if !tasks.is_empty()
            && let Some(hosts) = self.hosts.upgrade()
            && let Ok((engine, driver)) = hosts.driver()
        {
            let tasks = tasks
                .into_iter()
                .map(|task| task.into_client(engine))
                .collect();
            driver.throw_cancellations(self.id, tasks);
        }
    }

    /// It cannot be had.
    fn unavailable(&self, reason: &str) -> SubmitError {
        SubmitError::Unavailable {
            kind: self.kind,
            reason: reason.to_owned(),
        }
    }

    /// One more thread, counted already. If there is none to be had, the jobs wait for the threads that are there.
    fn add_thread(self: &Arc<Self>) {
        let started = match self.hosts.upgrade() {
            Some(hosts) => hosts
                .driver()
                .and_then(|(_, driver)| driver.add_thread(self.id)),
            None => Err("the engine is gone".to_owned()),
        };
        if started.is_err() {
            self.jobs.leave(&Seat::new(AgentRole::Extra));
            self.changes.notify_all();
        }
    }
}

/// What the driver reports to a host.
impl Host {
    /// The interpreter is there. False: the host was closed meanwhile; end it at once.
    pub fn ready(self: &Arc<Self>) -> bool {
        let more = {
            let mut desk = self.jobs.desk();
            if desk.state.state != HostState::Starting {
                return false;
            }
            desk.state.state = HostState::Ready;
            self.jobs.open(&mut desk)
        };
        self.changes.notify_all();
        for _ in 0..more {
            self.add_thread();
        }
        true
    }

    /// Enter the host for a moment without being one of its threads. `None`: it is too late, or too early (H2).
    pub fn visit(self: &Arc<Self>) -> Option<Visit> {
        let mut desk = self.jobs.desk();
        let inner = &mut desk.state;
        if inner.sealed || inner.state == HostState::Starting {
            return None;
        }
        inner.visitors += 1;
        drop(desk);
        Some(Visit(self.clone()))
    }

    /// The owner waits until it is the only one in the host; then nobody enters any more (H2).
    pub fn wait_alone(&self, wait: &Wait<'_>) -> Result<(), Unfinished> {
        wait_for(&self.changes, None, wait, || {
            let mut desk = self.jobs.desk();
            let alone = desk.threads() <= 1 && desk.state.visitors == 0;
            desk.state.sealed |= alone;
            alone.then_some(())
        })
    }

    /// The host is gone, or never came (`reason` says why). Tasks that still waited for it go to others of its crew if it
    /// never came and they are its crew's, else end accordingly; and the engine releases the channel ends that it held.
    pub fn ended(&self, reason: Option<String>) {
        let (never_came, queue, running) = {
            let mut desk = self.jobs.desk();
            let never_came = reason.is_some() && desk.state.state == HostState::Starting;
            // No more jobs from here on; but not over before everything is given back.
            let queue = self.jobs.close(&mut desk);
            desk.forget_threads();
            let inner = &mut desk.state;
            inner.state = HostState::Closing;
            inner.sealed = true;
            inner.reason.clone_from(&reason);
            (never_came, queue, std::mem::take(&mut inner.running))
        };
        let hosts = self.hosts.upgrade();
        if never_came && let Some(hosts) = &hosts {
            hosts.never_came(self);
        }
        for job in queue {
            match (&reason, &hosts) {
                (Some(reason), Some(hosts)) if never_came => {
                    hosts.again(job, self, self.unavailable(reason));
                }
                (Some(reason), _) => {
                    let text = self.unavailable(reason).to_string();
                    job.task.finish(Outcome::Unavailable(text));
                }
                (None, _) => {
                    job.task.finish(Outcome::Cancelled);
                }
            }
        }
        for task in running {
            task.finish(Outcome::Died(format!(
                "{} ended while the task ran",
                self.name
            )));
        }
        if let Some(hosts) = &hosts {
            hosts.forget(self, never_came);
        }
        self.interrupt.raise();
        self.jobs.desk().state.state = HostState::Ended;
        self.changes.notify_all();
    }
}

/// A short stay in a host: while it lives, the host does not end.
#[derive(Debug)]
pub struct Visit(Arc<Host>);

impl Drop for Visit {
    fn drop(&mut self) {
        self.0.jobs.desk().state.visitors -= 1;
        self.0.changes.notify_all();
    }
}

/// One counted thread of a host (H1): it asks for jobs until it is sent home.
#[derive(Debug)]
pub struct Agent {
    host: Arc<Host>,
    role: AgentRole,
    seat: Seat,
}

impl Agent {
    /// The calling thread, which [`Driver`](crate::driver::Driver) started for this host, takes up its place.
    pub fn new(host: Arc<Host>, role: AgentRole) -> Self {
        Self {
            host,
            role,
            seat: Seat::new(role),
        }
    }

    /// The host it works for.
    pub fn host(&self) -> &Arc<Host> {
        &self.host
    }

    /// The next job, waiting for one. `None`: go home, because the host closes or has idle threads enough.
    /// `thread` is what [`Task::throw_cancellation`] will name this thread by.
    pub fn next_job(&mut self, thread: u64) -> Option<Assignment> {
        let host = self.host.clone();
        let start = |inner: &mut Inner, job: &Job| {
            let started = job.task.start(thread);
            if started {
                inner.running.push(job.task.clone());
            }
            started
        };
        let cancelled = |job: Job| {
            host.load.fetch_sub(1, Ordering::Relaxed);
            job.task.finish(Outcome::Cancelled);
        };
        let taken = host.jobs.next(&mut self.seat, start, cancelled)?;
        if taken.needs_thread {
            host.add_thread();
        }
        Some(Assignment {
            job: taken.job,
            role: self.role,
            host,
        })
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // The owner is counted until the host has ended.
        if self.role == AgentRole::Owner {
            return;
        }
        self.host.jobs.leave(&self.seat);
        self.host.changes.notify_all();
    }
}

/// A job in the hands of the thread that runs it. Dropping it unfinished ends the task as died, so nobody waits in vain.
pub struct Assignment {
    job: Job,
    role: AgentRole,
    host: Arc<Host>,
}

impl Assignment {
    /// What there is to do.
    pub fn job_mut(&mut self) -> &mut Job {
        &mut self.job
    }

    /// The task to do.
    pub fn task(&self) -> &Arc<Task> {
        &self.job.task
    }

    /// Where it is done.
    pub fn host(&self) -> &Arc<Host> {
        &self.host
    }

    /// The job leaves the thread that took it, which asks for the next one soon: an event loop of the host goes on with it.
    pub fn depart(&mut self) {
        self.host.jobs.desk().is_done(self.role);
        self.job.task.depart();
        // Whoever finishes it is not the owner coming back.
        self.role = AgentRole::Extra;
    }

    /// The task is over. The first call counts.
    pub fn finish(&self, outcome: Outcome) -> bool {
        let task = &self.job.task;
        {
            let mut desk = self.host.jobs.desk();
            desk.is_done(self.role);
            let inner = &mut desk.state;
            if let Some(at) = inner
                .running
                .iter()
                .position(|other| Arc::ptr_eq(other, task))
            {
                inner.running.swap_remove(at);
                self.host.load.fetch_sub(1, Ordering::Relaxed);
            }
        }
        task.finish(outcome)
    }
}

impl Drop for Assignment {
    fn drop(&mut self) {
        if !self.task().is_ended() {
            let text = format!("the agent of {} gave the task up", self.host.name);
            self.finish(Outcome::Died(text));
        }
    }
}
