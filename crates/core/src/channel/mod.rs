//! Channels: typed FIFOs for many senders and many receivers.
//!
//! Three flavours share one face: a bounded [`ring`], an unbounded [`list`] and a [`rendezvous`] of
//! capacity zero. A flavour knows how to put and take; this module adds waiting, closing and poison, and
//! is the seam at which [`crate::select`] works.

mod batch;
mod errors;
mod list;
mod rendezvous;
mod ring;

pub use batch::Batch;
pub use errors::{Blocked, RecvError, SendError};

use crate::clock::Deadline;
use crate::park::{Key, SpinBudget, Wait, WaitQueue, Waiter};
use crate::select::{self, Case, Op, Outcome, SelectError};
use crate::stats::ChannelCounts;
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::sync::{Arc, Mutex, Padded, lock};
use list::List;
use rendezvous::{Rendezvous, SendEnd};
use ring::Ring;
use std::mem::{ManuallyDrop, MaybeUninit};
use std::num::NonZeroUsize;

/// How many messages a channel holds before senders wait.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Capacity {
    /// None: a send waits for its receiver.
    Rendezvous,
    /// Exactly so many.
    Bounded(NonZeroUsize),
    /// As many as memory holds: a send never waits.
    Unbounded,
}

/// What came of an attempt to put. (No message in it: moving one through several enums costs more than
/// the whole ring.)
pub(crate) enum Put {
    Done,
    Full,
    /// No more sends are allowed.
    Shut,
}

/// What came of an attempt to take.
pub(crate) enum Take {
    /// So many messages.
    Got(usize),
    Empty,
    /// No more receives are allowed, or closed and drained.
    Shut,
}

enum Flavour<T> {
    Ring(Ring<T>),
    List(List<T>),
    Rendezvous(Rendezvous<T>),
}

/// A channel. Share it with `Arc`; it does not count its ends (the engine does).
pub struct Channel<T> {
    flavour: Flavour<T>,
    // Each on lines of its own: a sender reads `receivers` for every message, which must not wait for a
    // receiver that notes how its spinning went.
    senders: Padded<WaitQueue>,
    receivers: Padded<WaitQueue>,
    send_spin: Padded<SpinBudget>,
    recv_spin: Padded<SpinBudget>,
    poisoned: AtomicBool,
    reason: Mutex<Option<Vec<u8>>>,
}

/// One operation's place in a channel's queue while it waits.
pub(crate) struct Registration {
    pub(crate) key: Key,
    /// The operation need not wait: look again.
    pub(crate) ready: bool,
}

impl<T> Channel<T> {
    /// An open, empty channel.
    #[must_use]
    pub fn new(capacity: Capacity) -> Self {
        Self {
            flavour: match capacity {
                Capacity::Bounded(capacity) => Flavour::Ring(Ring::new(capacity.get())),
                Capacity::Unbounded => Flavour::List(List::new()),
                Capacity::Rendezvous => Flavour::Rendezvous(Rendezvous::new()),
            },
            senders: Padded(WaitQueue::new()),
            receivers: Padded(WaitQueue::new()),
            send_spin: Padded(match capacity {
                Capacity::Rendezvous => SpinBudget::none(),
                Capacity::Bounded(_) | Capacity::Unbounded => SpinBudget::patient(),
            }),
            recv_spin: Padded(match capacity {
                Capacity::Rendezvous => SpinBudget::none(),
                Capacity::Bounded(_) | Capacity::Unbounded => SpinBudget::eager(),
            }),
            poisoned: AtomicBool::new(false),
            reason: Mutex::new(None),
        }
    }

    /// Sends without waiting.
    #[inline]
    pub fn try_send(&self, message: T) -> Result<(), SendError<T>> {
        self.send(message, &Wait::until(Deadline::NOW))
    }

    /// Takes the oldest message without waiting.
    #[inline]
    pub fn try_recv(&self) -> Result<T, RecvError> {
        self.recv(&Wait::until(Deadline::NOW))
    }

    /// Sends, waiting for room (for a receiver, if the capacity is zero).
    #[inline]
    pub fn send(&self, message: T, wait: &Wait<'_>) -> Result<(), SendError<T>> {
        let mut message = ManuallyDrop::new(message);
        // SAFETY: the message is here, and taken back below unless it was sent.
        match unsafe { self.send_from(&mut *message, wait) } {
            Ok(()) => Ok(()),
            Err(reason) => Err(reason.with(ManuallyDrop::into_inner(message))),
        }
    }

    /// Takes the oldest message, waiting for one.
    #[inline]
    pub fn recv(&self, wait: &Wait<'_>) -> Result<T, RecvError> {
        let mut place = MaybeUninit::uninit();
        self.recv_into(&mut place, wait)?;
        // SAFETY: a receive that succeeds fills the place.
        Ok(unsafe { place.assume_init() })
    }

