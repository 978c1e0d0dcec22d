//! A thin typed layer over pyo3-ffi, the only crate of Atoll that names it.
//!
//! - [`Attached`]: the right to call Python, as a value; [`Attached::detach`] gives it up for a while.
//! - [`Owned`], [`Borrowed`], [`Stored`]: references to objects.
//! - [`Raised`] and [`Result`]: an exception is set.
//! - [`class`]: heap types around a Rust value. [`method`]: methods and arguments. [`module`]: multi-phase modules with state.
//! - [`interpreter`]: making and ending sub-interpreters. [`embedded`]: bringing up a copy of Python. [`types`]: one typed reference per built-in type.
//!
//! Every wrapper's documentation says what it returns (owned or borrowed), whether it needs an attached thread, and whether it
//! may run Python code. Nothing here keeps a Python object in a static, and nothing uses the GILState calls: both know the main
//! interpreter only.

mod arguments;
mod attached;
pub mod class;
pub mod embedded;
pub mod fork;
pub mod interpreter;
pub mod method;
pub mod module;
mod object;
mod raised;
pub mod slots;
pub mod threads;
mod trampoline;
pub mod types;
mod value;

/// The raw C API, for the few calls that have no wrapper here.
pub use pyo3_ffi as ffi;

pub use arguments::{Arguments, Signature};
pub use attached::{Attached, FREE_THREADED};
pub use object::{Borrowed, Owned, Stored};
pub use raised::{Raised, Result};
