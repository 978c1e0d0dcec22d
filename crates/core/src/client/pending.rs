//! What an event loop uses, on the client's side of the table: waits without a thread.

use crate::abi::pending::RawChosen;
use crate::abi::{RawCase, Status};
use crate::client::{Case, Engine, Interrupt, Message, Op, Outcome, Selected};
use std::ffi::c_void;
use std::io;
use std::mem::{ManuallyDrop, MaybeUninit};

/// The descriptor of one event loop, and the numbers of its waits that may go on. Dropping it closes the descriptor.
pub struct Chime {
    engine: Engine,
    raw: *const c_void,
}

// SAFETY: a lock-protected list and a descriptor; the table's functions are thread-safe.
unsafe impl Send for Chime {}
// SAFETY: as above.
unsafe impl Sync for Chime {}

impl Chime {
    /// Makes the descriptor.
    pub fn new(engine: Engine) -> io::Result<Self> {
        let mut error = 0;
        // SAFETY: a place for the error number.
        let raw = unsafe { (engine.table.pending.chime_new)(&mut error) };
        if raw.is_null() {
            return Err(io::Error::from_raw_os_error(error));
        }
        Ok(Self { engine, raw })
    }

    /// Readable while a number is on the list.
    #[must_use]
    pub fn descriptor(&self) -> i32 {
        // SAFETY: D1: ours.
        unsafe { (self.engine.table.pending.chime_descriptor)(self.raw) }
    }

    /// Takes up to `room.len()` numbers off the list; returns how many.
    pub fn take(&self, room: &mut [u64]) -> usize {
        // SAFETY: D1: ours; as much room as told.
        unsafe { (self.engine.table.pending.chime_take)(self.raw, room.as_mut_ptr(), room.len()) }
    }

    /// Tries the cases; if none is ready, leaves them waiting, and *number* goes on the list whenever
    /// [`Pending::finish`] should be called. Messages that are not sent in the end are dropped.
    pub fn begin(&self, number: u64, cases: Vec<Case<'_>>) -> Begun {
        let receives = cases.iter().map(|case| matches!(case.op, Op::Recv));
        let receives: Vec<bool> = receives.collect();
        let mut messages: Vec<ManuallyDrop<Message>> = Vec::with_capacity(cases.len());
        let mut raw: Vec<RawCase> = Vec::with_capacity(cases.len());
        for case in cases {
            let message = match case.op {
                Op::Recv => std::ptr::null_mut(),
                Op::Send(message) => {
                    messages.push(ManuallyDrop::new(message));
                    // Within the capacity that it was made with, a vector does not move.
                    messages
                        .last_mut()
                        .map_or(std::ptr::null_mut(), |message| &raw mut **message)
                }
            };
            raw.push(RawCase {
                channel: case.end.raw(),
                message,
            });
        }
        Begun::after(self.engine, receives, |chosen| {
            // SAFETY: D1: ours; A2: the ends are borrowed, and the engine takes holds of its own; A3: the messages are the
            // engine's from here on.
            unsafe {
                (self.engine.table.pending.begin)(
                    self.raw,
                    number,
                    raw.as_mut_ptr(),
                    raw.len(),
                    chosen,
                )
            }
        })
    }

    /// Puts *number* on the list once when the interrupt is raised; at once if it is.
    #[must_use]
    pub fn watch(&self, interrupt: &Interrupt, number: u64) -> Watch {
        // SAFETY: D1: ours; A4: borrowed.
        let raw =
            unsafe { (self.engine.table.pending.watch)(interrupt.as_raw(), self.raw, number) };
        Watch {
            engine: self.engine,
            raw,
        }
    }
}

impl Drop for Chime {
    fn drop(&mut self) {
        // SAFETY: D1: ours, given back once.
        unsafe { (self.engine.table.pending.chime_release)(self.raw) }
    }
}