    /// As [`Self::send`], from the message's place in memory.
    ///
    /// # Safety
    /// *message* points to a message. After `Ok` it was moved out, otherwise it is there (again).
    #[inline]
    pub unsafe fn send_from(&self, message: *mut T, wait: &Wait<'_>) -> Result<(), Blocked> {
        // SAFETY: by the caller.
        match unsafe { self.try_send_from(message) } {
            Err(Blocked::Full) if !wait.deadline.is_now() => {
                // SAFETY: still there.
                unsafe { self.wait_to_send(message, wait) }
            }
            result => result,
        }
    }

    /// As [`Self::recv`], into a place that holds the message after `Ok`.
    #[inline]
    pub fn recv_into(&self, place: &mut MaybeUninit<T>, wait: &Wait<'_>) -> Result<(), RecvError> {
        match self.try_recv_into(place) {
            Err(RecvError::Empty) if !wait.deadline.is_now() => self.wait_to_recv(place, wait),
            result => result,
        }
    }

    /// # Safety
    /// As for [`Self::send_from`].
    #[inline]
    unsafe fn try_send_from(&self, message: *mut T) -> Result<(), Blocked> {
        // SAFETY: by the caller: each moves the message out exactly if it says Done.
        let put = unsafe {
            match &self.flavour {
                Flavour::Ring(ring) => ring.put(message),
                Flavour::List(list) => list.put(message),
                Flavour::Rendezvous(place) => place.put(message),
            }
        };
        match put {
            Put::Done => {
                self.receivers.notify(1);
                Ok(())
            }
            Put::Full => Err(Blocked::Full),
            Put::Shut => Err(self.send_refused()),
        }
    }

    #[inline]
    fn try_recv_into(&self, place: &mut MaybeUninit<T>) -> Result<(), RecvError> {
        let take = match &self.flavour {
            Flavour::Ring(ring) => ring.take(place),
            Flavour::List(list) => list.take(place),
            Flavour::Rendezvous(meeting) => meeting.take(place),
        };
        match take {
            Take::Got(_) => {
                self.senders.notify(1);
                Ok(())
            }
            Take::Empty => Err(RecvError::Empty),
            Take::Shut => Err(self.recv_refused()),
        }
    }

    /// # Safety
    /// As for [`Self::send_from`].
    #[cold]
    unsafe fn wait_to_send(&self, message: *mut T, wait: &Wait<'_>) -> Result<(), Blocked> {
        // SAFETY: the message is there until one of these moves it out and says Ok.
        let spun = self
            .send_spin
            .spin(|| match unsafe { self.try_send_from(message) } {
                Err(Blocked::Full) => None,
                result => Some(result),
            });
        if let Some(result) = spun {
            return result;
        }
        let mut case = [Case {
            channel: self,
            // SAFETY: moved out here; put back below unless it was sent.
            op: Op::Send(Some(unsafe { message.read() })),
        }];
        let result = self
            .send_spin
            .sleep(|| select::wait_for_one(&mut case, wait));
        let [case] = case;
        if let Op::Send(Some(unsent)) = case.op {
            // SAFETY: the place was moved out of above.
            unsafe { message.write(unsent) };
        }
        match result {
            Ok((_, Outcome::Sent)) => Ok(()),
            Ok(_) => Err(self.send_refused()),
            Err(SelectError::NoneReady) => Err(Blocked::Full),
            Err(SelectError::TimedOut) => Err(Blocked::TimedOut),
            Err(SelectError::Interrupted) => Err(Blocked::Interrupted),
        }
    }

    #[cold]
    fn wait_to_recv(&self, place: &mut MaybeUninit<T>, wait: &Wait<'_>) -> Result<(), RecvError> {
        let spun = self.recv_spin.spin(|| {
            // Looking at the tail costs the senders, who count on it; a close is seen when the spinning ends.
            if let Flavour::Ring(ring) = &self.flavour
                && !ring.looks_ready()
            {
                return None;
            }
            match self.try_recv_into(place) {
                Err(RecvError::Empty) => None,
                result => Some(result),
            }
        });
        if let Some(result) = spun {
            return result;
        }
        let mut case = [Case {
            channel: self,
            op: Op::Recv,
        }];
        let result = self
            .recv_spin
            .sleep(|| select::wait_for_one(&mut case, wait));
        match result {
            Ok((_, Outcome::Received(message))) => {
                place.write(message);
                Ok(())
            }
            Ok(_) => Err(self.recv_refused()),
            Err(SelectError::NoneReady) => Err(RecvError::Empty),
            Err(SelectError::TimedOut) => Err(RecvError::TimedOut),
            Err(SelectError::Interrupted) => Err(RecvError::Interrupted),
        }
    }

