//! Text as CPython stores it: an array of characters of one width.

use crate::word::first_word;

/// How many bytes each character of a text takes, and how many it needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Width {
    /// One byte each, all below 0x80.
    Ascii,
    /// One byte each, at least one of them 0x80 or above.
    Latin1,
    /// Two bytes each, at least one character 0x100 or above.
    Two,
    /// Four bytes each, at least one character 0x10000 or above, none above 0x10FFFF.
    Four,
}

impl Width {
    /// Bytes of one character.
    #[inline]
    #[must_use]
    pub const fn bytes_per_character(self) -> usize {
        match self {
            Width::Ascii | Width::Latin1 => 1,
            Width::Two => 2,
            Width::Four => 4,
        }
    }
}

/// Canonical text (invariant I1 of the crate): `data` in little endian, `width` the narrowest that fits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Text<'a> {
    pub(crate) width: Width,
    pub(crate) data: &'a [u8],
}

impl<'a> Text<'a> {
    /// Takes `data` as text of this width, or gives `None` where it is not canonical or not whole characters.
    #[inline]
    #[must_use]
    pub fn new(width: Width, data: &'a [u8]) -> Option<Text<'a>> {
        is_canonical(width, data).then_some(Text { width, data })
    }

    /// The width of its characters.
    #[inline]
    #[must_use]
    pub const fn width(self) -> Width {
        self.width
    }

    /// Its characters, `width().bytes_per_character()` bytes each, little endian.
    #[inline]
    #[must_use]
    pub const fn data(self) -> &'a [u8] {
        self.data
    }

    /// Count of characters.
    #[inline]
    #[must_use]
    pub const fn len(self) -> usize {
        self.data.len() / self.width.bytes_per_character()
    }

    /// Whether it has no characters.
    #[inline]
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.data.is_empty()
    }
}

#[inline]
fn is_canonical(width: Width, data: &[u8]) -> bool {
    match width {
        Width::Ascii => is_ascii(data),
        Width::Latin1 => !is_ascii(data),
        Width::Two => is_canonical_two(data),
        Width::Four => is_canonical_four(data),
    }
}

/// As the standard library's, which takes a branch for each byte of short text.
#[inline(always)]
pub(crate) fn is_ascii(data: &[u8]) -> bool {
    const HIGH_BITS: u64 = 0x8080_8080_8080_8080;
    if data.len() <= 8 {
        first_word(data) & HIGH_BITS == 0
    } else if data.len() <= 24 {
        let from = |start| data.get(start..).map_or(0, first_word);
        (first_word(data) | from(8) | from(16)) & HIGH_BITS == 0
    } else {
        data.is_ascii()
    }
}

fn is_canonical_two(data: &[u8]) -> bool {
    let (characters, rest) = data.as_chunks::<2>();
    rest.is_empty() && characters.iter().any(|character| character[1] != 0)
}

fn is_canonical_four(data: &[u8]) -> bool {
    let (characters, rest) = data.as_chunks::<4>();
    // The largest is found without an early exit: that loop is vectorised.
    let largest = characters.iter().fold(0, |largest, character| {
        largest.max(u32::from_le_bytes(*character))
    });
    rest.is_empty() && (0x1_0000..=0x10_FFFF).contains(&largest)
}
