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

    /// Puts the message that was moved out last back to the front.
    pub(crate) fn put_back(&mut self, message: T) {
        assert!(self.taken > 0, "only a message that was taken comes back");
        self.taken -= 1;
        // SAFETY: `taken` was below `total`, and that place was moved out of: it is free to write.
        unsafe { self.first.add(self.taken).write(message) };
    }
}
