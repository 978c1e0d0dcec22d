//! Unbounded channel: a linked list of blocks of slots.
//!
//! The scheme is that of crossbeam's unbounded flavour (positions with a gap at each block's end, blocks
//! freed by the last reader), with chunk claims and marks on both ends added.
//!
//! # Invariants
//! - L1: a position is `lap * LAP + offset`; offsets `0..BLOCK` are slots, offset `BLOCK` means that the
//!   one who claimed the block's last slot is linking or following the next block. Others wait for it.
//! - L2: whoever moves `tail` (`head`) over a position is the only one to write (read) its slot.
//! - L3: a slot's `state` gains WRITTEN when its message is there, READ when it was taken out, DESTROY
//!   when the one who frees the block left that to this slot's reader. A block is freed by whoever is
//!   last: the reader of its last slot, or a slower reader that finds DESTROY.
//! - L4: `known_head <= head`, `known_tail <= tail`: stale copies beside the other end.

use crate::channel::{Batch, Put, Take};
use crate::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering};
use crate::sync::{Backoff, Padded, UnsafeCell};
use std::mem::MaybeUninit;

const MARK: u64 = 1 << 63;
#[cfg(not(loom))]
const LAP: u64 = 64;
/// Small under loom, so that models cross blocks.
#[cfg(loom)]
const LAP: u64 = 4;
const BLOCK: u64 = LAP - 1;

const WRITTEN: u32 = 1;
const READ: u32 = 2;
const DESTROY: u32 = 4;

struct Slot<T> {
    message: UnsafeCell<MaybeUninit<T>>,
    state: AtomicU32,
}

struct Block<T> {
    next: AtomicPtr<Block<T>>,
    slots: [Slot<T>; BLOCK as usize],
}

impl<T> Block<T> {
    #[cfg(not(loom))]
    fn new() -> Box<Self> {
        // SAFETY: zeros are a null pointer, states without a flag, and uninitialised messages.
        unsafe { Box::new_zeroed().assume_init() }
    }

    #[cfg(loom)]
    fn new() -> Box<Self> {
        Box::new(Self {
            next: AtomicPtr::new(std::ptr::null_mut()),
            slots: std::array::from_fn(|_| Slot {
                message: UnsafeCell::new(MaybeUninit::uninit()),
                state: AtomicU32::new(0),
            }),
        })
    }

    /// The block behind this one, which the claimer of its last slot is about to link.
    fn wait_next(&self) -> *mut Self {
        let mut backoff = Backoff::new();
        loop {
            let next = self.next.load(Ordering::Acquire);
            if !next.is_null() {
                return next;
            }
            backoff.snooze();
        }
    }

    /// Frees the block, or leaves that to the first reader from slot *start* on that is still busy.
    ///
    /// # Safety
    /// The block is unlinked from both ends, and slots before *start* are done with (L3).
    unsafe fn destroy(block: *mut Self, start: u64) {
        // The last slot's reader is the one who begins the destruction: it needs no look.
        for offset in start..BLOCK - 1 {
            // SAFETY: the block lives: whoever would free it is this call, or a reader we hand it to.
            let slot = unsafe { &(*block).slots[offset as usize] };
            // ORDERING: Acquire sees the reader's end; AcqRel hands our own view over to it.
            if slot.state.load(Ordering::Acquire) & READ == 0
                && slot.state.fetch_or(DESTROY, Ordering::AcqRel) & READ == 0
            {
                return;
            }
        }
        // SAFETY: made by Box in `new`; every reader is done (all slots READ), so nobody else has it.
        drop(unsafe { Box::from_raw(block) });
    }
}

impl<T> Slot<T> {
    fn wait_written(&self) {
        let mut backoff = Backoff::new();
        // ORDERING: pairs with the Release in `write`.
        while self.state.load(Ordering::Acquire) & WRITTEN == 0 {
            backoff.snooze();
        }
    }

    /// # Safety
    /// The caller claimed this slot for writing (L2).
    unsafe fn write(&self, message: MaybeUninit<T>) {
        // SAFETY: L2, by the caller.
        self.message.with_mut(|cell| unsafe { cell.write(message) });
        // ORDERING: pairs with the Acquire in `wait_written`.
        self.state.fetch_or(WRITTEN, Ordering::Release);
    }

    /// # Safety
    /// The caller claimed this slot for reading (L2), and reads it once.
    unsafe fn read(&self) -> T {
        self.wait_written();
        // SAFETY: L2 by the caller; WRITTEN says that the message is there.
        self.message
            .with_mut(|cell| unsafe { cell.read().assume_init() })
    }
}

struct End<T> {
    position: AtomicU64,
    block: AtomicPtr<Block<T>>,
    /// A stale copy of the other end's position (L4).
    known_other: AtomicU64,
    /// Kept at the tail: the greatest depth that a sender has seen.
    high_water: AtomicU64,
}

/// An unbounded queue for many senders and many receivers.
pub(crate) struct List<T> {
    tail: Padded<End<T>>,
    head: Padded<End<T>>,
}