    /// Sends a batch, a chunk at a time, waiting whenever there is no room. On an error the messages
    /// that were not sent are still in the batch.
    pub fn send_batch(&self, batch: &mut Batch<'_, T>, wait: &Wait<'_>) -> Result<(), Blocked> {
        while !batch.is_empty() {
            let before = batch.taken();
            let put = match &self.flavour {
                Flavour::Ring(ring) => ring.put_batch(batch),
                Flavour::List(list) => list.put_batch(batch),
                Flavour::Rendezvous(_) => Put::Full,
            };
            match put {
                Put::Done => self.receivers.notify(batch.taken() - before),
                Put::Shut => return Err(self.send_refused()),
                Put::Full => self.send_one_of(batch, wait)?,
            }
        }
        Ok(())
    }

    /// Sends the batch's next message in the waiting way.
    fn send_one_of(&self, batch: &mut Batch<'_, T>, wait: &Wait<'_>) -> Result<(), Blocked> {
        // SAFETY: the batch is not empty (its caller's loop), so the message is there; the batch counts
        // it as taken exactly if it was sent.
        unsafe { self.send_from(batch.front(), wait) }.map(|()| batch.skip_sent())
    }

    /// Takes up to *max* messages into *sink*, waiting only for the first. Returns how many.
    pub fn recv_batch(
        &self,
        max: usize,
        wait: &Wait<'_>,
        mut sink: impl FnMut(T),
    ) -> Result<usize, RecvError> {
        if max == 0 {
            return Ok(0);
        }
        let mut got = self.try_recv_batch(max, &mut sink)?;
        if got == 0 {
            sink(self.recv(wait)?);
            got = 1 + self.try_recv_batch(max - 1, &mut sink).unwrap_or(0);
        }
        Ok(got)
    }

    /// As [`Self::recv_batch`], without waiting: `Ok(0)` where there is nothing now.
    fn try_recv_batch(&self, max: usize, sink: &mut impl FnMut(T)) -> Result<usize, RecvError> {
        let mut got = 0;
        while got < max {
            let take = match &self.flavour {
                Flavour::Ring(ring) => ring.take_batch(max - got, &mut *sink),
                Flavour::List(list) => list.take_batch(max - got, &mut *sink),
                Flavour::Rendezvous(meeting) => {
                    let mut place = MaybeUninit::uninit();
                    let take = meeting.take(&mut place);
                    if let Take::Got(_) = take {
                        // SAFETY: a take that got something fills the place.
                        sink(unsafe { place.assume_init() });
                    }
                    take
                }
            };
            match take {
                Take::Got(taken) => {
                    self.senders.notify(taken);
                    got += taken;
                }
                Take::Empty => break,
                Take::Shut if got > 0 => break,
                Take::Shut => return Err(self.recv_refused()),
            }
        }
        Ok(got)
    }

    /// No more sends: senders fail, receivers drain what is inside. True: this call closed it.
    pub fn close(&self) -> bool {
        let first = match &self.flavour {
            Flavour::Ring(ring) => ring.close(),
            Flavour::List(list) => list.close(),
            Flavour::Rendezvous(place) => place.shut(),
        };
        self.senders.notify_all();
        self.receivers.notify_all();
        first
    }

    /// No more sends and receives; what is inside is dropped. For the end of the last receiver.
    pub fn shut(&self) {
        match &self.flavour {
            Flavour::Ring(ring) => ring.shut(),
            Flavour::List(list) => list.shut(),
            Flavour::Rendezvous(place) => {
                place.shut();
            }
        }
        self.senders.notify_all();
        self.receivers.notify_all();
    }

    /// As [`Self::shut`], and everybody learns the reason. True: this call poisoned it.
    pub fn poison(&self, reason: &[u8]) -> bool {
        {
            let mut first = lock(&self.reason);
            if first.is_some() {
                return false;
            }
            *first = Some(reason.to_vec());
            // ORDERING: Release: who sees the flag finds the reason. Set before the marks: who sees a
            // mark that poison set sees the flag (SeqCst marks).
            self.poisoned.store(true, Ordering::SeqCst);
        }
        self.shut();
        true
    }

    /// Why the channel was poisoned, if it was.
    pub fn poison_reason(&self) -> Option<Vec<u8>> {
        lock(&self.reason).clone()
    }

    /// Whether sends are refused.
    pub fn is_closed(&self) -> bool {
        match &self.flavour {
            Flavour::Ring(ring) => ring.is_closed(),
            Flavour::List(list) => list.is_closed(),
            Flavour::Rendezvous(place) => place.is_shut(),
        }
    }

    /// Whether the channel was poisoned.
    pub fn is_poisoned(&self) -> bool {
        self.poisoned.load(Ordering::SeqCst)
    }

