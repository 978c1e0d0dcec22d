//! Interpreters with a GIL of their own, and the threads that enter and leave them.
//!
//! CPython ties every thread state to the operating-system thread that attaches it, and `Py_EndInterpreter` aborts the
//! process when another thread state is left. The three types here make the legal order the only order:
//! a [`SubInterpreter`] is created and ended by the thread that owns it, an [`InterpreterHandle`] lets another thread
//! in, and a [`Visit`] is that thread's own state, gone when it is dropped. Nothing uses the `PyGILState` functions,
//! which know the main interpreter only.
//!
//! # Example
//!
//! ```ignore
//! let interpreter = SubInterpreter::create()?;          // a thread that no interpreter knows
//! let handle = interpreter.handle();
//! interpreter.detach(|| std::thread::scope(|scope| {
//!     scope.spawn(|| {
//!         let visit = unsafe { handle.enter() };        // SAFETY: the scope ends before the interpreter does
//!         visit.attached();                             // run Python here
//!     });
//! }));
//! interpreter.end().map_err(|_| "a thread was left behind")?;
//! ```

use std::ffi::{CStr, c_ulong};
use std::fmt;
use std::marker::PhantomData;
use std::ptr::{self, NonNull};

use crate::{Attached, Borrowed, Owned, Result, ffi};

/// Why an interpreter did not come to life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreateError(String);

impl CreateError {
    pub(crate) fn new(reason: String) -> Self {
        Self(reason)
    }
}

impl fmt::Display for CreateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for CreateError {}

/// Loads into the main interpreter what other interpreters can share only if it was there first.
///
/// CPython 3.13 sets the static types of `_datetime` up in the interpreter that imports it first; if that is a
/// sub-interpreter, others that import it meanwhile crash. (3.14 has put that right.) Does nothing elsewhere than in the
/// main interpreter.
///
/// Needs: attached. May run Python: yes.
pub fn prepare_main(py: Attached<'_>) -> Result<()> {
    if cfg!(Py_3_14) || !py.in_main_interpreter() {
        return Ok(());
    }
    py.import(c"_datetime").map(drop)
}

/// An interpreter of its own, and the calling thread's attached state in it.
///
/// It stays on the thread that created it. Between [`create`](Self::create) and [`end`](Self::end) that thread is
/// attached, except inside [`detach`](Self::detach).
#[derive(Debug)]
pub struct SubInterpreter {
    state: NonNull<ffi::PyThreadState>,
    interpreter: InterpreterHandle,
    // A thread state belongs to one thread.
    _not_send: PhantomData<*mut ()>,
}

impl SubInterpreter {
    /// Create an interpreter with its own GIL and the standard isolated configuration, and attach this thread to it.
    ///
    /// Needs: a thread that has no Python thread state. May run Python: yes (`site` of the new interpreter).
    ///
    /// # Panics
    ///
    /// If this thread has an attached thread state already.
    pub fn create() -> std::result::Result<Self, CreateError> {
        // SAFETY: may be called on any thread at any time; it only reads a thread-local.
        let before = unsafe { ffi::PyThreadState_GetUnchecked() };
        assert!(
            before.is_null(),
            "an interpreter is created on a thread without a thread state"
        );
        let mut state = ptr::null_mut();
        // SAFETY: both pointers are valid for the call; the thread has no state, which CPython allows here.
        let status = unsafe {
            ffi::Py_NewInterpreterFromConfig(&raw mut state, &ffi::_PyInterpreterConfig_INIT)
        };
        // SAFETY: `status` came from CPython just now.
        let failed = unsafe { ffi::PyStatus_Exception(status) } != 0;
        match NonNull::new(state) {
            Some(state) if !failed => {
                // SAFETY: a new interpreter's first thread state is attached and has an interpreter.
                let interpreter = unsafe { ffi::PyThreadState_GetInterpreter(state.as_ptr()) };
                let interpreter = InterpreterHandle(
                    NonNull::new(interpreter).expect("a state has an interpreter"),
                );
                Ok(Self {
                    state,
                    interpreter,
                    _not_send: PhantomData,
                })
            }
            _ => Err(CreateError(reason_of(&status))),
        }
    }

