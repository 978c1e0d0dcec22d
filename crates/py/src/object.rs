//! References to Python objects: [`Owned`], [`Borrowed`] and, for the time without a token, [`Stored`].
//!
//! # Invariants
//! - **O1**: an `Owned` holds one strong reference to a live object of the interpreter that its token belongs to.
//! - **O2**: a `Borrowed<'a, 'py>` points to an object that something else keeps alive for `'a`. Calls marked "May run Python: yes"
//!   can change containers, so a reference borrowed from a container ends before such a call.
//! - **O3**: a `Stored` holds one strong reference and says nothing about attachment; giving it back needs a token.

use std::ffi::CStr;
use std::fmt;
use std::marker::PhantomData;
use std::ptr::NonNull;

use crate::attached::Attached;
use crate::ffi;
use crate::raised::{Raised, Result};

/// A strong reference, given back on drop. Exists only while attached.
#[repr(transparent)]
pub struct Owned<'py>(NonNull<ffi::PyObject>, PhantomData<Attached<'py>>);

/// A reference that something else keeps alive for `'a`.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub struct Borrowed<'a, 'py>(NonNull<ffi::PyObject>, PhantomData<(&'a (), Attached<'py>)>);

/// A strong reference that outlives the token: for fields of native objects and of module state.
///
/// It is given back with [`release`](Stored::release); a plain drop leaks the object, because it may happen on a thread that is
/// not attached. Owners that Python knows (heap types, module state) release theirs in `tp_dealloc` and `m_free`.
#[repr(transparent)]
pub struct Stored(NonNull<ffi::PyObject>);

// SAFETY: O3: a `Stored` only carries the pointer; every use of the object goes through a token of the using thread.
unsafe impl Send for Stored {}
// SAFETY: as for Send; `get` needs a token, so the object is touched only while attached.
unsafe impl Sync for Stored {}

impl<'py> Owned<'py> {
    /// Takes over a reference.
    ///
    /// # Safety
    /// `pointer` is a new reference, not null, that the caller gives up.
    #[inline(always)]
    pub unsafe fn from_ptr(_py: Attached<'py>, pointer: *mut ffi::PyObject) -> Owned<'py> {
        debug_assert!(!pointer.is_null());
        // SAFETY: the caller says it is not null.
        Owned(unsafe { NonNull::new_unchecked(pointer) }, PhantomData)
    }

    /// Takes over the result of a C-API call that returns a new reference, or null with an exception set.
    ///
    /// # Safety
    /// `pointer` is such a result.
    #[inline(always)]
    pub unsafe fn from_result(
        py: Attached<'py>,
        pointer: *mut ffi::PyObject,
    ) -> Result<Owned<'py>> {
        match NonNull::new(pointer) {
            Some(pointer) => Ok(Owned(pointer, PhantomData)),
            // SAFETY: null means that an exception is set, says the caller.
            None => Err(unsafe { Raised::assume(py) }),
        }
    }

    /// The same object, borrowed from this reference.
    #[inline(always)]
    pub fn borrow(&self) -> Borrowed<'_, 'py> {
        Borrowed(self.0, PhantomData)
    }

    /// The raw pointer, still owned by `self`.
    #[inline(always)]
    pub fn as_ptr(&self) -> *mut ffi::PyObject {
        self.0.as_ptr()
    }

    /// The raw pointer, with the reference.
    #[inline(always)]
    pub fn into_ptr(self) -> *mut ffi::PyObject {
        let pointer = self.0.as_ptr();
        std::mem::forget(self);
        pointer
    }

    /// Lets the reference outlive the token.
    pub fn store(self) -> Stored {
        let pointer = self.0;
        std::mem::forget(self);
        Stored(pointer)
    }

    /// The token that this reference proves.
    #[inline(always)]
    pub fn py(&self) -> Attached<'py> {
        // SAFETY: O1: an `Owned` exists only while attached, for `'py`.
        unsafe { Attached::assume() }
    }
}

impl Drop for Owned<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        // SAFETY: O1; attached because `Owned` is not Send and lives inside `'py`.
        unsafe { ffi::Py_DECREF(self.0.as_ptr()) }
    }
}

impl Clone for Owned<'_> {
    #[inline]
    fn clone(&self) -> Self {
        self.borrow().to_owned()
    }
}

impl fmt::Debug for Owned<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Owned({:p})", self.0)
    }
}

impl fmt::Debug for Borrowed<'_, '_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Borrowed({:p})", self.0)
    }
}

