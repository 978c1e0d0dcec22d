//! Structured clone: an object graph written into a message in one interpreter and rebuilt in another.
//!
//! [`encode()`] walks the graph once, [`decode()`] rebuilds it; between them lies the byte format of `atoll-codec`. Only objects
//! whose type is exactly a built-in one cross, and channel ends. Identity and cycles inside one message are kept for
//! everything that can change or hold something, and for long text and data; of short text and of numbers only the value is
//! kept, as Python itself promises no more of them.
//!
//! # Invariants
//! - **K1**: from the first look at a graph to the last, `encode` runs no Python code and keeps the thread attached. With a
//!   GIL, the graph therefore stands still meanwhile; without one, whatever can change is copied first (`encode.rs`).
//! - **K2**: `decode` runs no Python code before the whole graph is there: keys and elements are built-in objects, whose
//!   hashing and comparing is CPython's own.
//! - **K3**: neither direction recurses on the machine's stack, however deep the graph.
//! - **K4**: a graph crosses whole or not at all: what a failed call had collected (objects, channel ends) it gives back.

mod decode;
mod encode;
mod hint;
mod keys;
mod memo;
mod names;
mod path;
mod scratch;

pub(crate) use decode::{decode, decode_bytes};
pub(crate) use encode::{encode, encode_parts};
pub(crate) use keys::KeyCache;

use std::ffi::CStr;

use atoll_py::module::Module;
use atoll_py::{Arguments, Owned, Result, Signature};

use crate::module::State;

/// A message of at most this many bytes is copied out of the writer's memory; a larger one takes it along.
const COPIED_BYTES: usize = 32 * 1024;

/// How deep containers may be nested in a message.
const DEPTH_LIMIT: usize = 10_000;

/// How deep containers may be nested in a dict's key or a set's element: CPython hashes them by recursion on the machine's
/// stack, and the thread that rebuilds a message may have a smaller one than the thread that sent it.
const HASHED_DEPTH_LIMIT: usize = 100;

pub(crate) const CLONE_DOC: &CStr = c"clone($module, value)\n--\n\n\
Return the copy of *value* that another interpreter would receive.\n\n\
Identity and cycles inside it are kept. CloneError says what cannot be copied, and where it sits.";

/// `clone(value)`.
pub(crate) fn clone<'py>(
    module: Module<'_, 'py, State>,
    arguments: Arguments<'_, 'py>,
) -> Result<Owned<'py>> {
    const SIGNATURE: Signature<1> = Signature {
        function: "clone",
        parameters: ["value"],
        required: 1,
        positional: 1,
    };
    let (py, state) = (module.py(), module.state()?);
    let value = match arguments.only() {
        Some(value) => value,
        None => arguments.parse(py, &SIGNATURE)?[0].unwrap_or(py.none()),
    };
    decode(py, state, encode(py, state, value, "value")?)
}
