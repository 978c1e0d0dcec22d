//! Tables of any Arrow library: their buffers copied once, by the C data interface, and not through pickle.
//!
//! `atoll._arrow` asks an object for its stream, or its schema and array, in capsules. [`export`] writes what is in them into two
//! things that a message can carry: a description (`bytes`), and memory with all buffers one after another. [`import`] makes
//! capsules of both in the receiving interpreter, whose buffers lie in that memory, and which the library there takes over.
//!
//! - [`layout`]: which buffers an array of a type has.
//! - [`export`]: measures and copies arrays, only the rows that a slice has.
//! - [`import`]: arrays over a region.
//! - [`description`]: numbers and texts in a row.
//!
//! # Invariants
//! - **A1**: what is in a capsule of these names is a structure of the interface that obeys its rules: so many children, so many
//!   buffers as its type has, each as long as its rows need. It is the library's promise; nothing here checks it.
//! - **A2**: structures that were filled for us are released once, by their guards.

mod description;
mod export;
mod import;
mod layout;

use std::ffi::{CStr, c_char, c_int, c_void};

pub(crate) use export::{EXPORT_DOC, export};
pub(crate) use import::{IMPORT_DOC, import};

const SCHEMA: &CStr = c"arrow_schema";
const ARRAY: &CStr = c"arrow_array";
const STREAM: &CStr = c"arrow_array_stream";

/// `struct ArrowSchema` of the C data interface.
#[repr(C)]
struct Schema {
    format: *const c_char,
    name: *const c_char,
    metadata: *const c_char,
    flags: i64,
    n_children: i64,
    children: *mut *mut Schema,
    dictionary: *mut Schema,
    release: Option<unsafe extern "C" fn(*mut Schema)>,
    private_data: *mut c_void,
}

/// `struct ArrowArray` of the C data interface.
#[repr(C)]
struct Array {
    length: i64,
    null_count: i64,
    offset: i64,
    n_buffers: i64,
    n_children: i64,
    buffers: *mut *const c_void,
    children: *mut *mut Array,
    dictionary: *mut Array,
    release: Option<unsafe extern "C" fn(*mut Array)>,
    private_data: *mut c_void,
}

/// `struct ArrowArrayStream` of the C stream interface.
#[repr(C)]
struct Stream {
    get_schema: Option<unsafe extern "C" fn(*mut Stream, *mut Schema) -> c_int>,
    get_next: Option<unsafe extern "C" fn(*mut Stream, *mut Array) -> c_int>,
    get_last_error: Option<unsafe extern "C" fn(*mut Stream) -> *const c_char>,
    release: Option<unsafe extern "C" fn(*mut Stream)>,
    private_data: *mut c_void,
}

/// A structure that says itself whether it was released, and how it is.
trait Released: Sized {
    /// The released structure.
    const EMPTY: Self;

    /// The function that releases it, if it was not.
    fn release(&self) -> Option<unsafe extern "C" fn(*mut Self)>;
}

impl Released for Schema {
    const EMPTY: Schema = Schema {
        format: std::ptr::null(),
        name: std::ptr::null(),
        metadata: std::ptr::null(),
        flags: 0,
        n_children: 0,
        children: std::ptr::null_mut(),
        dictionary: std::ptr::null_mut(),
        release: None,
        private_data: std::ptr::null_mut(),
    };

    fn release(&self) -> Option<unsafe extern "C" fn(*mut Schema)> {
        self.release
    }
}

impl Released for Array {
    const EMPTY: Array = Array {
        length: 0,
        null_count: 0,
        offset: 0,
        n_buffers: 0,
        n_children: 0,
        buffers: std::ptr::null_mut(),
        children: std::ptr::null_mut(),
        dictionary: std::ptr::null_mut(),
        release: None,
        private_data: std::ptr::null_mut(),
    };

    fn release(&self) -> Option<unsafe extern "C" fn(*mut Array)> {
        self.release
    }
}

impl Released for Stream {
    const EMPTY: Stream = Stream {
        get_schema: None,
        get_next: None,
        get_last_error: None,
        release: None,
        private_data: std::ptr::null_mut(),
    };

    fn release(&self) -> Option<unsafe extern "C" fn(*mut Stream)> {
        self.release
    }
}

/// A structure that is ours to release, and stays where it is until then.
struct Guard<T: Released>(Box<T>);

// SAFETY: the interface lets structures be released, and their functions be called, on any thread.
unsafe impl<T: Released> Send for Guard<T> {}

impl<T: Released> Guard<T> {
    fn empty() -> Guard<T> {
        Guard(Box::new(T::EMPTY))
    }
}

impl<T: Released> Drop for Guard<T> {
    fn drop(&mut self) {
        if let Some(release) = self.0.release() {
            // SAFETY: A2: it was filled for us, and nobody else releases it; whoever moved it out marked it as released.
            unsafe { release(&raw mut *self.0) };
        }
    }
}
