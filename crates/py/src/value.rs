//! The few plain values that glue needs on every page: None, booleans, small numbers, text, tuples, imports.

use std::ffi::{CStr, c_int};

use crate::attached::Attached;
use crate::ffi;
use crate::object::{Borrowed, Owned};
use crate::raised::{Raised, Result};

impl<'py> Attached<'py> {
    /// `None`.
    #[inline(always)]
    pub fn none(self) -> Borrowed<'py, 'py> {
        // SAFETY: None is immortal.
        unsafe { Borrowed::from_ptr(self, ffi::Py_None()) }
    }

    /// `True` or `False`.
    #[inline]
    pub fn bool(self, value: bool) -> Borrowed<'py, 'py> {
        // SAFETY: both are immortal.
        unsafe {
            Borrowed::from_ptr(
                self,
                if value {
                    ffi::Py_True()
                } else {
                    ffi::Py_False()
                },
            )
        }
    }

    /// An `int`.
    ///
    /// Returns: owned. Needs: attached. May run Python: no.
    #[inline]
    pub fn int(self, value: i64) -> Result<Owned<'py>> {
        // SAFETY: attached.
        unsafe { Owned::from_result(self, ffi::PyLong_FromLongLong(value)) }
    }

    /// An `int` from an unsigned number.
    ///
    /// Returns: owned. Needs: attached. May run Python: no.
    #[inline]
    pub fn uint(self, value: u64) -> Result<Owned<'py>> {
        // SAFETY: attached.
        unsafe { Owned::from_result(self, ffi::PyLong_FromUnsignedLongLong(value)) }
    }

    /// A `float`.
    ///
    /// Returns: owned. Needs: attached. May run Python: no.
    #[inline]
    pub fn float(self, value: f64) -> Result<Owned<'py>> {
        // SAFETY: attached.
        unsafe { Owned::from_result(self, ffi::PyFloat_FromDouble(value)) }
    }

    /// A `str`.
    ///
    /// Returns: owned. Needs: attached. May run Python: no.
    pub fn string(self, text: &str) -> Result<Owned<'py>> {
        // SAFETY: attached; pointer and length describe valid UTF-8.
        unsafe {
            let object =
                ffi::PyUnicode_FromStringAndSize(text.as_ptr().cast(), text.len().cast_signed());
            Owned::from_result(self, object)
        }
    }

    /// A `bytes`.
    ///
    /// Returns: owned. Needs: attached. May run Python: no.
    pub fn bytes(self, data: &[u8]) -> Result<Owned<'py>> {
        // SAFETY: attached; pointer and length describe readable memory, copied by the call.
        unsafe {
            let object =
                ffi::PyBytes_FromStringAndSize(data.as_ptr().cast(), data.len().cast_signed());
            Owned::from_result(self, object)
        }
    }

    /// A `tuple` that takes over `items`.
    ///
    /// Returns: owned. Needs: attached. May run Python: no.
    pub fn tuple<const N: usize>(self, items: [Owned<'py>; N]) -> Result<Owned<'py>> {
        // SAFETY: attached.
        let tuple = unsafe { Owned::from_result(self, ffi::PyTuple_New(N.cast_signed()))? };
        for (index, item) in items.into_iter().enumerate() {
            // SAFETY: the tuple is new and not yet seen by anyone, the index is in range; the call takes over the reference.
            unsafe { ffi::PyTuple_SetItem(tuple.as_ptr(), index.cast_signed(), item.into_ptr()) };
        }
        Ok(tuple)
    }

    /// `import name`, giving the module of that dotted name.
    ///
    /// Returns: owned. Needs: attached. May run Python: yes.
    pub fn import(self, name: &CStr) -> Result<Owned<'py>> {
        // SAFETY: attached, C string.
        unsafe { Owned::from_result(self, ffi::PyImport_ImportModule(name.as_ptr())) }
    }

    /// Reads the status of a C-API call that returns a negative number with an exception set.
    #[inline]
    pub(crate) fn done(self, status: c_int) -> Result<()> {
        if status < 0 {
            // SAFETY: that is what the status says.
            return Err(unsafe { Raised::assume(self) });
        }
        Ok(())
    }
}
