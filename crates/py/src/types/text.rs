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
    /// Its characters in the machine's byte order, and their width. A `str` never changes.
    ///
    /// Needs: attached. May run Python: no.
    #[inline(always)]
    pub fn data(self) -> (TextWidth, &'a [u8]) {
        let object = self.0.as_ptr();
        // SAFETY: T1.
        let (len, data) = unsafe {
            (
                ffi::PyUnicode_GET_LENGTH(object).cast_unsigned(),
                ffi::PyUnicode_DATA(object).cast::<u8>(),
            )
        };
        // The characters of an exact str lie behind its head, and that of an ASCII str is the shorter one.
        let width = if data.addr() == object.addr() + size_of::<ffi::PyASCIIObject>() {
            TextWidth::Ascii
        } else {
            // SAFETY: T1.
            match unsafe { ffi::PyUnicode_KIND(object) } {
                ffi::PyUnicode_1BYTE_KIND => TextWidth::Latin1,
                ffi::PyUnicode_2BYTE_KIND => TextWidth::Two,
                _ => TextWidth::Four,
            }
        };
        // SAFETY: CPython stores `len` characters of that width there, and keeps them as long as the object.
        (width, unsafe {
            slice::from_raw_parts(data, len * width.bytes_per_character())
        })
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
                let place = ffi::PyUnicode_DATA(text.as_ptr()).cast::<u8>();
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
