//! One running function: where it stands, how it is cancelled, and how its outcome reaches whoever waits.
//!
//! # Invariants
//! - T1: a task ends exactly once ([`Task::finish`]); its outcome never changes afterwards.
//! - T2: a cancellation is thrown into a thread only while the task runs on it: [`Task::throw_cancellation`] does so
//!   under the task's lock, and [`Task::leave_code`] takes the same lock before the thread goes on to other work.
//! - T3: one request raises at most one exception: either the thrown one or the one a blocked verb raises by itself
//!   ([`Task::claim_cancellation`]), never both.

use crate::client::{self, End, HostId, Region};
use crate::hosts::Placement;
use crate::message::Message;
use crate::park::{Interrupt, SpinBudget, Wait, WaitQueue};
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::sync::{Arc, Mutex, lock};
use crate::waiting::{Unfinished, wait_for};
use std::time::{Duration, Instant};

/// How a task ended.
#[derive(Debug)]
pub enum Outcome {
    /// It returned; the message is the encoded value.
    Value(Message),
    /// It raised; the message is whatever the agent packed the exception into.
    Error(Message),
    /// It was cancelled, before it started or while it ran.
    Cancelled,
    /// Its host died under it; the text says how.
    Died(String),
    /// Its host could not be started; the text says so, with the reason.
    Unavailable(String),
}

/// Where a task stands.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Phase {
    /// In its host's queue.
    Queued,
    /// On the thread with this identity (as its host's language counts threads); 0: on an event loop, beside others.
    Running(u64),
    /// Over.
    Ended,
}

/// How far a cancellation has come.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
enum Cancellation {
    None,
    /// Wanted; nothing raised yet.
    Requested,
    /// Pending in the thread, which has not noticed.
    Thrown,
    /// Raised in the task's code.
    Delivered,
}

/// What a cancellation request met.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum CancelStep {
    /// The task was over.
    AlreadyEnded = 0,
    /// It has not started: take it out of the queue.
    Queued = 1,
    /// It runs; the exception must be thrown into its thread.
    Running = 2,
}

struct Inner {
    phase: Phase,
    /// When it began to run.
    started: Option<Instant>,
    /// Whether the thread is inside the task's code, where an exception may be thrown at it.
    in_code: bool,
    cancellation: Cancellation,
    outcome: Option<Outcome>,
    listeners: Vec<(End, Message)>,
}

/// One task, shared by whoever waits for it and the thread that runs it.
pub struct Task {
    id: u64,
    name: Option<String>,
    /// The number of its host; it moves as long as the task is queued and that host does not start.
    host: AtomicU64,
    interrupt: Interrupt,
    inner: Mutex<Inner>,
    /// Woken when the task ends and when a cancellation is delivered.
    changes: WaitQueue,
    spin: SpinBudget,
}

impl Task {
    pub(crate) fn new(id: u64, name: Option<String>, host: HostId) -> Arc<Self> {
        Arc::new(Self {
            id,
            name,
            host: AtomicU64::new(host.to_raw()),
            interrupt: Interrupt::new(),
            inner: Mutex::new(Inner {
                phase: Phase::Queued,
                started: None,
                in_code: false,
                cancellation: Cancellation::None,
                outcome: None,
                listeners: Vec::new(),
            }),
            changes: WaitQueue::new(),
            spin: SpinBudget::eager(),
        })
    }

    /// The same task as the glue and the driver hold it.
    pub(crate) fn into_client(self: Arc<Self>, engine: client::Engine) -> client::Task {
        // SAFETY: one reference, given away to its new holder.
        unsafe { client::Task::from_raw(engine, Arc::into_raw(self).cast()) }
    }

    /// Unique in the process.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// The name its spawner gave it.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Where it runs.
    pub fn host(&self) -> HostId {
        // ORDERING: SeqCst, see `move_to`.
        HostId::from_raw(self.host.load(Ordering::SeqCst))
    }

    /// It will run on another host, in whose queue it is put next.
    ///
    /// Whoever cancels it first requests that and then looks for its host; whoever moves it looks, after it is in the new
    /// queue, whether it is to be cancelled. So one of the two finds it there.
    pub(crate) fn move_to(&self, host: HostId) {
        // ORDERING: SeqCst, so that this and the lock of the request have one order.
        self.host.store(host.to_raw(), Ordering::SeqCst);
    }

    /// Ends the task's blocked verbs; raised by a cancellation and never cleared, so that clean-up code cannot block.
    pub fn interrupt(&self) -> &Interrupt {
        &self.interrupt
    }

    /// Where it stands now.
    pub fn phase(&self) -> Phase {
        lock(&self.inner).phase
    }

    /// Whether it is over.
    pub fn is_ended(&self) -> bool {
        self.phase() == Phase::Ended
    }

    /// Whether somebody asked for its end.
    pub fn is_cancelled(&self) -> bool {
        lock(&self.inner).cancellation != Cancellation::None
    }

    /// The outcome, once: a message can be decoded once only, since channel ends move out of it.
    pub fn take_outcome(&self) -> Option<Outcome> {
        lock(&self.inner).outcome.take()
    }

    /// Waits until the task is over.
    pub fn wait(&self, wait: &Wait<'_>) -> Result<(), Unfinished> {
        wait_for(&self.changes, Some(&self.spin), wait, || {
            self.is_ended().then_some(())
        })
    }

    /// Waits until the task is over or its cancellation has been raised in its code.
    pub fn wait_cancelled(&self, wait: &Wait<'_>) -> Result<(), Unfinished> {
        wait_for(&self.changes, None, wait, || {
            let inner = lock(&self.inner);
            let done = inner.phase == Phase::Ended || inner.cancellation == Cancellation::Delivered;
            done.then_some(())
        })
    }

