//! The one door to atomics, locks and cells: std's in a normal build, loom's under `--cfg loom`.

#[cfg(loom)]
pub(crate) use loom::{
    cell::UnsafeCell,
    sync::{Arc, Condvar, Mutex, MutexGuard, atomic},
};
#[cfg(not(loom))]
pub(crate) use std::sync::{Arc, Mutex, MutexGuard, atomic};

#[cfg(not(loom))]
pub(crate) use self::cell::UnsafeCell;

/// Loom's cell interface over std's cell, so that loom can see each access.
#[cfg(not(loom))]
mod cell {
    pub(crate) struct UnsafeCell<T>(std::cell::UnsafeCell<T>);

    impl<T> UnsafeCell<T> {
        pub(crate) const fn new(value: T) -> Self {
            Self(std::cell::UnsafeCell::new(value))
        }

        #[inline(always)]
        pub(crate) fn with_mut<R>(&self, access: impl FnOnce(*mut T) -> R) -> R {
            access(self.0.get())
        }
    }
}

/// Locks, and goes on when another thread panicked while it held the lock: no lock of this crate
/// guards a state that a panic can leave half changed.
#[inline]
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    match mutex.lock() {
        Ok(guard) => guard,
        Err(poisoned) => poisoned.into_inner(),
    }
}

/// Orders an earlier SeqCst read-modify-write before a later SeqCst load.
///
/// The memory model gives that order without help (both take part in the single total order), so a
/// normal build emits nothing. Loom treats SeqCst accesses as AcqRel and needs the fence spelled out.
#[inline(always)]
pub(crate) fn order_rmw_before_load() {
    #[cfg(loom)]
    atomic::fence(atomic::Ordering::SeqCst);
}

/// Waits for another thread that is in the middle of a few instructions: it has claimed a slot and
/// is about to publish or release it. Spins first, then offers the core to the scheduler, because
/// that thread may have been preempted right there.
pub(crate) struct Backoff {
    round: u32,
}

impl Backoff {
    const SPIN_ROUNDS: u32 = 6;

    pub(crate) fn new() -> Self {
        Self { round: 0 }
    }

    /// After a lost race: somebody else made progress.
    #[inline]
    pub(crate) fn spin(&mut self) {
        #[cfg(loom)]
        loom::thread::yield_now();
        #[cfg(not(loom))]
        for _ in 0..1u32 << self.round.min(Self::SPIN_ROUNDS) {
            std::hint::spin_loop();
        }
        self.round += 1;
    }

    /// While another thread finishes what it has claimed.
    #[inline]
    pub(crate) fn snooze(&mut self) {
        if self.round <= Self::SPIN_ROUNDS {
            self.spin();
        } else {
            #[cfg(loom)]
            loom::thread::yield_now();
            #[cfg(not(loom))]
            std::thread::yield_now();
        }
    }
}

/// Keeps a value on cache lines of its own (two lines, since CPUs prefetch lines in pairs).
#[repr(align(128))]
pub(crate) struct Padded<T>(pub(crate) T);

impl<T> std::ops::Deref for Padded<T> {
    type Target = T;

    #[inline(always)]
    fn deref(&self) -> &T {
        &self.0
    }
}
