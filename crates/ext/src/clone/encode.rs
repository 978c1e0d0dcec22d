//! From an object graph to a message.
//!
//! - [`walk`]: the way through a graph: which object comes next.
//! - [`sink`]: writes single objects, and knows which were written before.

mod sink;
mod walk;

use atoll_codec::{Packed, Writer};
use atoll_core::client::End;
use atoll_core::message::Message;
use atoll_py::types::Exact;
use atoll_py::{Attached, Borrowed, Raised, Result};

use super::hint::hint;
use super::path::{self, Root, Step};
use super::scratch::{self, Scratch, emptied};
use super::{COPIED_BYTES, DEPTH_LIMIT, HASHED_DEPTH_LIMIT};
use crate::module::State;
use sink::Sink;
pub(super) use walk::Frame;
use walk::Walk;

/// Writes `object` into a message. An error names the culprit by its path from `root_name`.
///
/// Needs: attached. May run Python: no, except to raise (K1).
#[inline]
pub(crate) fn encode<'py>(
    py: Attached<'py>,
    state: &State,
    object: Borrowed<'_, 'py>,
    root_name: &str,
) -> Result<Message> {
    match scalar(object) {
        Some(packed) => {
            let (content, len) = packed.into_parts();
            Ok(Message::from_inline(content, len))
        }
        None => graph(py, state, object, Root::Named(root_name)),
    }
}

/// Writes a tuple that only stands for its parts: an error names the culprit by its path from the name of its part.
///
/// Needs: attached. May run Python: no, except to raise (K1).
pub(crate) fn encode_parts<'py>(
    py: Attached<'py>,
    state: &State,
    tuple: Borrowed<'_, 'py>,
    names: &[&str],
) -> Result<Message> {
    graph(py, state, tuple, Root::Parts(names))
}

/// The whole message, where `object` is small and holds nothing.
#[inline]
fn scalar(object: Borrowed<'_, '_>) -> Option<Packed> {
    match Exact::of(object) {
        Exact::Int(int) => int.to_i64().map(Packed::int),
        Exact::Text(text) => text.ascii().and_then(Packed::ascii),
        Exact::None => Some(Packed::none()),
        Exact::Bool(value) => Some(Packed::bool(value)),
        Exact::Float(float) => Some(Packed::float(float.value())),
        _ => None,
    }
}

fn graph<'py>(
    py: Attached<'py>,
    state: &State,
    object: Borrowed<'_, 'py>,
    root: Root<'_>,
) -> Result<Message> {
    let mut scratch = Scratch::take();
    let mut walk = Walk {
        sink: Sink {
            state,
            root: object,
            writer: &mut scratch.writer,
            memo: &mut scratch.memo,
            names: &mut scratch.names,
            ends: Vec::new(),
            snapshots: Vec::new(),
        },
        frames: emptied(std::mem::take(&mut scratch.frames)),
        hashed_from: usize::MAX,
    };
    let result = match walk.run() {
        Ok(()) => Ok(std::mem::take(&mut walk.sink.ends)),
        Err(refusal) => Err((refusal, walk.steps())),
    };
    scratch.frames = emptied(walk.frames);
    let message = result.map(|ends| packed(&mut scratch.writer, ends));
    scratch.give_back();
    message.map_err(|(refusal, steps)| refusal.raise(py, state, root, &steps))
}

/// The message, in memory of its own.
fn packed(writer: &mut Writer, ends: Vec<End>) -> Message {
    let bytes = writer.as_bytes();
    if bytes.len() <= COPIED_BYTES {
        return Message::copied(bytes, ends);
    }
    let bytes = writer.take();
    if let Some(buffer) = scratch::take_buffer() {
        writer.adopt(buffer);
    }
    Message::new(bytes, ends)
}

/// Why a graph cannot be written, and the object at which the walk stopped.
enum Refusal<'a, 'py> {
    Type(Borrowed<'a, 'py>),
    Depth(Depth, &'static str),
    Memory,
    Raised(Raised),
}

/// Which limit of depth a container, named by its type, goes beyond.
#[derive(Clone, Copy)]
enum Depth {
    Any,
    Hashed,
}

impl From<Raised> for Box<Refusal<'_, '_>> {
    #[cold]
    fn from(raised: Raised) -> Self {
        Box::new(Refusal::Raised(raised))
    }
}

impl Refusal<'_, '_> {
    #[cold]
    fn raise(self, py: Attached<'_>, state: &State, root: Root<'_>, steps: &[Step<'_>]) -> Raised {
        let (type_name, hint) = match self {
            Refusal::Type(object) => (
                object.type_name(),
                hint(py, object, path::word(root, steps)),
            ),
            Refusal::Depth(Depth::Any, type_name) => (
                type_name.to_owned(),
                format!("containers may be nested {DEPTH_LIMIT} deep; send it in flatter parts"),
            ),
            Refusal::Depth(Depth::Hashed, type_name) => (
                type_name.to_owned(),
                format!(
                    "in keys and elements they may be nested {HASHED_DEPTH_LIMIT} deep; use flatter ones"
                ),
            ),
            Refusal::Memory => {
                return py.raise_memory_error("cannot clone (no memory for the message)");
            }
            Refusal::Raised(raised) => return raised,
        };
        let raise = || {
            let arguments = [
                py.string(&path::written(py, root, steps))?,
                py.string(&type_name)?,
                py.string(&hint)?,
            ];
            let [path, type_name, hint] = &arguments;
            state.errors.clone_error.get(py).call(&[
                path.borrow(),
                type_name.borrow(),
                hint.borrow(),
            ])
        };
        match raise() {
            Ok(error) => Raised::instance(error),
            Err(raised) => raised,
        }
    }
}

/// A refusal is boxed, as every step may give one.
type Written<'a, 'py, T> = std::result::Result<T, Box<Refusal<'a, 'py>>>;
