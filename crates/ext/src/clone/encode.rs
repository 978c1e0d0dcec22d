//! The walk that writes an object graph.

use atoll_codec::{Packed, Position, Width, Writer};
use atoll_core::client::{End, HostId};
use atoll_core::message::Message;
use atoll_py::types::{ByteArray, Dict, Exact, Int, List, Set, Text, TextWidth, Tuple};
use atoll_py::{Attached, Borrowed, FREE_THREADED, Owned, Raised, Result};

use super::hint::hint;
use super::memo::Memo;
use super::path::{self, Root, Step};
use super::scratch::{Scratch, emptied};
use super::{DEPTH_LIMIT, HASHED_DEPTH_LIMIT};
use crate::channel;
use crate::module::State;

/// Text and data of at least this many bytes are sent once, however often the graph holds them.
const REPEATED_BYTES: usize = 64;
/// A buffer of at most this many bytes is copied into the message and used again; a larger one goes with the message.
const COPIED_BYTES: usize = 32 * 1024;

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
        Exact::Text(text) => match text.data() {
            (TextWidth::Ascii, data) => Packed::ascii(data),
            _ => None,
        },
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
    if ends.is_empty()
        && let Some(message) = Message::inline(bytes)
    {
        return message;
    }
    let bytes = if bytes.len() <= COPIED_BYTES {
        bytes.to_vec()
    } else {
        writer.take()
    };
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

/// A container whose children are being written.
pub(super) enum Frame<'a, 'py> {
    /// A list, tuple or slice.
    Items {
        items: &'a [Borrowed<'a, 'py>],
        next: usize,
        of: Items,
    },
    /// `value` is set while its key is being written.
    Dict {
        dict: Dict<'a, 'py>,
        position: isize,
        done: usize,
        key: Borrowed<'a, 'py>,
        value: Option<Borrowed<'a, 'py>>,
    },
    /// A set or frozenset.
    Set { set: Set<'a, 'py>, position: isize },
}

#[derive(Clone, Copy)]
pub(super) enum Items {
    List,
    Tuple,
    Slice,
}

impl<'py> Frame<'_, 'py> {
    /// Whether the child being written will be hashed where it is rebuilt.
    fn hashes_child(&self) -> bool {
        match self {
            Frame::Items { .. } => false,
            Frame::Dict { value, .. } => value.is_some(),
            Frame::Set { .. } => true,
        }
    }

    /// The container's type.
    fn type_name(&self) -> &'static str {
        match self {
            Frame::Items {
                of: Items::List, ..
            } => "list",
            Frame::Items {
                of: Items::Tuple, ..
            } => "tuple",
            Frame::Items {
                of: Items::Slice, ..
            } => "slice",
            Frame::Dict { .. } => "dict",
            Frame::Set { .. } => "set",
        }
    }

    /// The step to the child being written.
    fn step(&self) -> Step<'py> {
        match self {
            Frame::Items {
                next,
                of: Items::List | Items::Tuple,
                ..
            } => Step::Index(next - 1),
            Frame::Items {
                next,
                of: Items::Slice,
                ..
            } => Step::Part(next - 1),
            Frame::Dict {
                done,
                value: Some(_),
                ..
            } => Step::Key(done - 1),
            Frame::Dict {
                key, value: None, ..
            } => Step::Value(Borrowed::to_owned(*key)),
            Frame::Set { .. } => Step::Element,
        }
    }
}

/// One walk over one graph: the sink writes objects, the frames say which come next.
///
/// # Invariants
/// - **W1**: every object that the walk looks at is alive until it ends. With a GIL, the root is borrowed from the caller and
///   everything else belongs to something that the walk has come through, which stands still (K1). Without one, the
///   containers that can change are looked at in `snapshots`, which own what they hold.
/// - **W2**: each reference from one object of the graph to another is followed at most once, because the children of an
///   object are written once: at its first visit, if it has several references (the memo knows it at the second), and at its
///   only one, if it has a single reference. An object inside the graph that has a single reference is reached by that one:
///   so it is visited once, and need not be in the memo. The root alone is also reached from outside the graph, perhaps
///   without a reference of its own; hence it is compared by address.
struct Walk<'a, 'py, 'm> {
    sink: Sink<'a, 'py, 'm>,
    /// The containers that are being written, the innermost last.
    frames: Vec<Frame<'a, 'py>>,
    /// How many containers are around the outermost one that will be hashed; `usize::MAX` where none will.
    hashed_from: usize,
}

