//! Bounded channel: a ring of slots with a stamp each.
//!
//! After D. Vyukov's bounded MPMC queue, with three changes: positions count messages for ever (64
//! bits do not wrap), whole chunks can be claimed with one step, and the logical capacity is exact
//! though the number of slots is a power of two.
//!
//! # Invariants
//! Let `n` be the number of slots and `p` a position.
//! - I1: `head <= tail <= head + capacity`. Both only grow. The top bit of either is a mark: on `tail`
//!   "no more sends", on `head` "no more receives".
//! - I2: slot `p % n` carries stamp `p` while it is free for position `p`, `p + 1` while it holds the
//!   message of `p`, and `p + n` from when that message was taken out.
//! - I3: whoever moves `tail` from `p` to `p + k` is the only one to write the slots of `p..p + k`
//!   until it stamps them; whoever moves `head` from `p` to `p + k` is the only one to read them.
//! - I4: `known_head <= head`: a stale copy, kept beside `tail` so that senders need not touch the
//!   receivers' cache line for every message.
//!
//! # Ordering
//! The message travels by the stamp (Release by the writer, Acquire by the reader). `head` and `tail` move
//! by SeqCst steps: parking relies on them (see `park`), a claim is visible before its stamp is.

use crate::channel::{Batch, Put, Take};
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::sync::{Backoff, Padded, UnsafeCell};
use std::mem::MaybeUninit;

const MARK: u64 = 1 << 63;

struct Slot<T> {
    stamp: AtomicU64,
    message: UnsafeCell<MaybeUninit<T>>,
}

struct Tail {
    position: AtomicU64,
    known_head: AtomicU64,
    /// The greatest depth that a sender has seen. Never above the capacity.
    high_water: AtomicU64,
}

/// A bounded queue for many senders and many receivers.
pub(crate) struct Ring<T> {
    tail: Padded<Tail>,
    head: Padded<AtomicU64>,
    slots: Box<[Slot<T>]>,
    mask: u64,
    capacity: u64,
}

// SAFETY: messages are handed from one thread to another, never shared (I3).
unsafe impl<T: Send> Send for Ring<T> {}
// SAFETY: as above; every access to a slot's cell is exclusive by I3.
unsafe impl<T: Send> Sync for Ring<T> {}

/// What a sender finds when it asks for room.
enum Room {
    Free(u64),
    Full,
}

impl<T> Ring<T> {
    pub(crate) fn new(capacity: usize) -> Self {
        // At least two slots: with one, "holds p" and "free for p + n" would be the same stamp.
        let slots = capacity.next_power_of_two().max(2) as u64;
        Self {
            tail: Padded(Tail {
                position: AtomicU64::new(0),
                known_head: AtomicU64::new(0),
                high_water: AtomicU64::new(0),
            }),
            head: Padded(AtomicU64::new(0)),
            slots: (0..slots)
                .map(|position| Slot {
                    stamp: AtomicU64::new(position),
                    message: UnsafeCell::new(MaybeUninit::uninit()),
                })
                .collect(),
            mask: slots - 1,
            capacity: capacity as u64,
        }
    }

    #[inline(always)]
    fn slot(&self, position: u64) -> &Slot<T> {
        let index = (position & self.mask) as usize;
        debug_assert!(index < self.slots.len());
        // SAFETY: the mask is the number of slots less one.
        unsafe { self.slots.get_unchecked(index) }
    }

    /// How many of *wanted* messages fit behind *tail*. Reads `head` only if the stale copy says that
    /// the depth would reach a new high or the capacity.
    #[inline(always)]
    fn room(&self, tail: u64, wanted: u64) -> Room {
        // ORDERING: Relaxed: hints (I4); the slot's stamp decides.
        let known = self.tail.known_head.load(Ordering::Relaxed);
        let high = self.tail.high_water.load(Ordering::Relaxed);
        // Another sender may have stored a head beyond our stale tail: no depth then.
        let depth = (tail.wrapping_sub(known) as i64).max(0) as u64;
        if depth + wanted <= high {
            return Room::Free(wanted);
        }
        self.room_by_head(tail, wanted, high)
    }

    #[cold]
    fn room_by_head(&self, tail: u64, wanted: u64, high: u64) -> Room {
        // ORDERING: SeqCst: the last look of a sender before it parks (see `park`).
        let head = self.head.load(Ordering::SeqCst) & !MARK;
        self.tail.known_head.store(head, Ordering::Relaxed);
        let depth = (tail.wrapping_sub(head) as i64).max(0) as u64;
        if depth >= self.capacity {
            return Room::Full;
        }
        let room = wanted.min(self.capacity - depth);
        if depth + room > high {
            self.tail
                .high_water
                .fetch_max(depth + room, Ordering::Relaxed);
        }
        Room::Free(room)
    }

