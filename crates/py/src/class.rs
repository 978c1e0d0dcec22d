//! Heap types around a Rust value: [`Class`] says what a type looks like, [`HeapClass`] is the type in one interpreter.
//!
//! # Invariants
//! - **C1**: every object of a type built for `T` is an `Instance<T>` whose body is set from its making to its deallocation.
//! - **C2**: the types are final (no `Py_TPFLAGS_BASETYPE`), so an object's type tells exactly which `T` it holds.
//! - **C3**: a type built for `T` belongs to a module with state `T::State`: [`HeapClass::build`] takes the module.

use std::ffi::{CStr, c_int, c_uint, c_void};
use std::marker::PhantomData;
use std::mem::{ManuallyDrop, offset_of};
use std::ops::Deref;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::attached::Attached;
use crate::ffi;
use crate::method::{Getter, Method};
use crate::module::{Module, State, drop_with_stored, state_in, visit_all};
use crate::object::{Borrowed, Owned, Stored};
use crate::raised::Result;
use crate::slots::Slots;

/// A type that Python sees, around a Rust value.
pub trait Class: Send + Sync + Sized + 'static {
    /// The state of the module that the type belongs to.
    type State: State;
    /// `module.Name`, as Python shows it.
    const NAME: &'static CStr;
    /// The docstring.
    const DOC: &'static CStr;
    /// The methods, ending with [`Method::END`].
    const METHODS: &'static [Method<Self>];
    /// The read-only attributes, ending with [`Getter::END`].
    const GETTERS: &'static [Getter<Self>] = &[Getter::END];
    /// Whether objects hold Python objects, so that the garbage collector must see them.
    const HOLDS_OBJECTS: bool = false;

    /// Adds the behaviours that are not methods: construction, repr, iteration, length.
    fn slots(slots: Slots<Self>) -> Slots<Self> {
        slots
    }

    /// Shows every stored reference to `visit`, each once. Needed if [`HOLDS_OBJECTS`](Class::HOLDS_OBJECTS).
    fn each_stored(&self, visit: &mut dyn FnMut(&Stored)) {
        let _ = visit;
    }
}

/// The memory of one object.
#[repr(C)]
pub(crate) struct Instance<T> {
    head: ffi::PyObject,
    weak_references: *mut ffi::PyObject,
    body: ManuallyDrop<T>,
}

/// An object of class `T`, borrowed: derefs to the Rust value.
pub struct This<'a, 'py, T> {
    object: Borrowed<'a, 'py>,
    body: &'a T,
}

impl<T> Clone for This<'_, '_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for This<'_, '_, T> {}

impl<T> Deref for This<'_, '_, T> {
    type Target = T;

    #[inline(always)]
    fn deref(&self) -> &T {
        self.body
    }
}

impl<'a, 'py, T: Class> This<'a, 'py, T> {
    /// # Safety
    /// `object` is not null, is of a type built for `T`, and lives for `'a`.
    #[inline(always)]
    pub(crate) unsafe fn from_ptr(
        py: Attached<'py>,
        object: *mut ffi::PyObject,
    ) -> This<'a, 'py, T> {
        // SAFETY: C1.
        let body = unsafe { &(*object.cast::<Instance<T>>()).body };
        // SAFETY: not null and alive, says the caller.
        let object = unsafe { Borrowed::from_ptr(py, object) };
        This { object, body }
    }

    /// The token.
    #[inline(always)]
    pub fn py(self) -> Attached<'py> {
        self.object.py()
    }

    /// The Python object.
    #[inline(always)]
    pub fn object(self) -> Borrowed<'a, 'py> {
        self.object
    }

    /// The Rust value, for as long as the object is borrowed.
    #[inline(always)]
    pub fn body(self) -> &'a T {
        self.body
    }

    /// The state of the module that the object's type belongs to.
    #[inline]
    pub fn state(self) -> Result<&'a T::State> {
        // SAFETY: C3; the object keeps its type, and that its module.
        unsafe { state_of_class(self.py(), self.object.type_ptr()) }
    }
}

