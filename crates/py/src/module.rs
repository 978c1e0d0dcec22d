//! Multi-phase modules with state: one [`Definition`] per binary, one [`State`] per interpreter.
//!
//! # Invariants
//! - **M1**: a module made from `Definition<S>` keeps in its state memory an `Option<Box<S>>`: null from the start (Python zeroes it),
//!   set once by `exec`, taken by `clear` or `free`.
//! - **M2**: a [`Module<S>`] is only made for such modules: by the trampolines, which Python calls with their own module.

use std::cell::UnsafeCell;
use std::ffi::{CStr, c_int, c_void};
use std::marker::PhantomData;

use crate::arguments::Arguments;
use crate::attached::Attached;
use crate::ffi;
use crate::object::{Borrowed, Owned, Stored};
use crate::raised::Result;
use crate::trampoline::{body, guard};

/// What one interpreter owns of this extension: made when the module is executed there, dropped with the module.
pub trait State: Send + Sync + Sized + 'static {
    /// Fills a new module and makes its state.
    fn create<'py>(module: Module<'_, 'py, Self>) -> Result<Self>;

    /// Shows every stored reference to `visit`, each once: for the garbage collector, and to give them back at the end.
    fn each_stored(&self, visit: &mut dyn FnMut(&Stored));
}

/// A module whose state is an `S`.
pub struct Module<'a, 'py, S> {
    object: Borrowed<'a, 'py>,
    state: PhantomData<&'a S>,
}

impl<S> Clone for Module<'_, '_, S> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S> Copy for Module<'_, '_, S> {}

impl<'a, 'py, S: State> Module<'a, 'py, S> {
    /// The token.
    pub fn py(self) -> Attached<'py> {
        self.object.py()
    }

    /// The module object.
    pub fn object(self) -> Borrowed<'a, 'py> {
        self.object
    }

    /// This interpreter's state. RuntimeError before `exec` has made it and after the module was torn down.
    #[inline]
    pub fn state(self) -> Result<&'a S> {
        // SAFETY: a live module object.
        let memory = unsafe { ffi::PyModule_GetState(self.object.as_ptr()) };
        // SAFETY: M1, M2; the module keeps the state while `'a` borrows the module.
        unsafe { state_in(self.py(), memory) }
    }

    /// Adds an attribute.
    pub fn add(self, name: &CStr, value: Borrowed<'_, '_>) -> Result<()> {
        // SAFETY: attached, live objects, C string.
        let status = unsafe {
            ffi::PyModule_AddObjectRef(self.object.as_ptr(), name.as_ptr(), value.as_ptr())
        };
        self.py().done(status)
    }
}

/// Reads the state out of a module's state memory.
///
/// # Safety
/// `memory` is null or the state memory of a module made from `Definition<S>` that outlives `'a`.
#[inline]
pub(crate) unsafe fn state_in<'a, S: State>(
    py: Attached<'_>,
    memory: *mut c_void,
) -> Result<&'a S> {
    // SAFETY: M1: the memory holds an `Option<Box<S>>`.
    match unsafe { memory.cast::<Option<Box<S>>>().as_ref() } {
        Some(Some(state)) => Ok(state),
        Some(None) | None => Err(py.raise_runtime_error(
            "cannot use Atoll in this interpreter (its native module is not set up, or already torn down); import atoll first",
        )),
    }
}

/// A function of a module.
#[repr(transparent)]
pub struct Function<S>(ffi::PyMethodDef, PhantomData<fn(S)>);

// SAFETY: never written after its const construction; the pointers in it are to statics.
unsafe impl<S> Sync for Function<S> {}

impl<S: State> Function<S> {
    /// Ends the list of functions.
    pub const END: Function<S> = Function(ffi::PyMethodDef::zeroed(), PhantomData);

