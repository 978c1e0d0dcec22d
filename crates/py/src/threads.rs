//! What the threads of an interpreter execute at one moment.

use std::ffi::c_ulong;
use std::ptr::NonNull;

use crate::interpreter::{ThreadState, thread_ident};
use crate::types::Exact;
use crate::{Attached, Borrowed, Owned, Result, ffi};

/// How many of a thread's frames are looked at, innermost first.
const MOST_FRAMES: usize = 100;

/// One thread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// `threading.get_ident()` there; 0: not to be had.
    pub ident: u64,
    /// Whether it is the thread that looks.
    pub is_own: bool,
    /// Innermost first.
    pub frames: Vec<Place>,
    /// Whether it has more frames than these.
    pub has_more: bool,
}

/// One frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file of its code.
    pub file: String,
    /// The line it is at; 0: none.
    pub line: i64,
    /// The function's qualified name.
    pub function: String,
}

/// Looks at every thread of the interpreter that the calling thread is attached to; the newest comes first.
///
/// Needs: attached. May run Python: no. So with a GIL nobody moves meanwhile; without one, the threads are stopped.
pub fn snapshot(py: Attached<'_>) -> Result<Vec<Snapshot>> {
    let _stopped = Stopped::all(py);
    let own = ThreadState::current(py);
    let at = IdentPlace::find(own);
    let mut found = Vec::new();
    // SAFETY: attached, so the interpreter lives.
    let mut next = unsafe { ffi::PyInterpreterState_ThreadHead(ffi::PyInterpreterState_Get()) };
    while let Some(state) = NonNull::new(next) {
        let state = ThreadState::from(state);
        // SAFETY: a thread leaves the list with the GIL, which is here (or is stopped), so the state lives, and does not run.
        let innermost = unsafe { state.frame(py) };
        let (frames, has_more) = places(innermost)?;
        found.push(Snapshot {
            // SAFETY: as above.
            ident: at.map_or(0, |at| unsafe { at.read(state) }),
            is_own: state == own,
            frames,
            has_more,
        });
        // SAFETY: as above.
        next = unsafe { ffi::PyThreadState_Next(state.as_ptr()) };
    }
    Ok(found)
}

fn places(innermost: Option<Owned<'_>>) -> Result<(Vec<Place>, bool)> {
    let mut places = Vec::new();
    let mut next = innermost;
    while let Some(frame) = next {
        if places.len() == MOST_FRAMES {
            return Ok((places, true));
        }
        places.push(place(frame.borrow())?);
        let back = frame.borrow().attr(c"f_back")?;
        next = (!back.borrow().is_none()).then_some(back);
    }
    Ok((places, false))
}

fn place(frame: Borrowed<'_, '_>) -> Result<Place> {
    let code = frame.attr(c"f_code")?;
    let text = |object: Owned<'_>| match Exact::of(object.borrow()) {
        Exact::Text(_) => object.borrow().utf8_lossy(),
        _ => Ok(String::new()),
    };
    let line = frame.attr(c"f_lineno")?;
    Ok(Place {
        file: text(code.borrow().attr(c"co_filename")?)?,
        line: match Exact::of(line.borrow()) {
            Exact::Int(line) => line.to_i64().unwrap_or(0),
            _ => 0,
        },
        function: text(code.borrow().attr(c"co_qualname")?)?,
    })
}

unsafe extern "C" {
    /// Not declared by pyo3-ffi. `threading.get_native_id()`.
    fn PyThread_get_thread_native_id() -> c_ulong;
}

/// Where thread states keep the identity of their thread, which no function tells of another thread's.
#[derive(Copy, Clone)]
struct IdentPlace(usize);

impl IdentPlace {
    /// How far into a state to look: less than any release's state is long.
    const WORDS: usize = 40;

    /// Finds it in the calling thread's own state: its identity, followed by the number that the system knows it by.
    fn find(own: ThreadState) -> Option<Self> {
        // SAFETY: no preconditions.
        let system = unsafe { PyThread_get_thread_native_id() };
        let pair = [thread_ident(), system];
        let first = own.as_ptr().cast::<u64>();
        (0..Self::WORDS)
            // SAFETY: inside of the state, which is aligned and this thread's own.
            .find(|&word| unsafe { [first.add(word).read(), first.add(word + 1).read()] } == pair)
            .map(Self)
    }

    /// # Safety
    /// The state lives.
    unsafe fn read(self, state: ThreadState) -> u64 {
        // SAFETY: by the caller; states have one layout. The identity is written before the state is in any list.
        unsafe { state.as_ptr().cast::<u64>().add(self.0).read() }
    }
}

/// While it lives, no other thread of the interpreter runs. With a GIL that is so anyway.
#[cfg(not(Py_GIL_DISABLED))]
struct Stopped;

#[cfg(not(Py_GIL_DISABLED))]
impl Stopped {
    fn all(_attached: Attached<'_>) -> Self {
        Self
    }
}

/// While it lives, no other thread of the interpreter runs.
#[cfg(Py_GIL_DISABLED)]
struct Stopped(*mut ffi::PyInterpreterState);

#[cfg(Py_GIL_DISABLED)]
unsafe extern "C" {
    /// Exported by builds without a GIL, and not declared by pyo3-ffi.
    fn _PyEval_StopTheWorld(interpreter: *mut ffi::PyInterpreterState);
    /// As above.
    fn _PyEval_StartTheWorld(interpreter: *mut ffi::PyInterpreterState);
}

#[cfg(Py_GIL_DISABLED)]
impl Stopped {
    fn all(_attached: Attached<'_>) -> Self {
        // SAFETY: attached to this interpreter, whose world goes on when the value drops.
        unsafe {
            let interpreter = ffi::PyInterpreterState_Get();
            _PyEval_StopTheWorld(interpreter);
            Self(interpreter)
        }
    }
}

#[cfg(Py_GIL_DISABLED)]
impl Drop for Stopped {
    fn drop(&mut self) {
        // SAFETY: stopped by `all`, on this thread.
        unsafe { _PyEval_StartTheWorld(self.0) };
    }
}