impl fmt::Debug for Stored {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Stored({:p})", self.0)
    }
}

impl<'a, 'py> Borrowed<'a, 'py> {
    /// Borrows an object.
    ///
    /// # Safety
    /// `pointer` is not null and its object stays alive for `'a`.
    #[inline(always)]
    pub unsafe fn from_ptr(_py: Attached<'py>, pointer: *mut ffi::PyObject) -> Borrowed<'a, 'py> {
        debug_assert!(!pointer.is_null());
        // SAFETY: the caller says it is not null.
        Borrowed(unsafe { NonNull::new_unchecked(pointer) }, PhantomData)
    }

    /// The raw pointer.
    #[inline(always)]
    pub const fn as_ptr(self) -> *mut ffi::PyObject {
        self.0.as_ptr()
    }

    /// The token that this reference proves.
    #[inline(always)]
    pub fn py(self) -> Attached<'py> {
        // SAFETY: a `Borrowed` exists only while attached, for `'py`.
        unsafe { Attached::assume() }
    }

    /// Another strong reference.
    ///
    /// Returns: owned. Needs: attached. May run Python: no.
    #[inline]
    pub fn to_owned(self) -> Owned<'py> {
        // SAFETY: O2: the object is alive.
        unsafe { ffi::Py_INCREF(self.as_ptr()) };
        Owned(self.0, PhantomData)
    }

    /// Whether both are the same object.
    #[inline(always)]
    pub fn is(self, other: Borrowed<'_, '_>) -> bool {
        self.0 == other.0
    }

    /// Whether this is `None`.
    #[inline(always)]
    pub fn is_none(self) -> bool {
        self.is(self.py().none())
    }

    /// The object's type, as a raw pointer: for comparison with a type known to be exactly it.
    #[inline(always)]
    pub fn type_ptr(self) -> *mut ffi::PyTypeObject {
        // SAFETY: O2: the object is alive.
        unsafe { ffi::Py_TYPE(self.as_ptr()) }
    }

    /// The object's type.
    ///
    /// Returns: borrowed from the object. Needs: attached. May run Python: no.
    #[inline]
    pub fn ty(self) -> Borrowed<'a, 'py> {
        // SAFETY: an object keeps its type alive; `__class__` assignment needs Python code to run in between (O2).
        unsafe { Borrowed::from_ptr(self.py(), self.type_ptr().cast()) }
    }

    /// The name of the object's type without its module, for messages.
    ///
    /// Needs: attached. May run Python: no (a type's name is read from the type itself).
    pub fn type_name(self) -> String {
        // SAFETY: `tp_name` is a C string that lives as long as the type, which the object keeps alive.
        let name = unsafe { CStr::from_ptr((*self.type_ptr()).tp_name) }.to_string_lossy();
        name.rsplit('.').next().unwrap_or_default().to_owned()
    }

    /// `getattr(self, name)`.
    ///
    /// Returns: owned. Needs: attached. May run Python: yes.
    pub fn attr(self, name: &CStr) -> Result<Owned<'py>> {
        // SAFETY: attached, live object, C string.
        unsafe {
            Owned::from_result(
                self.py(),
                ffi::PyObject_GetAttrString(self.as_ptr(), name.as_ptr()),
            )
        }
    }

    /// `setattr(self, name, value)`.
    ///
    /// Needs: attached. May run Python: yes.
    pub fn set_attr(self, name: &CStr, value: Borrowed<'_, '_>) -> Result<()> {
        // SAFETY: attached, live objects, C string.
        let status =
            unsafe { ffi::PyObject_SetAttrString(self.as_ptr(), name.as_ptr(), value.as_ptr()) };
        self.py().done(status)
    }

    /// `self(*arguments)`.
    ///
    /// Returns: owned. Needs: attached. May run Python: yes.
    pub fn call(self, arguments: &[Borrowed<'_, '_>]) -> Result<Owned<'py>> {
        // SAFETY: attached; `Borrowed` is a transparent pointer, so the slice is an array of object pointers; no keywords.
        unsafe {
            let result = ffi::PyObject_Vectorcall(
                self.as_ptr(),
                arguments.as_ptr().cast(),
                arguments.len(),
                std::ptr::null_mut(),
            );
            Owned::from_result(self.py(), result)
        }
    }

    /// `self.name(*arguments)`.
    ///
    /// Returns: owned. Needs: attached. May run Python: yes.
    pub fn call_method(self, name: &CStr, arguments: &[Borrowed<'_, '_>]) -> Result<Owned<'py>> {
        self.attr(name)?.borrow().call(arguments)
    }

    /// `isinstance(self, class)` by the real type, without `__instancecheck__`.
    ///
    /// Needs: attached. May run Python: no.
    pub fn is_subtype_instance(self, class: Borrowed<'_, '_>) -> bool {
        // SAFETY: attached; `class` is a type or the answer is false.
        unsafe {
            ffi::PyType_Check(class.as_ptr()) != 0
                && ffi::PyObject_TypeCheck(self.as_ptr(), class.as_ptr().cast()) != 0
        }
    }

    /// `bool(self)`.
    ///
    /// Needs: attached. May run Python: yes.
    pub fn is_true(self) -> Result<bool> {
        // SAFETY: attached, live object.
        match unsafe { ffi::PyObject_IsTrue(self.as_ptr()) } {
            // SAFETY: -1 means that an exception is set.
            -1 => Err(unsafe { Raised::assume(self.py()) }),
            truth => Ok(truth != 0),
        }
    }

    /// `iter(self)`.
    ///
    /// Returns: owned. Needs: attached. May run Python: yes.
    pub fn iter(self) -> Result<Owned<'py>> {
        // SAFETY: attached, live object.
        unsafe { Owned::from_result(self.py(), ffi::PyObject_GetIter(self.as_ptr())) }
    }

    /// `next(self)` on an iterator; `None` at its end.
    ///
    /// Returns: owned. Needs: attached. May run Python: yes.
    pub fn next(self) -> Result<Option<Owned<'py>>> {
        // SAFETY: attached; `PyIter_Next` needs an iterator, as `iter` returns.
        let item = unsafe { ffi::PyIter_Next(self.as_ptr()) };
        if let Some(item) = NonNull::new(item) {
            return Ok(Some(Owned(item, PhantomData)));
        }
        // SAFETY: attached.
        if unsafe { ffi::PyErr_Occurred() }.is_null() {
            Ok(None)
        } else {
            // SAFETY: just seen set.
            Err(unsafe { Raised::assume(self.py()) })
        }
    }

    /// `repr(self)` as a Rust string, lossily.
    ///
    /// Needs: attached. May run Python: yes.
    pub fn repr(self) -> Result<String> {
        // SAFETY: attached, live object.
        let text = unsafe { Owned::from_result(self.py(), ffi::PyObject_Repr(self.as_ptr()))? };
        text.borrow().utf8_lossy()
    }

    /// The text of a `str`; lone surrogates become question marks. TypeError for anything else.
    ///
    /// Needs: attached. May run Python: no.
    pub fn utf8_lossy(self) -> Result<String> {
        let py = self.py();
        // SAFETY: attached; a non-str makes the call raise TypeError.
        let bytes = unsafe {
            let encoded = ffi::PyUnicode_AsEncodedString(
                self.as_ptr(),
                c"utf-8".as_ptr(),
                c"replace".as_ptr(),
            );
            Owned::from_result(py, encoded)?
        };
        // SAFETY: `bytes` is a live bytes object; the slice is copied before it drops.
        let text = unsafe {
            let start = ffi::PyBytes_AsString(bytes.as_ptr()).cast::<u8>();
            let length = ffi::PyBytes_Size(bytes.as_ptr()).cast_unsigned();
            std::slice::from_raw_parts(start, length)
        };
        Ok(String::from_utf8_lossy(text).into_owned())
    }
}

impl Stored {
    /// The object, while attached.
    ///
    /// Returns: borrowed from this field. Needs: attached to the interpreter that stored it. May run Python: no.
    #[inline(always)]
    pub fn get<'a, 'py>(&'a self, py: Attached<'py>) -> Borrowed<'a, 'py> {
        // SAFETY: O3: the reference keeps the object alive as long as `self`.
        unsafe { Borrowed::from_ptr(py, self.0.as_ptr()) }
    }

    /// Turns it back into a reference that is given back on drop.
    pub fn into_owned<'py>(self, _py: Attached<'py>) -> Owned<'py> {
        Owned(self.0, PhantomData)
    }

    /// Gives the reference back.
    ///
    /// Needs: attached. May run Python: yes.
    pub fn release(self, py: Attached<'_>) {
        drop(self.into_owned(py));
    }

    /// The raw pointer, still owned by `self`: for traversal by the garbage collector.
    pub(crate) fn as_ptr(&self) -> *mut ffi::PyObject {
        self.0.as_ptr()
    }
}
