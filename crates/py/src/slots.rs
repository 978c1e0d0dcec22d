//! The behaviours of a class that are not methods: construction, repr, iteration, length, equality.

use std::ffi::{c_int, c_void};
use std::marker::PhantomData;

use crate::arguments::{Arguments, TupleAndDict};
use crate::attached::Attached;
use crate::class::{Class, This, allocate, state_of_class};
use crate::ffi;
use crate::object::{Borrowed, Owned};
use crate::raised::Result;
use crate::trampoline::{body, guard};
use crate::types::Lendable;
use crate::types::buffer::fill;

/// Collects the slots of class `T`.
pub struct Slots<T> {
    slots: Vec<ffi::PyType_Slot>,
    class: PhantomData<fn(T)>,
}

impl<T: Class> Slots<T> {
    pub(crate) fn new() -> Slots<T> {
        Slots {
            slots: Vec::new(),
            class: PhantomData,
        }
    }

    pub(crate) fn push(&mut self, slot: c_int, pfunc: *mut c_void) {
        self.slots.push(ffi::PyType_Slot { slot, pfunc });
    }

    pub(crate) fn constructs(&self) -> bool {
        self.slots.iter().any(|slot| slot.slot == ffi::Py_tp_new)
    }

    pub(crate) fn as_mut_ptr(&mut self) -> *mut ffi::PyType_Slot {
        self.slots.as_mut_ptr()
    }

    fn with(mut self, slot: c_int, pfunc: *mut c_void) -> Slots<T> {
        self.push(slot, pfunc);
        self
    }

    /// `T(...)`. Without it the type cannot be called.
    pub fn construct<F>(self, _body: F) -> Slots<T>
    where
        F: for<'a, 'py> Fn(Attached<'py>, &'a T::State, Arguments<'a, 'py>) -> Result<T> + Copy,
    {
        self.with(ffi::Py_tp_new, construct::<T, F> as *mut c_void)
    }

    /// `repr(object)`.
    pub fn repr<F>(self, _body: F) -> Slots<T>
    where
        F: for<'a, 'py> Fn(This<'a, 'py, T>) -> Result<Owned<'py>> + Copy,
    {
        self.with(ffi::Py_tp_repr, unary::<T, F> as *mut c_void)
    }

    /// `iter(object)`.
    pub fn iter<F>(self, _body: F) -> Slots<T>
    where
        F: for<'a, 'py> Fn(This<'a, 'py, T>) -> Result<Owned<'py>> + Copy,
    {
        self.with(ffi::Py_tp_iter, unary::<T, F> as *mut c_void)
    }

    /// `next(object)`; `None` ends the iteration.
    pub fn next<F>(self, _body: F) -> Slots<T>
    where
        F: for<'a, 'py> Fn(This<'a, 'py, T>) -> Result<Option<Owned<'py>>> + Copy,
    {
        self.with(ffi::Py_tp_iternext, next::<T, F> as *mut c_void)
    }

    /// `aiter(object)`.
    pub fn async_iter<F>(self, _body: F) -> Slots<T>
    where
        F: for<'a, 'py> Fn(This<'a, 'py, T>) -> Result<Owned<'py>> + Copy,
    {
        self.with(ffi::Py_am_aiter, unary::<T, F> as *mut c_void)
    }

    /// `anext(object)`: an awaitable.
    pub fn async_next<F>(self, _body: F) -> Slots<T>
    where
        F: for<'a, 'py> Fn(This<'a, 'py, T>) -> Result<Owned<'py>> + Copy,
    {
        self.with(ffi::Py_am_anext, unary::<T, F> as *mut c_void)
    }

    /// `len(object)`.
    pub fn length<F>(self, _body: F) -> Slots<T>
    where
        F: for<'a, 'py> Fn(This<'a, 'py, T>) -> Result<usize> + Copy,
    {
        self.with(ffi::Py_sq_length, length::<T, F> as *mut c_void)
    }

