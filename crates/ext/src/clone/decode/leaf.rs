//! Objects of everyday items: what a walk makes of most of a message.

use std::ptr::NonNull;

use atoll_codec::{Head, Maker, Text as WireText, Width};
use atoll_py::types::{Float, Text, TextWidth};
use atoll_py::{Attached, Borrowed, Owned, Result, ffi};

use super::{Failure, Step};
use crate::clone::keys::{Keys, KeysInUse};
use crate::module::State;

/// What came of an item.
pub(super) enum Made<'py> {
    /// It is an everyday object that holds nothing.
    Object(Owned<'py>),
    /// It is the head of an everyday container with so many children.
    Head(Head, usize),
    /// It is something rarer, still to be read.
    Other,
}

/// Makes objects of everyday items.
pub(super) struct Leaf<'py>(pub(super) Attached<'py>);

impl<'a, 'py> Maker<'a> for Leaf<'py> {
    type Made = Made<'py>;
    type Error = Failure;

    #[inline(always)]
    fn none(&mut self) -> Step<Self::Made> {
        Ok(Made::Object(self.0.none().to_owned()))
    }

    #[inline(always)]
    fn bool(&mut self, value: bool) -> Step<Self::Made> {
        Ok(Made::Object(self.0.bool(value).to_owned()))
    }

    #[inline(always)]
    fn int(&mut self, value: i64) -> Step<Self::Made> {
        Ok(Made::Object(self.0.int(value)?))
    }

    #[inline(always)]
    fn float(&mut self, value: f64) -> Step<Self::Made> {
        Ok(Made::Object(Float::create(self.0, value)?))
    }

    #[inline(always)]
    fn ascii(&mut self, text: WireText<'a>) -> Step<Self::Made> {
        // SAFETY: ASCII, says the reader.
        Ok(Made::Object(unsafe {
            Text::create(self.0, TextWidth::Ascii, text.data())?
        }))
    }

    #[inline(always)]
    fn key(&mut self, _text: WireText<'a>) -> Step<Self::Made> {
        Err(Failure::key_out_of_place())
    }

    #[inline(always)]
    fn repeated_key(&mut self, _number: usize) -> Step<Self::Made> {
        Err(Failure::key_out_of_place())
    }

    #[inline(always)]
    fn head(&mut self, head: Head, len: usize) -> Step<Self::Made> {
        Ok(Made::Head(head, len))
    }

    #[inline(always)]
    fn other(&mut self) -> Step<Self::Made> {
        Ok(Made::Other)
    }
}

/// A `str` that its walk keeps alive.
pub(in crate::clone) type Name = NonNull<ffi::PyObject>;

/// As `Leaf`, for a dict's key.
pub(super) struct Key<'w, 'a, 'py> {
    pub(super) py: Attached<'py>,
    pub(super) state: &'a State,
    pub(super) keys: &'w mut Option<KeysInUse<'a>>,
    pub(super) names: &'w mut Vec<Name>,
    pub(super) kept: &'w mut Vec<Owned<'py>>,
}

impl<'py> Key<'_, '_, 'py> {
    /// The `str` of these characters, alive as long as the walk.
    #[inline(always)]
    fn made(&mut self, text: WireText<'_>) -> Result<Owned<'py>> {
        let data = text.data();
        if data.len() <= Keys::LONGEST {
            if self.keys.is_none() {
                *self.keys = self.state.keys.try_use(self.py);
            }
            if let Some(keys) = self.keys {
                // SAFETY: a key is ASCII, says the reader, and this one is short.
                return unsafe { keys.text(self.py, data, self.kept) };
            }
        }
        self.made_anew(data)
    }

    /// The `str` of a name, which is mostly short and ASCII.
    pub(super) fn text(&mut self, text: &str) -> Result<Owned<'py>> {
        match WireText::new(Width::Ascii, text.as_bytes()) {
            Some(text) if !text.data().is_empty() => self.made(text),
            _ => self.py.string(text),
        }
    }