// SAFETY: messages are handed from one thread to another, never shared (L2).
unsafe impl<T: Send> Send for List<T> {}
// SAFETY: as above; blocks are freed by the last one to use them (L3).
unsafe impl<T: Send> Sync for List<T> {}

/// How many messages were put before *position*.
fn count(position: u64) -> u64 {
    let position = position & !MARK;
    position / LAP * BLOCK + position % LAP
}

impl<T> List<T> {
    pub(crate) fn new() -> Self {
        let first = Box::into_raw(Block::new());
        let end = || {
            Padded(End {
                position: AtomicU64::new(0),
                block: AtomicPtr::new(first),
                known_other: AtomicU64::new(0),
                high_water: AtomicU64::new(0),
            })
        };
        Self {
            tail: end(),
            head: end(),
        }
    }

    /// Moves one message in, unless closed.
    ///
    /// # Safety
    /// *message* points to a message. After `Done` it was moved out, otherwise it is still there.
    pub(crate) unsafe fn put(&self, message: *const T) -> Put {
        // SAFETY: one message, by the caller; the batch moves it out exactly if it is put in.
        self.put_batch(&mut unsafe { Batch::from_raw(message.cast_mut(), 1) })
    }

    /// Puts in a part of the batch, at least one message, unless closed.
    pub(crate) fn put_batch(&self, batch: &mut Batch<'_, T>) -> Put {
        let mut backoff = Backoff::new();
        let mut next_block = None;
        loop {
            // ORDERING: Acquire: sees the block that was stored before the position came to its lap.
            let tail = self.tail.position.load(Ordering::Acquire);
            let block = self.tail.block.load(Ordering::Acquire);
            if tail & MARK != 0 {
                return Put::Shut;
            }
            let offset = tail % LAP;
            if offset == BLOCK {
                backoff.snooze();
                continue;
            }
            let claimed = (batch.len() as u64).min(BLOCK - offset);
            let ends_block = offset + claimed == BLOCK;
            if ends_block && next_block.is_none() {
                next_block = Some(Block::<T>::new());
            }
            if self
                .tail
                .position
                .compare_exchange_weak(tail, tail + claimed, Ordering::SeqCst, Ordering::Acquire)
                .is_err()
            {
                backoff.spin();
                continue;
            }
            if ends_block && let Some(next) = next_block.take() {
                let next = Box::into_raw(next);
                self.tail.block.store(next, Ordering::Release);
                // A mark that was set meanwhile stays.
                self.tail.position.fetch_add(1, Ordering::Release);
                // SAFETY: our unwritten slots keep the block alive (L3).
                unsafe { (*block).next.store(next, Ordering::Release) };
            }
            for i in 0..claimed {
                // SAFETY: the block lives until all its slots were read, ours included; claimed by L2.
                unsafe { (*block).slots[(offset + i) as usize].write(batch.next()) };
            }
            self.note_depth(tail + claimed);
            return Put::Done;
        }
    }

    /// Keeps the high-water mark, looking at `head` only when the stale copy says that it may have risen
    /// by a sixteenth: a list that only grows would otherwise pay for each message. So the mark may be
    /// up to that much too low (exact below 16); `counts` makes up for the depth that there is now.
    fn note_depth(&self, tail: u64) {
        // ORDERING: Relaxed: a statistic.
        let known = self.tail.known_other.load(Ordering::Relaxed);
        let high = self.tail.high_water.load(Ordering::Relaxed);
        if tail.saturating_sub(known) > high + high / 16 {
            let head = self.head.position.load(Ordering::Relaxed) & !MARK;
            self.tail.known_other.store(head, Ordering::Relaxed);
            let depth = count(tail).saturating_sub(count(head));
            self.tail.high_water.fetch_max(depth, Ordering::Relaxed);
        }
    }

    /// Takes the oldest message out, into *place*, which holds it after `Got`.
    pub(crate) fn take(&self, place: &mut MaybeUninit<T>) -> Take {
        self.take_batch(1, |message| {
            place.write(message);
        })
    }

    /// Takes up to *max* of the oldest messages out, into *sink*.
    pub(crate) fn take_batch(&self, max: usize, mut sink: impl FnMut(T)) -> Take {
        let mut backoff = Backoff::new();
        loop {
            let head = self.head.position.load(Ordering::Acquire);
            let block = self.head.block.load(Ordering::Acquire);
            if head & MARK != 0 {
                return Take::Shut;
            }
            let offset = head % LAP;
            if offset == BLOCK {
                backoff.snooze();
                continue;
            }
            // ORDERING: Relaxed: a stale tail (L4) only hides what came since; SeqCst below decides.
            let mut tail = self.head.known_other.load(Ordering::Relaxed);
            if (tail.wrapping_sub(head + max as u64) as i64) < 0 {
                // ORDERING: SeqCst: the last look of a receiver before it parks (see `park`).
                let now = self.tail.position.load(Ordering::SeqCst);
                tail = now & !MARK;
                self.head.known_other.store(tail, Ordering::Relaxed);
                if (tail.wrapping_sub(head) as i64) <= 0 {
                    if tail != head {
                        backoff.spin();
                        continue;
                    }
                    return if now & MARK != 0 {
                        Take::Shut
                    } else {
                        Take::Empty
                    };
                }
            }
            let ready = (max as u64).min(BLOCK - offset).min(tail - head);
            let ends_block = offset + ready == BLOCK;
            if self
                .head
                .position
                .compare_exchange_weak(head, head + ready, Ordering::SeqCst, Ordering::Acquire)
                .is_err()
            {
                backoff.spin();
                continue;
            }
            if ends_block {
                self.follow(block);
            }
            // SAFETY: claimed by L2; `block` was the head's while the position was: the exchange proved it.
            unsafe { self.read_slots(block, offset, ready, &mut sink) };
            return Take::Got(ready as usize);
        }
    }