/// Reads the module state behind a type.
///
/// # Safety
/// `class` was built for some `T` with `T::State = S` and lives for `'a`.
pub(crate) unsafe fn state_of_class<'a, S: State>(
    py: Attached<'_>,
    class: *mut ffi::PyTypeObject,
) -> Result<&'a S> {
    // SAFETY: a heap type made from a module; null (with an exception) once the type was cleared.
    let memory = unsafe { ffi::PyType_GetModuleState(class) };
    // SAFETY: C3.
    unsafe { state_in(py, memory) }
}

/// The type for `T` in one interpreter: a field of that interpreter's module state.
pub struct HeapClass<T>(Stored, PhantomData<fn(T)>);

impl<T: Class> HeapClass<T> {
    /// Makes the type for a module.
    ///
    /// Needs: attached. May run Python: yes.
    pub fn build(module: Module<'_, '_, T::State>) -> Result<HeapClass<T>> {
        const {
            assert!(
                align_of::<Instance<T>>() <= 16,
                "Python aligns objects to 16 bytes"
            )
        };
        assert!(
            T::METHODS.last().is_some_and(Method::is_end),
            "METHODS ends with Method::END"
        );
        assert!(
            T::GETTERS.last().is_some_and(Getter::is_end),
            "GETTERS ends with Getter::END"
        );

        let members = [
            ffi::PyMemberDef {
                name: c"__weaklistoffset__".as_ptr(),
                type_code: ffi::Py_T_PYSSIZET,
                offset: offset_of!(Instance<T>, weak_references).cast_signed(),
                flags: ffi::Py_READONLY,
                doc: std::ptr::null(),
            },
            ffi::PyMemberDef::default(),
        ];
        let mut slots = T::slots(Slots::new());
        slots.push(ffi::Py_tp_doc, T::DOC.as_ptr().cast_mut().cast());
        slots.push(ffi::Py_tp_methods, T::METHODS.as_ptr().cast_mut().cast());
        slots.push(ffi::Py_tp_getset, T::GETTERS.as_ptr().cast_mut().cast());
        slots.push(ffi::Py_tp_members, members.as_ptr().cast_mut().cast());
        slots.push(ffi::Py_tp_dealloc, deallocate::<T> as *mut c_void);
        let mut flags = ffi::Py_TPFLAGS_DEFAULT | ffi::Py_TPFLAGS_IMMUTABLETYPE;
        if T::HOLDS_OBJECTS {
            flags |= ffi::Py_TPFLAGS_HAVE_GC;
            slots.push(ffi::Py_tp_traverse, traverse::<T> as *mut c_void);
        }
        if !slots.constructs() {
            flags |= ffi::Py_TPFLAGS_DISALLOW_INSTANTIATION;
        }
        slots.push(0, std::ptr::null_mut());

        let mut spec = ffi::PyType_Spec {
            name: T::NAME.as_ptr(),
            basicsize: c_int::try_from(size_of::<Instance<T>>()).expect("objects are small"),
            itemsize: 0,
            flags: c_uint::try_from(flags).expect("type flags fit 32 bits"),
            slots: slots.as_mut_ptr(),
        };
        let py = module.py();
        // SAFETY: attached; name, doc, methods and getters are statics; Python copies members and slots.
        let class = unsafe {
            let class = ffi::PyType_FromModuleAndSpec(
                module.object().as_ptr(),
                &mut spec,
                std::ptr::null_mut(),
            );
            Owned::from_result(py, class)?
        };
        Ok(HeapClass(class.store(), PhantomData))
    }

    /// The type object.
    pub fn get<'a, 'py>(&'a self, py: Attached<'py>) -> Borrowed<'a, 'py> {
        self.0.get(py)
    }

    /// The stored reference, for [`State::each_stored`].
    pub fn stored(&self) -> &Stored {
        &self.0
    }