    /// The buffer protocol: memory that stays where it is as long as the object lives.
    pub fn memory<F>(self, _body: F) -> Slots<T>
    where
        F: for<'a, 'py> Fn(This<'a, 'py, T>) -> Lendable + Copy,
    {
        self.with(ffi::Py_bf_getbuffer, lend::<T, F> as *mut c_void)
    }

    /// `bool(object)` is True whatever its length: for things that are not containers at heart.
    pub fn always_true(self) -> Slots<T> {
        self.with(ffi::Py_nb_bool, always_true as *mut c_void)
    }

    /// `object == other` (`None`: the other side may answer) and the hash that goes with it.
    pub fn equality<E, H>(self, _equal: E, _hash: H) -> Slots<T>
    where
        E: for<'a, 'py> Fn(This<'a, 'py, T>, Borrowed<'a, 'py>) -> Result<Option<bool>> + Copy,
        H: for<'a, 'py> Fn(This<'a, 'py, T>) -> u64 + Copy,
    {
        self.with(ffi::Py_tp_richcompare, compare::<T, E> as *mut c_void)
            .with(ffi::Py_tp_hash, hash::<T, H> as *mut c_void)
    }
}

unsafe extern "C" fn construct<T, F>(
    class: *mut ffi::PyTypeObject,
    arguments: *mut ffi::PyObject,
    keywords: *mut ffi::PyObject,
) -> *mut ffi::PyObject
where
    T: Class,
    F: for<'a, 'py> Fn(Attached<'py>, &'a T::State, Arguments<'a, 'py>) -> Result<T> + Copy,
{
    // SAFETY: Python calls this attached.
    let py = unsafe { Attached::assume() };
    let result = guard(py, || {
        // SAFETY: the slot is inherited by nobody (the type is final), so `class` was built for `T`.
        let state = unsafe { state_of_class(py, class)? };
        // SAFETY: Python passes a tuple and a dict or null, and keeps them during the call.
        let arguments = unsafe { TupleAndDict::new(py, arguments, keywords)? };
        // SAFETY: `Slots::construct` was given the value.
        let run = unsafe { body::<F>() };
        let made = run(py, state, arguments.arguments())?;
        // SAFETY: as above.
        unsafe { allocate(py, class, made) }
    });
    result.map_or(std::ptr::null_mut(), Owned::into_ptr)
}

unsafe extern "C" fn unary<T, F>(object: *mut ffi::PyObject) -> *mut ffi::PyObject
where
    T: Class,
    F: for<'a, 'py> Fn(This<'a, 'py, T>) -> Result<Owned<'py>> + Copy,
{
    // SAFETY: Python calls this attached.
    let py = unsafe { Attached::assume() };
    let result = guard(py, || {
        // SAFETY: Python calls a slot with objects of the slot's type.
        let this = unsafe { This::from_ptr(py, object) };
        // SAFETY: the method of `Slots` that named this trampoline was given the value.
        let run = unsafe { body::<F>() };
        run(this)
    });
    result.map_or(std::ptr::null_mut(), Owned::into_ptr)
}

unsafe extern "C" fn next<T, F>(object: *mut ffi::PyObject) -> *mut ffi::PyObject
where
    T: Class,
    F: for<'a, 'py> Fn(This<'a, 'py, T>) -> Result<Option<Owned<'py>>> + Copy,
{
    // SAFETY: Python calls this attached.
    let py = unsafe { Attached::assume() };
    let result = guard(py, || {
        // SAFETY: Python calls a slot with objects of the slot's type.
        let this = unsafe { This::from_ptr(py, object) };
        // SAFETY: `Slots::next` was given the value.
        let run = unsafe { body::<F>() };
        run(this)
    });
    match result {
        Ok(Some(item)) => item.into_ptr(),
        // Null without an exception is the end of the iteration.
        Ok(None) | Err(_) => std::ptr::null_mut(),
    }
}

