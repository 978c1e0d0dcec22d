//! The right to call Python, as a value: [`Attached`], and giving it up for a while: [`Attached::detach`].
//!
//! # Invariants
//! - **A1**: while an `Attached<'py>` exists, this thread has an attached thread state (on a build with a GIL: holds that
//!   interpreter's GIL). Trampolines make the token from the fact that Python called them.
//! - **A2**: the token is neither `Send` nor `Sync`, so it cannot be captured by the closure of `detach`.

use std::marker::PhantomData;

use crate::ffi;
use crate::raised::{Raised, Result};

/// Proof that this thread has an attached thread state. Zero-sized; pass it by value.
#[derive(Clone, Copy)]
pub struct Attached<'py>(PhantomData<(&'py (), *mut ())>);

/// Whether this build of Python runs without a GIL.
pub const FREE_THREADED: bool = cfg!(Py_GIL_DISABLED);

unsafe extern "C" {
    /// Not declared by pyo3-ffi. Returns the descriptor set before, -1 for none.
    fn PySignal_SetWakeupFd(fd: std::ffi::c_int) -> std::ffi::c_int;
}

impl<'py> Attached<'py> {
    /// Makes the token from thin air.
    ///
    /// # Safety
    /// The calling thread has an attached thread state and keeps it for all of `'py`, except inside [`detach`](Self::detach).
    #[inline(always)]
    pub const unsafe fn assume() -> Attached<'py> {
        Attached(PhantomData)
    }

    /// Runs `work` with this thread detached (on a build with a GIL: with the GIL released) and attaches again after it,
    /// also when `work` panics.
    ///
    /// If the interpreter began to finalize meanwhile, this call never returns: the thread parks for ever, because
    /// attaching would end it (CPython 3.13 unwinds it by force through our frames) or touch freed memory. The thread
    /// that itself finalizes was attached while finalization was already under way, and attaches again normally.
    ///
    /// The token cannot go along, so nothing inside can touch Python:
    ///
    /// ```compile_fail,E0277
    /// fn wrong(py: atoll_py::Attached<'_>) {
    ///     py.detach(|| py.none().is_none());
    /// }
    /// ```
    ///
    /// Needs: attached. May run Python: yes (other threads do while this one is away).
    pub fn detach<T: Send>(self, work: impl FnOnce() -> T + Send) -> T {
        let _attach_again = Detached::begin();
        work()
    }

    /// Lets Python handle the signals that came in: runs their handlers if this is the main thread of the main
    /// interpreter, and does nothing elsewhere. An error is what a handler raised (KeyboardInterrupt for Ctrl-C).
    ///
    /// Needs: attached. May run Python: yes.
    pub fn check_signals(self) -> Result<()> {
        // SAFETY: A1.
        match unsafe { ffi::PyErr_CheckSignals() } {
            0 => Ok(()),
            // SAFETY: the call reports that it left an exception set.
            _ => Err(unsafe { Raised::assume(self) }),
        }
    }

    /// Sets the descriptor that Python's C-level signal handler writes each signal's number to; returns the one before (-1:
    /// none). Unlike `signal.set_wakeup_fd` it leaves the warning setting alone.
    ///
    /// Needs: attached, in the main thread of the main interpreter. May run Python: no.
    pub fn set_signal_wakeup_fd(self, fd: std::ffi::c_int) -> std::ffi::c_int {
        // SAFETY: A1; the call only swaps an integer.
        unsafe { PySignal_SetWakeupFd(fd) }
    }

    /// Whether this thread runs the process's main interpreter (and not a sub-interpreter).
    ///
    /// Needs: attached. May run Python: no.
    pub fn in_main_interpreter(self) -> bool {
        // SAFETY: A1; both calls only read pointers.
        unsafe { ffi::PyInterpreterState_Get() == ffi::PyInterpreterState_Main() }
    }
}

/// This thread is detached until the value drops.
struct Detached {
    state: *mut ffi::PyThreadState,
    began_while_finalizing: bool,
}

impl Detached {
    fn begin() -> Detached {
        // SAFETY: reads a flag; callable at any time.
        let began_while_finalizing = unsafe { ffi::Py_IsFinalizing() } != 0;
        // SAFETY: only `Attached::detach` calls this, so the thread has an attached state (A1).
        let state = unsafe { ffi::PyEval_SaveThread() };
        Detached {
            state,
            began_while_finalizing,
        }
    }
}

impl Drop for Detached {
    fn drop(&mut self) {
        // SAFETY: reads a flag; callable at any time, attached or not.
        let finalizing = unsafe { ffi::Py_IsFinalizing() } != 0;
        if finalizing && !self.began_while_finalizing {
            park_for_ever();
        }
        // SAFETY: `state` is what `PyEval_SaveThread` gave this thread. Should finalization begin between the check above and
        // this call, pyo3-ffi's wrapper (3.13) and CPython itself (3.14 and later) hang the thread instead of unwinding it.
        unsafe { ffi::PyEval_RestoreThread(self.state) }
    }
}

/// Ends this thread's part in the program without unwinding it: what Python 3.14 does to threads that come too late.
fn park_for_ever() -> ! {
    loop {
        std::thread::park();
    }
}
