//! Sleeping on a 32-bit word: the futex on Linux, a lock and a condition elsewhere and under loom.

#[cfg(all(target_os = "linux", not(loom)))]
pub(crate) use linux::Sleeper;
#[cfg(not(all(target_os = "linux", not(loom))))]
pub(crate) use portable::Sleeper;

#[cfg(all(target_os = "linux", not(loom)))]
mod linux {
    use crate::clock::Deadline;
    use std::sync::atomic::AtomicU32;

    /// The sleeping side of one waiter. The kernel keeps the queue: nothing is stored here.
    pub(crate) struct Sleeper;

    impl Sleeper {
        pub(crate) fn new() -> Self {
            Self
        }

        /// Sleeps while `*word == expected`. True: the deadline has passed. May return early.
        pub(crate) fn sleep(&self, word: &AtomicU32, expected: u32, deadline: Deadline) -> bool {
            let timeout = deadline.to_timespec();
            let timeout_pointer = timeout
                .as_ref()
                .map_or(std::ptr::null(), std::ptr::from_ref);
            // SAFETY: the word and the timeout live on while the call lasts; FUTEX_WAIT_BITSET takes
            // an absolute CLOCK_MONOTONIC time and only reads both.
            let result = unsafe {
                libc::syscall(
                    libc::SYS_futex,
                    word.as_ptr(),
                    libc::FUTEX_WAIT_BITSET | libc::FUTEX_PRIVATE_FLAG,
                    expected,
                    timeout_pointer,
                    std::ptr::null::<u32>(),
                    libc::FUTEX_BITSET_MATCH_ANY,
                )
            };
            // EINTR (a signal on this thread) and EAGAIN (the word moved) mean: look again.
            result == -1 && std::io::Error::last_os_error().raw_os_error() == Some(libc::ETIMEDOUT)
        }

        /// Wakes the one thread that may sleep on the word.
        pub(crate) fn wake(&self, word: &AtomicU32) {
            // SAFETY: FUTEX_WAKE uses the word's address only as a key.
            unsafe {
                libc::syscall(
                    libc::SYS_futex,
                    word.as_ptr(),
                    libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG,
                    1,
                );
            }
        }
    }
}

#[cfg(not(all(target_os = "linux", not(loom))))]
mod portable {
    use crate::clock::Deadline;
    #[cfg(loom)]
    use crate::sync::Condvar;
    use crate::sync::atomic::{AtomicU32, Ordering};
    use crate::sync::{Mutex, lock};
    #[cfg(not(loom))]
    use std::sync::Condvar;

    /// The sleeping side of one waiter.
    pub(crate) struct Sleeper {
        gate: Mutex<()>,
        moved: Condvar,
    }

    impl Sleeper {
        pub(crate) fn new() -> Self {
            Self {
                gate: Mutex::new(()),
                moved: Condvar::new(),
            }
        }

        /// Sleeps while `*word == expected`. True: the deadline has passed. May return early.
        pub(crate) fn sleep(&self, word: &AtomicU32, expected: u32, deadline: Deadline) -> bool {
            let guard = lock(&self.gate);
            // The waker takes the gate after it moved the word, so it cannot slip in between this
            // look and the wait.
            if word.load(Ordering::Acquire) != expected {
                return false;
            }
            #[cfg(not(loom))]
            if let Some(left) = deadline.remaining() {
                return match self.moved.wait_timeout(guard, left) {
                    Ok((_, timeout)) => timeout.timed_out(),
                    Err(_) => false,
                };
            }
            #[cfg(loom)]
            assert!(deadline.is_never(), "loom has no clock");
            drop(self.moved.wait(guard));
            false
        }

        /// Wakes the one thread that may sleep on the word.
        pub(crate) fn wake(&self, _word: &AtomicU32) {
            drop(lock(&self.gate));
            self.moved.notify_one();
        }
    }
}