unsafe extern "C" fn lend<T, F>(
    object: *mut ffi::PyObject,
    view: *mut ffi::Py_buffer,
    flags: c_int,
) -> c_int
where
    T: Class,
    F: for<'a, 'py> Fn(This<'a, 'py, T>) -> Lendable + Copy,
{
    // SAFETY: Python calls this attached.
    let py = unsafe { Attached::assume() };
    let result = guard(py, || {
        // SAFETY: Python calls a slot with objects of the slot's type.
        let this = unsafe { This::from_ptr(py, object) };
        // SAFETY: `Slots::memory` was given the value.
        let run = unsafe { body::<F>() };
        Ok(run(this))
    });
    match result {
        // SAFETY: attached; Python's own view; `Slots::memory` says that the memory lives as long as the object.
        Ok(memory) => unsafe { fill(object, view, memory, flags) },
        Err(_) => -1,
    }
}

unsafe extern "C" fn length<T, F>(object: *mut ffi::PyObject) -> ffi::Py_ssize_t
where
    T: Class,
    F: for<'a, 'py> Fn(This<'a, 'py, T>) -> Result<usize> + Copy,
{
    // SAFETY: Python calls this attached.
    let py = unsafe { Attached::assume() };
    let result = guard(py, || {
        // SAFETY: Python calls a slot with objects of the slot's type.
        let this = unsafe { This::from_ptr(py, object) };
        // SAFETY: `Slots::length` was given the value.
        let run = unsafe { body::<F>() };
        run(this)
    });
    result.map_or(-1, usize::cast_signed)
}

unsafe extern "C" fn always_true(_object: *mut ffi::PyObject) -> c_int {
    1
}

unsafe extern "C" fn compare<T, F>(
    object: *mut ffi::PyObject,
    other: *mut ffi::PyObject,
    operation: c_int,
) -> *mut ffi::PyObject
where
    T: Class,
    F: for<'a, 'py> Fn(This<'a, 'py, T>, Borrowed<'a, 'py>) -> Result<Option<bool>> + Copy,
{
    // SAFETY: Python calls this attached.
    let py = unsafe { Attached::assume() };
    let result = guard(py, || {
        if operation != ffi::Py_EQ && operation != ffi::Py_NE {
            return Ok(None);
        }
        // SAFETY: Python calls a slot with an object of the slot's type on the left.
        let this = unsafe { This::from_ptr(py, object) };
        // SAFETY: any live object on the right.
        let other = unsafe { Borrowed::from_ptr(py, other) };
        // SAFETY: `Slots::equality` was given the value.
        let run = unsafe { body::<F>() };
        Ok(run(this, other)?.map(|equal| equal == (operation == ffi::Py_EQ)))
    });
    match result {
        Ok(Some(truth)) => py.bool(truth).to_owned().into_ptr(),
        // SAFETY: NotImplemented is immortal.
        Ok(None) => unsafe {
            Borrowed::from_ptr(py, ffi::Py_NotImplemented())
                .to_owned()
                .into_ptr()
        },
        Err(_) => std::ptr::null_mut(),
    }
}

unsafe extern "C" fn hash<T, F>(object: *mut ffi::PyObject) -> ffi::Py_hash_t
where
    T: Class,
    F: for<'a, 'py> Fn(This<'a, 'py, T>) -> u64 + Copy,
{
    // SAFETY: Python calls this attached.
    let py = unsafe { Attached::assume() };
    let result = guard(py, || {
        // SAFETY: Python calls a slot with objects of the slot's type.
        let this = unsafe { This::from_ptr(py, object) };
        // SAFETY: `Slots::equality` was given the value.
        let run = unsafe { body::<F>() };
        Ok(run(this))
    });
    match result {
        // -1 is how a hash function says that it raised.
        Ok(value) => match value.cast_signed() as ffi::Py_hash_t {
            -1 => -2,
            hash => hash,
        },
        Err(_) => -1,
    }
}
