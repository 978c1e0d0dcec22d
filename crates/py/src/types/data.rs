//! `bytes` and `bytearray`.

use std::slice;

use super::typed;
use crate::attached::Attached;
use crate::ffi;
use crate::object::Owned;
use crate::raised::Result;

typed! {
    /// A `bytes`.
    Bytes
}

typed! {
    /// A `bytearray`.
    ByteArray
}

impl<'a> Bytes<'a, '_> {
    /// Its data. A `bytes` never changes.
    #[inline]
    pub fn data(self) -> &'a [u8] {
        let object = self.0.as_ptr();
        // SAFETY: T1: a bytes owns that many bytes there, unchanged, as long as it lives.
        unsafe {
            let start = ffi::PyBytes_AsString(object).cast::<u8>();
            slice::from_raw_parts(start, ffi::Py_SIZE(object).cast_unsigned())
        }
    }
}

impl<'py> ByteArray<'_, 'py> {
    /// Lends its data to `look`.
    ///
    /// Needs: attached. May run Python: no, if `look` runs none.
    ///
    /// # Safety
    /// `look` runs no Python code and does not detach.
    pub unsafe fn with_data<T>(self, look: impl FnOnce(&[u8]) -> T) -> T {
        let object = self.0.as_ptr();
        let _locked = super::Locked::new(self.0);
        // SAFETY: T1: a bytearray has that many bytes there; nobody resizes it meanwhile (the caller, and the lock).
        look(unsafe {
            let start = ffi::PyByteArray_AsString(object).cast::<u8>();
            slice::from_raw_parts(start, ffi::Py_SIZE(object).cast_unsigned())
        })
    }

    /// A bytearray with a copy of `data`.
    ///
    /// Returns: owned. Needs: attached. May run Python: no.
    pub fn create(py: Attached<'py>, data: &[u8]) -> Result<Owned<'py>> {
        // SAFETY: attached; pointer and length describe readable memory.
        unsafe {
            let object =
                ffi::PyByteArray_FromStringAndSize(data.as_ptr().cast(), data.len().cast_signed());
            Owned::from_result(py, object)
        }
    }
}
