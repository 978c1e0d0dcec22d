//! Memory that objects lend and are made of.

use std::ffi::c_int;
use std::mem::MaybeUninit;
use std::slice;

use crate::ffi;
use crate::object::Borrowed;
use crate::raised::Result;

unsafe extern "C" {
    /// Exported by every version of CPython since 3.8; pyo3-ffi leaves it out.
    static mut PyPickleBuffer_Type: ffi::PyTypeObject;
}

/// The memory of an object, contiguous, lent until this is dropped.
pub struct Lent<'py> {
    view: Box<ffi::Py_buffer>,
    /// It is given back attached.
    py: crate::Attached<'py>,
}

impl<'py> Borrowed<'_, 'py> {
    /// Whether this is a `pickle.PickleBuffer`.
    ///
    /// Needs: attached. May run Python: no.
    pub fn is_pickle_buffer(self) -> bool {
        self.type_ptr() == &raw mut PyPickleBuffer_Type
    }

    /// Borrows its memory, which lies in one piece (in whichever order). BufferError or TypeError where there is none.
    ///
    /// Needs: attached. May run Python: yes.
    pub fn lend(self) -> Result<Lent<'py>> {
        let mut view = Box::new(MaybeUninit::<ffi::Py_buffer>::uninit());
        // SAFETY: attached, a live object, room for a view that stays where it is (boxed).
        let status = unsafe {
            ffi::PyObject_GetBuffer(
                self.as_ptr(),
                view.as_mut_ptr(),
                ffi::PyBUF_ANY_CONTIGUOUS | ffi::PyBUF_FORMAT,
            )
        };
        self.py().done(status)?;
        Ok(Lent {
            // SAFETY: the call succeeded, so it filled the view.
            view: unsafe { Box::from_raw(Box::into_raw(view).cast()) },
            py: self.py(),
        })
    }
}

impl<'py> Lent<'py> {
    /// The bytes, in memory order.
    ///
    /// Others may write to them meanwhile, as with every buffer in Python: what is read then is undefined, but is bytes.
    pub fn bytes(&self) -> &[u8] {
        let len = self.view.len.cast_unsigned();
        if len == 0 {
            return &[];
        }
        // SAFETY: a contiguous view has `len` readable bytes there as long as it is not released.
        unsafe { slice::from_raw_parts(self.view.buf.cast(), len) }
    }

    /// Whether the memory is not to be written to.
    pub fn is_readonly(&self) -> bool {
        self.view.readonly != 0
    }

    /// The object that lends it: of a `PickleBuffer`, what that was made from.
    ///
    /// Returns: borrowed from the view.
    pub fn owner(&self) -> Option<Borrowed<'_, 'py>> {
        // SAFETY: attached (the token); the view holds a reference to its object until it is released.
        (!self.view.obj.is_null()).then(|| unsafe { Borrowed::from_ptr(self.py, self.view.obj) })
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        let _attached = self.py;
        // SAFETY: attached (the token), a view that was filled, released once.
        unsafe { ffi::PyBuffer_Release(&raw mut *self.view) };
    }
}

/// Memory that an object lends to others as long as it lives.
#[derive(Clone, Copy)]
pub struct Lendable {
    /// Its first byte; any address where it has none.
    pub start: *mut u8,
    /// How many bytes there are.
    pub size_bytes: usize,
    /// Whether they are not to be written to.
    pub readonly: bool,
}

/// Fills `view` with the memory of `object`, as `bf_getbuffer` is to.
///
/// # Safety
/// Attached; `view` is the caller's of `bf_getbuffer`; the memory lives as long as the object and is writable unless it says so.
pub(crate) unsafe fn fill(
    object: *mut ffi::PyObject,
    view: *mut ffi::Py_buffer,
    memory: Lendable,
    flags: c_int,
) -> c_int {
    // SAFETY: by the caller.
    unsafe {
        ffi::PyBuffer_FillInfo(
            view,
            object,
            memory.start.cast(),
            memory.size_bytes.cast_signed(),
            c_int::from(memory.readonly),
            flags,
        )
    }
}
