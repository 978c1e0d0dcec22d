//! `range` and `slice`: three values each.

use super::typed;
use crate::attached::Attached;
use crate::ffi;
use crate::object::{Borrowed, Owned};
use crate::raised::Result;

typed! {
    /// A `range`.
    Range
}

typed! {
    /// A `slice`.
    Slice
}

impl<'py> Range<'_, 'py> {
    /// Start, stop and step, all ints.
    ///
    /// Returns: owned. Needs: attached. May run Python: no (they are plain members).
    pub fn parts(self) -> Result<[Owned<'py>; 3]> {
        Ok([
            self.0.attr(c"start")?,
            self.0.attr(c"stop")?,
            self.0.attr(c"step")?,
        ])
    }

    /// `range(*parts)`.
    ///
    /// Returns: owned. Needs: attached. May run Python: yes, where a part is not an int but has `__index__`.
    pub fn create(py: Attached<'py>, parts: [Borrowed<'_, 'py>; 3]) -> Result<Owned<'py>> {
        // SAFETY: the type is static.
        let class = unsafe { Borrowed::from_ptr(py, (&raw mut ffi::PyRange_Type).cast()) };
        class.call(&parts)
    }
}

impl<'a, 'py> Slice<'a, 'py> {
    /// Start, stop and step. A complete slice never changes.
    ///
    /// Returns: borrowed. Needs: attached. May run Python: no.
    pub fn parts(self) -> &'a [Borrowed<'a, 'py>; 3] {
        let slice = self.0.as_ptr().cast::<ffi::PySliceObject>().cast_const();
        // SAFETY: T1: a slice keeps its three parts, never null, one behind the other; `Borrowed` is a transparent pointer.
        unsafe { &*(&raw const (*slice).start).cast() }
    }

    /// `slice(None, None, None)`, to be [`put`](Self::put) into.
    ///
    /// Returns: owned. Needs: attached. May run Python: no.
    pub fn create_of_none(py: Attached<'py>) -> Result<Owned<'py>> {
        let none = py.none().as_ptr();
        // SAFETY: attached; null stands for None, and None itself is as good.
        unsafe { Owned::from_result(py, ffi::PySlice_New(none, none, none)) }
    }

    /// Puts a part (0 start, 1 stop, 2 step) into its place.
    ///
    /// # Safety
    /// No one has relied on the slice's parts (hashed it, say) yet.
    pub unsafe fn put(self, index: usize, part: Owned<'py>) {
        let slice = self.0.as_ptr().cast::<ffi::PySliceObject>();
        // SAFETY: T1.
        let place = unsafe {
            match index {
                0 => &raw mut (*slice).start,
                1 => &raw mut (*slice).stop,
                _ => &raw mut (*slice).step,
            }
        };
        // SAFETY: T1: the place holds a reference, which becomes ours to drop.
        unsafe { ffi::Py_DECREF(place.replace(part.into_ptr())) };
    }
}
