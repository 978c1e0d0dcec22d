//! `str`: the characters as CPython stores them.

use std::slice;

use super::typed;
use crate::attached::Attached;
use crate::ffi;
use crate::object::Owned;
use crate::raised::Result;

typed! {
    /// A `str`.
    Text
}

/// Bytes that each character takes, and the range of characters that CPython stores so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TextWidth {
    /// One byte; all below 0x80.
    Ascii,
    /// One byte; at least one is 0x80 or above.
    Latin1,
    /// Two bytes; at least one is 0x100 or above.
    Two,
    /// Four bytes; at least one is 0x10000 or above.
    Four,
}

impl TextWidth {
    const fn bytes_per_character(self) -> usize {
        match self {
            TextWidth::Ascii | TextWidth::Latin1 => 1,
            TextWidth::Two => 2,
            TextWidth::Four => 4,
        }
    }

    /// Where the characters of a compact str of this width lie.
    #[inline(always)]
    const fn data_of(self, text: *mut ffi::PyObject) -> *const u8 {
        let head_bytes = match self {
            TextWidth::Ascii => size_of::<ffi::PyASCIIObject>(),
            TextWidth::Latin1 | TextWidth::Two | TextWidth::Four => {
                size_of::<ffi::PyCompactUnicodeObject>()
            }
        };
        text.cast::<u8>().cast_const().wrapping_add(head_bytes)
    }

    const fn largest_character(self) -> u32 {
        match self {
            TextWidth::Ascii => 0x7F,
            TextWidth::Latin1 => 0xFF,
            TextWidth::Two => 0xFFFF,
            TextWidth::Four => 0x10_FFFF,
        }
    }
}

impl<'a, 'py> Text<'a, 'py> {
    /// Its characters, where all are ASCII.
    ///
    /// Needs: attached. May run Python: no.
    #[inline(always)]
    pub fn ascii(self) -> Option<&'a [u8]> {
        match self.width() {
            // SAFETY: just seen.
            TextWidth::Ascii => Some(unsafe { self.data_of(TextWidth::Ascii) }),
            TextWidth::Latin1 | TextWidth::Two | TextWidth::Four => None,
        }
    }

    /// Its characters in the machine's byte order, and their width. A `str` never changes.
    ///
    /// Needs: attached. May run Python: no.
    #[inline(always)]
    pub fn data(self) -> (TextWidth, &'a [u8]) {
        let width = self.width();
        // SAFETY: just asked for.
        (width, unsafe { self.data_of(width) })
    }

    /// # Safety
    /// `width` is that of the text.
    #[inline(always)]
    unsafe fn data_of(self, width: TextWidth) -> &'a [u8] {
        let object = self.0.as_ptr();
        // SAFETY: T1; an exact str is compact: CPython stores that many characters of that width behind the head of that
        // width, and keeps them as long as the object.
        unsafe {
            let len = ffi::PyUnicode_GET_LENGTH(object).cast_unsigned();
            slice::from_raw_parts(width.data_of(object), len * width.bytes_per_character())
        }
    }

    /// Reads the object's flags where they are, as CPython's own inline functions do: with a GIL they lie alike in 3.13, 3.14
    /// and 3.15. (pyo3-ffi calls functions for them from 3.14 on.)
    #[cfg(all(not(Py_GIL_DISABLED), target_endian = "little"))]
    #[inline(always)]
    fn width(self) -> TextWidth {
        const ASCII: u8 = 1 << 6;
        const KIND_SHIFT: u32 = 2;
        const FLAGS: usize =
            std::mem::offset_of!(ffi::PyASCIIObject, hash) + size_of::<ffi::Py_hash_t>();
        // SAFETY: T1; the flags follow the hash.
        let flags = unsafe { self.0.as_ptr().cast::<u8>().add(FLAGS).read() };
        if flags & ASCII != 0 {
            return TextWidth::Ascii;
        }
        match flags >> KIND_SHIFT & 7 {
            1 => TextWidth::Latin1,
            2 => TextWidth::Two,
            _ => TextWidth::Four,
        }
    }

    #[cfg(not(all(not(Py_GIL_DISABLED), target_endian = "little")))]
    fn width(self) -> TextWidth {
        let object = self.0.as_ptr();
        // SAFETY: T1.
        let (kind, data) = unsafe { (ffi::PyUnicode_KIND(object), ffi::PyUnicode_DATA(object)) };
        match kind {
            // Of the two, the head of an ASCII str is the shorter one.
            ffi::PyUnicode_1BYTE_KIND
                if data.cast_const().cast() == TextWidth::Ascii.data_of(object) =>
            {
                TextWidth::Ascii
            }
            ffi::PyUnicode_1BYTE_KIND => TextWidth::Latin1,
            ffi::PyUnicode_2BYTE_KIND => TextWidth::Two,
            _ => TextWidth::Four,
        }
    }

    /// A `str` of these characters.
    ///
    /// Returns: owned. Needs: attached. May run Python: no.
    ///
    /// # Safety
    /// `data` holds whole characters in the machine's byte order, and `width` is the narrowest that fits them.
    #[inline]
    pub unsafe fn create(py: Attached<'py>, width: TextWidth, data: &[u8]) -> Result<Owned<'py>> {
        if let &[character] = data {
            return Text::of_one_byte(py, character);
        }
        let len = data.len() / width.bytes_per_character();
        // SAFETY: attached. The result is checked before use.
        let text = unsafe {
            Owned::from_result(
                py,
                ffi::PyUnicode_New(len.cast_signed(), width.largest_character()),
            )?
        };
        if len > 0 {
            // SAFETY: the str is new, of that length and width, so it has room for `data.len()` bytes and nobody has seen
            // it: the strs that CPython shares are the empty one and, made elsewhere, those of one byte.
            unsafe {
                let place = width.data_of(text.as_ptr()).cast_mut();
                place.copy_from_nonoverlapping(data.as_ptr(), data.len());
            }
        }
        Ok(text)
    }

    /// CPython's shared `str` of that character.
    fn of_one_byte(py: Attached<'py>, character: u8) -> Result<Owned<'py>> {
        let kind = ffi::PyUnicode_1BYTE_KIND.cast_signed();
        // SAFETY: attached; one readable byte.
        unsafe {
            let text = ffi::PyUnicode_FromKindAndData(kind, (&raw const character).cast(), 1);
            Owned::from_result(py, text)
        }
    }
}
