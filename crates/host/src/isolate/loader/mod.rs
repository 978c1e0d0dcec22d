//! Linker namespaces with a private copy of a library, and how they share one heap, one set of threads and one `fork` with
//! the rest of the process. No Python in here. The README of `isolate` tells why it is done this way.
//!
//! [`namespace`] opens them. The first object in each is the *shim*: [`shim`] says what it exports, [`threads`]
//! makes threads and keys for it, [`image`] makes its ELF image, [`x86_64`] writes its machine code.

mod image;
mod namespace;
mod shim;
mod threads;
mod x86_64;

pub use namespace::{Library, Namespace, OpenError, opened};

use std::ffi::CStr;

/// Why this machine has no isolates, as a clause; `None` if it has.
pub fn unsupported() -> Option<String> {
    // SAFETY: a static string.
    let version = unsafe { CStr::from_ptr(libc::gnu_get_libc_version()) };
    too_old(&version.to_string_lossy())
}

/// Before 2.34, glibc had its threads in a library of their own, and other lists of stacks.
fn too_old(version: &str) -> Option<String> {
    let mut numbers = version.split('.').map_while(|part| part.parse().ok());
    let found: (u32, u32) = (numbers.next()?, numbers.next().unwrap_or(0));
    (found < (2, 34)).then(|| format!("isolates need glibc 2.34 or later, and this is {version}"))
}
