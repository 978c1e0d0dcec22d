//! The `str` objects of short dict keys, one per content, so that each is made, hashed and compared once.

use std::mem::ManuallyDrop;
use std::ops::{Deref, DerefMut};
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

use atoll_codec::first_word;
use atoll_py::types::{Text, TextWidth};
use atoll_py::{Attached, FREE_THREADED, Owned, Result, Stored};

/// One interpreter's short ASCII keys: a field of its module state.
///
/// A key has a choice of two places, by its content; two newer keys with the same choice drive it out.
///
/// # Invariant
/// - **C1**: the pointer is that of a `Box` that this cache owns, or null while a [`KeysInUse`] owns it.
pub(crate) struct KeyCache(AtomicPtr<Keys>);

/// The keys, for the length of one `decode`.
pub(super) struct KeysInUse<'a> {
    keys: ManuallyDrop<Box<Keys>>,
    cache: &'a KeyCache,
}

pub(super) struct Keys {
    sets: [Set; Keys::SETS],
}

/// The places that a key can be in: one line of the processor's cache.
#[derive(Default)]
#[repr(align(64))]
struct Set([Place; 2]);

#[derive(Default)]
struct Place {
    text: Option<Stored>,
    content: Content,
}

/// The bytes of a short key, filled up with zeros, and their count in the last one.
#[derive(Default, Clone, Copy)]
struct Content([u64; 3]);

impl Default for KeyCache {
    fn default() -> KeyCache {
        let sets = std::array::from_fn(|_| Set::default());
        KeyCache(AtomicPtr::new(Box::into_raw(Box::new(Keys { sets }))))
    }
}

impl KeyCache {
    /// The keys, unless another walk is using them (of another thread, on a build without a GIL): then the caller does without.
    ///
    /// Needs: attached.
    #[inline]
    pub(super) fn try_use(&self, _py: Attached<'_>) -> Option<KeysInUse<'_>> {
        let keys = if FREE_THREADED {
            // ORDERING: Acquire pairs with the Release of the guard that put the keys back.
            self.0.swap(ptr::null_mut(), Ordering::Acquire)
        } else {
            // ORDERING: Relaxed: the GIL orders everything.
            let keys = self.0.load(Ordering::Relaxed);
            self.0.store(ptr::null_mut(), Ordering::Relaxed);
            keys
        };
        if keys.is_null() {
            return None;
        }
        // SAFETY: C1: it was the cache's, and now it is the guard's alone.
        let keys = ManuallyDrop::new(unsafe { Box::from_raw(keys) });
        Some(KeysInUse { keys, cache: self })
    }

    /// Shows every stored key to `visit`: to give them back when the module goes.
    pub(crate) fn each_stored(&self, visit: &mut dyn FnMut(&Stored)) {
        // SAFETY: the garbage collector and the module's end call this attached.
        let py = unsafe { Attached::assume() };
        // Keys in use belong to a walk, which runs no Python code (K2): it is the garbage collector of a build without a GIL
        // that asks, and a str is nothing to it.
        if let Some(in_use) = self.try_use(py) {
            let places = in_use.keys.sets.iter().flat_map(|set| &set.0);
            places
                .filter_map(|place| place.text.as_ref())
                .for_each(visit);
        }
    }
}

impl Drop for KeyCache {
    fn drop(&mut self) {
        let keys = *self.0.get_mut();
        if !keys.is_null() {
            // SAFETY: C1. (Guards borrow the cache, so that none is left.)
            drop(unsafe { Box::from_raw(keys) });
        }
    }
}

impl Drop for KeysInUse<'_> {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: taken once, here.
        let keys = unsafe { ManuallyDrop::take(&mut self.keys) };
        // ORDERING: Release pairs with the Acquire of the next guard.
        self.cache.0.store(Box::into_raw(keys), Ordering::Release);
    }
}

impl Deref for KeysInUse<'_> {
    type Target = Keys;

    fn deref(&self) -> &Keys {
        &self.keys
    }
}

