//! What an event loop listens to: a descriptor that is readable while there is something to look at.
//!
//! Each asynchronous wait of a loop has a number. When one can go on, its number is put on the loop's list, and the
//! descriptor (an eventfd) becomes readable if it was not. So a loop has one descriptor however many waits it has, and a
//! burst of wake-ups costs one system call.
//!
//! # Invariants
//! - C1: under the lock: while the list is not empty, the descriptor is readable. [`Chime::ring`] writes when it puts the
//!   first number on the list; only [`Chime::take`] reads, when it takes the last one off. So no wake-up is lost: a loop that
//!   sleeps until the descriptor is readable sleeps only while the list is empty.
//! - C2: a readable descriptor with an empty list does happen (a forked child shares it), and means nothing.
//!
//! Nothing here blocks: the descriptor is non-blocking, and no count comes near an eventfd's limit, since only the first
//! number of a list is written.

use crate::park::Wake;
use crate::sync::{Arc, Mutex, lock};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

/// The list and the descriptor of one event loop. Clones share it.
#[derive(Clone)]
pub struct Chime(Arc<Mutex<Inner>>);

struct Inner {
    /// `None`: the loop has closed; nobody listens any more.
    descriptor: Option<OwnedFd>,
    rung: Vec<u64>,
}

impl Chime {
    /// Makes the descriptor; it is non-blocking and closed on exec.
    pub fn new() -> io::Result<Self> {
        // SAFETY: no pointers.
        let descriptor = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        if descriptor < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: open, and nobody else's.
        let descriptor = unsafe { OwnedFd::from_raw_fd(descriptor) };
        Ok(Self(Arc::new(Mutex::new(Inner {
            descriptor: Some(descriptor),
            rung: Vec::new(),
        }))))
    }

    /// What to listen to; `None` after [`Self::close`].
    #[must_use]
    pub fn descriptor(&self) -> Option<RawFd> {
        lock(&self.0).descriptor.as_ref().map(AsRawFd::as_raw_fd)
    }

    /// Puts *number* on the list and wakes the loop. From any thread; never blocks.
    pub fn ring(&self, number: u64) {
        let mut inner = lock(&self.0);
        let Some(descriptor) = &inner.descriptor else {
            return;
        };
        if inner.rung.is_empty() {
            let one = 1_u64;
            // SAFETY: an open descriptor, and the eight bytes of `one`.
            unsafe {
                libc::write(descriptor.as_raw_fd(), std::ptr::from_ref(&one).cast(), 8);
            }
        }
        inner.rung.push(number);
    }

    /// Takes up to *most* numbers off the list, the oldest first.
    #[must_use]
    pub fn take(&self, most: usize) -> Vec<u64> {
        let mut inner = lock(&self.0);
        let taken = most.min(inner.rung.len());
        let numbers = inner.rung.drain(..taken).collect();
        if inner.rung.is_empty()
            && let Some(descriptor) = &inner.descriptor
        {
            let mut count = 0_u64;
            // SAFETY: an open descriptor, and room for eight bytes.
            unsafe {
                libc::read(
                    descriptor.as_raw_fd(),
                    std::ptr::from_mut(&mut count).cast(),
                    8,
                );
            }
        }
        numbers
    }

    /// Closes the descriptor; who rings later rings for nobody.
    pub fn close(&self) {
        let mut inner = lock(&self.0);
        inner.descriptor = None;
        inner.rung = Vec::new();
    }

    /// What puts *number* on the list, for a waiter.
    #[must_use]
    pub fn wake(&self, number: u64) -> Wake {
        let chime = self.clone();
        std::sync::Arc::new(move || chime.ring(number))
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn is_readable(chime: &Chime) -> bool {
        let mut poll = libc::pollfd {
            fd: chime.descriptor().unwrap(),
            events: libc::POLLIN,
            revents: 0,
        };
        // SAFETY: one valid pollfd.
        unsafe { libc::poll(&mut poll, 1, 0) == 1 }
    }

    #[test]
    fn the_descriptor_is_readable_as_long_as_there_is_something_on_the_list() {
        let chime = Chime::new().unwrap();
        assert!(!is_readable(&chime));
        for number in [3, 1, 2] {
            chime.ring(number);
        }
        assert!(is_readable(&chime));
        assert_eq!(chime.take(2), [3, 1]);
        assert!(is_readable(&chime));
        assert_eq!(chime.take(2), [2]);
        assert!(!is_readable(&chime));
        assert_eq!(chime.take(2), []);
    }

    #[test]
    fn every_number_that_was_rung_by_other_threads_is_taken_by_one_that_sleeps_on_the_descriptor() {
        const EACH: u64 = 5_000;
        let chime = Chime::new().unwrap();
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let chime = chime.clone();
                scope.spawn(move || {
                    for number in 0..EACH {
                        chime.ring(thread * EACH + number);
                    }
                });
            }
            let mut heard = Vec::new();
            while heard.len() < 4 * EACH as usize {
                let mut poll = libc::pollfd {
                    fd: chime.descriptor().unwrap(),
                    events: libc::POLLIN,
                    revents: 0,
                };
                // SAFETY: one valid pollfd.
                let ready = unsafe { libc::poll(&mut poll, 1, 60_000) };
                assert_eq!(ready, 1, "a wake-up was lost after {} numbers", heard.len());
                heard.extend(chime.take(100));
            }
            heard.sort_unstable();
            assert!(heard.into_iter().eq(0..4 * EACH));
        });
    }

    #[test]
    fn a_closed_chime_rings_for_nobody() {
        let chime = Chime::new().unwrap();
        chime.ring(1);
        chime.close();
        chime.ring(2);
        assert_eq!(chime.descriptor(), None);
        assert_eq!(chime.take(5), []);
    }
}