    /// Moves one message in, unless the ring is full or closed.
    ///
    /// # Safety
    /// *message* points to a message. After `Done` it was moved out, otherwise it is still there.
    #[inline]
    pub(crate) unsafe fn put(&self, message: *const T) -> Put {
        let mut backoff = Backoff::new();
        // ORDERING: Relaxed: the exchange below validates it.
        let mut tail = self.tail.position.load(Ordering::Relaxed);
        loop {
            if tail & MARK != 0 {
                return Put::Shut;
            }
            if let Room::Full = self.room(tail, 1) {
                return Put::Full;
            }
            let slot = self.slot(tail);
            let stamp = slot.stamp.load(Ordering::Acquire);
            if stamp == tail {
                match self.tail.position.compare_exchange_weak(
                    tail,
                    tail + 1,
                    Ordering::SeqCst,
                    Ordering::Relaxed,
                ) {
                    Ok(_) => {
                        // SAFETY: I3: the claim makes this slot ours until we stamp it; by I2 it is empty. The
                        // message is moved out of the caller's place, by the caller's leave.
                        slot.message.with_mut(|cell| unsafe {
                            cell.cast::<T>().copy_from_nonoverlapping(message, 1);
                        });
                        // ORDERING: pairs with the Acquire in `take` and `take_batch`.
                        slot.stamp.store(tail + 1, Ordering::Release);
                        return Put::Done;
                    }
                    Err(now) => {
                        backoff.spin();
                        tail = now;
                        continue;
                    }
                }
            } else if (stamp.wrapping_sub(tail) as i64) < 0 {
                // A receiver has claimed the message of the last lap and is about to release the slot.
                backoff.snooze();
            } else {
                backoff.spin();
            }
            tail = self.tail.position.load(Ordering::Relaxed);
        }
    }

    /// Puts in as many messages of the batch as there is room for; at least one if not full or closed.
    pub(crate) fn put_batch(&self, batch: &mut Batch<'_, T>) -> Put {
        let mut backoff = Backoff::new();
        let mut tail = self.tail.position.load(Ordering::Relaxed);
        loop {
            if tail & MARK != 0 {
                return Put::Shut;
            }
            let Room::Free(room) = self.room(tail, batch.len() as u64) else {
                return Put::Full;
            };
            let free = (0..room)
                .take_while(|&i| self.slot(tail + i).stamp.load(Ordering::Acquire) == tail + i)
                .count() as u64;
            if free == 0 {
                backoff.snooze();
            } else {
                match self.tail.position.compare_exchange_weak(
                    tail,
                    tail + free,
                    Ordering::SeqCst,
                    Ordering::Relaxed,
                ) {
                    Ok(_) => {
                        for position in tail..tail + free {
                            let slot = self.slot(position);
                            let message = batch.next();
                            // SAFETY: I3: claimed with the chunk; found free by its stamp above.
                            slot.message.with_mut(|cell| unsafe {
                                cell.write(message);
                            });
                            // ORDERING: pairs with the Acquire in `take` and `take_batch`.
                            slot.stamp.store(position + 1, Ordering::Release);
                        }
                        return Put::Done;
                    }
                    Err(now) => {
                        backoff.spin();
                        tail = now;
                        continue;
                    }
                }
            }
            tail = self.tail.position.load(Ordering::Relaxed);
        }
    }

    /// Takes the oldest message out, into *place*, which holds it after `Got`.
    #[inline]
    pub(crate) fn take(&self, place: &mut MaybeUninit<T>) -> Take {
        let mut backoff = Backoff::new();
        let mut head = self.head.load(Ordering::Relaxed);
        loop {
            if head & MARK != 0 {
                return Take::Shut;
            }
            let slot = self.slot(head);
            let stamp = slot.stamp.load(Ordering::Acquire);
            if stamp == head + 1 {
                match self.head.compare_exchange_weak(
                    head,
                    head + 1,
                    Ordering::SeqCst,
                    Ordering::Relaxed,
                ) {
                    Ok(_) => {
                        self.release(head, place);
                        return Take::Got(1);
                    }
                    Err(now) => {
                        backoff.spin();
                        head = now;
                        continue;
                    }
                }
            } else if let Some(verdict) = self.nothing_at(head, stamp, &mut backoff) {
                return verdict;
            }
            head = self.head.load(Ordering::Relaxed);
        }
    }

    /// Takes up to *max* of the oldest messages out, into *sink*.
    pub(crate) fn take_batch(&self, max: usize, mut sink: impl FnMut(T)) -> Take {
        let mut backoff = Backoff::new();
        let mut head = self.head.load(Ordering::Relaxed);
        let max = (max as u64).min(self.slots.len() as u64);
        loop {
            if head & MARK != 0 {
                return Take::Shut;
            }
            let first = self.slot(head).stamp.load(Ordering::Acquire);
            if first == head + 1 {
                let ready = 1
                    + (1..max)
                        .take_while(|&i| {
                            self.slot(head + i).stamp.load(Ordering::Acquire) == head + i + 1
                        })
                        .count() as u64;
                match self.head.compare_exchange_weak(
                    head,
                    head + ready,
                    Ordering::SeqCst,
                    Ordering::Relaxed,
                ) {
                    Ok(_) => {
                        for position in head..head + ready {
                            let mut message = MaybeUninit::uninit();
                            self.release(position, &mut message);
                            // SAFETY: `release` has moved the position's message there.
                            sink(unsafe { message.assume_init() });
                        }
                        return Take::Got(ready as usize);
                    }
                    Err(now) => {
                        backoff.spin();
                        head = now;
                        continue;
                    }
                }
            } else if let Some(verdict) = self.nothing_at(head, first, &mut backoff) {
                return verdict;
            }
            head = self.head.load(Ordering::Relaxed);
        }
    }

