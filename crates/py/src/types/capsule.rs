//! Capsules: pointers that extensions hand to each other through Python.

use std::ffi::{CStr, c_void};
use std::ptr::NonNull;

use crate::attached::Attached;
use crate::ffi;
use crate::object::{Borrowed, Owned};
use crate::raised::Result;

impl Borrowed<'_, '_> {
    /// The pointer in a capsule of that name; nothing where the object is none.
    ///
    /// Needs: attached. May run Python: no.
    pub fn capsule_pointer(self, name: &CStr) -> Option<NonNull<c_void>> {
        // SAFETY: attached, a live object; a name that ends with a zero.
        if unsafe { ffi::PyCapsule_IsValid(self.as_ptr(), name.as_ptr()) } == 0 {
            return None;
        }
        // SAFETY: it is valid under this name.
        NonNull::new(unsafe { ffi::PyCapsule_GetPointer(self.as_ptr(), name.as_ptr()) })
    }
}

impl<'py> Attached<'py> {
    /// A capsule with a pointer to something that `owner` keeps alive, and which drops `owner` when it ends.
    ///
    /// Returns: owned. Needs: attached. May run Python: no.
    pub fn capsule<T: Send + 'static>(
        self,
        name: &'static CStr,
        pointer: NonNull<c_void>,
        owner: T,
    ) -> Result<Owned<'py>> {
        // SAFETY: attached; a pointer that is not null, a name that lives for ever.
        let capsule = unsafe {
            Owned::from_result(
                self,
                ffi::PyCapsule_New(pointer.as_ptr(), name.as_ptr(), Some(end::<T>)),
            )
        }?;
        let owner = Box::into_raw(Box::new(owner));
        // SAFETY: a capsule, just made; `end` takes the context for what it is.
        let status = unsafe { ffi::PyCapsule_SetContext(capsule.as_ptr(), owner.cast()) };
        self.done(status)?;
        Ok(capsule)
    }
}

/// # Safety
/// Called by CPython at the end of a capsule of [`Attached::capsule`] with the same `T`.
unsafe extern "C" fn end<T>(capsule: *mut ffi::PyObject) {
    // SAFETY: a capsule that is ending, whose context is null or what `capsule` set.
    let owner = unsafe { ffi::PyCapsule_GetContext(capsule) }.cast::<T>();
    if !owner.is_null() {
        // SAFETY: made by Box there, and taken back here alone.
        drop(unsafe { Box::from_raw(owner) });
    }
}