    #[cold]
    fn made_anew(&mut self, data: &[u8]) -> Result<Owned<'py>> {
        // SAFETY: a key is ASCII, says the reader.
        let text = unsafe { Text::create(self.py, TextWidth::Ascii, data)? };
        self.kept.push(text.clone());
        Ok(text)
    }
}

impl<'a, 'py> Maker<'a> for Key<'_, 'a, 'py> {
    type Made = Made<'py>;
    type Error = Failure;

    #[inline(always)]
    fn none(&mut self) -> Step<Self::Made> {
        Leaf(self.py).none()
    }

    #[inline(always)]
    fn bool(&mut self, value: bool) -> Step<Self::Made> {
        Leaf(self.py).bool(value)
    }

    #[inline(always)]
    fn int(&mut self, value: i64) -> Step<Self::Made> {
        Leaf(self.py).int(value)
    }

    #[inline(always)]
    fn float(&mut self, value: f64) -> Step<Self::Made> {
        Leaf(self.py).float(value)
    }

    #[inline(always)]
    fn ascii(&mut self, text: WireText<'a>) -> Step<Self::Made> {
        Leaf(self.py).ascii(text)
    }

    #[inline(always)]
    fn key(&mut self, text: WireText<'a>) -> Step<Self::Made> {
        let text = self.made(text)?;
        self.names.extend(NonNull::new(text.as_ptr()));
        Ok(Made::Object(text))
    }

    #[inline(always)]
    fn repeated_key(&mut self, number: usize) -> Step<Self::Made> {
        let name = self
            .names
            .get(number)
            .ok_or_else(Failure::key_out_of_place)?;
        // SAFETY: the walk keeps its names alive.
        Ok(Made::Object(
            unsafe { Borrowed::from_ptr(self.py, name.as_ptr()) }.to_owned(),
        ))
    }

    #[inline(always)]
    fn head(&mut self, head: Head, len: usize) -> Step<Self::Made> {
        Ok(Made::Head(head, len))
    }

    #[inline(always)]
    fn other(&mut self) -> Step<Self::Made> {
        Ok(Made::Other)
    }
}

/// As `Key`, for the name of an attribute: those are interned.
pub(super) struct Attribute<'k, 'w, 'a, 'py>(pub(super) &'k mut Key<'w, 'a, 'py>);

impl<'a, 'py> Maker<'a> for Attribute<'_, '_, 'a, 'py> {
    type Made = Made<'py>;
    type Error = Failure;

    #[inline(always)]
    fn none(&mut self) -> Step<Self::Made> {
        self.0.none()
    }

    #[inline(always)]
    fn bool(&mut self, value: bool) -> Step<Self::Made> {
        self.0.bool(value)
    }

    #[inline(always)]
    fn int(&mut self, value: i64) -> Step<Self::Made> {
        self.0.int(value)
    }

    #[inline(always)]
    fn float(&mut self, value: f64) -> Step<Self::Made> {
        self.0.float(value)
    }

    fn ascii(&mut self, text: WireText<'a>) -> Step<Self::Made> {
        // SAFETY: ASCII, says the reader.
        let text = unsafe { Text::create(self.0.py, TextWidth::Ascii, text.data())? };
        Ok(Made::Object(text.interned()))
    }

    #[inline]
    fn key(&mut self, text: WireText<'a>) -> Step<Self::Made> {
        let text = self.0.made(text)?.interned();
        self.0.kept.push(text.clone());
        self.0.names.extend(NonNull::new(text.as_ptr()));
        Ok(Made::Object(text))
    }

    #[inline(always)]
    fn repeated_key(&mut self, number: usize) -> Step<Self::Made> {
        self.0.repeated_key(number)
    }

    #[inline(always)]
    fn head(&mut self, head: Head, len: usize) -> Step<Self::Made> {
        self.0.head(head, len)
    }

    #[inline(always)]
    fn other(&mut self) -> Step<Self::Made> {
        self.0.other()
    }
}
