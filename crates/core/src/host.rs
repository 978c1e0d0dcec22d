//! One host: its queue of jobs, its threads, and its life from launch to end.
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
use crate::park::{Interrupt, SpinBudget, Wait, WaitQueue};
use crate::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use crate::sync::{Arc, Mutex, lock};
use crate::task::{Job, Outcome, Task};
use crate::waiting::{Unfinished, wait_for};
use std::collections::VecDeque;
use std::fmt;
use std::sync::Weak;

/// How many threads of a host wait for work when there is none; the others go home.
const IDLE_THREADS: usize = 4;
/// How many threads are on their way into a host at a time. Whoever takes a job and leaves others behind asks for the next
/// one, so there are soon as many threads as blocked tasks; but a burst of short tasks is done by a few.
const ARRIVING_THREADS: usize = 2;

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

struct Inner {
    state: HostState,
    queue: VecDeque<Job>,
    running: Vec<Arc<Task>>,
    /// Threads that count for H1.
    threads: usize,
    /// Threads that wait for a job.
    idle: usize,
    /// Threads that were asked for and have not asked for a job yet.
    arriving: usize,
    /// Threads that are in the interpreter for a moment.
    visitors: usize,
    /// Nobody may enter any more (H2).
    sealed: bool,
    /// Why it ended, when that was not anybody's wish.
    reason: Option<String>,
}

impl Inner {
    /// Whether the queue needs one more thread, which then counts.
    fn ask_for_thread(&mut self) -> bool {
        let needs_thread = self.state == HostState::Ready
            && self.arriving < ARRIVING_THREADS
            && self.queue.len() > self.idle + self.arriving;
        self.threads += usize::from(needs_thread);
        self.arriving += usize::from(needs_thread);
        needs_thread
    }
}

