//! Waiting for the first of several operations: exactly one takes effect.
//!
//! # Protocol
//! 1. Try every case once, in random order: what is ready now is chosen fairly.
//! 2. Register one waiter in every case's queue; each registration looks at its channel once more.
//! 3. If one looked ready, abort the wait (unless somebody claimed it meanwhile) and begin again;
//!    otherwise sleep.
//! 4. Take every registration back. The waiter's state says which case was claimed, if any: only that
//!    one is acted on. A claimed case of a buffered channel is tried first, so the wake-up that it
//!    stood for is never lost; if another was faster, begin again.

use crate::channel::Channel;
use crate::park::{Key, Wait, Waiter, Wake, Woken};
use crate::sync::Arc;

/// One operation of a select.
pub struct Case<'a, T> {
    /// Where.
    pub channel: &'a Channel<T>,
    /// What.
    pub op: Op<T>,
}

/// What a case does.
pub enum Op<T> {
    /// Take a message.
    Recv,
    /// Put this message in; `None` once it was sent.
    Send(Option<T>),
}

/// What the chosen case did.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome<T> {
    /// A message came.
    Received(T),
    /// The message was sent.
    Sent,
    /// The channel is closed and drained, or poisoned.
    RecvRefused,
    /// The channel is closed or poisoned; the message is still in the case.
    SendRefused,
}

/// Why no case was chosen.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum SelectError {
    /// Nothing is ready now (only from a try).
    NoneReady,
    /// Nothing was ready before the deadline.
    TimedOut,
    /// The wait was interrupted.
    Interrupted,
}

/// Waits until one of *cases* can go on, and does it. Returns its index and outcome.
///
/// Every other case is left as it was: nothing taken, its message still there. With no cases at all
/// it waits for the deadline or an interruption.
pub fn select<T>(
    cases: &mut [Case<'_, T>],
    wait: &Wait<'_>,
) -> Result<(usize, Outcome<T>), SelectError> {
    if let Some(chosen) = try_in_random_order(cases) {
        return Ok(chosen);
    }
    wait_for_one(cases, wait)
}

/// As [`select`], for a caller that has just tried in vain.
pub(crate) fn wait_for_one<T>(
    cases: &mut [Case<'_, T>],
    wait: &Wait<'_>,
) -> Result<(usize, Outcome<T>), SelectError> {
    if wait.deadline.is_now() {
        return Err(SelectError::NoneReady);
    }
    let mut keys = Vec::with_capacity(cases.len());
    loop {
        let waiter = Waiter::for_thread(wait.bell);
        let ready = register(cases, &waiter, &mut keys);
        let woken = if ready && waiter.abort() {
            None
        } else {
            Some(Waiter::wait(&waiter, wait))
        };
        let completed = withdraw(cases, &mut keys, woken);
        match woken {
            Some(Woken::Interrupted) => return Err(SelectError::Interrupted),
            Some(Woken::DeadlinePassed) => return Err(SelectError::TimedOut),
            Some(woken) => {
                if let Some(chosen) = act(cases, woken, completed) {
                    return Ok(chosen);
                }
            }
            None => {}
        }
        if let Some(chosen) = try_in_random_order(cases) {
            return Ok(chosen);
        }
    }
}

/// A select that waits without a thread: a callback tells that it is time to look.
///
/// Dropping it withdraws it, like [`Pending::cancel`], and drops what the sender of a rendezvous had handed over by then:
/// cancel it instead where that may not be lost.
pub struct Pending<'a, T> {
    cases: Vec<Case<'a, T>>,
    keys: Vec<Key>,
    waiter: Arc<Waiter>,
    wake: Wake,
}

/// A chosen case, and all cases back.
pub type Chosen<'a, T> = (usize, Outcome<T>, Vec<Case<'a, T>>);

impl<'a, T> Pending<'a, T> {
    /// Tries the cases; if none is ready, leaves them waiting. *wake* is then called from any thread, once for each
    /// time that [`Self::finish`] should be called; it must not block, and must not call back into the channels.
    pub fn begin(mut cases: Vec<Case<'a, T>>, wake: Wake) -> Result<Chosen<'a, T>, Self> {
        loop {
            if let Some((index, outcome)) = try_in_random_order(&mut cases) {
                return Ok((index, outcome, cases));
            }
            let waiter = Waiter::with_callback(wake.clone());
            let mut keys = Vec::with_capacity(cases.len());
            let ready = register(&mut cases, &waiter, &mut keys);
            if ready && waiter.abort() {
                withdraw(&mut cases, &mut keys, None);
                continue;
            }
            // If it was claimed already, the callback has been called or is about to be.
            return Err(Self {
                cases,
                keys,
                waiter,
                wake,
            });
        }
    }

    /// What came of it after a wake-up. `Err`: it waits on (nothing happened, or somebody else was faster).
    pub fn finish(mut self) -> Result<Chosen<'a, T>, Self> {
        let Some(woken) = self.waiter.outcome() else {
            return Err(self);
        };
        let chosen = self.withdraw_and_act(woken);
        let cases = std::mem::take(&mut self.cases);
        match chosen {
            Some((index, outcome)) => Ok((index, outcome, cases)),
            None => Self::begin(cases, self.wake.clone()),
        }
    }

