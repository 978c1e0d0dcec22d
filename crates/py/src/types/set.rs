//! `set` and `frozenset`.

use std::ffi::c_int;
use std::ptr;

use super::typed;
use crate::attached::Attached;
use crate::ffi;
use crate::object::{Borrowed, Owned};
use crate::raised::Result;

typed! {
    /// A `set` or a `frozenset`.
    Set
}

unsafe extern "C" {
    /// Private to CPython but exported by every version here, as `marshal` and `pickle` need it; pyo3-ffi leaves it out.
    fn _PySet_NextEntry(
        set: *mut ffi::PyObject,
        position: *mut ffi::Py_ssize_t,
        key: *mut *mut ffi::PyObject,
        hash: *mut ffi::Py_hash_t,
    ) -> c_int;
}

impl<'a, 'py> Set<'a, 'py> {
    /// How many elements it has.
    #[inline]
    pub fn len(self) -> usize {
        // SAFETY: T1.
        unsafe { ffi::PySet_GET_SIZE(self.0.as_ptr()) }.cast_unsigned()
    }

    /// Whether it has none.
    #[inline]
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// The element at `position` or behind it; `position`, 0 at first, moves on.
    ///
    /// Returns: borrowed. Needs: attached. May run Python: no.
    ///
    /// # Safety
    /// Nobody changes the set from the first call to the last use of an element: no Python code runs, no other thread has it.
    #[inline]
    pub unsafe fn next(self, position: &mut isize) -> Option<Borrowed<'a, 'py>> {
        let (mut key, mut hash) = (ptr::null_mut(), 0);
        // SAFETY: attached, a set (T1), places for the results, a position that only this function moves.
        let found =
            unsafe { _PySet_NextEntry(self.0.as_ptr(), position, &raw mut key, &raw mut hash) };
        // SAFETY: it is set where one was found, and the set keeps it alive, says the caller.
        (found != 0).then(|| unsafe { Borrowed::from_ptr(self.0.py(), key) })
    }

    /// A set with its elements at one moment.
    ///
    /// Returns: owned. Needs: attached. May run Python: no (the hashes are known).
    pub fn copy(self) -> Result<Owned<'py>> {
        // SAFETY: attached, a set (T1).
        unsafe { Owned::from_result(self.0.py(), ffi::PySet_New(self.0.as_ptr())) }
    }

    /// An empty set.
    ///
    /// Returns: owned. Needs: attached. May run Python: no.
    pub fn create(py: Attached<'py>) -> Result<Owned<'py>> {
        // SAFETY: attached; null means no elements.
        unsafe { Owned::from_result(py, ffi::PySet_New(ptr::null_mut())) }
    }

    /// An empty frozenset, which takes elements as long as nobody else refers to it.
    ///
    /// Returns: owned. Needs: attached. May run Python: no.
    pub fn create_frozen(py: Attached<'py>) -> Result<Owned<'py>> {
        // SAFETY: attached; null means no elements.
        unsafe { Owned::from_result(py, ffi::PyFrozenSet_New(ptr::null_mut())) }
    }

    /// Adds an element to a set, or to a new frozenset that nobody else refers to.
    ///
    /// Needs: attached. May run Python: yes, where an element is of a class with its own `__hash__` or `__eq__`.
    pub fn insert(self, element: Borrowed<'_, '_>) -> Result<()> {
        // SAFETY: attached, a set or frozenset (T1); the call refuses a frozenset that is in use.
        let status = unsafe { ffi::PySet_Add(self.0.as_ptr(), element.as_ptr()) };
        self.0.py().done(status)
    }
}