/// One place where code runs.
pub struct Host {
    id: HostId,
    kind: HostKind,
    name: String,
    interrupt: Interrupt,
    inner: Mutex<Inner>,
    /// How many jobs are queued: what an idle thread looks at while it spins.
    queued: AtomicUsize,
    /// Threads that spin, looking for a job: while there is one, nobody need be woken for a new job. A thread that stops
    /// looking registers as a waiter and looks once more, and whoever takes a job and leaves others wakes the next.
    looking: AtomicUsize,
    /// Set together with `Closing`, for the same look.
    closing: AtomicBool,
    /// Queued and running tasks: what placement compares.
    load: AtomicUsize,
    /// Idle threads wait here.
    jobs: WaitQueue,
    /// Whoever waits for a change of state, or for threads to leave, waits here.
    changes: WaitQueue,
    spin: SpinBudget,
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
        let (state, owner) = match kind {
            HostKind::Main => (HostState::Ready, 0),
            HostKind::Interpreter | HostKind::Isolate => (HostState::Starting, 1),
        };
        Arc::new(Self {
            id,
            kind,
            name,
            interrupt: Interrupt::new(),
            inner: Mutex::new(Inner {
                state,
                queue: VecDeque::new(),
                running: Vec::new(),
                threads: owner,
                idle: 0,
                arriving: owner,
                visitors: 0,
                sealed: false,
                reason: None,
            }),
            queued: AtomicUsize::new(0),
            looking: AtomicUsize::new(0),
            closing: AtomicBool::new(false),
            load: AtomicUsize::new(0),
            jobs: WaitQueue::new(),
            changes: WaitQueue::new(),
            spin: SpinBudget::eager(),
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
        lock(&self.inner).state
    }

    /// Whether a task runs on it now.
    pub fn is_running(&self) -> bool {
        !lock(&self.inner).running.is_empty()
    }

    /// What a list shows of it.
    pub fn summary(&self) -> HostSummary {
        let inner = lock(&self.inner);
        HostSummary {
            id: self.id,
            kind: self.kind,
            name: self.name.clone(),
            state: inner.state,
            running: inner.running.len(),
            threads: inner.threads,
        }
    }

    /// Wait until it is ready. The inner error says why it never will be.
    pub fn wait_ready(&self, wait: &Wait<'_>) -> Result<Result<(), String>, Unfinished> {
        wait_for(&self.changes, None, wait, || {
            let inner = lock(&self.inner);
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
            let mut inner = lock(&self.inner);
            if inner.state == HostState::Ended || self.kind == HostKind::Main {
                return;
            }
            inner.state = HostState::Closing;
            self.closing.store(true, Ordering::SeqCst);
            self.queued.store(0, Ordering::SeqCst);
            (std::mem::take(&mut inner.queue), inner.running.clone())
        };
        if let Some(hosts) = self.hosts.upgrade() {
            hosts.dismiss(self);
        }
        for job in queue {
            job.task.finish(Outcome::Cancelled);
        }
        self.interrupt.raise();
        self.cancel(running);
        self.jobs.notify_all();
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
        let needs_thread = {
            let mut inner = lock(&self.inner);
            if matches!(inner.state, HostState::Closing | HostState::Ended) {
                let error = match &inner.reason {
                    Some(reason) => self.unavailable(reason),
                    None => SubmitError::HostClosed(self.name.clone()),
                };
                return Err((error, job));
            }
            inner.queue.push_back(job);
            self.load.fetch_add(1, Ordering::Relaxed);
            let needs_thread = inner.ask_for_thread();
            // ORDERING: SeqCst, the change of the wait queue's protocol.
            self.queued.fetch_add(1, Ordering::SeqCst);
            needs_thread
        };
        // ORDERING: SeqCst, after the change of `queued`: a thread that we see looking looks again after it.
        if self.looking.load(Ordering::SeqCst) == 0 {
            self.jobs.notify(1);
        }
        if needs_thread {
            self.add_thread();
        }
        Ok(())
    }

    /// Takes a task that nobody has started out of the queue and ends it. False: a thread has it.
    pub(crate) fn cancel_queued(&self, task: &Arc<Task>) -> bool {
        let job = {
            let mut inner = lock(&self.inner);
            let at = inner
                .queue
                .iter()
                .position(|job| Arc::ptr_eq(&job.task, task));
            let job = at.and_then(|at| inner.queue.remove(at));
            if job.is_some() {
                self.queued.fetch_sub(1, Ordering::SeqCst);
                self.load.fetch_sub(1, Ordering::Relaxed);
            }
            job
        };
        job.is_some_and(|job| job.task.finish(Outcome::Cancelled))
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
            let mut inner = lock(&self.inner);
            inner.threads -= 1;
            inner.arriving -= 1;
            drop(inner);
            self.changes.notify_all();
        }
    }
}

/// What the driver reports to a host.
impl Host {
    /// The interpreter is there. False: the host was closed meanwhile; end it at once.
    pub fn ready(self: &Arc<Self>) -> bool {
        let more = {
            let mut inner = lock(&self.inner);
            if inner.state != HostState::Starting {
                return false;
            }
            inner.state = HostState::Ready;
            // The owner is arriving, too.
            let mut more = 0;
            while inner.ask_for_thread() {
                more += 1;
            }
            more
        };
        self.changes.notify_all();
        for _ in 0..more {
            self.add_thread();
        }
        true
    }

    /// Enter the host for a moment without being one of its threads. `None`: it is too late, or too early (H2).
    pub fn visit(self: &Arc<Self>) -> Option<Visit> {
        let mut inner = lock(&self.inner);
        if inner.sealed || inner.state == HostState::Starting {
            return None;
        }
        inner.visitors += 1;
        drop(inner);
        Some(Visit(self.clone()))
    }

    /// The owner waits until it is the only one in the host; then nobody enters any more (H2).
    pub fn wait_alone(&self, wait: &Wait<'_>) -> Result<(), Unfinished> {
        wait_for(&self.changes, None, wait, || {
            let mut inner = lock(&self.inner);
            let alone = inner.threads <= 1 && inner.visitors == 0;
            inner.sealed |= alone;
            alone.then_some(())
        })
    }

