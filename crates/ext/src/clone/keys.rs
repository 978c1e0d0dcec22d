//! The `str` objects of short dict keys, one per content, so that each is made, hashed and compared once.

use std::sync::{Mutex, MutexGuard};

use atoll_py::types::{Text, TextWidth};
use atoll_py::{Attached, Owned, Result, Stored};

/// One interpreter's short ASCII keys: a field of its module state.
///
/// A key has a choice of two places, by its content; two newer keys with the same choice drive it out.
#[derive(Default)]
pub(crate) struct KeyCache(Mutex<Keys>);

/// The keys, for the length of one `decode`.
pub(super) type KeysInUse<'a> = MutexGuard<'a, Keys>;

#[derive(Default)]
pub(super) struct Keys {
    places: Vec<[Place; 2]>,
}

#[derive(Default)]
struct Place {
    text: Option<Stored>,
    content: Content,
}

/// The bytes of a short key as words that overlap where it is no multiple of eight bytes long: equal for equal keys only.
#[derive(Default, Clone, Copy, PartialEq)]
struct Content {
    words: [u64; 3],
    len: usize,
}

impl KeyCache {
    /// The keys, unless another thread is using them (on a build without a GIL): then the caller does without.
    pub(super) fn try_use(&self) -> Option<KeysInUse<'_>> {
        self.0.try_lock().ok()
    }

    /// Shows every stored key to `visit`: to give them back when the module goes.
    pub(crate) fn each_stored(&self, visit: &mut dyn FnMut(&Stored)) {
        // Keys in use belong to a walk, which runs no Python code (K2): it is the garbage collector of a build without a GIL
        // that asks, and a str is nothing to it.
        if let Some(keys) = self.try_use() {
            keys.places
                .iter()
                .flatten()
                .filter_map(|place| place.text.as_ref())
                .for_each(visit);
        }
    }
}

impl Keys {
    /// The longest key that is kept.
    pub(super) const LONGEST: usize = 24;
    const PLACES: usize = 256;

    /// The `str` of these characters.
    ///
    /// Returns: owned. Needs: attached. May run Python: no.
    ///
    /// # Safety
    /// `data` is ASCII and at most [`LONGEST`](Self::LONGEST) bytes long.
    #[inline]
    pub(super) unsafe fn text<'py>(
        &mut self,
        py: Attached<'py>,
        data: &[u8],
    ) -> Result<Owned<'py>> {
        if self.places.is_empty() {
            self.places.resize_with(Keys::PLACES, Default::default);
        }
        let content = Content::of(data);
        let [first, second] = &mut self.places[content.place()];
        for place in [&*first, &*second] {
            if let Some(text) = &place.text
                && place.content == content
            {
                return Ok(text.get(py).to_owned());
            }
        }
        // SAFETY: ASCII, says the caller.
        let text = unsafe { Text::create(py, TextWidth::Ascii, data)? };
        let newest = Place {
            text: Some(text.clone().store()),
            content,
        };
        let oldest = std::mem::replace(second, std::mem::replace(first, newest));
        if let Some(driven_out) = oldest.text {
            driven_out.release(py);
        }
        Ok(text)
    }
}

impl Content {
    #[inline]
    fn of(data: &[u8]) -> Content {
        let words = match *data {
            [] => [0; 3],
            [first, ..] if data.len() < 4 => {
                let (middle, last) = (data[data.len() / 2], data[data.len() - 1]);
                [
                    u64::from(u32::from_le_bytes([first, middle, last, 0])),
                    0,
                    0,
                ]
            }
            _ if data.len() < 8 => [
                half(data.first_chunk()) | half(data.last_chunk()) << 32,
                0,
                0,
            ],
            _ => {
                let middle = if data.len() > 16 {
                    word(data[8..].first_chunk())
                } else {
                    0
                };
                [word(data.first_chunk()), word(data.last_chunk()), middle]
            }
        };
        Content {
            words,
            len: data.len(),
        }
    }

    #[inline]
    fn place(self) -> usize {
        let [first, last, middle] = self.words;
        let mixed = (first ^ last.rotate_left(29) ^ middle.rotate_left(47))
            .wrapping_mul(0x9E37_79B9_7F4A_7C15);
        (mixed >> 32) as usize % Keys::PLACES
    }
}

#[inline]
fn half(bytes: Option<&[u8; 4]>) -> u64 {
    bytes.map_or(0, |bytes| u32::from_le_bytes(*bytes).into())
}

#[inline]
fn word(bytes: Option<&[u8; 8]>) -> u64 {
    bytes.map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    #[test]
    fn different_keys_have_different_contents() {
        let mut seen = HashMap::new();
        for len in 0..=Keys::LONGEST {
            let zeros = vec![0; len];
            assert!(seen.insert(words_of(&zeros), zeros.clone()).is_none());
            for index in 0..len {
                let mut data = zeros.clone();
                data[index] = 1;
                assert!(seen.insert(words_of(&data), data).is_none());
            }
        }
    }

    #[test]
    fn numbered_keys_spread_over_the_places() {
        let mut counts = vec![0; Keys::PLACES];
        for number in 0..Keys::PLACES {
            counts[Content::of(format!("key{number}").as_bytes()).place()] += 1;
        }
        assert!(counts.iter().filter(|count| **count > 0).count() > Keys::PLACES / 2);
        assert!(counts.iter().max() < Some(&8));
    }

    fn words_of(data: &[u8]) -> ([u64; 3], usize) {
        let content = Content::of(data);
        (content.words, content.len)
    }
}
