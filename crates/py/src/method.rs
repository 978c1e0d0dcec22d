//! The methods and read-only attributes of a class, as tables that Python reads.

use std::ffi::{CStr, c_void};
use std::marker::PhantomData;

use crate::arguments::Arguments;
use crate::attached::Attached;
use crate::class::{Class, This};
use crate::ffi;
use crate::object::{Borrowed, Owned};
use crate::raised::Result;
use crate::trampoline::{body, guard};

/// A method of class `T`.
#[repr(transparent)]
pub struct Method<T>(ffi::PyMethodDef, PhantomData<fn(T)>);

// SAFETY: never written after its const construction; the pointers in it are to statics.
unsafe impl<T> Sync for Method<T> {}

impl<T: Class> Method<T> {
    /// Ends the list of methods.
    pub const END: Method<T> = Method(ffi::PyMethodDef::zeroed(), PhantomData);

    /// A method that takes any arguments, by position and by name, without a tuple or a dict being made.
    pub const fn new<F>(name: &'static CStr, doc: &'static CStr, _body: F) -> Method<T>
    where
        F: for<'a, 'py> Fn(This<'a, 'py, T>, Arguments<'a, 'py>) -> Result<Owned<'py>> + Copy,
    {
        Method::raw(
            name,
            doc,
            ffi::METH_FASTCALL | ffi::METH_KEYWORDS,
            ffi::PyMethodDefPointer {
                PyCFunctionFastWithKeywords: vectorcall::<T, F>,
            },
        )
    }

    /// A method that takes exactly one argument, by position.
    pub const fn with_one<F>(name: &'static CStr, doc: &'static CStr, _body: F) -> Method<T>
    where
        F: for<'a, 'py> Fn(This<'a, 'py, T>, Borrowed<'a, 'py>) -> Result<Owned<'py>> + Copy,
    {
        Method::raw(
            name,
            doc,
            ffi::METH_O,
            ffi::PyMethodDefPointer {
                PyCFunction: one::<T, F>,
            },
        )
    }

    /// A method that takes no arguments.
    pub const fn without<F>(name: &'static CStr, doc: &'static CStr, _body: F) -> Method<T>
    where
        F: for<'a, 'py> Fn(This<'a, 'py, T>) -> Result<Owned<'py>> + Copy,
    {
        Method::raw(
            name,
            doc,
            ffi::METH_NOARGS,
            ffi::PyMethodDefPointer {
                PyCFunction: none::<T, F>,
            },
        )
    }

    /// `__class_getitem__`: `Class[item]` is a `types.GenericAlias`.
    pub const GENERIC: Method<T> = Method::raw(
        c"__class_getitem__",
        c"Class[T] says what the messages are, for type checkers.",
        ffi::METH_O | ffi::METH_CLASS,
        ffi::PyMethodDefPointer {
            PyCFunction: ffi::Py_GenericAlias,
        },
    );

    const fn raw(
        name: &'static CStr,
        doc: &'static CStr,
        flags: std::ffi::c_int,
        function: ffi::PyMethodDefPointer,
    ) -> Method<T> {
        Method(
            ffi::PyMethodDef {
                ml_name: name.as_ptr(),
                ml_meth: function,
                ml_flags: flags,
                ml_doc: doc.as_ptr(),
            },
            PhantomData,
        )
    }

    pub(crate) fn is_end(&self) -> bool {
        self.0.ml_name.is_null()
    }
}

/// A read-only attribute of class `T`.
#[repr(transparent)]
pub struct Getter<T>(ffi::PyGetSetDef, PhantomData<fn(T)>);

// SAFETY: never written after its const construction; the pointers in it are to statics.
unsafe impl<T> Sync for Getter<T> {}

impl<T: Class> Getter<T> {
    /// Ends the list of attributes.
    pub const END: Getter<T> = Getter(
        ffi::PyGetSetDef {
            name: std::ptr::null(),
            get: None,
            set: None,
            doc: std::ptr::null(),
            closure: std::ptr::null_mut(),
        },
        PhantomData,
    );