impl DerefMut for KeysInUse<'_> {
    #[inline]
    fn deref_mut(&mut self) -> &mut Keys {
        &mut self.keys
    }
}

impl Keys {
    /// The longest key that is kept.
    pub(super) const LONGEST: usize = 23;
    const SETS: usize = 256;

    /// The `str` of these characters, which lives until `driven_out` is dropped or this cache is, also where another key takes
    /// its place.
    ///
    /// Returns: owned. Needs: attached. May run Python: no.
    ///
    /// # Safety
    /// `data` is ASCII and at most [`LONGEST`](Self::LONGEST) bytes long.
    #[inline(always)]
    pub(super) unsafe fn text<'py>(
        &mut self,
        py: Attached<'py>,
        data: &[u8],
        driven_out: &mut Vec<Owned<'py>>,
    ) -> Result<Owned<'py>> {
        let content = Content::of(data);
        let set = content.set();
        let Set([first, second]) = &self.sets[set];
        for place in [first, second] {
            if let Some(text) = &place.text
                && place.content.equals(content)
            {
                return Ok(text.get(py).to_owned());
            }
        }
        // SAFETY: by the caller.
        unsafe { self.newcomer(py, data, content, driven_out) }
    }

    /// A new `str`, in the place of the older one of its set.
    ///
    /// # Safety
    /// As for [`text`](Self::text).
    #[cold]
    unsafe fn newcomer<'py>(
        &mut self,
        py: Attached<'py>,
        data: &[u8],
        content: Content,
        driven_out: &mut Vec<Owned<'py>>,
    ) -> Result<Owned<'py>> {
        let Set([first, second]) = &mut self.sets[content.set()];
        // SAFETY: ASCII, says the caller.
        let text = unsafe { Text::create(py, TextWidth::Ascii, data)? };
        let newest = Place {
            text: Some(text.clone().store()),
            content,
        };
        let oldest = std::mem::replace(second, std::mem::replace(first, newest));
        if let Some(text) = oldest.text {
            driven_out.push(text.into_owned(py));
        }
        Ok(text)
    }
}

impl Content {
    #[inline]
    fn of(data: &[u8]) -> Content {
        let from = |start| data.get(start..).map_or(0, first_word);
        Content([
            first_word(data),
            from(8),
            from(16) | (data.len() as u64) << 56,
        ])
    }

    /// Word by word: the words are just being made, and a comparison of the whole array would wait for them in memory.
    #[inline]
    fn equals(self, other: Content) -> bool {
        let ([a, b, c], [x, y, z]) = (self.0, other.0);
        (a ^ x) | (b ^ y) | (c ^ z) == 0
    }

    #[inline]
    fn set(self) -> usize {
        let [first, second, third] = self.0;
        let mixed = (first ^ second.rotate_left(29) ^ third.rotate_left(47))
            .wrapping_mul(0x9E37_79B9_7F4A_7C15);
        // The highest bits of a product depend on all bits of its factors.
        (mixed >> (u64::BITS - Keys::SETS.ilog2())) as usize % Keys::SETS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_content_is_the_keys_bytes_and_their_count() {
        for len in 0..=Keys::LONGEST {
            let data: Vec<u8> = (1..).take(len).collect();
            let mut bytes = data.clone();
            bytes.resize(23, 0);
            bytes.push(len as u8);
            let content: Vec<u8> = Content::of(&data)
                .0
                .iter()
                .flat_map(|word| word.to_le_bytes())
                .collect();
            assert_eq!(content, bytes, "a key of {len} bytes");
        }
    }

    #[test]
    fn numbered_keys_spread_over_the_sets() {
        let mut counts = vec![0; Keys::SETS];
        for number in 0..Keys::SETS {
            counts[Content::of(format!("key{number}").as_bytes()).set()] += 1;
        }
        assert!(counts.iter().filter(|count| **count > 0).count() > Keys::SETS / 2);
        assert!(counts.iter().max() < Some(&8));
    }
}
