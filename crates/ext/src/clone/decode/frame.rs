//! A container that is being rebuilt.

use atoll_py::types::{Dict, List, Set, Slice, Tuple};
use atoll_py::{Owned, Result};

/// A container whose children are being rebuilt.
pub(in crate::clone) struct Frame<'py> {
    /// The container; for a range, a tuple of its parts.
    pub(super) container: Owned<'py>,
    pub(super) kind: Kind,
    /// How many children (pairs, in a dict) there are, and how many are in place.
    pub(super) len: usize,
    pub(super) done: usize,
    /// In a dict: the key whose value comes next.
    pub(super) key: Option<Owned<'py>>,
    /// Where it is in the memo; `usize::MAX` for nowhere.
    pub(super) memo: usize,
}

#[derive(Clone, Copy, PartialEq)]
pub(super) enum Kind {
    List,
    Tuple,
    Dict,
    Set,
    FrozenSet,
    Range,
    Slice,
}

impl<'py> Frame<'py> {
    /// Whether the child being made will be hashed.
    #[inline]
    pub(super) fn hashes_child(&self) -> bool {
        match self.kind {
            Kind::Set | Kind::FrozenSet => true,
            Kind::Dict => self.key.is_none(),
            Kind::List | Kind::Tuple | Kind::Range | Kind::Slice => false,
        }
    }

    /// Puts the next child into its place.
    #[inline(always)]
    pub(super) fn add(&mut self, child: Owned<'py>) -> Result<()> {
        let container = self.container.borrow();
        match self.kind {
            Kind::List => {
                // SAFETY: a list of `len` (its kind says so), whose places are filled one after another.
                unsafe { List::from_object(container).put_new(self.done, child) };
            }
            Kind::Tuple | Kind::Range => {
                // SAFETY: a tuple of `len` (its kind says so); nobody has relied on its items: `remembered` gives out no
                // incomplete one to be hashed, and Python code has not seen it.
                unsafe { Tuple::from_object(container).put(self.done, child) };
            }
            Kind::Dict => match self.key.take() {
                None => {
                    self.key = Some(child);
                    return Ok(());
                }
                Some(key) => {
                    // SAFETY: its kind says that it is a dict.
                    let dict = unsafe { Dict::from_object(container) };
                    dict.set(key.borrow(), child.borrow())?;
                }
            },
            Kind::Set | Kind::FrozenSet => {
                // SAFETY: its kind says that it is one.
                unsafe { Set::from_object(container) }.insert(child.borrow())?;
            }
            Kind::Slice => {
                // SAFETY: a slice (its kind says so), on whose parts nobody has relied, as for a tuple.
                unsafe { Slice::from_object(container).put(self.done, child) };
            }
        }
        self.done += 1;
        Ok(())
    }
}
