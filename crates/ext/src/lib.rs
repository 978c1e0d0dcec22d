//! The extension module `atoll._native`: glue between Python and the engine, nothing else.
//!
//! One file per exposed thing. Values travel through `clone`; every wait goes through `blocking`; every error of the engine
//! becomes a Python exception in `errors`.

mod asyncio;
mod blocking;
mod channel;
mod clone;
mod current;
mod errors;
mod host;
mod isolate;
mod job;
mod module;
mod select;
mod sleep;
mod task;
mod terminal;
mod visit;

/// Called by the import system.
#[unsafe(no_mangle)]
pub extern "C" fn PyInit__native() -> *mut atoll_py::ffi::PyObject {
    module::init()
}
