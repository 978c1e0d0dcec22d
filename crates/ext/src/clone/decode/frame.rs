//! A container that is being rebuilt.

use atoll_codec::{Attributes, Parts};
use atoll_py::types::{Dict, Exact, List, Set, Slice, Tuple};
use atoll_py::{Borrowed, Owned, Result};

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
    /// A list that Python code may come upon: it grows by what is there.
    Growing,
    /// The container is the instance; so many of its pairs go into its `__dict__`, the others into slots.
    Instance {
        named: usize,
    },
    /// The first instance of its class, before that is there.
    NewInstance(Attributes),
    /// The container is the object, once there is one.
    Reduced(Parts),
}

impl Kind {
    /// Whether it is an object of a class that is not built in.
    pub(super) fn is_object(self) -> bool {
        matches!(
            self,
            Kind::Instance { .. } | Kind::NewInstance(_) | Kind::Reduced(_)
        )
    }
}

impl<'py> Frame<'py> {
    /// Whether the child being made will be hashed.
    #[inline]
    pub(super) fn hashes_child(&self) -> bool {
        match self.kind {
            Kind::Set | Kind::FrozenSet => true,
            Kind::Dict => self.key.is_none(),
            Kind::List
            | Kind::Tuple
            | Kind::Range
            | Kind::Slice
            | Kind::Growing
            | Kind::Instance { .. }
            | Kind::NewInstance(_)
            | Kind::Reduced(_) => false,
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
            Kind::Growing => {
                // SAFETY: its kind says that it is a list.
                unsafe { List::from_object(container) }.append(child.borrow())?;
            }
            Kind::Instance { named } => match self.key.take() {
                None => {
                    self.key = Some(child);
                    return Ok(());
                }
                Some(key) if self.done < named => set_attribute(container, key.borrow(), child)?,
                Some(key) => container.set_own_attr(key.borrow(), child.borrow())?,
            },
            Kind::NewInstance(_) | Kind::Reduced(_) => {
                unreachable!("the walk itself puts the parts of these together")
            }
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

/// Puts a value into the `__dict__` of an instance.
///
/// Needs: attached. May run Python: yes, where the key is no `str`.
#[inline]
fn set_attribute(object: Borrowed<'_, '_>, name: Borrowed<'_, '_>, value: Owned<'_>) -> Result<()> {
    let dict = object.own_dict()?;
    match Exact::of(dict.borrow()) {
        Exact::Dict(dict) => dict.set(name, value.borrow()),
        _ => dict.borrow().set_item(name, value.borrow()),
    }
}
