//! A whole small message on the stack.

use crate::tag;

/// A message of one scalar in a fixed array: what a channel's slot holds inline, made without touching the heap.
#[derive(Debug, Clone, Copy)]
pub struct Packed {
    bytes: [u8; Packed::CAPACITY],
    len: u8,
}

impl Packed {
    /// The most bytes that fit.
    pub const CAPACITY: usize = 22;

    /// The longest ASCII text that fits: a tag and a one-byte count go before it.
    pub const LONGEST_ASCII: usize = Packed::CAPACITY - 2;

    #[inline]
    const fn tag(tag: u8) -> Packed {
        let mut bytes = [0; Packed::CAPACITY];
        bytes[0] = tag;
        Packed { bytes, len: 1 }
    }

    #[inline]
    fn tagged<const N: usize>(tag: u8, payload: [u8; N]) -> Packed {
        let mut packed = Packed::tag(tag);
        packed.bytes[1..=N].copy_from_slice(&payload);
        packed.len = 1 + N as u8;
        packed
    }

    /// The message `None`.
    #[inline]
    #[must_use]
    pub const fn none() -> Packed {
        Packed::tag(tag::NONE)
    }

    /// The message `True` or `False`.
    #[inline]
    #[must_use]
    pub const fn bool(value: bool) -> Packed {
        Packed::tag(if value { tag::TRUE } else { tag::FALSE })
    }

    /// The message of an int that fits a machine word.
    #[inline]
    #[must_use]
    pub fn int(value: i64) -> Packed {
        if let Ok(value) = i8::try_from(value) {
            Packed::tagged(tag::INT_1, value.to_le_bytes())
        } else if let Ok(value) = i16::try_from(value) {
            Packed::tagged(tag::INT_2, value.to_le_bytes())
        } else if let Ok(value) = i32::try_from(value) {
            Packed::tagged(tag::INT_4, value.to_le_bytes())
        } else {
            Packed::tagged(tag::INT_8, value.to_le_bytes())
        }
    }

    /// The message of a float.
    #[inline]
    #[must_use]
    pub fn float(value: f64) -> Packed {
        Packed::tagged(tag::FLOAT, value.to_le_bytes())
    }

    /// The message of an ASCII text, or `None` where it is too long or not ASCII.
    #[inline]
    #[must_use]
    pub fn ascii(data: &[u8]) -> Option<Packed> {
        if data.len() > Packed::LONGEST_ASCII || !data.is_ascii() {
            return None;
        }
        let mut packed = Packed::tag(tag::TEXT_ASCII);
        packed.bytes[1] = data.len() as u8;
        packed.bytes[2..2 + data.len()].copy_from_slice(data);
        packed.len = 2 + data.len() as u8;
        Some(packed)
    }

    /// The message.
    #[inline]
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    /// The array, and how many of its bytes are the message; the rest is zero.
    #[inline]
    #[must_use]
    pub const fn into_parts(self) -> ([u8; Packed::CAPACITY], usize) {
        (self.bytes, self.len as usize)
    }
}
