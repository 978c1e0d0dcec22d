//! A bell to sleep by: a pipe that the engine and foreign signal handlers both may write to.
//!
//! A signal may be handled on any thread of the process. A thread that must notice it (the main
//! thread of the main interpreter) sleeps on a pipe whose writing end it also gives to the language
//! runtime as the signal wake-up descriptor: whatever arrives between its last look at pending
//! signals and its sleep is still in the pipe, so nothing is lost.

use crate::clock::Deadline;
use crate::sync::{Arc, Mutex, lock};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

/// The byte that the engine writes; signal handlers write the signal's number, which is never zero.
const OWN_RING: u8 = 0;

/// A pipe used as a bell. Clones share it. One thread sleeps on it at a time.
#[derive(Clone)]
pub struct Bell(Arc<Inner>);

struct Inner {
    read: OwnedFd,
    write: OwnedFd,
    signals: Mutex<Vec<u8>>,
}

impl Bell {
    /// Makes the pipe; both ends are non-blocking and closed on exec.
    pub fn new() -> io::Result<Self> {
        let mut ends: [RawFd; 2] = [0; 2];
        // SAFETY: `ends` has room for the two descriptors that pipe2 writes.
        if unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC | libc::O_NONBLOCK) } != 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: pipe2 succeeded, so both are open descriptors that nobody else owns.
        let (read, write) =
            unsafe { (OwnedFd::from_raw_fd(ends[0]), OwnedFd::from_raw_fd(ends[1])) };
        Ok(Self(Arc::new(Inner {
            read,
            write,
            signals: Mutex::new(Vec::new()),
        })))
    }

    /// Where a signal handler writes the number of its signal, one byte.
    #[must_use]
    pub fn write_fd(&self) -> RawFd {
        self.0.write.as_raw_fd()
    }

    /// The oldest signals that rang and were not taken yet, at most *max*, in order.
    #[must_use]
    pub fn take_signals(&self, max: usize) -> Vec<u8> {
        self.drain();
        let mut signals = lock(&self.0.signals);
        let taken = max.min(signals.len());
        signals.drain(..taken).collect()
    }

    pub(crate) fn has_signals(&self) -> bool {
        !lock(&self.0.signals).is_empty()
    }

    /// Wakes the sleeper. A full pipe is fine: then there is enough in it to wake it.
    pub(crate) fn ring(&self) {
        // SAFETY: the descriptor is open as long as `self`; one byte is read from a constant.
        unsafe {
            libc::write(self.write_fd(), std::ptr::from_ref(&OWN_RING).cast(), 1);
        }
    }

    /// Sleeps until somebody rings. True: the deadline has passed. May return early.
    pub(crate) fn sleep(&self, deadline: Deadline) -> bool {
        let mut poll = libc::pollfd {
            fd: self.0.read.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        };
        let timeout = match deadline.remaining() {
            None => -1,
            // Rounded up: waking early would turn the rest of the wait into a busy loop.
            Some(left) => i32::try_from(left.as_nanos().div_ceil(1_000_000)).unwrap_or(i32::MAX),
        };
        // SAFETY: one valid pollfd.
        let ready = unsafe { libc::poll(&mut poll, 1, timeout) };
        if ready > 0 {
            self.drain();
        }
        ready == 0 && deadline.has_passed()
    }

    /// Empties the pipe and keeps what signal handlers wrote.
    fn drain(&self) {
        let mut bytes = [0u8; 64];
        loop {
            // SAFETY: the buffer is as long as told.
            let got = unsafe {
                libc::read(
                    self.0.read.as_raw_fd(),
                    bytes.as_mut_ptr().cast(),
                    bytes.len(),
                )
            };
            let Ok(got) = usize::try_from(got) else {
                return;
            };
            if got == 0 {
                return;
            }
            let foreign = bytes[..got].iter().copied().filter(|&b| b != OWN_RING);
            lock(&self.0.signals).extend(foreign);
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn own_rings_wake_but_are_no_signals() {
        let bell = Bell::new().unwrap();
        bell.ring();
        assert!(!bell.sleep(Deadline::NEVER));
        assert!(!bell.has_signals());
        assert!(bell.take_signals(8).is_empty());
    }

    #[test]
    fn foreign_bytes_are_kept_in_order() {
        let bell = Bell::new().unwrap();
        for signal in [2u8, 15, 10] {
            // SAFETY: an open descriptor and one byte.
            unsafe { libc::write(bell.write_fd(), std::ptr::from_ref(&signal).cast(), 1) };
        }
        bell.ring();
        assert!(!bell.sleep(Deadline::NEVER));
        assert_eq!(bell.take_signals(8), [2, 15, 10]);
        assert!(bell.take_signals(8).is_empty());
    }

    #[test]
    fn a_silent_bell_lets_the_deadline_pass() {
        let bell = Bell::new().unwrap();
        assert!(bell.sleep(Deadline::after_seconds(0.001)));
    }
}