    /// A function with the given body.
    pub const fn new<F>(name: &'static CStr, doc: &'static CStr, _body: F) -> Function<S>
    where
        F: for<'a, 'py> Fn(Module<'a, 'py, S>, Arguments<'a, 'py>) -> Result<Owned<'py>> + Copy,
    {
        Function(
            ffi::PyMethodDef {
                ml_name: name.as_ptr(),
                ml_meth: ffi::PyMethodDefPointer {
                    PyCFunctionFastWithKeywords: function::<S, F>,
                },
                ml_flags: ffi::METH_FASTCALL | ffi::METH_KEYWORDS,
                ml_doc: doc.as_ptr(),
            },
            PhantomData,
        )
    }
}

unsafe extern "C" fn function<S, F>(
    module: *mut ffi::PyObject,
    values: *const *mut ffi::PyObject,
    positional: ffi::Py_ssize_t,
    names: *mut ffi::PyObject,
) -> *mut ffi::PyObject
where
    S: State,
    F: for<'a, 'py> Fn(Module<'a, 'py, S>, Arguments<'a, 'py>) -> Result<Owned<'py>> + Copy,
{
    // SAFETY: Python calls this attached.
    let py = unsafe { Attached::assume() };
    let result = guard(py, || {
        // SAFETY: M2: Python passes the module whose definition lists this function; it lives during the call.
        let object = unsafe { Borrowed::from_ptr(py, module) };
        // SAFETY: Python passes arguments in the vectorcall layout and keeps them alive during the call.
        let arguments =
            unsafe { Arguments::from_vectorcall(values, positional.cast_unsigned(), names) };
        // SAFETY: `Function::new` was given the value.
        let run = unsafe { body::<F>() };
        run(
            Module {
                object,
                state: PhantomData,
            },
            arguments,
        )
    });
    result.map_or(std::ptr::null_mut(), Owned::into_ptr)
}

/// The slots of a module definition: it runs under any number of interpreters, each with its own GIL or with none.
pub struct Slots<S>([ffi::PyModuleDef_Slot; 4], PhantomData<fn(S)>);

// SAFETY: never written; the pointers in it are to functions or are small numbers.
unsafe impl<S> Sync for Slots<S> {}

impl<S: State> Slots<S> {
    /// The slots; keep them in a static beside the definition.
    #[expect(
        clippy::new_without_default,
        reason = "it is made in a static, by a const function"
    )]
    pub const fn new() -> Slots<S> {
        Slots(
            [
                ffi::PyModuleDef_Slot {
                    slot: ffi::Py_mod_exec,
                    value: exec::<S> as *mut c_void,
                },
                ffi::PyModuleDef_Slot {
                    slot: ffi::Py_mod_multiple_interpreters,
                    value: ffi::Py_MOD_PER_INTERPRETER_GIL_SUPPORTED,
                },
                ffi::PyModuleDef_Slot {
                    slot: ffi::Py_mod_gil,
                    value: ffi::Py_MOD_GIL_NOT_USED,
                },
                ffi::PyModuleDef_Slot {
                    slot: 0,
                    value: std::ptr::null_mut(),
                },
            ],
            PhantomData,
        )
    }
}

/// The definition of a module: a static, shared by all interpreters, that holds no Python object.
pub struct Definition<S>(UnsafeCell<ffi::PyModuleDef>, PhantomData<fn(S)>);

// SAFETY: only Python writes to it, in `PyModuleDef_Init`, which CPython makes safe for interpreters that import at once.
unsafe impl<S> Sync for Definition<S> {}

impl<S: State> Definition<S> {
    /// A definition; keep it in a static. `functions` ends with [`Function::END`].
    pub const fn new(
        name: &'static CStr,
        doc: &'static CStr,
        functions: &'static [Function<S>],
        slots: &'static Slots<S>,
    ) -> Definition<S> {
        Definition(
            UnsafeCell::new(ffi::PyModuleDef {
                m_base: ffi::PyModuleDef_HEAD_INIT,
                m_name: name.as_ptr(),
                m_doc: doc.as_ptr(),
                m_size: size_of::<Option<Box<S>>>().cast_signed(),
                m_methods: functions.as_ptr().cast::<ffi::PyMethodDef>().cast_mut(),
                m_slots: slots.0.as_ptr().cast_mut(),
                m_traverse: Some(traverse::<S>),
                m_clear: Some(clear::<S>),
                m_free: Some(free::<S>),
            }),
            PhantomData,
        )
    }

