//! Channel of capacity zero: a message goes from hand to hand, or not at all.
//!
//! Everything happens under one lock: a rendezvous always involves a waiting thread, so the lock costs
//! little beside the sleep.
//!
//! # Invariants
//! - R1: an offer stands in `senders` with its message, a request in `receivers`, from `register` until it
//!   is claimed or withdrawn.
//! - R2: the one who claims a waiting party's waiter completes its operation under the same lock: takes
//!   the offered message out, or lays one into `delivered` under the request's key. So a party that
//!   wakes up claimed finds its operation done, unless the channel was shut.

use crate::channel::{Put, Take};
use crate::park::{Key, Waiter};
use crate::sync::{Arc, Mutex, lock};
use std::collections::VecDeque;
use std::mem::MaybeUninit;

struct Offer<T> {
    key: Key,
    case: u32,
    waiter: Arc<Waiter>,
    message: T,
}

struct Request {
    key: Key,
    case: u32,
    waiter: Arc<Waiter>,
}

struct Inner<T> {
    next_key: u64,
    senders: VecDeque<Offer<T>>,
    receivers: VecDeque<Request>,
    /// Messages for receivers that were claimed and have not woken up yet.
    delivered: Vec<(Key, T)>,
    /// Messages of senders that were woken because the channel was shut: they go back.
    returned: Vec<(Key, T)>,
    shut: bool,
    exchanged: u64,
    received: u64,
}

/// A meeting place of senders and receivers.
pub(crate) struct Rendezvous<T>(Mutex<Inner<T>>);

/// What became of a sender's registration.
pub(crate) enum SendEnd<T> {
    /// A receiver took the message.
    Taken,
    /// Nobody did: the message comes back.
    Back(T),
}

impl<T> Inner<T> {
    fn key(&mut self) -> Key {
        self.next_key += 1;
        Key(self.next_key)
    }
}

impl<T> Rendezvous<T> {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(Inner {
            next_key: 0,
            senders: VecDeque::new(),
            receivers: VecDeque::new(),
            delivered: Vec::new(),
            returned: Vec::new(),
            shut: false,
            exchanged: 0,
            received: 0,
        }))
    }

    /// Hands the message to a waiting receiver, if there is one.
    ///
    /// # Safety
    /// *message* points to a message. After `Done` it was moved out, otherwise it is still there.
    pub(crate) unsafe fn put(&self, message: *const T) -> Put {
        let mut inner = lock(&self.0);
        if inner.shut {
            return Put::Shut;
        }
        while let Some(request) = inner.receivers.pop_front() {
            if request.waiter.claim(request.case) {
                // SAFETY: the caller's message, moved out once: this returns Done.
                inner
                    .delivered
                    .push((request.key, unsafe { message.read() }));
                inner.exchanged += 1;
                drop(inner);
                request.waiter.wake();
                return Put::Done;
            }
        }
        Put::Full
    }

    /// Takes the message of a waiting sender, if there is one, into *place*.
    pub(crate) fn take(&self, place: &mut MaybeUninit<T>) -> Take {
        let mut inner = lock(&self.0);
        while let Some(offer) = inner.senders.pop_front() {
            if offer.waiter.claim(offer.case) {
                inner.exchanged += 1;
                inner.received += 1;
                drop(inner);
                offer.waiter.wake();
                place.write(offer.message);
                return Take::Got(1);
            }
            // Claimed for another of its cases: it will come for its message.
            inner.returned.push((offer.key, offer.message));
        }
        if inner.shut { Take::Shut } else { Take::Empty }
    }

    /// Registers an offer. The flag: somebody else is waiting for it already, or the channel is shut.
    pub(crate) fn register_send(&self, waiter: &Arc<Waiter>, case: u32, message: T) -> (Key, bool) {
        let mut inner = lock(&self.0);
        let key = inner.key();
        let ready = inner.shut || inner.receivers.iter().any(|r| meets(&r.waiter, waiter));
        inner.senders.push_back(Offer {
            key,
            case,
            waiter: waiter.clone(),
            message,
        });
        (key, ready)
    }

    /// Registers a request. The flag: somebody else offers already, or the channel is shut.
    pub(crate) fn register_recv(&self, waiter: &Arc<Waiter>, case: u32) -> (Key, bool) {
        let mut inner = lock(&self.0);
        let key = inner.key();
        let ready = inner.shut || inner.senders.iter().any(|s| meets(&s.waiter, waiter));
        inner.receivers.push_back(Request {
            key,
            case,
            waiter: waiter.clone(),
        });
        (key, ready)
    }

    /// Ends a sender's registration and tells what became of its message.
    pub(crate) fn withdraw_send(&self, key: Key) -> SendEnd<T> {
        let mut inner = lock(&self.0);
        if let Some(at) = inner.senders.iter().position(|offer| offer.key == key)
            && let Some(offer) = inner.senders.remove(at)
        {
            return SendEnd::Back(offer.message);
        }
        match inner.returned.iter().position(|(k, _)| *k == key) {
            Some(at) => SendEnd::Back(inner.returned.swap_remove(at).1),
            None => SendEnd::Taken,
        }
    }

    /// Ends a receiver's registration; the message if one was delivered.
    pub(crate) fn withdraw_recv(&self, key: Key) -> Option<T> {
        let mut inner = lock(&self.0);
        inner.receivers.retain(|request| request.key != key);
        let at = inner.delivered.iter().position(|(k, _)| *k == key)?;
        inner.received += 1;
        Some(inner.delivered.swap_remove(at).1)
    }

    /// Whether a receive would find a sender, or the channel shut.
    pub(crate) fn is_shut(&self) -> bool {
        lock(&self.0).shut
    }

    /// Ends all waits; nothing is exchanged from now on. True: this call did it.
    pub(crate) fn shut(&self) -> bool {
        let mut woken = Vec::new();
        {
            let mut inner = lock(&self.0);
            if inner.shut {
                return false;
            }
            inner.shut = true;
            while let Some(offer) = inner.senders.pop_front() {
                if offer.waiter.claim(offer.case) {
                    woken.push(offer.waiter);
                }
                inner.returned.push((offer.key, offer.message));
            }
            while let Some(request) = inner.receivers.pop_front() {
                if request.waiter.claim(request.case) {
                    woken.push(request.waiter);
                }
            }
        }
        for waiter in woken {
            waiter.wake();
        }
        true
    }

    /// Sent and received. A message that was delivered and not yet picked up counts as sent only.
    pub(crate) fn counts(&self) -> (u64, u64) {
        let inner = lock(&self.0);
        (inner.exchanged, inner.received)
    }

    /// Waiting senders and receivers.
    pub(crate) fn blocked(&self) -> (usize, usize) {
        let inner = lock(&self.0);
        (inner.senders.len(), inner.receivers.len())
    }
}

/// Whether two registrations belong to different operations of which the other still waits.
fn meets(other: &Arc<Waiter>, own: &Arc<Waiter>) -> bool {
    !Arc::ptr_eq(other, own) && other.is_waiting()
}
