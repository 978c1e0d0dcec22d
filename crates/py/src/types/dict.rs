//! `dict`.

use std::ptr;

use super::typed;
use crate::attached::{Attached, FREE_THREADED};
use crate::ffi;
use crate::object::{Borrowed, Owned};
use crate::raised::Result;

typed! {
    /// A `dict`.
    Dict
}

impl<'a, 'py> Dict<'a, 'py> {
    /// How many pairs it has.
    #[inline(always)]
    pub fn len(self) -> usize {
        if FREE_THREADED {
            // SAFETY: attached, a dict (T1).
            return unsafe { ffi::PyDict_Size(self.0.as_ptr()) }.cast_unsigned();
        }
        // SAFETY: T1.
        unsafe { (*self.0.as_ptr().cast::<ffi::PyDictObject>()).ma_used }.cast_unsigned()
    }

    /// Whether it has none.
    #[inline]
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// The pair at `position` or behind it, in order; `position`, 0 at first, moves on.
    ///
    /// Returns: borrowed. Needs: attached. May run Python: no.
    ///
    /// # Safety
    /// Nobody changes the dict from the first call to the last use of a pair: no Python code runs, no other thread has it.
    #[inline(always)]
    pub unsafe fn next(
        self,
        position: &mut isize,
    ) -> Option<(Borrowed<'a, 'py>, Borrowed<'a, 'py>)> {
        let (mut key, mut value) = (ptr::null_mut(), ptr::null_mut());
        let dict = self.0.as_ptr();
        // SAFETY: attached, a dict (T1), places for the results, a position that only this function moves.
        let found = unsafe { ffi::PyDict_Next(dict, position, &raw mut key, &raw mut value) };
        // SAFETY: both are set where one was found, and the dict keeps them alive, says the caller.
        (found != 0).then(|| unsafe {
            (
                Borrowed::from_ptr(self.0.py(), key),
                Borrowed::from_ptr(self.0.py(), value),
            )
        })
    }

    /// A copy of it at one moment.
    ///
    /// Returns: owned. Needs: attached. May run Python: no.
    pub fn copy(self) -> Result<Owned<'py>> {
        // SAFETY: attached, a dict (T1).
        unsafe { Owned::from_result(self.0.py(), ffi::PyDict_Copy(self.0.as_ptr())) }
    }

    /// An empty dict.
    ///
    /// Returns: owned. Needs: attached. May run Python: no.
    #[inline]
    pub fn create(py: Attached<'py>) -> Result<Owned<'py>> {
        // SAFETY: attached.
        unsafe { Owned::from_result(py, ffi::PyDict_New()) }
    }

    /// `self[key] = value`.
    ///
    /// Needs: attached. May run Python: yes, where `key` or a key of the dict is of a class with its own `__hash__` or `__eq__`.
    #[inline]
    pub fn set(self, key: Borrowed<'_, '_>, value: Borrowed<'_, '_>) -> Result<()> {
        // SAFETY: attached, a dict (T1), live objects.
        let status = unsafe { ffi::PyDict_SetItem(self.0.as_ptr(), key.as_ptr(), value.as_ptr()) };
        self.0.py().done(status)
    }
}
