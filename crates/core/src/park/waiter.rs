//! One blocked operation, and the race for it.
//!
//! # Invariants
//! - W1: `state` leaves `WAITING` exactly once; whoever moves it decides the outcome.
//! - W2: a waiter is claimed for a case only while it stands in that case's queue, under the
//!   queue's lock. So once the owner has withdrawn it, nobody claims it any more.
//! - W3: the mover calls [`Waiter::wake`] after its move. A wake that comes late (after the owner has
//!   gone on) is harmless: the owner sleeps on `state`, not on the wake.

use crate::clock::Deadline;
use crate::park::{Bell, Wait, futex};
use crate::sync::{Arc, atomic::AtomicU32, atomic::Ordering};

const WAITING: u32 = 0;
const ABORTED: u32 = 1;
const INTERRUPTED: u32 = 2;
const EXPIRED: u32 = 3;
const FIRST_CASE: u32 = 4;

/// Why a sleep ended.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum Woken {
    /// Case number n was claimed: something happened there.
    Case(u32),
    /// Somebody interrupted the wait.
    Interrupted,
    /// Nothing happened before the deadline.
    DeadlinePassed,
}

/// How the owner learns that its waiter was claimed.
enum Sleep {
    /// A thread sleeps on `state` itself.
    Futex(futex::Sleeper),
    /// A thread sleeps on a pipe that signals ring, too.
    Bell(Bell),
    /// Nobody sleeps: the callback tells an event loop.
    Callback(Wake),
}

/// What tells an event loop that a waiter of its was claimed.
pub type Wake = std::sync::Arc<dyn Fn() + Send + Sync>;

/// One blocked operation. See the module's invariants.
pub(crate) struct Waiter {
    state: AtomicU32,
    sleep: Sleep,
}

impl Waiter {
    /// For a thread that will call [`Self::sleep`]; with a bell it sleeps on that.
    pub(crate) fn for_thread(bell: Option<&Bell>) -> Arc<Self> {
        let sleep = match bell {
            None => Sleep::Futex(futex::Sleeper::new()),
            Some(bell) => Sleep::Bell(bell.clone()),
        };
        Arc::new(Self {
            state: AtomicU32::new(WAITING),
            sleep,
        })
    }

    /// For an event loop: *wake* is called once, from any thread, when the waiter has been claimed
    /// or interrupted. It must not block and must not call back into the channel.
    pub(crate) fn with_callback(wake: Wake) -> Arc<Self> {
        Arc::new(Self {
            state: AtomicU32::new(WAITING),
            sleep: Sleep::Callback(wake),
        })
    }

    /// Claims this waiter for *case*. True: the caller decides what it gets, and must `wake` it.
    #[must_use]
    pub(crate) fn claim(&self, case: u32) -> bool {
        self.leave_waiting(FIRST_CASE + case)
    }

    /// Ends the wait from outside. True: it was still waiting, and the caller must `wake` it.
    #[must_use]
    pub(crate) fn interrupt(&self) -> bool {
        self.leave_waiting(INTERRUPTED)
    }

    /// The owner changes its mind before it sleeps. False: it was claimed or interrupted meanwhile.
    #[must_use]
    pub(crate) fn abort(&self) -> bool {
        self.leave_waiting(ABORTED)
    }

    fn leave_waiting(&self, to: u32) -> bool {
        // ORDERING: Release hands the mover's writes (a delivered message) to the owner's Acquire in
        // `outcome`; Acquire so that a failed mover sees what the winner wrote.
        self.state
            .compare_exchange(WAITING, to, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }

    /// Whether nobody has claimed, interrupted or aborted it.
    pub(crate) fn is_waiting(&self) -> bool {
        self.state.load(Ordering::Acquire) == WAITING
    }

    /// What ended the wait, once something did.
    pub(crate) fn outcome(&self) -> Option<Woken> {
        match self.state.load(Ordering::Acquire) {
            WAITING | ABORTED => None,
            INTERRUPTED => Some(Woken::Interrupted),
            EXPIRED => Some(Woken::DeadlinePassed),
            case => Some(Woken::Case(case - FIRST_CASE)),
        }
    }

    /// Tells the owner. To be called by the one who moved the state, outside of every lock.
    pub(crate) fn wake(&self) {
        match &self.sleep {
            Sleep::Futex(sleeper) => sleeper.wake(&self.state),
            Sleep::Bell(bell) => bell.ring(),
            Sleep::Callback(wake) => wake(),
        }
    }

    /// Sleeps until the state has moved, the deadline has passed, or the wait is interrupted.
    /// (No method: loom's Arc is no receiver for one.)
    pub(crate) fn wait(waiter: &Arc<Self>, wait: &Wait<'_>) -> Woken {
        let Some(interrupt) = wait.interrupt else {
            return waiter.sleep(wait.deadline);
        };
        if interrupt.enroll(waiter).is_err() && waiter.interrupt() {
            return Woken::Interrupted;
        }
        let woken = waiter.sleep(wait.deadline);
        interrupt.withdraw(waiter);
        woken
    }

    /// Sleeps until the state has moved or the deadline has passed. Looks at the state for a few microseconds
    /// first: it is this waiter's own, so looking disturbs nobody, and falling asleep costs more.
    fn sleep(&self, deadline: Deadline) -> Woken {
        const LOOKS: u32 = if cfg!(loom) { 0 } else { 128 };
        for _ in 0..LOOKS {
            if let Some(woken) = self.outcome() {
                return woken;
            }
            std::hint::spin_loop();
        }
        loop {
            if let Some(woken) = self.outcome() {
                return woken;
            }
            let deadline_passed = match &self.sleep {
                Sleep::Futex(sleeper) => sleeper.sleep(&self.state, WAITING, deadline),
                Sleep::Bell(bell) => {
                    let passed = bell.sleep(deadline);
                    if bell.has_signals() {
                        let _ = self.interrupt();
                        continue;
                    }
                    passed
                }
                Sleep::Callback(_) => unreachable!("an asynchronous waiter does not sleep"),
            };
            if deadline_passed && self.leave_waiting(EXPIRED) {
                return Woken::DeadlinePassed;
            }
        }
    }
}