    /// The token of this thread's attachment.
    pub fn attached(&self) -> Attached<'_> {
        // SAFETY: by construction this thread is attached to this state (the type is not `Send`), and `detach` borrows
        // `self`, so no token made here is in use while the thread is detached.
        unsafe { Attached::assume() }
    }

    /// What other threads need to enter this interpreter.
    pub fn handle(&self) -> InterpreterHandle {
        self.interpreter
    }

    /// Give up the GIL while `body` runs.
    ///
    /// Needs: attached. May run Python: yes (other threads do).
    pub fn detach<R: Send>(&self, body: impl FnOnce() -> R + Send) -> R {
        self.attached().detach(body)
    }

    /// End the interpreter: joins its Python threads, runs its exit functions, frees what it owned.
    ///
    /// May run Python: yes, without bound: a Python thread that never ends keeps this call waiting.
    /// Gives the interpreter back, alive, if any other thread has a state in it: ending it then would abort the process.
    pub fn end(self) -> std::result::Result<(), Self> {
        self.join_python_threads();
        if !self.is_last_thread() {
            return Err(self);
        }
        // SAFETY: the state is this thread's, attached, and the only one of its interpreter.
        unsafe { ffi::Py_EndInterpreter(self.state.as_ptr()) };
        Ok(())
    }

    /// Whether no other thread has a state in this interpreter.
    pub fn is_last_thread(&self) -> bool {
        // SAFETY: the interpreter is alive and this thread is attached to it. A state that another thread deletes
        // meanwhile makes the answer older, not wrong: our own state stays in the list, and only pointers are compared.
        unsafe {
            let head = ffi::PyInterpreterState_ThreadHead(self.interpreter.0.as_ptr());
            ptr::eq(head, self.state.as_ptr()) && ffi::PyThreadState_Next(head).is_null()
        }
    }

    /// Does what `Py_EndInterpreter` does first, so that [`is_last_thread`](Self::is_last_thread) can be asked after it and
    /// before the point of no return: joins the Python threads and runs the exit functions (which may start threads, so
    /// joins once more).
    fn join_python_threads(&self) {
        let py = self.attached();
        for (module, function) in [
            (c"threading", c"_shutdown"),
            (c"atexit", c"_run_exitfuncs"),
            (c"threading", c"_shutdown"),
        ] {
            let ended =
                imported(py, module).map(|module| module.borrow().call_method(function, &[]));
            // An exception here is one of the user's exit functions; the interpreter ends all the same.
            if let Some(Err(raised)) = ended {
                raised.write_unraisable(None);
            }
        }
    }
}

/// The module of that name if it has been imported already.
fn imported<'py>(py: Attached<'py>, name: &CStr) -> Option<Owned<'py>> {
    // SAFETY: attached; the dict is borrowed from the interpreter, which lives.
    let modules = unsafe { ffi::PyImport_GetModuleDict() };
    // SAFETY: attached, a live dict, a C string; the result is borrowed from the dict and taken hold of at once.
    unsafe {
        let module = ffi::PyDict_GetItemString(modules, name.as_ptr());
        (!module.is_null()).then(|| Borrowed::from_ptr(py, module).to_owned())
    }
}

pub(crate) fn reason_of(status: &ffi::PyStatus) -> String {
    if status.err_msg.is_null() {
        return "CPython gave no reason".to_owned();
    }
    // SAFETY: CPython's messages are static, nul-terminated strings.
    unsafe { CStr::from_ptr(status.err_msg) }
        .to_string_lossy()
        .into_owned()
}

/// Names a living interpreter, so that other threads can enter it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InterpreterHandle(NonNull<ffi::PyInterpreterState>);

// SAFETY: the handle is an address; every use of it is `unsafe` and demands that the interpreter lives.
unsafe impl Send for InterpreterHandle {}
// SAFETY: as above.
unsafe impl Sync for InterpreterHandle {}

impl InterpreterHandle {
    /// The main interpreter of this copy of Python.
    ///
    /// # Safety
    ///
    /// Python is initialised.
    pub unsafe fn main() -> Self {
        // SAFETY: as the caller says; the call only reads.
        let main = unsafe { ffi::PyInterpreterState_Main() };
        Self(NonNull::new(main).expect("an initialised Python has a main interpreter"))
    }

