//! The engine's end inside a Python object, which may be given up while another thread uses it.
//!
//! # Invariants
//! - **H1**: `uses` counts the live [`InUse`] guards (times two) beside two flags: given up, and dropped.
//! - **H2**: the end is dropped exactly once: by whoever turns "given up, no uses" into "given up, dropped", or with the object.
//!
//! On a build with a GIL all of this happens while attached, so plain loads and stores count; without one, atomic additions do.

use std::cell::UnsafeCell;
use std::mem::ManuallyDrop;
use std::ops::Deref;
use std::sync::atomic::{AtomicUsize, Ordering};

use atoll_core::client::{End, Role};
use atoll_py::FREE_THREADED;

const GIVEN_UP: usize = 1;
const DROPPED: usize = 2;
const USE: usize = 4;

/// An end that can be given up before its object goes.
pub(crate) struct Held {
    uses: AtomicUsize,
    /// The channel's number and what the end may do: known also after it was given up.
    pub(super) identity: (u64, Role),
    end: UnsafeCell<ManuallyDrop<End>>,
}

// SAFETY: `end` is only read (an `End` is Sync) until it is dropped, once (H2), when no guard is left.
unsafe impl Sync for Held {}

/// The end, kept from being dropped.
pub(crate) struct InUse<'a>(&'a Held);

impl Held {
    pub(crate) fn new(end: End) -> Held {
        Held {
            uses: AtomicUsize::new(0),
            identity: (end.channel_id(), end.role()),
            end: UnsafeCell::new(ManuallyDrop::new(end)),
        }
    }

    /// The end, unless it was given up. Needs: attached.
    #[inline(always)]
    pub(crate) fn enter(&self) -> Option<InUse<'_>> {
        let before = self.add(USE);
        if before & GIVEN_UP != 0 {
            self.leave();
            return None;
        }
        Some(InUse(self))
    }

    /// Gives the end up: at once, or when the verbs that use it now are done. Idempotent. Needs: attached.
    pub(crate) fn give_up(&self) {
        // ORDERING: AcqRel as in `leave`, whose decision this joins.
        let before = self.uses.fetch_or(GIVEN_UP, Ordering::AcqRel);
        if before == 0 {
            self.drop_end();
        }
    }

    #[inline(always)]
    fn leave(&self) {
        let now = self.add(USE.wrapping_neg()).wrapping_sub(USE);
        if now == GIVEN_UP {
            self.drop_end();
        }
    }

    /// Adds to `uses`, and returns what it was.
    #[inline(always)]
    fn add(&self, change: usize) -> usize {
        if FREE_THREADED {
            // ORDERING: AcqRel: whoever drops the end has seen all uses end, and no use begins after that.
            return self.uses.fetch_add(change, Ordering::AcqRel);
        }
        // ORDERING: Relaxed: the GIL orders everything.
        let before = self.uses.load(Ordering::Relaxed);
        self.uses
            .store(before.wrapping_add(change), Ordering::Relaxed);
        before
    }

    #[cold]
    fn drop_end(&self) {
        // ORDERING: AcqRel as in `leave`; a guard that came and went meanwhile tries the same, one of both wins (H2).
        let won = self.uses.compare_exchange(
            GIVEN_UP,
            GIVEN_UP | DROPPED,
            Ordering::AcqRel,
            Ordering::Relaxed,
        );
        if won.is_ok() {
            // SAFETY: H2: won, so no guard is left and nobody drops it again.
            unsafe { ManuallyDrop::drop(&mut *self.end.get()) };
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if *self.uses.get_mut() & DROPPED == 0 {
            // SAFETY: H2: not dropped so far, and `self` is going.
            unsafe { ManuallyDrop::drop(self.end.get_mut()) };
        }
    }
}

impl InUse<'_> {
    /// The same, for longer than the borrow of its object.
    ///
    /// # Safety
    /// The object lives until the result is dropped.
    pub(crate) unsafe fn outliving(self) -> InUse<'static> {
        let held = std::ptr::from_ref(self.0);
        std::mem::forget(self);
        // SAFETY: by the caller.
        InUse(unsafe { &*held })
    }
}

impl Deref for InUse<'_> {
    type Target = End;

    #[inline(always)]
    fn deref(&self) -> &End {
        // SAFETY: H1: this guard counts as a use, so the end is not dropped before it.
        unsafe { &*self.0.end.get() }
    }
}

impl Drop for InUse<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        self.0.leave();
    }
}