    /// A new object around `body`.
    ///
    /// Returns: owned. Needs: attached. May run Python: yes (an allocation may start the garbage collector).
    pub fn make<'py>(&self, py: Attached<'py>, body: T) -> Result<Owned<'py>> {
        // SAFETY: the type was built for `T`.
        unsafe { allocate(py, self.0.as_ptr().cast(), body) }
    }

    /// The Rust value inside `object`, if it is of this class.
    #[inline]
    pub fn body_of<'a>(&self, object: Borrowed<'a, '_>) -> Option<&'a T> {
        self.this(object).map(This::body)
    }

    /// `object` as an object of this class, if it is one.
    #[inline]
    pub fn this<'a, 'py>(&self, object: Borrowed<'a, 'py>) -> Option<This<'a, 'py, T>> {
        if object.type_ptr() != self.0.as_ptr().cast() {
            return None;
        }
        // SAFETY: C2: the type is exactly the one built for `T`.
        Some(unsafe { This::from_ptr(object.py(), object.as_ptr()) })
    }
}

/// Makes an object of `class` around `body`.
///
/// # Safety
/// `class` was built for `T`.
pub(crate) unsafe fn allocate<'py, T: Class>(
    py: Attached<'py>,
    class: *mut ffi::PyTypeObject,
    body: T,
) -> Result<Owned<'py>> {
    // SAFETY: attached, a live type whose basic size is that of `Instance<T>`.
    let object = unsafe { Owned::from_result(py, ffi::PyType_GenericAlloc(class, 0))? };
    // SAFETY: new memory of that size, not yet seen by anyone; Python zeroed the list of weak references.
    unsafe {
        (&raw mut (*object.as_ptr().cast::<Instance<T>>()).body).write(ManuallyDrop::new(body))
    };
    Ok(object)
}

unsafe extern "C" fn deallocate<T: Class>(object: *mut ffi::PyObject) {
    let instance = object.cast::<Instance<T>>();
    // SAFETY: the object is alive until the end of this function.
    let class = unsafe { ffi::Py_TYPE(object) };
    if T::HOLDS_OBJECTS {
        // SAFETY: an object of a type with GC.
        unsafe { ffi::PyObject_GC_UnTrack(object.cast()) };
    }
    // SAFETY: C1: the field was zeroed at the start and belongs to Python's weak references.
    if unsafe { !(*instance).weak_references.is_null() } {
        // SAFETY: the type says where its weak references are.
        unsafe { ffi::PyObject_ClearWeakRefs(object) };
    }
    // SAFETY: C1: set, and taken here only; no one else holds the object.
    let body = unsafe { ManuallyDrop::take(&mut (*instance).body) };
    // A panic in a destructor must not cross C; there is nobody to tell, and the hook has printed it.
    let _ = catch_unwind(AssertUnwindSafe(move || {
        // SAFETY: attached, as deallocation is; the object is unreachable.
        unsafe { drop_with_stored(body, |body, each| body.each_stored(each)) };
    }));
    // SAFETY: the type's own way to free what `PyType_GenericAlloc` gave.
    unsafe {
        if let Some(free) = (*class).tp_free {
            free(object.cast());
        }
    }
    // SAFETY: an object of a heap type holds a reference to its type.
    unsafe { ffi::Py_DECREF(class.cast()) };
}

unsafe extern "C" fn traverse<T: Class>(
    object: *mut ffi::PyObject,
    visit: ffi::visitproc,
    context: *mut c_void,
) -> c_int {
    // SAFETY: the collector's own visitor and context; an object of a heap type holds a reference to its type.
    let answer = unsafe { visit(ffi::Py_TYPE(object).cast(), context) };
    if answer != 0 {
        return answer;
    }
    // SAFETY: C1: no allocation happens between `PyType_GenericAlloc` and the writing of the body, so it is set.
    let body = unsafe { &(*object.cast::<Instance<T>>()).body };
    // SAFETY: the collector's own visitor and context.
    unsafe { visit_all(visit, context, |each| body.each_stored(each)) }
}
