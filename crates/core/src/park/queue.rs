//! The waiters of one side of a channel, first come, first served.

use crate::park::Waiter;
use crate::sync::atomic::{AtomicUsize, Ordering};
use crate::sync::{Arc, Mutex, lock};
use std::collections::VecDeque;

/// Names one registration in one queue.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) struct Key(pub(crate) u64);

struct Entry {
    key: Key,
    case: u32,
    waiter: Arc<Waiter>,
}

struct Entries {
    next_key: u64,
    waiting: VecDeque<Entry>,
}

/// A queue of waiters with a length that the fast path may read without the lock.
///
/// # Protocol
/// The waiting side registers (store of `len`), then looks at the channel. The changing side changes
/// the channel (SeqCst read-modify-write), then reads `len`. Both pairs are SeqCst, so at least one
/// sees the other: either the waiter finds the channel ready, or the changer finds the waiter.
pub(crate) struct WaitQueue {
    len: AtomicUsize,
    entries: Mutex<Entries>,
}

impl WaitQueue {
    pub(crate) fn new() -> Self {
        Self {
            len: AtomicUsize::new(0),
            entries: Mutex::new(Entries {
                next_key: 0,
                waiting: VecDeque::new(),
            }),
        }
    }

    /// How many wait here.
    pub(crate) fn len(&self) -> usize {
        self.len.load(Ordering::Relaxed)
    }

    /// Puts *waiter* at the end of the queue. The caller looks at the channel afterwards.
    pub(crate) fn register(&self, waiter: &Arc<Waiter>, case: u32) -> Key {
        let key = {
            let mut entries = lock(&self.entries);
            let key = Key(entries.next_key);
            entries.next_key += 1;
            entries.waiting.push_back(Entry {
                key,
                case,
                waiter: waiter.clone(),
            });
            // ORDERING: SeqCst, see Protocol. A swap, so that loom's fence has a write to order.
            self.len.swap(entries.waiting.len(), Ordering::SeqCst);
            key
        };
        crate::sync::order_rmw_before_load();
        key
    }

    /// Takes a registration back. After this nobody claims the waiter through it (W2).
    pub(crate) fn withdraw(&self, key: Key) {
        let mut entries = lock(&self.entries);
        if let Some(at) = entries.waiting.iter().position(|entry| entry.key == key) {
            entries.waiting.remove(at);
            self.len.store(entries.waiting.len(), Ordering::SeqCst);
        }
    }

    /// Wakes up to *count* waiters. To be called after the change that they wait for.
    #[inline]
    pub(crate) fn notify(&self, count: usize) {
        crate::sync::order_rmw_before_load();
        // ORDERING: SeqCst, see Protocol.
        if self.len.load(Ordering::SeqCst) != 0 {
            self.wake(count);
        }
    }

    /// Wakes everybody, after a change that concerns all (closing).
    pub(crate) fn notify_all(&self) {
        self.notify(usize::MAX);
    }

    #[cold]
    fn wake(&self, count: usize) {
        let mut left = count;
        while left > 0 {
            let mut claimed = Vec::new();
            {
                let mut entries = lock(&self.entries);
                // In rounds of 16: a wake-up takes time, and the lock should not be held for all.
                while claimed.len() < left.min(16) {
                    let Some(entry) = entries.waiting.pop_front() else {
                        break;
                    };
                    if entry.waiter.claim(entry.case) {
                        claimed.push(entry.waiter);
                    }
                }
                self.len.store(entries.waiting.len(), Ordering::SeqCst);
            }
            if claimed.is_empty() {
                return;
            }
            left -= claimed.len();
            for waiter in claimed {
                waiter.wake();
            }
        }
    }
}