struct Sink<'a, 'py, 'm> {
    state: &'m State,
    root: Borrowed<'a, 'py>,
    writer: &'m mut Writer,
    memo: &'m mut Memo,
    ends: Vec<End>,
    snapshots: Vec<Owned<'py>>,
}

/// A refusal is boxed, as every step may give one.
type Written<'a, 'py, T> = std::result::Result<T, Box<Refusal<'a, 'py>>>;

impl<'a, 'py> Walk<'a, 'py, '_> {
    fn run(&mut self) -> Written<'a, 'py, ()> {
        if !self.sink.leaf(self.sink.root) {
            self.open(self.sink.root)?;
        }
        while !self.frames.is_empty() {
            match self.advance() {
                Some(object) => self.open(object)?,
                None => self.close(),
            }
        }
        Ok(())
    }

    /// The steps from the root to where the walk stopped.
    fn steps(&self) -> Vec<Step<'py>> {
        self.frames.iter().map(Frame::step).collect()
    }

    /// Writes the next children of the innermost container, as long as they are leaves; gives one that is not.
    #[inline(always)]
    fn advance(&mut self) -> Option<Borrowed<'a, 'py>> {
        let sink = &mut self.sink;
        match self.frames.last_mut()? {
            Frame::Items { items, next, .. } => {
                while let Some(&item) = items.get(*next) {
                    *next += 1;
                    if !sink.leaf(item) {
                        return Some(item);
                    }
                }
            }
            Frame::Dict {
                dict,
                position,
                done,
                key,
                value,
            } => loop {
                if let Some(value) = value.take()
                    && !sink.leaf(value)
                {
                    return Some(value);
                }
                // SAFETY: K1 (or W1: the dict is a snapshot): it does not change during the walk.
                let (next_key, next_value) = unsafe { dict.next(position) }?;
                *done += 1;
                (*key, *value) = (next_key, Some(next_value));
                if !sink.leaf(next_key) {
                    return Some(next_key);
                }
            },
            Frame::Set { set, position } => {
                // SAFETY: K1 (or W1: the set is a snapshot): it does not change during the walk.
                while let Some(element) = unsafe { set.next(position) } {
                    if !sink.leaf(element) {
                        return Some(element);
                    }
                }
            }
        }
        None
    }

    /// Writes an object that is no everyday leaf, or the head of a container, whose children come next.
    #[inline]
    fn open(&mut self, object: Borrowed<'a, 'py>) -> Written<'a, 'py, ()> {
        let sink = &mut self.sink;
        let frame = match Exact::of(object) {
            Exact::Dict(dict) => {
                if sink.repeats(object) {
                    return Ok(());
                }
                let dict = sink.still_dict(dict)?;
                sink.writer.dict(dict.len());
                Frame::Dict {
                    dict,
                    position: 0,
                    done: 0,
                    key: object,
                    value: None,
                }
            }
            Exact::List(list) => {
                if sink.repeats(object) {
                    return Ok(());
                }
                let items = sink.still_items(list)?;
                sink.writer.list(items.len());
                Frame::Items {
                    items,
                    next: 0,
                    of: Items::List,
                }
            }
            Exact::Tuple(tuple) => {
                // There is one empty tuple in each interpreter.
                if !tuple.is_empty() && sink.repeats(object) {
                    return Ok(());
                }
                sink.writer.tuple(tuple.len());
                // SAFETY: a tuple that Python code could hand over is complete.
                let items = unsafe { tuple.items() };
                Frame::Items {
                    items,
                    next: 0,
                    of: Items::Tuple,
                }
            }
            Exact::Set(set) => {
                if sink.repeats(object) {
                    return Ok(());
                }
                let set = sink.still_set(set)?;
                sink.writer.set(set.len());
                Frame::Set { set, position: 0 }
            }
            Exact::FrozenSet(set) => {
                if sink.repeats(object) {
                    return Ok(());
                }
                sink.writer.frozenset(set.len());
                Frame::Set { set, position: 0 }
            }
            Exact::Slice(slice) => {
                if sink.repeats(object) {
                    return Ok(());
                }
                sink.writer.slice();
                Frame::Items {
                    items: slice.parts(),
                    next: 0,
                    of: Items::Slice,
                }
            }
            _ => return sink.rarer_leaf(object),
        };
        self.enter(frame)
    }

    #[inline]
    fn enter(&mut self, frame: Frame<'a, 'py>) -> Written<'a, 'py, ()> {
        let depth = self.frames.len();
        if let Some(outer) = self.frames.last() {
            if self.hashed_from == usize::MAX && outer.hashes_child() {
                self.hashed_from = depth;
            }
            if depth >= DEPTH_LIMIT {
                return Err(Box::new(Refusal::Depth(Depth::Any, frame.type_name())));
            }
            if depth.saturating_sub(self.hashed_from) >= HASHED_DEPTH_LIMIT {
                return Err(Box::new(Refusal::Depth(Depth::Hashed, frame.type_name())));
            }
        }
        self.frames.push(frame);
        Ok(())
    }

    #[inline]
    fn close(&mut self) {
        self.frames.pop();
        if self.frames.len() <= self.hashed_from {
            self.hashed_from = usize::MAX;
        }
    }
}

