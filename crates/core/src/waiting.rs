//! Waiting for a condition that is not a channel: a task's end, a host's change, the next job.

use crate::park::{SpinBudget, Wait, WaitQueue, Waiter, Woken};

/// Why a wait ended without what it waited for.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
#[cfg_attr(
    loom,
    allow(
        unreachable_pub,
        reason = "loom models go without the client, which shows it"
    )
)]
pub enum Unfinished {
    /// The deadline has passed.
    TimedOut,
    /// Somebody interrupted it.
    Interrupted,
}

/// Calls *attempt* until it gives something, sleeping in *queue* in between. Whoever changes the condition notifies the
/// queue afterwards.
pub(crate) fn wait_for<R>(
    queue: &WaitQueue,
    spin: Option<&SpinBudget>,
    wait: &Wait<'_>,
    mut attempt: impl FnMut() -> Option<R>,
) -> Result<R, Unfinished> {
    if let Some(result) = attempt() {
        return Ok(result);
    }
    if wait.deadline.is_now() {
        return Err(Unfinished::TimedOut);
    }
    if let Some(result) = spin.and_then(|spin| spin.spin(&mut attempt)) {
        return Ok(result);
    }
    loop {
        let waiter = Waiter::for_thread(wait.bell);
        let key = queue.register(&waiter, 0);
        if let Some(result) = attempt() {
            queue.withdraw(key);
            pass_on(queue, &waiter);
            return Ok(result);
        }
        let fall_asleep = || Waiter::wait(&waiter, wait);
        let woken = match spin {
            Some(spin) => spin.sleep(fall_asleep),
            None => fall_asleep(),
        };
        queue.withdraw(key);
        // The last look counts even when the time is up: the change may have come together with the deadline.
        if let Some(result) = attempt() {
            return Ok(result);
        }
        match woken {
            Woken::Interrupted => return Err(Unfinished::Interrupted),
            Woken::DeadlinePassed => return Err(Unfinished::TimedOut),
            Woken::Case(_) => {}
        }
    }
}

/// The owner leaves without sleeping. If somebody has claimed its waiter, that wake-up was meant for a change that it did
/// not take, so another waiter gets it.
fn pass_on(queue: &WaitQueue, waiter: &Waiter) {
    if !waiter.abort() {
        queue.notify(1);
    }
}
