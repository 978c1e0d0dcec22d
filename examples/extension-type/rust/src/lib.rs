//! Long texts made of pieces that never change, one memory for all interpreters: an extension type that Atoll shares.
//!
//! ```python
//! rope = ropes.Rope("a long text") + ropes.Rope(" and another")   # the pieces are shared, not copied
//! atoll.run(lambda: str(rope))                                    # in another interpreter, too
//! ```

use std::ffi::{CStr, c_char, c_int, c_void};
use std::ptr::{null_mut, slice_from_raw_parts};
use std::sync::atomic::{AtomicUsize, Ordering};

use atoll_share::{CAPSULE, Share, Shared};
use pyo3_ffi::*;

/// To be raised with every change of [`Pieces`] and [`Piece`].
const LAYOUT: u32 = 1;
const REBUILD: &CStr = c"ropes:rebuild";

/// How many pieces this copy of the library has made that still live.
static LIVE: AtomicUsize = AtomicUsize::new(0);

/// A text of its own. Nothing here knows of Python, so that it belongs to no interpreter.
struct Piece(Box<str>);

impl Piece {
    fn new(text: &str) -> Piece {
        LIVE.fetch_add(1, Ordering::Relaxed);
        Piece(text.into())
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        LIVE.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The payload: pieces that other ropes may have as well, whichever copy of the library made them.
struct Pieces(Vec<Shared<Piece>>);

impl Pieces {
    fn text(&self) -> String {
        self.0.iter().map(|piece| &*piece.0).collect()
    }
}

/// The object that Python sees.
#[repr(C)]
struct Rope {
    head: PyObject,
    pieces: Option<Shared<Pieces>>,
}

#[repr(C)]
struct State {
    rope: *mut PyTypeObject,
}

/// # Safety
/// Attached; *object* is a complete `Rope`.
unsafe fn pieces<'a>(object: *mut PyObject) -> &'a Shared<Pieces> {
    // SAFETY: by the caller; `made` sets the pieces of every rope.
    unsafe { (*object.cast::<Rope>()).pieces.as_ref().unwrap_unchecked() }
}

/// A new rope of that type, or null with an exception set.
///
/// # Safety
/// Attached; *class* is the type of ropes in this interpreter.
unsafe fn made(class: *mut PyTypeObject, pieces: Shared<Pieces>) -> *mut PyObject {
    // SAFETY: by the caller; memory of tp_alloc is zeroed, and written to before anybody sees it.
    unsafe {
        let object = PyType_GenericAlloc(class, 0);
        if !object.is_null() {
            (&raw mut (*object.cast::<Rope>()).pieces).write(Some(pieces));
        }
        object
    }
}

fn shared(pieces: Vec<Shared<Piece>>) -> Shared<Pieces> {
    Shared::new(Pieces(pieces), LAYOUT, REBUILD)
}

unsafe extern "C" fn rope_new(class: *mut PyTypeObject, args: *mut PyObject, _: *mut PyObject) -> *mut PyObject {
    // SAFETY: called by Python, attached, with a tuple of arguments; the text lives as long as they do.
    unsafe {
        let (mut data, mut len): (*const c_char, Py_ssize_t) = (std::ptr::null(), 0);
        if PyArg_ParseTuple(args, c"s#:Rope".as_ptr(), &raw mut data, &raw mut len) == 0 {
            return null_mut();
        }
        let text = &*slice_from_raw_parts(data.cast::<u8>(), len as usize);
        let text = std::str::from_utf8_unchecked(text);
        made(class, shared(vec![Shared::new(Piece::new(text), LAYOUT, c"")]))
    }
}

unsafe extern "C" fn rope_dealloc(object: *mut PyObject) {
    // SAFETY: called by Python, attached, once, for an object of `made`.
    unsafe {
        let class = Py_TYPE(object);
        (&raw mut (*object.cast::<Rope>()).pieces).drop_in_place();
        PyObject_Free(object.cast());
        Py_DECREF(class.cast());
    }
}

unsafe extern "C" fn rope_str(object: *mut PyObject) -> *mut PyObject {
    // SAFETY: called by Python, attached, for a rope.
    unsafe {
        let text = pieces(object).text();
        PyUnicode_FromStringAndSize(text.as_ptr().cast(), text.len() as Py_ssize_t)
    }
}

unsafe extern "C" fn rope_add(left: *mut PyObject, right: *mut PyObject) -> *mut PyObject {
    // SAFETY: called by Python, attached; one of both is a rope, and the other one as well if its type is the same.
    unsafe {
        if Py_TYPE(left) != Py_TYPE(right) {
            return Py_NewRef(Py_NotImplemented());
        }
        let both = [pieces(left), pieces(right)];
        let all = both.iter().flat_map(|rope| rope.0.iter().cloned()).collect();
        made(Py_TYPE(left), shared(all))
    }
}

/// A capsule with what the rope's pieces are described by, which keeps the rope.
unsafe extern "C" fn rope_share(object: *mut PyObject, _: *mut PyObject) -> *mut PyObject {
    // SAFETY: called by Python, attached, for a rope, whose reference the capsule gets.
    unsafe {
        let share = std::ptr::from_ref(pieces(object).share()).cast_mut();
        let capsule = PyCapsule_New(share.cast(), CAPSULE.as_ptr(), Some(end_capsule));
        if !capsule.is_null() {
            PyCapsule_SetContext(capsule, Py_NewRef(object).cast());
        }
        capsule
    }
}

unsafe extern "C" fn end_capsule(capsule: *mut PyObject) {
    // SAFETY: called by Python, attached, for a capsule of `rope_share`.
    unsafe { Py_DECREF(PyCapsule_GetContext(capsule).cast()) };
}

/// What Atoll calls in the receiving interpreter.
unsafe extern "C" fn rebuild(module: *mut PyObject, capsule: *mut PyObject) -> *mut PyObject {
    // SAFETY: called by Python, attached; a capsule of that name has such a structure, which `rope_share` of some copy
    // of this library described: nobody else names this function.
    unsafe {
        let share = PyCapsule_GetPointer(capsule, CAPSULE.as_ptr()).cast::<Share>();
        let Some(share) = share.as_ref() else {
            return null_mut();
        };
        match Shared::<Pieces>::from_share(share, LAYOUT, REBUILD) {
            Ok(pieces) => made((*PyModule_GetState(module).cast::<State>()).rope, pieces),
            Err(mismatch) => {
                let text = format!("{mismatch}\0");
                PyErr_SetString(PyExc_ValueError, text.as_ptr().cast());
                null_mut()
            }
        }
    }
}

unsafe extern "C" fn live(_: *mut PyObject, _: *mut PyObject) -> *mut PyObject {
    // SAFETY: called by Python, attached.
    unsafe { PyLong_FromSize_t(LIVE.load(Ordering::Relaxed)) }
}

unsafe extern "C" fn exec(module: *mut PyObject) -> c_int {
    static mut METHODS: [PyMethodDef; 2] = [method(c"__atoll_share__", rope_share, METH_NOARGS), PyMethodDef::zeroed()];
    let mut slots = [
        PyType_Slot { slot: Py_tp_new, pfunc: rope_new as *mut c_void },
        PyType_Slot { slot: Py_tp_dealloc, pfunc: rope_dealloc as *mut c_void },
        PyType_Slot { slot: Py_tp_str, pfunc: rope_str as *mut c_void },
        PyType_Slot { slot: Py_nb_add, pfunc: rope_add as *mut c_void },
        PyType_Slot { slot: Py_tp_methods, pfunc: (&raw mut METHODS).cast() },
        PyType_Slot { slot: 0, pfunc: null_mut() },
    ];
    let mut spec = PyType_Spec {
        name: c"ropes.Rope".as_ptr(),
        basicsize: size_of::<Rope>() as c_int,
        itemsize: 0,
        flags: (Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE) as u32,
        slots: slots.as_mut_ptr(),
    };
    // SAFETY: called by Python, attached, for a module whose state is ours; a spec whose functions fit its slots.
    unsafe {
        let class = PyType_FromModuleAndSpec(module, &raw mut spec, null_mut());
        if class.is_null() {
            return -1;
        }
        (*PyModule_GetState(module).cast::<State>()).rope = class.cast();
        PyModule_AddType(module, class.cast())
    }
}

unsafe extern "C" fn clear(module: *mut PyObject) -> c_int {
    // SAFETY: called by Python, attached, for a module of ours.
    unsafe {
        let state = PyModule_GetState(module).cast::<State>();
        Py_XDECREF(std::mem::replace(&mut (*state).rope, null_mut()).cast());
    }
    0
}

unsafe extern "C" fn traverse(module: *mut PyObject, visit: visitproc, arg: *mut c_void) -> c_int {
    // SAFETY: called by Python, attached, for a module of ours.
    unsafe {
        let state = PyModule_GetState(module).cast::<State>();
        if state.is_null() || (*state).rope.is_null() { 0 } else { visit((*state).rope.cast(), arg) }
    }
}

const fn method(name: &'static CStr, function: PyCFunction, flags: c_int) -> PyMethodDef {
    PyMethodDef {
        ml_name: name.as_ptr(),
        ml_meth: PyMethodDefPointer { PyCFunction: function },
        ml_flags: flags,
        ml_doc: std::ptr::null(),
    }
}

/// # Safety
/// Called by Python when it imports the module, attached.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyInit_ropes() -> *mut PyObject {
    static mut METHODS: [PyMethodDef; 3] =
        [method(c"rebuild", rebuild, METH_O), method(c"live", live, METH_NOARGS), PyMethodDef::zeroed()];
    static mut SLOTS: [PyModuleDef_Slot; 4] = [
        PyModuleDef_Slot { slot: Py_mod_exec, value: exec as *mut c_void },
        PyModuleDef_Slot { slot: Py_mod_multiple_interpreters, value: Py_MOD_PER_INTERPRETER_GIL_SUPPORTED },
        PyModuleDef_Slot { slot: Py_mod_gil, value: Py_MOD_GIL_NOT_USED },
        PyModuleDef_Slot { slot: 0, value: null_mut() },
    ];
    static mut DEFINITION: PyModuleDef = PyModuleDef {
        m_base: PyModuleDef_HEAD_INIT,
        m_name: c"ropes".as_ptr(),
        m_doc: c"Texts that interpreters share.".as_ptr(),
        m_size: size_of::<State>() as Py_ssize_t,
        m_methods: (&raw mut METHODS).cast(),
        m_slots: (&raw mut SLOTS).cast(),
        m_traverse: Some(traverse),
        m_clear: Some(clear),
        m_free: None,
    };
    // SAFETY: a definition that lives for ever, and that nobody but Python writes to.
    unsafe { PyModuleDef_Init(&raw mut DEFINITION) }
}