    /// Stops waiting and gives the cases back. `Ok`: the other side of a rendezvous has completed one in the meantime.
    ///
    /// With a buffered channel the withdrawal comes before any effect: a message that it was to be told of stays where it
    /// is, and another receiver is told instead.
    pub fn cancel(mut self) -> Result<Chosen<'a, T>, Vec<Case<'a, T>>> {
        let chosen = self.stop();
        let cases = std::mem::take(&mut self.cases);
        match chosen {
            Some((index, outcome)) => Ok((index, outcome, cases)),
            None => Err(cases),
        }
    }

    fn stop(&mut self) -> Option<(usize, Outcome<T>)> {
        if self.waiter.abort() {
            withdraw(&mut self.cases, &mut self.keys, None);
            return None;
        }
        let woken = self.waiter.outcome()?;
        let completed = withdraw(&mut self.cases, &mut self.keys, Some(woken));
        let Woken::Case(index) = woken else {
            return None;
        };
        let index = index as usize;
        if completed.is_none() {
            // The wake-up was for a message, or for room, that is still there.
            let case = &self.cases[index];
            case.channel.pass_on(&case.op);
        }
        completed.map(|outcome| (index, outcome))
    }

    fn withdraw_and_act(&mut self, woken: Woken) -> Option<(usize, Outcome<T>)> {
        let completed = withdraw(&mut self.cases, &mut self.keys, Some(woken));
        act(&mut self.cases, woken, completed)
    }
}

impl<T> Drop for Pending<'_, T> {
    fn drop(&mut self) {
        if !self.cases.is_empty() {
            self.stop();
        }
    }
}

/// Does what a claimed case was claimed for, first of all: so the wake-up is never lost.
fn act<T>(
    cases: &mut [Case<'_, T>],
    woken: Woken,
    completed: Option<Outcome<T>>,
) -> Option<(usize, Outcome<T>)> {
    let Woken::Case(index) = woken else {
        return None;
    };
    let index = index as usize;
    let case = &mut cases[index];
    let outcome = completed.or_else(|| case.channel.attempt(&mut case.op))?;
    Some((index, outcome))
}

/// Registers the waiter for every case. True: one of them need not wait.
fn register<T>(cases: &mut [Case<'_, T>], waiter: &Arc<Waiter>, keys: &mut Vec<Key>) -> bool {
    for (index, case) in cases.iter_mut().enumerate() {
        let registration = case.channel.register(&mut case.op, waiter, index as u32);
        keys.push(registration.key);
        if registration.ready {
            return true;
        }
    }
    false
}

/// Takes all registrations back; the outcome of the claimed case if the other side completed it.
fn withdraw<T>(
    cases: &mut [Case<'_, T>],
    keys: &mut Vec<Key>,
    woken: Option<Woken>,
) -> Option<Outcome<T>> {
    let mut completed = None;
    for (index, (case, key)) in cases.iter_mut().zip(keys.drain(..)).enumerate() {
        let outcome = case.channel.withdraw(&mut case.op, key);
        if woken == Some(Woken::Case(index as u32)) {
            completed = outcome;
        } else {
            debug_assert!(outcome.is_none(), "only a claimed case is completed");
        }
    }
    completed
}

/// Tries each case once, beginning anywhere and stepping so that no case is favoured.
fn try_in_random_order<T>(cases: &mut [Case<'_, T>]) -> Option<(usize, Outcome<T>)> {
    let mut order: Vec<usize> = (0..cases.len()).collect();
    for left in (1..=order.len()).rev() {
        let index = order.swap_remove(random_below(left));
        let case = &mut cases[index];
        if let Some(outcome) = case.channel.attempt(&mut case.op) {
            return Some((index, outcome));
        }
    }
    None
}

#[cfg(loom)]
fn random_below(_bound: usize) -> usize {
    0
}

/// A number below *bound* from a generator of this thread's own (xorshift, Marsaglia 2003).
#[cfg(not(loom))]
fn random_below(bound: usize) -> usize {
    use std::cell::Cell;
    use std::hash::{BuildHasher, RandomState};
    thread_local! {
        static STATE: Cell<u64> = Cell::new(RandomState::new().hash_one(0) | 1);
    }
    if bound == 1 {
        return 0;
    }
    STATE.with(|state| {
        let mut x = state.get();
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        state.set(x);
        // The high bits, scaled: no case is favoured by more than 2^-32.
        (((x >> 32) * bound as u64) >> 32) as usize
    })
}