    /// Messages inside.
    pub fn len(&self) -> usize {
        match &self.flavour {
            Flavour::Ring(ring) => ring.len(),
            Flavour::List(list) => list.len(),
            Flavour::Rendezvous(_) => 0,
        }
    }

    /// Whether nothing is inside.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The capacity it was made with.
    pub fn capacity(&self) -> Capacity {
        match &self.flavour {
            Flavour::Ring(ring) => {
                NonZeroUsize::new(ring.capacity()).map_or(Capacity::Rendezvous, Capacity::Bounded)
            }
            Flavour::List(_) => Capacity::Unbounded,
            Flavour::Rendezvous(_) => Capacity::Rendezvous,
        }
    }

    /// Counters, most of them read off the positions that the channel keeps anyway.
    pub fn counts(&self) -> ChannelCounts {
        let (sent, received, high_water) = match &self.flavour {
            Flavour::Ring(ring) => ring.counts(),
            Flavour::List(list) => list.counts(),
            Flavour::Rendezvous(place) => {
                let (sent, received) = place.counts();
                (sent, received, 0)
            }
        };
        let (blocked_senders, blocked_receivers) = match &self.flavour {
            Flavour::Rendezvous(place) => place.blocked(),
            _ => (self.senders.len(), self.receivers.len()),
        };
        ChannelCounts {
            sent,
            received,
            depth: self.len() as u64,
            high_water,
            blocked_senders: blocked_senders as u64,
            blocked_receivers: blocked_receivers as u64,
        }
    }

    fn send_refused(&self) -> Blocked {
        if self.is_poisoned() {
            Blocked::Poisoned
        } else {
            Blocked::Closed
        }
    }

    pub(crate) fn recv_refused(&self) -> RecvError {
        if self.is_poisoned() {
            RecvError::Poisoned
        } else {
            RecvError::Closed
        }
    }

    /// Tries one operation of a select.
    pub(crate) fn attempt(&self, op: &mut Op<T>) -> Option<Outcome<T>> {
        match op {
            Op::Recv => match self.try_recv() {
                Ok(message) => Some(Outcome::Received(message)),
                Err(RecvError::Empty) => None,
                Err(_) => Some(Outcome::RecvRefused),
            },
            Op::Send(slot) => match self.try_send(slot.take()?) {
                Ok(()) => Some(Outcome::Sent),
                Err(error) => {
                    let full = matches!(error, SendError::Full(_));
                    *slot = Some(error.into_message());
                    (!full).then_some(Outcome::SendRefused)
                }
            },
        }
    }

    /// Registers a waiting operation, and looks once more whether it could go on.
    pub(crate) fn register(&self, op: &mut Op<T>, waiter: &Arc<Waiter>, case: u32) -> Registration {
        if let Flavour::Rendezvous(place) = &self.flavour {
            let (key, ready) = match op {
                Op::Recv => place.register_recv(waiter, case),
                Op::Send(slot) => match slot.take() {
                    Some(message) => place.register_send(waiter, case, message),
                    None => unreachable!("a waiting send has its message"),
                },
            };
            return Registration { key, ready };
        }
        match op {
            Op::Recv => {
                let key = self.receivers.register(waiter, case);
                let ready = match &self.flavour {
                    Flavour::Ring(ring) => ring.can_take(),
                    Flavour::List(list) => list.can_take(),
                    Flavour::Rendezvous(_) => unreachable!("registered above"),
                };
                Registration { key, ready }
            }
            Op::Send(_) => {
                let key = self.senders.register(waiter, case);
                let ready = match &self.flavour {
                    Flavour::Ring(ring) => ring.can_put(),
                    Flavour::List(_) => true,
                    Flavour::Rendezvous(_) => unreachable!("registered above"),
                };
                Registration { key, ready }
            }
        }
    }

    /// Hands on a wake-up that its waiter has no use for any more. (A rendezvous wakes whom it has served.)
    pub(crate) fn pass_on(&self, op: &Op<T>) {
        match op {
            Op::Recv => self.receivers.notify(1),
            Op::Send(_) => self.senders.notify(1),
        }
    }

    /// Ends a registration. For a rendezvous the operation may have been completed by the other side.
    pub(crate) fn withdraw(&self, op: &mut Op<T>, key: Key) -> Option<Outcome<T>> {
        match (&self.flavour, op) {
            (Flavour::Rendezvous(place), Op::Recv) => {
                place.withdraw_recv(key).map(Outcome::Received)
            }
            (Flavour::Rendezvous(place), Op::Send(slot)) => match place.withdraw_send(key) {
                SendEnd::Taken => Some(Outcome::Sent),
                SendEnd::Back(message) => {
                    *slot = Some(message);
                    None
                }
            },
            (_, Op::Recv) => {
                self.receivers.withdraw(key);
                None
            }
            (_, Op::Send(_)) => {
                self.senders.withdraw(key);
                None
            }
        }
    }
}
