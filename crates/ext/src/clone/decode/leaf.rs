//! Objects of everyday items: what a walk makes of most of a message.

use atoll_codec::{Head, Maker, Text as WireText};
use atoll_py::types::{Float, Text, TextWidth};
use atoll_py::{Attached, Owned};

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
    fn head(&mut self, head: Head, len: usize) -> Step<Self::Made> {
        Ok(Made::Head(head, len))
    }

    #[inline(always)]
    fn other(&mut self) -> Step<Self::Made> {
        Ok(Made::Other)
    }
}

/// As `Leaf`, for a dict's key: short ones come from the cache.
pub(super) struct Key<'w, 'a, 'py> {
    pub(super) py: Attached<'py>,
    pub(super) state: &'a State,
    pub(super) keys: &'w mut Option<KeysInUse<'a>>,
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
        let data = text.data();
        if data.len() <= Keys::LONGEST {
            if self.keys.is_none() {
                *self.keys = self.state.keys.try_use(self.py);
            }
            if let Some(keys) = self.keys {
                // SAFETY: ASCII, says the reader, and short.
                return Ok(Made::Object(unsafe { keys.text(self.py, data)? }));
            }
        }
        Leaf(self.py).ascii(text)
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