impl<'a, 'py> Sink<'a, 'py, '_> {
    /// Writes an everyday object that holds nothing, or says that it is none.
    #[inline(always)]
    fn leaf(&mut self, object: Borrowed<'a, 'py>) -> bool {
        match Exact::of(object) {
            Exact::Text(text) => self.text(text),
            Exact::Int(int) => match int.to_i64() {
                Some(value) => self.writer.int(value),
                None => return false,
            },
            Exact::Float(float) => self.writer.float(float.value()),
            Exact::None => self.writer.none(),
            Exact::Bool(value) => self.writer.bool(value),
            _ => return false,
        }
        true
    }

    #[inline(never)]
    fn rarer_leaf(&mut self, object: Borrowed<'a, 'py>) -> Written<'a, 'py, ()> {
        match Exact::of(object) {
            Exact::Int(int) => self.big_int(int)?,
            Exact::Bytes(bytes) => {
                let data = bytes.data();
                if data.len() < REPEATED_BYTES || !self.repeats(object) {
                    self.reserve(data.len())?;
                    self.writer.bytes(data);
                }
            }
            Exact::ByteArray(array) => {
                if !self.repeats(object) {
                    self.bytearray(array)?;
                }
            }
            Exact::Complex(complex) => {
                let (real, imaginary) = complex.parts();
                self.writer.complex(real, imaginary);
            }
            Exact::Ellipsis => self.writer.ellipsis(),
            Exact::NotImplemented => self.writer.not_implemented(),
            Exact::Range(range) => {
                if !self.repeats(object) {
                    self.writer.range();
                    for part in range.parts()? {
                        // SAFETY: the parts of a range are ints, always.
                        let part = unsafe { Int::from_object(part.borrow()) };
                        match part.to_i64() {
                            Some(value) => self.writer.int(value),
                            None => self.big_int(part)?,
                        }
                    }
                }
            }
            _ => match channel::end_of(self.state, object) {
                Some(end) => {
                    if !self.repeats(object) {
                        self.writer.end(self.ends.len());
                        self.ends.push(end.share(end.role(), HostId::IN_FLIGHT));
                    }
                }
                None => return Err(Box::new(Refusal::Type(object))),
            },
        }
        Ok(())
    }

    /// Whether the object was met before; a reference to it is then written, and otherwise it is noted as met here.
    #[inline]
    fn repeats(&mut self, object: Borrowed<'a, 'py>) -> bool {
        let position = self.writer.position();
        let earlier = if object.has_one_reference() {
            // W2: only the root can be met again.
            let is_root = object.as_ptr() == self.root.as_ptr();
            (is_root && position != Position::ROOT).then_some(Position::ROOT)
        } else {
            self.memo.note(object.as_ptr().addr(), position)
        };
        match earlier {
            Some(earlier) => {
                self.writer.reference(earlier);
                true
            }
            None => false,
        }
    }

    #[inline(always)]
    fn text(&mut self, text: Text<'a, 'py>) {
        let (width, data) = text.data();
        if data.len() >= REPEATED_BYTES && self.repeats(text.as_object()) {
            return;
        }
        match width {
            TextWidth::Ascii => self.writer.trusted_text(Width::Ascii, data),
            TextWidth::Latin1 => self.writer.trusted_text(Width::Latin1, data),
            TextWidth::Two => self.writer.trusted_text(Width::Two, data),
            TextWidth::Four => self.writer.trusted_text(Width::Four, data),
        }
    }

    #[cold]
    fn big_int(&mut self, int: Int<'_, 'py>) -> Result<()> {
        let size = int.size_bytes()?;
        let mut result = Ok(());
        self.writer.big_int(size, |place| {
            result = int.write_bytes(place);
            result.is_ok()
        });
        result
    }

    fn bytearray(&mut self, array: ByteArray<'a, 'py>) -> Written<'a, 'py, ()> {
        // SAFETY: writing runs no Python code and stays attached.
        unsafe {
            array.with_data(|data| {
                self.reserve(data.len())?;
                self.writer.bytearray(data);
                Ok(())
            })
        }
    }

    /// Makes room for large data, or refuses where there is none.
    #[inline]
    fn reserve(&mut self, size_bytes: usize) -> Written<'a, 'py, ()> {
        if size_bytes > COPIED_BYTES && !self.writer.try_reserve(size_bytes) {
            return Err(Box::new(Refusal::Memory));
        }
        Ok(())
    }

    /// The items of a list, as they will stay until the walk ends.
    #[inline(always)]
    fn still_items(&mut self, list: List<'a, 'py>) -> Result<&'a [Borrowed<'a, 'py>]> {
        if FREE_THREADED {
            let snapshot = list.to_tuple()?;
            // SAFETY: `to_tuple` gives a tuple, complete.
            return Ok(unsafe { Tuple::from_object(self.keep(snapshot)).items() });
        }
        // SAFETY: K1: the list does not change during the walk.
        Ok(unsafe { list.items() })
    }

    /// A dict with these pairs that will stay as it is until the walk ends.
    #[inline(always)]
    fn still_dict(&mut self, dict: Dict<'a, 'py>) -> Result<Dict<'a, 'py>> {
        if FREE_THREADED {
            let snapshot = dict.copy()?;
            // SAFETY: a copy of a dict is a dict.
            return Ok(unsafe { Dict::from_object(self.keep(snapshot)) });
        }
        Ok(dict)
    }

    /// A set with these elements that will stay as it is until the walk ends.
    fn still_set(&mut self, set: Set<'a, 'py>) -> Result<Set<'a, 'py>> {
        if FREE_THREADED {
            let snapshot = set.copy()?;
            // SAFETY: a copy of a set is a set.
            return Ok(unsafe { Set::from_object(self.keep(snapshot)) });
        }
        Ok(set)
    }

    fn keep(&mut self, snapshot: Owned<'py>) -> Borrowed<'a, 'py> {
        let pointer = snapshot.as_ptr();
        self.snapshots.push(snapshot);
        // SAFETY: W1: it stays in `snapshots` until the walk ends, and what the walk borrows ends before.
        unsafe { Borrowed::from_ptr(self.root.py(), pointer) }
    }
}