/// A select that was begun, or went on.
pub enum Begun {
    /// One case took effect, or its channel is closed or poisoned.
    Chosen(Selected),
    /// None was ready.
    Waits(Pending),
}

impl Begun {
    /// Gives `call` a place for the chosen case, and reads what it says: null for a case, else what waits.
    fn after(
        engine: Engine,
        receives: Vec<bool>,
        call: impl FnOnce(*mut RawChosen) -> *mut c_void,
    ) -> Self {
        let mut received = MaybeUninit::uninit();
        let mut chosen = RawChosen::with_room(received.as_mut_ptr());
        let raw = call(&mut chosen);
        if raw.is_null() {
            return Self::Chosen(selected(&chosen, &receives, received));
        }
        Self::Waits(Pending {
            engine,
            raw,
            receives,
        })
    }
}

/// A select that waits without a thread. Dropping it withdraws it, and loses what a rendezvous handed over meanwhile.
pub struct Pending {
    engine: Engine,
    raw: *mut c_void,
    /// Which cases are receives.
    receives: Vec<bool>,
}

// SAFETY: what is behind the pointer is used by one thread at a time (`self` by value), and the channels are thread-safe.
unsafe impl Send for Pending {}

impl Pending {
    /// What came of it after its number was on the list. It may wait on: somebody else was faster.
    #[must_use]
    pub fn finish(self) -> Begun {
        let engine = self.engine;
        let (raw, receives) = self.into_parts();
        // SAFETY: D2: given up.
        Begun::after(engine, receives, |chosen| unsafe {
            (engine.table.pending.finish)(raw, chosen)
        })
    }

    /// Stops waiting. A case is given only if the other side of a rendezvous has completed it meanwhile.
    pub fn cancel(self) -> Option<Selected> {
        let engine = self.engine;
        let (raw, receives) = self.into_parts();
        let mut received = MaybeUninit::uninit();
        let mut chosen = RawChosen::with_room(received.as_mut_ptr());
        // SAFETY: D2: given up.
        let done = unsafe { (engine.table.pending.cancel)(raw, &mut chosen) };
        done.then(|| selected(&chosen, &receives, received))
    }

    fn into_parts(self) -> (*mut c_void, Vec<bool>) {
        let mut this = ManuallyDrop::new(self);
        (this.raw, std::mem::take(&mut this.receives))
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        let mut received = MaybeUninit::uninit();
        let mut chosen = RawChosen::with_room(received.as_mut_ptr());
        // SAFETY: D2: ours, and not used again.
        if unsafe { (self.engine.table.pending.cancel)(self.raw, &mut chosen) } {
            drop(selected(&chosen, &self.receives, received));
        }
    }
}

/// Reads what the engine wrote about the chosen case.
fn selected(chosen: &RawChosen, receives: &[bool], received: MaybeUninit<Message>) -> Selected {
    let outcome = match chosen.status {
        Status::Done if receives[chosen.index] => {
            // SAFETY: A3: a receive that is done has written its message.
            Outcome::Received(unsafe { received.assume_init() })
        }
        Status::CasePoisoned | Status::Poisoned => Outcome::Poisoned,
        Status::CaseClosed | Status::Closed => Outcome::Closed,
        Status::Done | Status::NotNow | Status::TimedOut | Status::Interrupted => Outcome::Sent,
    };
    Selected {
        index: chosen.index,
        outcome,
    }
}

/// Somebody who wants to be told of an interruption without waiting for it. Dropping it ends that.
pub struct Watch {
    engine: Engine,
    raw: *mut c_void,
}

// SAFETY: a registration behind locks; it is only dropped.
unsafe impl Send for Watch {}
// SAFETY: as above.
unsafe impl Sync for Watch {}

impl Drop for Watch {
    fn drop(&mut self) {
        // SAFETY: D3: ours, given back once.
        unsafe { (self.engine.table.pending.unwatch)(self.raw) }
    }
}
