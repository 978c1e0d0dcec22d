//! Waits, interrupts and bells on the client's side of the table.

use crate::abi::RawWait;
use crate::client::{Deadline, Engine};
use std::ffi::c_void;
use std::io;

/// How long a blocking operation waits and what may end it early.
#[derive(Copy, Clone)]
pub struct Wait<'a> {
    /// When it gives up. Absolute: keep the wait to resume after an interruption.
    pub deadline: Deadline,
    /// What ends it from outside.
    pub interrupt: Option<&'a Interrupt>,
    /// What to sleep on instead of the futex.
    pub bell: Option<&'a Bell>,
}

impl Wait<'static> {
    /// Wait for ever, with nothing that could interrupt.
    #[must_use]
    pub fn forever() -> Self {
        Self::until(Deadline::NEVER)
    }

    /// Wait until *deadline*, with nothing that could interrupt.
    #[must_use]
    pub fn until(deadline: Deadline) -> Self {
        Self {
            deadline,
            interrupt: None,
            bell: None,
        }
    }
}

impl Wait<'_> {
    pub(super) fn to_raw(self) -> RawWait {
        RawWait {
            deadline: self.deadline.to_raw(),
            interrupt: self.interrupt.map_or(std::ptr::null(), |i| i.raw),
            bell: self.bell.map_or(std::ptr::null(), |b| b.raw),
        }
    }
}

/// A sticky interruption: once raised, every wait that names it fails, now and later, until it is
/// cleared. Clones share it.
pub struct Interrupt {
    engine: Engine,
    raw: *const c_void,
}

// SAFETY: the raw reference leads to a lock-protected state; the table's functions are thread-safe.
unsafe impl Send for Interrupt {}
// SAFETY: as above.
unsafe impl Sync for Interrupt {}

impl Interrupt {
    /// One that is not raised.
    #[must_use]
    pub fn new(engine: Engine) -> Self {
        Self {
            engine,
            // SAFETY: no arguments.
            raw: unsafe { (engine.table.channels.interrupt_new)() },
        }
    }

    /// Takes over a reference that the engine handed out.
    ///
    /// # Safety
    /// *raw* is an interrupt reference of this engine that nobody else gives back.
    pub(super) unsafe fn from_raw(engine: Engine, raw: *const c_void) -> Self {
        Self { engine, raw }
    }

    /// As it crosses the table.
    pub(super) fn as_raw(&self) -> *const c_void {
        self.raw
    }

    /// Ends every wait that names it. Idempotent.
    pub fn raise(&self) {
        // SAFETY: A4: our reference.
        unsafe { (self.engine.table.channels.interrupt_raise)(self.raw) }
    }

    /// Lets later waits wait again.
    pub fn clear(&self) {
        // SAFETY: A4: our reference.
        unsafe { (self.engine.table.channels.interrupt_clear)(self.raw) }
    }

    /// Whether it is raised.
    #[must_use]
    pub fn is_raised(&self) -> bool {
        // SAFETY: A4: our reference.
        unsafe { (self.engine.table.channels.interrupt_is_raised)(self.raw) }
    }
}

impl Clone for Interrupt {
    fn clone(&self) -> Self {
        Self {
            engine: self.engine,
            // SAFETY: A4: our reference.
            raw: unsafe { (self.engine.table.channels.interrupt_retain)(self.raw) },
        }
    }
}

impl Drop for Interrupt {
    fn drop(&mut self) {
        // SAFETY: A4: our reference, given back once.
        unsafe { (self.engine.table.channels.interrupt_release)(self.raw) }
    }
}

/// A pipe to sleep on: see `park::Bell`. One thread sleeps on it at a time.
pub struct Bell {
    engine: Engine,
    raw: *const c_void,
}

// SAFETY: descriptors and a lock-protected list; the table's functions are thread-safe.
unsafe impl Send for Bell {}
// SAFETY: as above.
unsafe impl Sync for Bell {}

impl Bell {
    /// Makes the pipe.
    pub fn new(engine: Engine) -> io::Result<Self> {
        let mut error = 0;
        // SAFETY: a place for the error number.
        let raw = unsafe { (engine.table.channels.bell_new)(&mut error) };
        if raw.is_null() {
            return Err(io::Error::from_raw_os_error(error));
        }
        Ok(Self { engine, raw })
    }

    /// Where a signal handler writes the number of its signal, one byte.
    #[must_use]
    pub fn write_fd(&self) -> i32 {
        // SAFETY: A4: our reference.
        unsafe { (self.engine.table.channels.bell_write_fd)(self.raw) }
    }

    /// The signals that rang since the last call, in order.
    #[must_use]
    pub fn take_signals(&self) -> Vec<u8> {
        let mut signals = Vec::new();
        loop {
            let mut some = [0; 32];
            // SAFETY: A4; room for as many bytes as told.
            let got = unsafe {
                (self.engine.table.channels.bell_take_signals)(
                    self.raw,
                    some.as_mut_ptr(),
                    some.len(),
                )
            };
            if got == 0 {
                return signals;
            }
            signals.extend_from_slice(&some[..got]);
        }
    }
}

impl Drop for Bell {
    fn drop(&mut self) {
        // SAFETY: A4: our reference, given back once.
        unsafe { (self.engine.table.channels.bell_release)(self.raw) }
    }
}
