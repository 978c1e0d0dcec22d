//! A run of messages on its way into a channel.

use std::marker::PhantomData;
use std::mem::MaybeUninit;

/// Messages in a row, moved out from the front as the channel takes them.
///
/// Whoever made the batch keeps the messages that are left: see [`Batch::taken`].
pub struct Batch<'a, T> {
    first: *mut T,
    taken: usize,
    total: usize,
    memory: PhantomData<&'a mut [T]>,
}

impl<T> Batch<'_, T> {
    /// # Safety
    /// *first* points to *total* initialised messages that outlive the batch. The first
    /// [`Self::taken`] of them have been moved out afterwards, and must not be used or dropped.
    pub unsafe fn from_raw(first: *mut T, total: usize) -> Self {
        Self {
            first,
            taken: 0,
            total,
            memory: PhantomData,
        }
    }

    /// Messages left.
    pub fn len(&self) -> usize {
        self.total - self.taken
    }

    /// Whether all were taken.
    pub fn is_empty(&self) -> bool {
        self.taken == self.total
    }

    /// How many messages were moved out.
    pub fn taken(&self) -> usize {
        self.taken
    }

    /// Moves the next message out.
    #[inline(always)]
    pub(crate) fn next(&mut self) -> MaybeUninit<T> {
        assert!(self.taken < self.total, "a batch gives no more than it has");
        // SAFETY: below `total`, so initialised and in bounds by `from_raw`; `taken` moves on, so each
        // message is read once.
        let message = unsafe { self.first.add(self.taken).cast::<MaybeUninit<T>>().read() };
        self.taken += 1;
        message
    }

    /// Where the next message is.
    pub(crate) fn front(&self) -> *mut T {
        assert!(self.taken < self.total, "an empty batch has no front");
        // SAFETY: below `total`, so in bounds by `from_raw`.
        unsafe { self.first.add(self.taken) }
    }

    /// Counts the front message as moved out: it was sent from its place.
    pub(crate) fn skip_sent(&mut self) {
        self.taken += 1;
    }
}
