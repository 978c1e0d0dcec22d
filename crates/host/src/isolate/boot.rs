//! What crosses between the copy of this library that the process began with and the one in an isolate's namespace, besides
//! the engine's table.
//!
//! The owner thread is made by the main copy, which opens the namespace and calls [`ENTRY`] of the copy in there with a [`Boot`].
//! The thread never comes back from it, unless the isolate could not be brought up. In there it asks for one [`Order`] after the
//! other; a session lasts from one order to the next. The two copies may have been built for different releases of Python, so
//! everything here has a fixed layout, and its first field is the version of the engine's table, which covers this, too.

use std::ffi::{CStr, c_void};

/// The function of the copy in the namespace.
pub(crate) const ENTRY: &CStr = c"atoll_isolate_main";
/// See [`live`](super::live).
pub(crate) type Entry = unsafe extern "C" fn(*const Boot) -> u32;

/// Bytes that are borrowed for as long as the function that gave them says.
#[derive(Copy, Clone)]
#[repr(C)]
pub(crate) struct Text {
    pointer: *const u8,
    length: usize,
}

impl Text {
    pub(crate) const NONE: Self = Self {
        pointer: std::ptr::null(),
        length: 0,
    };

    pub(crate) fn of(bytes: &[u8]) -> Self {
        Self {
            pointer: bytes.as_ptr(),
            length: bytes.len(),
        }
    }

    /// # Safety
    /// The bytes are there.
    pub(crate) unsafe fn bytes<'a>(self) -> &'a [u8] {
        if self.pointer.is_null() {
            return &[];
        }
        // SAFETY: by the caller.
        unsafe { std::slice::from_raw_parts(self.pointer, self.length) }
    }

    /// # Safety
    /// The bytes are there.
    pub(crate) unsafe fn to_text(self) -> String {
        // SAFETY: by the caller.
        String::from_utf8_lossy(unsafe { self.bytes() }).into_owned()
    }
}

/// What the owner thread is to do next.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Order {
    /// Be the host `RawSession::host`.
    Session = 1,
    /// The process ends: run the exit functions, then keep still.
    Retire = 2,
}

/// A session, lent until the next order.
#[repr(C)]
pub(crate) struct RawSession {
    pub(crate) host: u64,
    pub(crate) setup: Text,
}

/// What the main copy hands to the copy in the namespace. Lives as long as the process.
#[repr(C)]
pub struct Boot {
    /// `atoll_core::abi::VERSION` of the main copy. Always first.
    pub(crate) version: u32,
    /// `size_of::<Boot>()` there.
    pub(crate) size: u32,
    pub(crate) table: *const atoll_core::abi::Table,
    /// The description, as [`Environment::read`](super::environment::Environment::read) takes it.
    pub(crate) environment: Text,
    /// The main copy's isolate, for the functions below.
    pub(crate) isolate: *const c_void,
    /// How many isolates there are and may be.
    pub(crate) room: unsafe extern "C" fn(*const c_void) -> super::Room,
    /// Says what the main copy may call, before the first session is ready.
    pub(crate) serves: unsafe extern "C" fn(*const c_void, *const Calls),
    /// Waits for the next order.
    pub(crate) next_order: unsafe extern "C" fn(*const c_void, *mut RawSession) -> Order,
    /// The session is over; the isolate may have another one.
    pub(crate) park: unsafe extern "C" fn(*const c_void),
    /// The isolate could not be brought up, for this reason. The flag: Python has begun to run in the namespace.
    pub(crate) failed: unsafe extern "C" fn(*const c_void, Text, bool),
    /// The isolate keeps still from now on.
    pub(crate) retired: unsafe extern "C" fn(*const c_void),
}

// SAFETY: never written once it is made; its functions may be called on any thread, and what it points to lives as long as it.
unsafe impl Send for Boot {}
// SAFETY: as above.
unsafe impl Sync for Boot {}

/// What the main copy calls in the namespace's copy. Lives as long as the process.
#[repr(C)]
pub(crate) struct Calls {
    /// `Driver::add_thread` for this isolate.
    pub(crate) add_thread: unsafe extern "C" fn(u64) -> bool,
    /// `Driver::throw_cancellations` for this isolate: tasks whose references are handed over.
    pub(crate) throw_cancellations: unsafe extern "C" fn(u64, *const *const c_void, usize),
    /// `Driver::visit` for this isolate: a message, which is moved out.
    pub(crate) visit: unsafe extern "C" fn(u64, *mut c_void),
}