    /// The host is gone, or never came (`reason` says why). Tasks that still waited for it go to others of its crew if it
    /// never came and they are its crew's, else end accordingly; and the engine releases the channel ends that it held.
    pub fn ended(&self, reason: Option<String>) {
        let (never_came, queue, running) = {
            let mut inner = lock(&self.inner);
            let never_came = reason.is_some() && inner.state == HostState::Starting;
            // No more jobs from here on; but not over before everything is given back.
            inner.state = HostState::Closing;
            inner.sealed = true;
            inner.threads = 0;
            inner.reason.clone_from(&reason);
            self.closing.store(true, Ordering::SeqCst);
            self.queued.store(0, Ordering::SeqCst);
            (
                never_came,
                std::mem::take(&mut inner.queue),
                std::mem::take(&mut inner.running),
            )
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
        lock(&self.inner).state = HostState::Ended;
        self.changes.notify_all();
    }
}

/// A short stay in a host: while it lives, the host does not end.
#[derive(Debug)]
pub struct Visit(Arc<Host>);

impl Drop for Visit {
    fn drop(&mut self) {
        lock(&self.0.inner).visitors -= 1;
        self.0.changes.notify_all();
    }
}

/// Which of a host's threads.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum AgentRole {
    /// The one that created the interpreter: it stays until the host closes.
    Owner = 0,
    /// Any other: it is sent home when there is nothing to do.
    Extra = 1,
}

/// One counted thread of a host (H1): it asks for jobs until it is sent home.
#[derive(Debug)]
pub struct Agent {
    host: Arc<Host>,
    role: AgentRole,
    arrived: bool,
}

impl Agent {
    /// The calling thread, which [`Driver`](crate::hosts::Driver) started for this host, takes up its place.
    pub fn new(host: Arc<Host>, role: AgentRole) -> Self {
        Self {
            host,
            role,
            arrived: false,
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
        let mut idle = false;
        let found = self.look_for_job(thread, &mut idle).or_else(|| {
            // ORDERING: SeqCst, see `submit`.
            host.looking.fetch_add(1, Ordering::SeqCst);
            let found = host.spin.spin(|| self.look_for_job(thread, &mut idle));
            host.looking.fetch_sub(1, Ordering::SeqCst);
            found
        });
        let next = match found {
            Some(next) => Ok(next),
            None => wait_for(&host.jobs, None, &Wait::forever(), || {
                self.look_for_job(thread, &mut idle)
            }),
        };
        match next {
            Ok(Next::Job {
                job,
                more,
                needs_thread,
            }) => {
                if more {
                    host.jobs.notify(1);
                }
                if needs_thread {
                    host.add_thread();
                }
                Some(Assignment { job: *job, host })
            }
            Ok(Next::GoHome) | Err(_) => None,
        }
    }

    fn look_for_job(&mut self, thread: u64, idle: &mut bool) -> Option<Next> {
        let host = &self.host;
        // ORDERING: SeqCst, the look of the wait queue's protocol.
        let nothing_new =
            host.queued.load(Ordering::SeqCst) == 0 && !host.closing.load(Ordering::SeqCst);
        if *idle && nothing_new {
            return None;
        }
        loop {
            let job = {
                let mut inner = lock(&host.inner);
                inner.arriving -= usize::from(!self.arrived);
                self.arrived = true;
                if matches!(inner.state, HostState::Closing | HostState::Ended) {
                    inner.idle -= usize::from(*idle);
                    *idle = false;
                    return Some(Next::GoHome);
                }
                let Some(job) = inner.queue.pop_front() else {
                    if *idle {
                        return None;
                    }
                    if self.role == AgentRole::Extra && inner.idle >= IDLE_THREADS {
                        return Some(Next::GoHome);
                    }
                    inner.idle += 1;
                    *idle = true;
                    return None;
                };
                host.queued.fetch_sub(1, Ordering::SeqCst);
                inner.idle -= usize::from(*idle);
                *idle = false;
                if job.task.start(thread) {
                    inner.running.push(job.task.clone());
                    return Some(Next::Job {
                        job: Box::new(job),
                        more: !inner.queue.is_empty() && inner.idle > 0,
                        needs_thread: inner.ask_for_thread(),
                    });
                }
                host.load.fetch_sub(1, Ordering::Relaxed);
                job
            };
            job.task.finish(Outcome::Cancelled);
        }
    }
}

enum Next {
    Job {
        job: Box<Job>,
        /// Other jobs are left, and threads that may sleep.
        more: bool,
        /// One more thread, counted already, is to be asked for.
        needs_thread: bool,
    },
    GoHome,
}

impl Drop for Agent {
    fn drop(&mut self) {
        // The owner is counted until the host has ended.
        if self.role == AgentRole::Owner {
            return;
        }
        let mut inner = lock(&self.host.inner);
        inner.arriving -= usize::from(!self.arrived);
        inner.threads = inner.threads.saturating_sub(1);
        drop(inner);
        self.host.changes.notify_all();
    }
}

/// A job in the hands of the thread that runs it. Dropping it unfinished ends the task as died, so nobody waits in vain.
pub struct Assignment {
    job: Job,
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

    /// The task is over. The first call counts.
    pub fn finish(&self, outcome: Outcome) -> bool {
        let task = &self.job.task;
        {
            let mut inner = lock(&self.host.inner);
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
