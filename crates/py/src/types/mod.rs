//! One typed reference per built-in type, and [`Exact`], which tells them apart.
//!
//! All of them mean the type itself, never a subclass: what they read is then fixed by CPython and runs no Python code.
//! A typed reference is a [`Borrowed`] that was looked at; it keeps nothing alive. Constructors give an [`Owned`].
//!
//! # Invariants
//! - **T1**: a typed reference points to an object of exactly its type (on the `Exact` that made it, or on the caller of an
//!   `unsafe` constructor, rests the proof).
//!
//! Functions that lend out the inside of something mutable are `unsafe`: their callers see to it that no Python code runs and,
//! on a build without a GIL, that no other thread changes the object, for as long as they use what was lent.

pub(crate) mod buffer;
mod capsule;
mod data;
mod dict;
mod instance;
mod number;
mod sequence;
mod set;
mod span;
mod text;

use crate::attached::Attached;
use crate::ffi;
use crate::object::Borrowed;

pub use buffer::{Lendable, Lent};
pub use data::{ByteArray, Bytes};
pub use dict::Dict;
pub use number::{Complex, Float, Int};
pub use sequence::{List, Tuple};
pub use set::Set;
pub use span::{Range, Slice};
pub use text::{Text, TextWidth};

#[cfg(doc)]
use crate::object::Owned;

/// Declares a typed reference.
macro_rules! typed {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug)]
        #[repr(transparent)]
        pub struct $name<'a, 'py>(pub(in crate::types) $crate::object::Borrowed<'a, 'py>);

        impl<'a, 'py> $name<'a, 'py> {
            /// Takes an object as what it is.
            ///
            /// # Safety
            /// The object's type is exactly this one.
            #[inline(always)]
            pub unsafe fn from_object(object: $crate::object::Borrowed<'a, 'py>) -> Self {
                $name(object)
            }

            /// The object.
            #[inline(always)]
            pub fn as_object(self) -> $crate::object::Borrowed<'a, 'py> {
                self.0
            }
        }
    };
}
use typed;

/// An object by its type, where that is exactly a built-in one.
#[derive(Clone, Copy, Debug)]
pub enum Exact<'a, 'py> {
    /// `None`.
    None,
    /// `True` or `False`.
    Bool(bool),
    /// An `int`, and not a `bool`.
    Int(Int<'a, 'py>),
    /// A `float`.
    Float(Float<'a, 'py>),
    /// A `complex`.
    Complex(Complex<'a, 'py>),
    /// A `str`.
    Text(Text<'a, 'py>),
    /// A `bytes`.
    Bytes(Bytes<'a, 'py>),
    /// A `bytearray`.
    ByteArray(ByteArray<'a, 'py>),
    /// A `list`.
    List(List<'a, 'py>),
    /// A `tuple`.
    Tuple(Tuple<'a, 'py>),
    /// A `dict`.
    Dict(Dict<'a, 'py>),
    /// A `set`.
    Set(Set<'a, 'py>),
    /// A `frozenset`.
    FrozenSet(Set<'a, 'py>),
    /// A `range`.
    Range(Range<'a, 'py>),
    /// A `slice`.
    Slice(Slice<'a, 'py>),
    /// `...`.
    Ellipsis,
    /// `NotImplemented`.
    NotImplemented,
    /// Anything else.
    Other,
}

impl<'a, 'py> Exact<'a, 'py> {
    /// Looks at an object's type. The types of everyday messages are looked for first.
    ///
    /// Needs: attached. May run Python: no.
    #[inline(always)]
    pub fn of(object: Borrowed<'a, 'py>) -> Exact<'a, 'py> {
        let ty = object.type_ptr().cast_const();
        if ty == &raw const ffi::PyUnicode_Type {
            Exact::Text(Text(object))
        } else if ty == &raw const ffi::PyLong_Type {
            Exact::Int(Int(object))
        } else if ty == &raw const ffi::PyFloat_Type {
            Exact::Float(Float(object))
        } else if ty == &raw const ffi::PyDict_Type {
            Exact::Dict(Dict(object))
        } else if ty == &raw const ffi::PyList_Type {
            Exact::List(List(object))
        } else if ty == &raw const ffi::PyTuple_Type {
            Exact::Tuple(Tuple(object))
        } else {
            Exact::of_rarer(object)
        }
    }

