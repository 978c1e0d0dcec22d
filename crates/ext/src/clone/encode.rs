//! From an object graph to a message.
//!
//! - [`walk`]: the way through a graph: which object comes next.
//! - [`sink`]: writes single objects, and knows which were written before.
//! - [`object`]: instances, classes, memory, and whatever takes itself apart.
//!
//! A walk begins on the assumption that it needs no Python code (K1). Where it does, it begins anew and holds on to all that it
//! meets (W1).

mod object;
mod sink;
mod walk;

use atoll_codec::{Packed, Writer};
use atoll_core::client::{End, Region};
use atoll_core::message::Message;
use atoll_py::types::Exact;
use atoll_py::{Attached, Borrowed, Owned, Raised, Result};

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
/// Needs: attached. May run Python: yes, where something else than built-in objects is in it (K1).
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

/// Writes `object` for many receivers, each of which reads the bytes: classes by value are in them whole.
///
/// Needs: attached. May run Python: yes, as `encode`.
pub(crate) fn encode_for_many<'py>(
    py: Attached<'py>,
    state: &State,
    object: Borrowed<'_, 'py>,
    root_name: &str,
) -> Result<Message> {
    graph(py, state, object, Root::ForMany(root_name))
}

/// Writes a tuple that only stands for its parts: an error names the culprit by its path from the name of its part.
///
/// Needs: attached. May run Python: yes, as `encode`.
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
    let message = match attempt(state, object, root, &mut scratch, &[], false) {
        Ok(message) => Ok(message),
        Err(stopped) => anew(py, state, object, root, &mut scratch, stopped),
    };
    scratch.give_back();
    message
}

/// More walks from the root, after one that ended early.
#[cold]
#[inline(never)]
fn anew<'py>(
    py: Attached<'py>,
    state: &State,
    object: Borrowed<'_, 'py>,
    root: Root<'_>,
    scratch: &mut Scratch,
    mut stopped: Stopped<'py>,
) -> Result<Message> {
    let mut shipped = Vec::new();
    let mut runs_python = false;
    loop {
        match stopped {
            Stopped::RunPython => runs_python = true,
            Stopped::Ship(class) => {
                let ship = || {
                    let ship = state.plans.helpers(py)?.ship.get(py);
                    ship.call(&[class.borrow()])
                };
                match ship() {
                    Ok(arguments) => shipped.push((class, arguments)),
                    // The walk that asks Python says at which path.
                    Err(raised) => {
                        raised.clear(py);
                        runs_python = true;
                    }
                }
            }
            Stopped::Raised(raised) => return Err(raised),
        }
        scratch.clear();
        match attempt(state, object, root, scratch, &shipped, runs_python) {
            Ok(message) => return Ok(message),
            Err(again) => stopped = again,
        }
    }
}

/// Why a walk ended early.
enum Stopped<'py> {
    /// It needs Python code.
    RunPython,
    /// It needs what stands for this class.
    Ship(Owned<'py>),
    Raised(Raised),
}

/// One walk from the root.
#[inline(never)] // There are two callers, and one copy is what the processor is to keep.
fn attempt<'py>(
    state: &State,
    object: Borrowed<'_, 'py>,
    root: Root<'_>,
    scratch: &mut Scratch,
    shipped: &[(Owned<'py>, Owned<'py>)],
    runs_python: bool,
) -> std::result::Result<Message, Stopped<'py>> {
    let mut walk = Walk {
        sink: Sink {
            state,
            root: object,
            writer: &mut scratch.writer,
            memo: &mut scratch.memo,
            names: &mut scratch.names,
            ends: Vec::new(),
            regions: Vec::new(),
            snapshots: Vec::new(),
            classes: Vec::new(),
            recent: 0,
            numbered: 0,
            shipped,
            runs_python,
            for_many: matches!(root, Root::ForMany(_)),
            has_objects: false,
        },
        frames: emptied(std::mem::take(&mut scratch.frames)),
        hashed_from: usize::MAX,
    };
    let stopped = match walk.run() {
        Ok(()) => None,
        Err(refusal) => Some(match *refusal {
            Refusal::RunPython => Stopped::RunPython,
            Refusal::Ship(class) => Stopped::Ship(Borrowed::to_owned(class)),
            refusal => Stopped::Raised(refusal.raise(object.py(), state, root, &walk.steps())),
        }),
    };
    let Walk { sink, frames, .. } = walk;
    let (ends, regions) = (sink.ends, sink.regions);
    let (has_objects, snapshots) = (sink.has_objects, sink.snapshots);
    scratch.frames = emptied(frames);
    let message = match stopped {
        Some(stopped) => Err(stopped),
        None => {
            let message = packed(&mut scratch.writer, ends, regions);
            Ok(if has_objects {
                message.running_code()
            } else {
                message
            })
        }
    };
    // Nothing refers to them any more; their end may run Python code.
    drop(snapshots);
    message
}

/// The message, in memory of its own.
#[inline(always)]
fn packed(writer: &mut Writer, ends: Vec<End>, regions: Vec<Region>) -> Message {
    let bytes = writer.as_bytes();
    if !regions.is_empty() {
        return Message::with_regions(writer.take(), ends, regions);
    }
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
    /// The walk is to begin anew, and may run Python code.
    RunPython,
    /// The walk is to begin anew with what stands for this class.
    Ship(Borrowed<'a, 'py>),
    Type(Borrowed<'a, 'py>),
    /// What the object gave to be shared is wrong, and how.
    Share(Borrowed<'a, 'py>, String),
    /// Taking the object apart raised that.
    Apart(Borrowed<'a, 'py>, Raised),
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
        let mut cause = None;
        let (type_name, hint) = match self {
            Refusal::Type(object) => (
                object.type_name(),
                hint(py, object, path::word(root, steps)),
            ),
            Refusal::Share(object, why) => (object.type_name(), why),
            Refusal::Apart(object, raised) => {
                cause = Some(raised.take(py));
                (
                    object.type_name(),
                    hint(py, object, path::word(root, steps)),
                )
            }
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
            Refusal::RunPython | Refusal::Ship(_) => {
                return py.raise_system_error("cannot clone (the walk began anew too often)");
            }
        };
        let raise = || {
            let arguments = [
                py.string(&path::written(py, root, steps))?,
                py.string(&type_name)?,
                py.string(&hint)?,
            ];
            let [path, type_name, hint] = &arguments;
            let cause = cause.as_ref().map_or(py.none(), Owned::borrow);
            state.plans.helpers(py)?.refusal.get(py).call(&[
                path.borrow(),
                type_name.borrow(),
                hint.borrow(),
                cause,
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