    /// Give this thread a state of its own in the interpreter and attach it, waiting for the GIL.
    ///
    /// Needs: detached (no attached thread state on this thread). May run Python: no.
    ///
    /// # Safety
    ///
    /// The interpreter is alive and is not ended before the visit is dropped.
    ///
    /// # Panics
    ///
    /// If this thread has an attached thread state already, or there is no memory for one more.
    pub unsafe fn enter(self) -> Visit {
        // SAFETY: may be called on any thread at any time.
        let before = unsafe { ffi::PyThreadState_GetUnchecked() };
        assert!(
            before.is_null(),
            "a thread enters one interpreter at a time"
        );
        // SAFETY: the interpreter is alive (the caller's promise); this needs no GIL.
        let state = unsafe { ffi::PyThreadState_New(self.0.as_ptr()) };
        let state = NonNull::new(state).expect("memory for a thread state");
        // SAFETY: the state is new, belongs to this thread, and is not attached.
        unsafe { ffi::PyEval_RestoreThread(state.as_ptr()) };
        Visit {
            _not_send: PhantomData,
        }
    }
}

/// This thread's stay in an interpreter that another thread owns. Dropping it deletes the thread's state.
#[derive(Debug)]
pub struct Visit {
    _not_send: PhantomData<*mut ()>,
}

impl Visit {
    /// The token of this thread's attachment.
    pub fn attached(&self) -> Attached<'_> {
        // SAFETY: `enter` attached this thread and the type is not `Send`.
        unsafe { Attached::assume() }
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        // SAFETY: this thread is attached to the state that `enter` made (a token's detached section has ended, since it
        // borrows the visit), and the state is not used again.
        unsafe {
            let state = ffi::PyThreadState_GetUnchecked();
            ffi::PyThreadState_Clear(state);
            ffi::PyThreadState_DeleteCurrent();
        }
    }
}

/// Names a thread's state in an interpreter, so that another thread can look where it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ThreadState(NonNull<ffi::PyThreadState>);

// SAFETY: the value is an address; its one use is `unsafe` and demands that the state lives.
unsafe impl Send for ThreadState {}

impl From<NonNull<ffi::PyThreadState>> for ThreadState {
    fn from(state: NonNull<ffi::PyThreadState>) -> Self {
        Self(state)
    }
}

impl ThreadState {
    /// Its address.
    pub(crate) fn as_ptr(self) -> *mut ffi::PyThreadState {
        self.0.as_ptr()
    }

    /// That of the calling thread.
    pub fn current(_attached: Attached<'_>) -> Self {
        // SAFETY: attached, so there is one.
        Self(NonNull::new(unsafe { ffi::PyThreadState_Get() }).expect("attached"))
    }

    /// The frame that the thread executes, or waits in; `None` if it executes no Python code.
    ///
    /// Returns: owned. Needs: attached to the same interpreter. May run Python: no.
    ///
    /// # Safety
    ///
    /// The state lives, and does not run meanwhile: the build has a GIL, which the calling thread holds.
    pub unsafe fn frame<'py>(self, py: Attached<'py>) -> Option<Owned<'py>> {
        // SAFETY: the caller's promise; the result is a new reference or null.
        let frame = unsafe { ffi::PyThreadState_GetFrame(self.0.as_ptr()) };
        // SAFETY: not null.
        (!frame.is_null()).then(|| unsafe { Owned::from_ptr(py, frame.cast()) })
    }
}

/// How Python names the calling thread (`threading.get_ident()`), for [`throw_into`].
pub fn thread_ident() -> u64 {
    // SAFETY: needs neither a thread state nor the GIL.
    unsafe { ffi::PyThread_get_thread_ident() }
}

/// Have `exception` (a class, or null to withdraw one) raised in the thread `ident` at its next bytecode.
///
/// Needs: attached to the interpreter of that thread. May run Python: yes (a withdrawn exception's destructor).
/// Returns whether there is such a thread.
///
/// # Safety
///
/// `exception` is null or a live object of the interpreter this thread is attached to.
pub unsafe fn throw_into(
    _attached: Attached<'_>,
    ident: u64,
    exception: *mut ffi::PyObject,
) -> bool {
    let ident = ident as c_ulong;
    // SAFETY: attached; the function takes its own reference; the ident is compared, never followed. The C parameter
    // is an unsigned long, which pyo3-ffi declares signed: the bits are the same.
    unsafe { ffi::PyThreadState_SetAsyncExc(ident as _, exception) != 0 }
}
