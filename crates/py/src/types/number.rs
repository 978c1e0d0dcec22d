//! `int`, `float` and `complex`.

use std::ffi::c_int;

use super::typed;
use crate::attached::Attached;
use crate::ffi;
use crate::object::Owned;
use crate::raised::{Raised, Result};

typed! {
    /// An `int`.
    Int
}

typed! {
    /// A `float`.
    Float
}

typed! {
    /// A `complex`.
    Complex
}

/// The head of an `int` as CPython 3.12 and later lay it out, with the one digit of a compact int.
///
/// `PyUnstable_Long_IsCompact` and `PyUnstable_Long_CompactValue` read it inline in C; pyo3-ffi has neither.
#[repr(C)]
struct CompactInt {
    head: ffi::PyObject,
    tag: usize,
    digit: u32,
}

const SIGN_MASK: usize = 3;
const FIRST_LONGER_TAG: usize = 2 << 3;

impl<'py> Int<'_, 'py> {
    /// The value, where it fits.
    ///
    /// Needs: attached. May run Python: no.
    #[inline(always)]
    pub fn to_i64(self) -> Option<i64> {
        let int = self.0.as_ptr().cast::<CompactInt>().cast_const();
        // SAFETY: T1; every int has a tag.
        let tag = unsafe { (*int).tag };
        if tag < FIRST_LONGER_TAG {
            // SAFETY: T1; every int has room for one digit, and a compact one has its magnitude there (0 has sign 0).
            let digit = unsafe { (*int).digit };
            let sign = 1 - (tag & SIGN_MASK) as i64;
            return Some(sign * i64::from(digit));
        }
        self.longer_to_i64()
    }

    #[cold]
    fn longer_to_i64(self) -> Option<i64> {
        let mut overflow = 0;
        // SAFETY: attached, an int (T1), so nothing but overflow can happen, and that sets no exception.
        let value =
            unsafe { ffi::PyLong_AsLongLongAndOverflow(self.0.as_ptr(), &raw mut overflow) };
        (overflow == 0).then_some(value)
    }

    /// How many bytes its two's complement takes.
    ///
    /// Needs: attached. May run Python: no.
    pub fn size_bytes(self) -> Result<usize> {
        self.copy_bytes(&mut [])
    }

    /// Writes its two's complement, little endian, sign-extended to the length of `place`.
    ///
    /// Needs: attached. May run Python: no.
    pub fn write_bytes(self, place: &mut [u8]) -> Result<()> {
        self.copy_bytes(place).map(drop)
    }

    fn copy_bytes(self, place: &mut [u8]) -> Result<usize> {
        const LITTLE_ENDIAN: c_int = 1;
        // SAFETY: attached, an int (T1), and the place is as long as it says.
        let size = unsafe {
            ffi::PyLong_AsNativeBytes(
                self.0.as_ptr(),
                place.as_mut_ptr().cast(),
                place.len().cast_signed(),
                LITTLE_ENDIAN,
            )
        };
        // SAFETY: a negative size says that an exception is set.
        usize::try_from(size).map_err(|_| unsafe { Raised::assume(self.0.py()) })
    }

    /// An int from two's complement, little endian.
    ///
    /// Returns: owned. Needs: attached. May run Python: no.
    pub fn from_bytes(py: Attached<'py>, data: &[u8]) -> Result<Owned<'py>> {
        const LITTLE_ENDIAN: c_int = 1;
        // SAFETY: attached; pointer and length describe readable memory.
        unsafe {
            let int = ffi::PyLong_FromNativeBytes(data.as_ptr().cast(), data.len(), LITTLE_ENDIAN);
            Owned::from_result(py, int)
        }
    }
}

impl<'py> Float<'_, 'py> {
    /// The value.
    #[inline(always)]
    pub fn value(self) -> f64 {
        // SAFETY: T1.
        unsafe { ffi::PyFloat_AS_DOUBLE(self.0.as_ptr()) }
    }

    /// A float.
    ///
    /// Returns: owned. Needs: attached. May run Python: no.
    #[inline]
    pub fn create(py: Attached<'py>, value: f64) -> Result<Owned<'py>> {
        // SAFETY: attached.
        unsafe { Owned::from_result(py, ffi::PyFloat_FromDouble(value)) }
    }
}

impl<'py> Complex<'_, 'py> {
    /// Real and imaginary part.
    pub fn parts(self) -> (f64, f64) {
        // SAFETY: T1.
        let value = unsafe { (*self.0.as_ptr().cast::<ffi::PyComplexObject>()).cval };
        (value.real, value.imag)
    }

    /// A complex number.
    ///
    /// Returns: owned. Needs: attached. May run Python: no.
    pub fn create(py: Attached<'py>, real: f64, imaginary: f64) -> Result<Owned<'py>> {
        // SAFETY: attached.
        unsafe { Owned::from_result(py, ffi::PyComplex_FromDoubles(real, imaginary)) }
    }
}
