//! Structured clone: an object graph written into a message in one interpreter and rebuilt in another.
//!
//! [`encode()`] walks the graph once, [`decode()`] rebuilds it; between them lies the byte format of `atoll-codec`. Objects whose
//! type is exactly a built-in one, channel ends and plain instances cross without Python code; for the others `atoll._clone`
//! says how (`plans.rs`). Identity and cycles inside one message are kept for everything that can change or hold something, and
//! for long text and data; of short text and of numbers only the value is kept, as Python itself promises no more of them.
//!
//! # Invariants
//! - **K1**: a walk of `encode` begins without Python code: it runs none from the first look at a graph to the last, and keeps
//!   the thread attached. With a GIL, the graph therefore stands still meanwhile; without one, whatever can change is copied
//!   first (`encode.rs`). A walk that has to run Python code is begun anew, holds what it looks at, and assumes nothing.
//! - **K2**: `decode` runs no Python code before the whole graph is there, unless the message says that it may: keys and
//!   elements are built-in objects, whose hashing and comparing is CPython's own. Where it may, no container that Python code
//!   could come upon has an empty place in it.
//! - **K3**: neither direction recurses on the machine's stack, however deep the graph.
//! - **K4**: a graph crosses whole or not at all: what a failed call had collected (objects, channel ends) it gives back.

mod arrow;
mod decode;
mod encode;
mod hint;
mod keys;
mod memo;
mod memory;
mod names;
mod path;
mod plans;
mod scratch;
mod share;

pub(crate) use arrow::{EXPORT_DOC, IMPORT_DOC, export as arrow_export, import as arrow_import};
pub(crate) use decode::{decode, decode_bytes};
pub(crate) use encode::{encode, encode_for_many, encode_parts};
pub(crate) use keys::KeyCache;
pub(crate) use memory::{Memory, SHARE_BYTES_DOC, share_bytes};
pub(crate) use plans::Plans;

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

pub(crate) const FORGET_PLANS_DOC: &CStr = c"forget_plans($module)\n--\n\n\
Forget how the instances of each class are cloned: something that this depends on has changed.";

/// `forget_plans()`.
pub(crate) fn forget_plans<'py>(
    module: Module<'_, 'py, State>,
    _arguments: Arguments<'_, 'py>,
) -> Result<Owned<'py>> {
    let py = module.py();
    module.state()?.plans.forget(py);
    Ok(py.none().to_owned())
}

pub(crate) const CLONE_SIZE_DOC: &CStr = c"clone_size($module, value)\n--\n\n\
How many bytes a message with *value* takes, with the memory that travels beside it.";

/// `clone_size(value)`.
pub(crate) fn clone_size<'py>(
    module: Module<'_, 'py, State>,
    arguments: Arguments<'_, 'py>,
) -> Result<Owned<'py>> {
    const SIGNATURE: Signature<1> = Signature {
        function: "clone_size",
        parameters: ["value"],
        required: 1,
        positional: 1,
    };
    let (py, state) = (module.py(), module.state()?);
    let [value] = arguments.parse(py, &SIGNATURE)?;
    let mut message = encode(py, state, value.unwrap_or(py.none()), "value")?;
    let regions = message.take_regions();
    let beside: usize = regions.iter().map(|region| region.bytes().len()).sum();
    py.uint((message.bytes().len() + beside) as u64)
}

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