    /// Moves `head` on to the block behind *block*, whose last slot the caller has claimed.
    fn follow(&self, block: *mut Block<T>) {
        // SAFETY: our unread last slot keeps the block alive (L3).
        let next = unsafe { (*block).wait_next() };
        self.head.block.store(next, Ordering::Release);
        // A mark that was set meanwhile stays.
        self.head.position.fetch_add(1, Ordering::Release);
    }

    /// # Safety
    /// The caller claimed these slots of *block* for reading, and has moved `head` on if they end it.
    unsafe fn read_slots(
        &self,
        block: *mut Block<T>,
        offset: u64,
        ready: u64,
        sink: &mut impl FnMut(T),
    ) {
        for at in offset..offset + ready {
            // SAFETY: an unread slot keeps its block alive (L3); claimed by the caller (L2).
            let slot = unsafe { &(*block).slots[at as usize] };
            // SAFETY: as above; each slot is read once.
            sink(unsafe { slot.read() });
            if at + 1 == BLOCK {
                // SAFETY: both ends have left the block: all slots were claimed, `head` moved on.
                unsafe { Block::destroy(block, 0) };
            } else if slot.state.fetch_or(READ, Ordering::AcqRel) & DESTROY != 0 {
                // SAFETY: the destroyer went away at this slot and left the rest to us (L3).
                unsafe { Block::destroy(block, at + 1) };
            }
        }
    }

    /// Whether a receive would not find the list empty.
    pub(crate) fn can_take(&self) -> bool {
        // ORDERING: SeqCst: decides whether a receiver parks.
        let head = self.head.position.load(Ordering::SeqCst);
        let tail = self.tail.position.load(Ordering::SeqCst);
        (head | tail) & MARK != 0 || count(tail) != count(head)
    }

    /// Allows no more sends. True: this call did it.
    pub(crate) fn close(&self) -> bool {
        self.tail.position.fetch_or(MARK, Ordering::SeqCst) & MARK == 0
    }

    /// Allows no more sends and receives, and drops what is inside.
    pub(crate) fn shut(&self) {
        self.close();
        let mut head = self.head.position.fetch_or(MARK, Ordering::SeqCst);
        if head & MARK != 0 {
            return;
        }
        // The mark makes us the only receiver. One who claimed before it may still be moving `head`.
        let mut backoff = Backoff::new();
        while head % LAP == BLOCK {
            backoff.snooze();
            head = self.head.position.load(Ordering::Acquire) & !MARK;
        }
        let mut tail = self.tail.position.load(Ordering::SeqCst) & !MARK;
        while tail % LAP == BLOCK {
            backoff.snooze();
            tail = self.tail.position.load(Ordering::Acquire) & !MARK;
        }
        while head != tail {
            let block = self.head.block.load(Ordering::Acquire);
            let offset = head % LAP;
            let ready = (tail - head).min(BLOCK - offset);
            head += ready;
            // ORDERING: nobody else moves a marked head.
            self.head.position.store(head | MARK, Ordering::Release);
            if offset + ready == BLOCK {
                self.follow(block);
                head += 1;
            }
            // SAFETY: the mark made all that is left ours (L2); `head` was moved on above.
            unsafe { self.read_slots(block, offset, ready, &mut drop) };
        }
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.tail.position.load(Ordering::SeqCst) & MARK != 0
    }

    /// Sent, received and the high-water mark.
    pub(crate) fn counts(&self) -> (u64, u64, u64) {
        let head = self.head.position.load(Ordering::SeqCst);
        let tail = self.tail.position.load(Ordering::SeqCst);
        let (sent, received) = (count(tail), count(head));
        let high_water = self.tail.high_water.load(Ordering::Relaxed);
        (
            sent,
            received,
            high_water.max(sent.saturating_sub(received)),
        )
    }

    /// Messages inside.
    pub(crate) fn len(&self) -> usize {
        let (sent, received, _) = self.counts();
        if self.head.position.load(Ordering::SeqCst) & MARK != 0 {
            return 0;
        }
        sent.saturating_sub(received) as usize
    }
}

impl<T> Drop for List<T> {
    fn drop(&mut self) {
        self.shut();
        let block = self.head.block.load(Ordering::Acquire);
        // SAFETY: we are alone, the list is drained, and this last block is linked from nowhere else.
        drop(unsafe { Box::from_raw(block) });
    }
}