    /// Has *message* sent to *end* when the task ends; at once if it has ended.
    pub fn notify(&self, end: End, message: Message) {
        let mut inner = lock(&self.inner);
        if inner.phase != Phase::Ended {
            inner.listeners.push((end, message));
            return;
        }
        drop(inner);
        tell(end, message);
    }

    /// The thread *thread* takes the task from its queue. False: it was cancelled meanwhile and must not run.
    pub(crate) fn start(&self, thread: u64) -> bool {
        let mut inner = lock(&self.inner);
        if inner.cancellation != Cancellation::None || inner.phase == Phase::Ended {
            return false;
        }
        inner.phase = Phase::Running(thread);
        inner.started = Some(Instant::now());
        true
    }

    /// It leaves its thread for an event loop.
    pub(crate) fn depart(&self) {
        let mut inner = lock(&self.inner);
        if let Phase::Running(_) = inner.phase {
            inner.phase = Phase::Running(0);
        }
    }

    /// How long it has been running.
    pub(crate) fn running_for(&self) -> Duration {
        let started = lock(&self.inner).started;
        started.map_or(Duration::ZERO, |started| started.elapsed())
    }

    /// The thread is about to call the task's function. False: do not, a cancellation has come (it is delivered now).
    pub fn enter_code(&self) -> bool {
        let mut inner = lock(&self.inner);
        if inner.cancellation != Cancellation::None {
            inner.cancellation = Cancellation::Delivered;
            return false;
        }
        inner.in_code = true;
        true
    }

    /// The function has returned or raised. From here on nothing is thrown; what was thrown and not yet noticed is the
    /// caller's to withdraw. True: something was thrown and not noticed.
    pub fn leave_code(&self) -> bool {
        let mut inner = lock(&self.inner);
        inner.in_code = false;
        inner.cancellation == Cancellation::Thrown
    }

    /// The task's own thread is about to do something that nothing may break off. True: a cancellation was thrown and not
    /// noticed; it is the caller's to withdraw, and is raised by [`Self::resume_code`].
    pub fn suspend_code(&self) -> bool {
        let mut inner = lock(&self.inner);
        inner.in_code = false;
        let thrown = inner.cancellation == Cancellation::Thrown;
        if thrown {
            inner.cancellation = Cancellation::Requested;
        }
        thrown
    }

    /// The thread goes on in the task's code. False: a cancellation has come meanwhile; the caller raises it.
    pub fn resume_code(&self) -> bool {
        let mut inner = lock(&self.inner);
        inner.in_code = true;
        let requested = inner.cancellation == Cancellation::Requested;
        if requested {
            inner.cancellation = Cancellation::Delivered;
            drop(inner);
            self.changes.notify_all();
        }
        !requested
    }

    /// Ask for the end of the task. The caller does what the answer says.
    pub fn request_cancellation(&self) -> CancelStep {
        let mut inner = lock(&self.inner);
        if inner.phase == Phase::Ended {
            return CancelStep::AlreadyEnded;
        }
        // A delivered one was survived (the code caught it): a new request raises anew. A pending one stays pending.
        if matches!(
            inner.cancellation,
            Cancellation::None | Cancellation::Delivered
        ) {
            inner.cancellation = Cancellation::Requested;
        }
        match inner.phase {
            Phase::Queued => CancelStep::Queued,
            _ => CancelStep::Running,
        }
    }

    /// A cancellation that was thrown has arrived where it is lost: it is to be thrown again.
    pub fn arrived_in_vain(&self) {
        let mut inner = lock(&self.inner);
        if inner.cancellation == Cancellation::Thrown {
            inner.cancellation = Cancellation::Requested;
        }
    }

    /// Calls *throw* with the task's thread if a requested cancellation is still to be raised there (T2, T3). *throw*
    /// must not block and must not come back to this task.
    pub fn throw_cancellation(&self, throw: impl FnOnce(u64)) {
        let mut inner = lock(&self.inner);
        if let (Phase::Running(thread), true, Cancellation::Requested) =
            (inner.phase, inner.in_code, inner.cancellation)
        {
            inner.cancellation = Cancellation::Thrown;
            throw(thread);
        }
    }

    /// The task's own thread raises the cancellation itself, from a blocked verb or because the thrown one arrived.
    /// True: one was thrown at the thread and may still be pending there; withdraw it.
    pub fn claim_cancellation(&self) -> bool {
        let mut inner = lock(&self.inner);
        let thrown = inner.cancellation == Cancellation::Thrown;
        inner.cancellation = Cancellation::Delivered;
        drop(inner);
        self.changes.notify_all();
        thrown
    }

    /// The task is over. The first call counts (T1); true if this was it.
    pub(crate) fn finish(&self, outcome: Outcome) -> bool {
        let listeners = {
            let mut inner = lock(&self.inner);
            if inner.phase == Phase::Ended {
                return false;
            }
            inner.phase = Phase::Ended;
            inner.in_code = false;
            inner.outcome = Some(outcome);
            std::mem::take(&mut inner.listeners)
        };
        self.changes.notify_all();
        for (end, message) in listeners {
            tell(end, message);
        }
        true
    }
}

/// A listener that is gone, closed or full does not concern the task.
fn tell(end: End, message: Message) {
    drop(end.try_send(message));
}

/// A task on its way to a thread, with what the thread needs to run it.
pub struct Job {
    pub(crate) task: Arc<Task>,
    /// Where its spawner wanted it.
    pub(crate) placement: Placement,
    /// What to call and with what, encoded.
    pub payload: Message,
    /// The function's pickle, when it travels by value.
    pub function: Option<Region>,
}

impl Job {
    /// The task that this job is.
    pub fn task(&self) -> &Arc<Task> {
        &self.task
    }
}