    /// Moves the message of a claimed position to *place* and frees its slot.
    #[inline(always)]
    fn release(&self, position: u64, place: &mut MaybeUninit<T>) {
        let slot = self.slot(position);
        // SAFETY: I3: the caller claimed the position; I2: its stamp said that it holds a message, which
        // is moved from one place to the other.
        slot.message.with_mut(|cell| unsafe {
            place
                .as_mut_ptr()
                .copy_from_nonoverlapping(cell.cast::<T>(), 1);
        });
        // ORDERING: pairs with the Acquire in `put` and `put_batch`.
        slot.stamp
            .store(position + self.mask + 1, Ordering::Release);
    }

    /// The slot at *head* holds no message for us: empty, closed, or somebody is at work there.
    #[inline]
    fn nothing_at(&self, head: u64, stamp: u64, backoff: &mut Backoff) -> Option<Take> {
        if (stamp.wrapping_sub(head + 1) as i64) > 0 {
            // Another receiver was faster.
            backoff.spin();
            return None;
        }
        // ORDERING: SeqCst: the last look of a receiver before it parks (see `park`).
        let tail = self.tail.position.load(Ordering::SeqCst);
        if tail & !MARK != head {
            // Claimed by a sender that has not stamped it yet.
            backoff.snooze();
            return None;
        }
        Some(if tail & MARK != 0 {
            Take::Shut
        } else {
            Take::Empty
        })
    }

    /// Whether a look with [`Self::take`] may pay: a glance at one slot that leaves the senders' own line alone. Right about
    /// messages and poison; a close it does not see.
    #[inline]
    pub(crate) fn looks_ready(&self) -> bool {
        // ORDERING: Relaxed and Acquire: a hint; `take` looks again.
        let head = self.head.load(Ordering::Relaxed);
        head & MARK != 0 || self.slot(head).stamp.load(Ordering::Acquire) != head
    }

    /// Whether a receive would not find the ring empty.
    pub(crate) fn can_take(&self) -> bool {
        // ORDERING: SeqCst: decides whether a receiver parks.
        let head = self.head.load(Ordering::SeqCst);
        let tail = self.tail.position.load(Ordering::SeqCst);
        head & MARK != 0 || tail & MARK != 0 || tail != head
    }

    /// Whether a send would not find the ring full.
    pub(crate) fn can_put(&self) -> bool {
        // ORDERING: SeqCst: decides whether a sender parks. `tail` first: see `len`.
        let tail = self.tail.position.load(Ordering::SeqCst);
        let head = self.head.load(Ordering::SeqCst);
        tail & MARK != 0 || ((tail.wrapping_sub(head & !MARK)) as i64) < self.capacity as i64
    }

    /// Allows no more sends. True: this call did it.
    pub(crate) fn close(&self) -> bool {
        self.tail.position.fetch_or(MARK, Ordering::SeqCst) & MARK == 0
    }

    /// Allows no more sends and receives, and drops what is inside.
    pub(crate) fn shut(&self) {
        self.close();
        let head = self.head.fetch_or(MARK, Ordering::SeqCst);
        if head & MARK != 0 {
            return;
        }
        // The mark on `head` makes us the only receiver of all that is left.
        let tail = self.tail.position.load(Ordering::SeqCst) & !MARK;
        for position in head..tail {
            let mut backoff = Backoff::new();
            while self.slot(position).stamp.load(Ordering::Acquire) != position + 1 {
                backoff.snooze();
            }
            let mut message = MaybeUninit::uninit();
            self.release(position, &mut message);
            // SAFETY: `release` has moved the position's message there.
            drop(unsafe { message.assume_init() });
        }
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.tail.position.load(Ordering::SeqCst) & MARK != 0
    }

    /// Sent, received and the high-water mark.
    pub(crate) fn counts(&self) -> (u64, u64, u64) {
        // `head` first: so the difference is never negative.
        let head = self.head.load(Ordering::SeqCst) & !MARK;
        let tail = self.tail.position.load(Ordering::SeqCst) & !MARK;
        (tail, head, self.tail.high_water.load(Ordering::Relaxed))
    }

    /// Messages inside.
    pub(crate) fn len(&self) -> usize {
        let head = self.head.load(Ordering::SeqCst);
        if head & MARK != 0 {
            return 0;
        }
        let tail = self.tail.position.load(Ordering::SeqCst) & !MARK;
        (tail - head).min(self.capacity) as usize
    }

    pub(crate) fn capacity(&self) -> usize {
        self.capacity as usize
    }
}

impl<T> Drop for Ring<T> {
    fn drop(&mut self) {
        self.shut();
    }
}
