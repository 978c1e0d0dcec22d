//! A forked child without its sub-interpreters.
//!
//! CPython (3.13 to 3.15) clears every sub-interpreter in a child of `os.fork()`, and does it without a thread state, which
//! aborts the child as soon as one has anything to clear. Their threads stayed with the parent, so nothing of them can run
//! in the child anyway: taking them off the list before CPython looks leaves a child that works. The list's head has no
//! setter; the place where it is comes from the table that CPython publishes for debuggers, and is believed only if what
//! stands there is what the C API says.

use std::ffi::{c_char, c_void};

use crate::ffi;

/// The start of `_Py_DebugOffsets`, which has been the same since 3.13 and stands first in `_PyRuntime`.
#[repr(C)]
struct DebugOffsets {
    cookie: [c_char; 8],
    version: u64,
    free_threaded: u64,
    runtime_size: u64,
    runtime_finalizing: u64,
    runtime_interpreters_head: u64,
}

const COOKIE: &[u8; 8] = b"xdebugpy";

unsafe extern "C" {
    /// CPython's state of the process. Exported, not declared by pyo3-ffi.
    #[link_name = "_PyRuntime"]
    static mut RUNTIME: DebugOffsets;
}

/// Where CPython keeps the head of its list of interpreters.
#[derive(Debug, Clone, Copy)]
pub struct InterpreterList(*mut *mut ffi::PyInterpreterState);

// SAFETY: the address of a static; it is written to in a forked child only, which has one thread.
unsafe impl Send for InterpreterList {}
// SAFETY: as above.
unsafe impl Sync for InterpreterList {}

impl InterpreterList {
    /// Finds it. `None`: this Python's layout is unknown.
    ///
    /// Needs: attached. May run Python: no.
    pub fn find() -> Option<Self> {
        let runtime = &raw mut RUNTIME;
        // SAFETY: the static begins with these bytes in every version this builds for; they are constant.
        let (cookie, size, offset) = unsafe {
            (
                (*runtime).cookie,
                (*runtime).runtime_size,
                (*runtime).runtime_interpreters_head,
            )
        };
        let known = cookie
            .iter()
            .zip(COOKIE)
            .all(|(is, should)| *is as u8 == *should);
        let end = offset.checked_add(size_of::<*mut c_void>() as u64)?;
        if !known || end > size || offset % align_of::<*mut c_void>() as u64 != 0 {
            return None;
        }
        // SAFETY: within the static, says its own size, and aligned.
        let head = unsafe { runtime.byte_add(usize::try_from(offset).ok()?) };
        let head = head.cast::<*mut ffi::PyInterpreterState>();
        // SAFETY: a pointer stands there, if the table is right; any eight bytes may be read.
        let is_head = unsafe { head.read() == ffi::PyInterpreterState_Head() };
        is_head.then_some(Self(head))
    }

    /// Takes all interpreters but the main one off the list. Their memory stays as it is.
    ///
    /// # Safety
    ///
    /// This is the only thread of a forked child, before CPython's own after-fork work. (The main interpreter is the last of
    /// the list, so it ends there.)
    pub unsafe fn keep_main_only(self) {
        // SAFETY: the place is right (`find`); nobody else reads or writes it, says the caller.
        unsafe { self.0.write(ffi::PyInterpreterState_Main()) };
    }
}