    /// An attribute computed by `_body`.
    pub const fn new<F>(name: &'static CStr, doc: &'static CStr, _body: F) -> Getter<T>
    where
        F: for<'a, 'py> Fn(This<'a, 'py, T>) -> Result<Owned<'py>> + Copy,
    {
        Getter(
            ffi::PyGetSetDef {
                name: name.as_ptr(),
                get: Some(get::<T, F>),
                set: None,
                doc: doc.as_ptr(),
                closure: std::ptr::null_mut(),
            },
            PhantomData,
        )
    }

    pub(crate) fn is_end(&self) -> bool {
        self.0.name.is_null()
    }
}

unsafe extern "C" fn vectorcall<T, F>(
    object: *mut ffi::PyObject,
    values: *const *mut ffi::PyObject,
    positional: ffi::Py_ssize_t,
    names: *mut ffi::PyObject,
) -> *mut ffi::PyObject
where
    T: Class,
    F: for<'a, 'py> Fn(This<'a, 'py, T>, Arguments<'a, 'py>) -> Result<Owned<'py>> + Copy,
{
    // SAFETY: Python calls this attached.
    let py = unsafe { Attached::assume() };
    let result = guard(py, || {
        // SAFETY: a method descriptor checks that the object is of the class that lists the method.
        let this = unsafe { This::from_ptr(py, object) };
        // SAFETY: Python passes arguments in the vectorcall layout and keeps them alive during the call.
        let arguments =
            unsafe { Arguments::from_vectorcall(values, positional.cast_unsigned(), names) };
        // SAFETY: `Method::new` was given the value.
        let run = unsafe { body::<F>() };
        run(this, arguments)
    });
    result.map_or(std::ptr::null_mut(), Owned::into_ptr)
}

unsafe extern "C" fn one<T, F>(
    object: *mut ffi::PyObject,
    argument: *mut ffi::PyObject,
) -> *mut ffi::PyObject
where
    T: Class,
    F: for<'a, 'py> Fn(This<'a, 'py, T>, Borrowed<'a, 'py>) -> Result<Owned<'py>> + Copy,
{
    // SAFETY: Python calls this attached.
    let py = unsafe { Attached::assume() };
    let result = guard(py, || {
        // SAFETY: a method descriptor checks that the object is of the class that lists the method.
        let this = unsafe { This::from_ptr(py, object) };
        // SAFETY: METH_O passes one object and keeps it alive during the call.
        let argument = unsafe { Borrowed::from_ptr(py, argument) };
        // SAFETY: `Method::with_one` was given the value.
        let run = unsafe { body::<F>() };
        run(this, argument)
    });
    result.map_or(std::ptr::null_mut(), Owned::into_ptr)
}

unsafe extern "C" fn none<T, F>(
    object: *mut ffi::PyObject,
    _unused: *mut ffi::PyObject,
) -> *mut ffi::PyObject
where
    T: Class,
    F: for<'a, 'py> Fn(This<'a, 'py, T>) -> Result<Owned<'py>> + Copy,
{
    // SAFETY: the object is of the class, as for `get`; both call the body with nothing but the object.
    unsafe { get::<T, F>(object, std::ptr::null_mut()) }
}

unsafe extern "C" fn get<T, F>(
    object: *mut ffi::PyObject,
    _closure: *mut c_void,
) -> *mut ffi::PyObject
where
    T: Class,
    F: for<'a, 'py> Fn(This<'a, 'py, T>) -> Result<Owned<'py>> + Copy,
{
    // SAFETY: Python calls this attached.
    let py = unsafe { Attached::assume() };
    let result = guard(py, || {
        // SAFETY: a descriptor checks that the object is of the class that lists it.
        let this = unsafe { This::from_ptr(py, object) };
        // SAFETY: `Getter::new` or `Method::without` was given the value.
        let run = unsafe { body::<F>() };
        run(this)
    });
    result.map_or(std::ptr::null_mut(), Owned::into_ptr)
}