    /// What the `PyInit_` function returns.
    pub fn init(&'static self) -> *mut ffi::PyObject {
        // SAFETY: called by the import machinery, attached, with a definition that lives for ever.
        unsafe { ffi::PyModuleDef_Init(self.0.get()) }
    }
}

unsafe extern "C" fn exec<S: State>(module: *mut ffi::PyObject) -> c_int {
    // SAFETY: Python calls this attached.
    let py = unsafe { Attached::assume() };
    let made = guard(py, || {
        // SAFETY: M2: Python passes the new module of this definition.
        let object = unsafe { Borrowed::from_ptr(py, module) };
        S::create(Module {
            object,
            state: PhantomData,
        })
    });
    let Ok(state) = made else { return -1 };
    // SAFETY: a live module; M1: its state memory holds an `Option<Box<S>>`, `None` so far.
    unsafe { *ffi::PyModule_GetState(module).cast::<Option<Box<S>>>() = Some(Box::new(state)) };
    0
}

unsafe extern "C" fn traverse<S: State>(
    module: *mut ffi::PyObject,
    visit: ffi::visitproc,
    context: *mut c_void,
) -> c_int {
    // SAFETY: a live module; M1.
    match unsafe {
        ffi::PyModule_GetState(module)
            .cast::<Option<Box<S>>>()
            .as_ref()
    } {
        // SAFETY: the collector's own visitor and context.
        Some(Some(state)) => unsafe { visit_all(visit, context, |each| state.each_stored(each)) },
        Some(None) | None => 0,
    }
}

unsafe extern "C" fn clear<S: State>(module: *mut ffi::PyObject) -> c_int {
    // SAFETY: a live module; M1. No native frame uses the state: it would keep the module alive.
    if let Some(slot) = unsafe {
        ffi::PyModule_GetState(module)
            .cast::<Option<Box<S>>>()
            .as_mut()
    } && let Some(state) = slot.take()
    {
        // SAFETY: the collector and the deallocator call this attached; the state is no longer reachable.
        unsafe { drop_with_stored(state, |state, each| state.each_stored(each)) };
    }
    0
}

unsafe extern "C" fn free<S: State>(module: *mut c_void) {
    // SAFETY: the module is being deallocated, its state memory is still there.
    unsafe { clear::<S>(module.cast()) };
}

/// Passes every stored reference to the collector's visitor, until it says stop.
///
/// # Safety
/// `visit` and `context` come from the collector.
pub(crate) unsafe fn visit_all(
    visit: ffi::visitproc,
    context: *mut c_void,
    each_stored: impl FnOnce(&mut dyn FnMut(&Stored)),
) -> c_int {
    let mut answer = 0;
    each_stored(&mut |stored| {
        if answer == 0 {
            // SAFETY: a live object, the collector's own visitor and context.
            answer = unsafe { visit(stored.as_ptr(), context) };
        }
    });
    answer
}

/// Drops `owner` and then gives back every reference that it had stored.
///
/// # Safety
/// The thread is attached, and nothing else uses `owner`'s stored references.
pub(crate) unsafe fn drop_with_stored<T>(
    owner: T,
    each_stored: impl FnOnce(&T, &mut dyn FnMut(&Stored)),
) {
    let mut pointers = Vec::new();
    each_stored(&owner, &mut |stored| pointers.push(stored.as_ptr()));
    drop(owner);
    for pointer in pointers {
        // SAFETY: attached, says the caller; the dropped `Stored` left its reference to us (dropping one gives nothing back).
        unsafe { ffi::Py_DECREF(pointer) };
    }
}
