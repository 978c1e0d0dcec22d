//! Stands in for `loader` where there is none.

use std::convert::Infallible;
use std::error::Error;
use std::ffi::{CStr, CString, c_void};
use std::fmt;
use std::io;
use std::path::Path;
use std::ptr::NonNull;

/// A linker namespace: there is none here.
#[derive(Debug)]
pub struct Namespace(Infallible);

/// A library in a [`Namespace`].
#[derive(Clone, Copy, Debug)]
pub struct Library(Infallible);

/// Why a [`Namespace`] could not be opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OpenError {
    /// This process can have no namespaces, for the reason that [`unsupported`] gives.
    Unsupported(String),
    /// All of the process's namespaces are taken.
    NoMoreNamespaces(String),
    /// The room for thread-local variables that the C library sets aside when a process starts is used up.
    StaticTls(String),
    /// The library, or one that it needs, is no shared library of this platform.
    NotAnElf(String),
    /// Anything else.
    Other(String),
}

impl fmt::Display for OpenError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unsupported(why)
            | Self::NoMoreNamespaces(why)
            | Self::StaticTls(why)
            | Self::NotAnElf(why)
            | Self::Other(why) => out.write_str(why),
        }
    }
}

impl Error for OpenError {}

/// Why this build has no isolates, as a clause.
pub fn unsupported() -> Option<String> {
    let here = std::env::consts::OS;
    let processor = std::env::consts::ARCH;
    Some(if !cfg!(target_os = "linux") {
        format!("isolates need Linux, and this is {here}")
    } else if !cfg!(target_env = "gnu") {
        "isolates need glibc, and this build is for another C library".to_owned()
    } else {
        format!("isolates are made for x86-64 only, and this is {processor}")
    })
}

/// How many namespaces this process has opened and not closed.
pub fn opened() -> usize {
    0
}

impl Namespace {
    /// Says why there is none.
    ///
    /// # Errors
    ///
    /// Always.
    pub fn open(_library: &Path, _environ: Vec<CString>) -> Result<Self, OpenError> {
        Err(OpenError::Unsupported(unsupported().unwrap_or_default()))
    }

    /// Never called.
    ///
    /// # Errors
    ///
    /// None.
    pub fn load(&self, _path: &Path) -> Result<Library, String> {
        match self.0 {}
    }

    /// Never called.
    pub fn symbol(&self, _name: &CStr) -> Option<NonNull<c_void>> {
        match self.0 {}
    }

    /// Never called.
    pub fn enter_thread(&self) {
        match self.0 {}
    }

    /// Never called.
    ///
    /// # Errors
    ///
    /// None.
    pub fn flush(&self) -> io::Result<()> {
        match self.0 {}
    }

    /// Never called.
    ///
    /// # Safety
    ///
    /// None.
    pub unsafe fn close(self) -> bool {
        match self.0 {}
    }
}

/// There are no isolates to put to rest.
pub(super) fn prepare_exit(_at_rest: bool) {}

impl Library {
    /// Never called.
    ///
    /// # Safety
    ///
    /// None.
    pub unsafe fn function<F: Copy>(&self, _name: &CStr) -> Option<F> {
        match self.0 {}
    }

    /// Never called.
    pub fn symbol(&self, _name: &CStr) -> Option<NonNull<c_void>> {
        match self.0 {}
    }
}