    #[inline(always)]
    fn of_rarer(object: Borrowed<'a, 'py>) -> Exact<'a, 'py> {
        let pointer = object.as_ptr();
        // SAFETY: the singletons are static objects whose addresses can always be asked for.
        let (none, yes, no) = unsafe { (ffi::Py_None(), ffi::Py_True(), ffi::Py_False()) };
        let ty = object.type_ptr().cast_const();
        if pointer == none {
            Exact::None
        } else if pointer == yes {
            Exact::Bool(true)
        } else if pointer == no {
            Exact::Bool(false)
        } else if ty == &raw const ffi::PyBytes_Type {
            Exact::Bytes(Bytes(object))
        } else if ty == &raw const ffi::PySet_Type {
            Exact::Set(Set(object))
        } else if ty == &raw const ffi::PyFrozenSet_Type {
            Exact::FrozenSet(Set(object))
        } else if ty == &raw const ffi::PyByteArray_Type {
            Exact::ByteArray(ByteArray(object))
        } else {
            Exact::of_rarest(object)
        }
    }

    fn of_rarest(object: Borrowed<'a, 'py>) -> Exact<'a, 'py> {
        let pointer = object.as_ptr();
        // SAFETY: the singletons are static objects whose addresses can always be asked for.
        let (ellipsis, not_implemented) = unsafe { (ffi::Py_Ellipsis(), ffi::Py_NotImplemented()) };
        let ty = object.type_ptr().cast_const();
        if pointer == ellipsis {
            Exact::Ellipsis
        } else if pointer == not_implemented {
            Exact::NotImplemented
        } else if ty == &raw const ffi::PyComplex_Type {
            Exact::Complex(Complex(object))
        } else if ty == &raw const ffi::PyRange_Type {
            Exact::Range(Range(object))
        } else if ty == &raw const ffi::PySlice_Type {
            Exact::Slice(Slice(object))
        } else {
            Exact::Other
        }
    }
}

impl<'py> Attached<'py> {
    /// `...`.
    pub fn ellipsis(self) -> Borrowed<'py, 'py> {
        // SAFETY: immortal.
        unsafe { Borrowed::from_ptr(self, ffi::Py_Ellipsis()) }
    }

    /// `NotImplemented`.
    pub fn not_implemented(self) -> Borrowed<'py, 'py> {
        // SAFETY: immortal.
        unsafe { Borrowed::from_ptr(self, ffi::Py_NotImplemented()) }
    }
}

impl Borrowed<'_, '_> {
    /// Whether exactly one counted reference to the object exists.
    ///
    /// Without a GIL the answer says nothing (other threads count too), and is always `false`.
    #[inline(always)]
    pub fn has_one_reference(self) -> bool {
        // SAFETY: the object is alive (O2).
        !cfg!(Py_GIL_DISABLED) && unsafe { ffi::Py_REFCNT(self.as_ptr()) } == 1
    }
}

/// The object's own lock on a build without a GIL; nothing elsewhere.
struct Locked {
    #[cfg(Py_GIL_DISABLED)]
    section: Box<ffi::PyCriticalSection>,
}

impl Locked {
    #[inline]
    fn new(_object: Borrowed<'_, '_>) -> Locked {
        #[cfg(Py_GIL_DISABLED)]
        {
            // SAFETY: a section is plain pointers, null before it begins.
            let mut section = Box::new(unsafe { std::mem::zeroed::<ffi::PyCriticalSection>() });
            // SAFETY: attached, a live object, and the section stays where it is (boxed) until it ends.
            unsafe { ffi::PyCriticalSection_Begin(&raw mut *section, _object.as_ptr()) };
            Locked { section }
        }
        #[cfg(not(Py_GIL_DISABLED))]
        Locked {}
    }
}

#[cfg(Py_GIL_DISABLED)]
impl Drop for Locked {
    fn drop(&mut self) {
        // SAFETY: begun in `new`, ended once; sections end in reverse order, because this one never leaves its function.
        unsafe { ffi::PyCriticalSection_End(&raw mut *self.section) };
    }
}
