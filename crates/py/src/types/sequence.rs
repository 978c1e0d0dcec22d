//! `list` and `tuple`.

use std::slice;

use super::typed;
use crate::attached::Attached;
use crate::ffi;
use crate::object::{Borrowed, Owned};
use crate::raised::Result;

typed! {
    /// A `list`.
    List
}

typed! {
    /// A `tuple`.
    Tuple
}

impl<'a, 'py> List<'a, 'py> {
    /// How many items it has.
    #[inline(always)]
    pub fn len(self) -> usize {
        // SAFETY: T1.
        unsafe { ffi::PyList_GET_SIZE(self.0.as_ptr()) }.cast_unsigned()
    }

    /// Whether it has none.
    #[inline]
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// Its items.
    ///
    /// Returns: borrowed. Needs: attached. May run Python: no.
    ///
    /// # Safety
    /// The list is complete, and nobody changes it while the items are in use: no Python code runs, no other thread has it.
    #[inline(always)]
    pub unsafe fn items(self) -> &'a [Borrowed<'a, 'py>] {
        let len = self.len();
        if len == 0 {
            return &[];
        }
        // SAFETY: T1: a list has `len` object pointers there; `Borrowed` is a transparent pointer; the caller keeps it so.
        unsafe {
            let first = (*self.0.as_ptr().cast::<ffi::PyListObject>()).ob_item;
            slice::from_raw_parts(first.cast(), len)
        }
    }

    /// A tuple of its items at one moment.
    ///
    /// Returns: owned. Needs: attached. May run Python: no.
    pub fn to_tuple(self) -> Result<Owned<'py>> {
        // SAFETY: attached, a list (T1).
        unsafe { Owned::from_result(self.0.py(), ffi::PyList_AsTuple(self.0.as_ptr())) }
    }

    /// A list with room for `len` items and none of them there: [`put_new`](Self::put_new) each before any other use.
    ///
    /// Returns: owned. Needs: attached. May run Python: no.
    #[inline]
    pub fn create_unfilled(py: Attached<'py>, len: usize) -> Result<Owned<'py>> {
        // SAFETY: attached.
        unsafe { Owned::from_result(py, ffi::PyList_New(len.cast_signed())) }
    }

    /// `self.append(item)`.
    ///
    /// Needs: attached. May run Python: no.
    #[inline]
    pub fn append(self, item: Borrowed<'_, '_>) -> Result<()> {
        // SAFETY: attached, a list (T1), a live object.
        let status = unsafe { ffi::PyList_Append(self.0.as_ptr(), item.as_ptr()) };
        self.0.py().done(status)
    }

    /// Puts an item into an empty place.
    ///
    /// # Safety
    /// `index` is below the length, and nothing was put there before.
    #[inline(always)]
    pub unsafe fn put_new(self, index: usize, item: Owned<'_>) {
        debug_assert!(index < self.len());
        // SAFETY: T1, and the place exists and is empty, says the caller.
        unsafe { ffi::PyList_SET_ITEM(self.0.as_ptr(), index.cast_signed(), item.into_ptr()) };
    }
}

impl<'a, 'py> Tuple<'a, 'py> {
    /// How many items it has.
    #[inline(always)]
    pub fn len(self) -> usize {
        // SAFETY: T1.
        unsafe { ffi::PyTuple_GET_SIZE(self.0.as_ptr()) }.cast_unsigned()
    }

    /// Whether it has none.
    #[inline]
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// Its items. A complete tuple never changes.
    ///
    /// Returns: borrowed. Needs: attached. May run Python: no.
    ///
    /// # Safety
    /// The tuple is complete.
    #[inline(always)]
    pub unsafe fn items(self) -> &'a [Borrowed<'a, 'py>] {
        // SAFETY: T1: a tuple has that many object pointers there; `Borrowed` is a transparent pointer.
        unsafe {
            let first = &raw const (*self.0.as_ptr().cast::<ffi::PyTupleObject>()).ob_item;
            slice::from_raw_parts(first.cast(), self.len())
        }
    }

    /// A tuple with room for `len` items and none of them there: [`put`](Self::put) each before any other use.
    ///
    /// Returns: owned. Needs: attached. May run Python: no.
    #[inline]
    pub fn create_unfilled(py: Attached<'py>, len: usize) -> Result<Owned<'py>> {
        // SAFETY: attached.
        unsafe { Owned::from_result(py, ffi::PyTuple_New(len.cast_signed())) }
    }

    /// A tuple of these objects.
    ///
    /// Returns: owned. Needs: attached. May run Python: no.
    pub fn create(py: Attached<'py>, items: &[Borrowed<'_, 'py>]) -> Result<Owned<'py>> {
        let tuple = Tuple::create_unfilled(py, items.len())?;
        for (index, item) in items.iter().enumerate() {
            // SAFETY: a new tuple; the index is in range and its place empty.
            unsafe {
                let item = Borrowed::to_owned(*item).into_ptr();
                ffi::PyTuple_SET_ITEM(tuple.as_ptr(), index.cast_signed(), item);
            }
        }
        Ok(tuple)
    }

    /// A tuple of `len` times `None`, to be [`put`](Self::put) into while others may see it.
    ///
    /// Returns: owned. Needs: attached. May run Python: no.
    pub fn create_of_none(py: Attached<'py>, len: usize) -> Result<Owned<'py>> {
        let tuple = Tuple::create_unfilled(py, len)?;
        for index in 0..len {
            // SAFETY: a new tuple; the index is in range and its place empty.
            unsafe {
                let item = py.none().to_owned().into_ptr();
                ffi::PyTuple_SET_ITEM(tuple.as_ptr(), index.cast_signed(), item);
            }
        }
        Ok(tuple)
    }

    /// Puts an item into its place; what was there is given back.
    ///
    /// # Safety
    /// `index` is below the length, and no one has relied on the tuple's items (hashed it, say) yet.
    #[inline(always)]
    pub unsafe fn put(self, index: usize, item: Owned<'py>) {
        debug_assert!(index < self.len());
        // SAFETY: T1, and the place exists, says the caller. It holds nothing, or a reference that is ours to drop.
        unsafe {
            let first = &raw mut (*self.0.as_ptr().cast::<ffi::PyTupleObject>()).ob_item;
            let before = first
                .cast::<*mut ffi::PyObject>()
                .add(index)
                .replace(item.into_ptr());
            ffi::Py_XDECREF(before);
        }
    }
}
