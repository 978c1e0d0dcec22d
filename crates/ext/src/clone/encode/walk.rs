//! The way through a graph: which object comes next.

use atoll_codec::{Parts, Position};
use atoll_py::Borrowed;
use atoll_py::types::{Dict, Exact, Set};

use super::sink::Sink;
use super::{Depth, Refusal, Written};
use crate::clone::path::Step;
use crate::clone::{DEPTH_LIMIT, HASHED_DEPTH_LIMIT};

/// A container whose children are being written.
pub(in crate::clone) enum Frame<'a, 'py> {
    /// A list, tuple or slice.
    Items {
        items: &'a [Borrowed<'a, 'py>],
        next: usize,
        of: Items<'a, 'py>,
    },
    /// `value` is set while its key is being written.
    Dict {
        dict: Dict<'a, 'py>,
        position: isize,
        done: usize,
        key: Borrowed<'a, 'py>,
        value: Option<Borrowed<'a, 'py>>,
        /// Whether the pairs are names and values of attributes.
        attributes: bool,
    },
    /// A set or frozenset.
    Set {
        set: Set<'a, 'py>,
        position: isize,
        /// A frozenset, which exists only when it is complete: where it starts.
        frozen: Option<Position>,
    },
}

#[derive(Clone, Copy)]
pub(in crate::clone) enum Items<'a, 'py> {
    List,
    Tuple,
    Slice,
    /// The callable that an object is rebuilt with, before a tuple of so many arguments.
    Callable(usize),
    /// The arguments that an object is rebuilt with.
    Call(Call<'a, 'py>),
    /// The parts of an object that was rebuilt by a call.
    Parts(Parts),
}

/// What stands for an object, and where.
#[derive(Clone, Copy)]
pub(in crate::clone) struct Call<'a, 'py> {
    pub(super) object: Borrowed<'a, 'py>,
    pub(super) head: Position,
    pub(super) parts: Parts,
}

impl<'py> Frame<'_, 'py> {
    /// Whether the child being written will be hashed where it is rebuilt.
    fn hashes_child(&self) -> bool {
        match self {
            Frame::Items { .. } => false,
            Frame::Dict {
                value, attributes, ..
            } => value.is_some() && !attributes,
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
            Frame::Items {
                of: Items::Callable(_) | Items::Call(_) | Items::Parts(_),
                ..
            } => "object",
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
            Frame::Items {
                next,
                of: Items::Call(_),
                ..
            } => match next.checked_sub(1) {
                Some(index) => Step::Argument(index),
                // Its callable comes first.
                None => Step::Hidden,
            },
            Frame::Items {
                of: Items::Callable(_),
                ..
            } => Step::Callable,
            Frame::Items {
                of: Items::Parts(_),
                ..
            } => Step::Hidden,
            Frame::Dict {
                key,
                value: None,
                attributes: true,
                ..
            } => Step::Attribute(Borrowed::to_owned(*key)),
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
///   everything else belongs to something that the walk has come through, which stands still (K1). Without one, and in a walk
///   that runs Python code, the containers that can change are looked at in `snapshots`, which own what they hold, as well as
///   whatever Python code made for the walk.
/// - **W2**: each reference from one object of the graph to another is followed at most once, because the children of an
///   object are written once: at its first visit, if it has several references (the memo knows it at the second), and at its
///   only one, if it has a single reference. An object inside the graph that has a single reference is reached by that one:
///   so it is visited once, and need not be in the memo. The root alone is also reached from outside the graph, perhaps
///   without a reference of its own; hence it is compared by address. An object of `collections` is in the memo when its
///   arguments are written: where these hold it, the walk begins anew. In a walk that runs Python code references may come up
///   anywhere: there the memo knows every object.
pub(super) struct Walk<'a, 'py, 'm> {
    pub(super) sink: Sink<'a, 'py, 'm>,
    /// The containers that are being written, the innermost last.
    pub(super) frames: Vec<Frame<'a, 'py>>,
    /// How many containers are around the outermost one that will be hashed; `usize::MAX` where none will.
    pub(super) hashed_from: usize,
}

impl<'a, 'py> Walk<'a, 'py, '_> {
    #[inline(always)]
    pub(super) fn run(&mut self) -> Written<'a, 'py, ()> {
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
    pub(super) fn steps(&self) -> Vec<Step<'py>> {
        self.frames.iter().map(Frame::step).collect()
    }

    /// Writes the next children of the innermost container, as long as they are leaves; gives one that is not.
    #[inline(always)]
    fn advance(&mut self) -> Option<Borrowed<'a, 'py>> {
        let sink = &mut self.sink;
        match self.frames.last_mut()? {
            Frame::Items { items, next, .. } => {
                for (index, &item) in items.iter().enumerate().skip(*next) {
                    if !sink.leaf(item) {
                        *next = index + 1;
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
                ..
            } => {
                if let Some(value) = value.take()
                    && !sink.leaf(value)
                {
                    return Some(value);
                }
                let mut count = *done;
                // SAFETY: K1 (or W1: the dict is a snapshot): it does not change during the walk.
                while let Some((next_key, next_value)) = unsafe { dict.next(position) } {
                    count += 1;
                    if !sink.key(next_key) {
                        (*done, *key, *value) = (count, next_key, Some(next_value));
                        return Some(next_key);
                    }
                    if !sink.leaf(next_value) {
                        (*done, *key) = (count, next_key);
                        return Some(next_value);
                    }
                }
            }
            Frame::Set { set, position, .. } => {
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
    pub(super) fn open(&mut self, object: Borrowed<'a, 'py>) -> Written<'a, 'py, ()> {
        let sink = &mut self.sink;
        let frame = match Exact::of(object) {
            Exact::Dict(dict) => {
                if sink.repeats(object) {
                    return Ok(());
                }
                let dict = sink.still_dict(dict)?;
                sink.writer.dict(dict.len());
                let attributes = sink.runs_python
                    && matches!(
                        self.frames.last(),
                        Some(Frame::Items { of: Items::Parts(parts), .. }) if parts.has(Parts::STATE)
                    );
                Frame::Dict {
                    dict,
                    position: 0,
                    done: 0,
                    key: object,
                    value: None,
                    attributes,
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
                Frame::Set {
                    set,
                    position: 0,
                    frozen: None,
                }
            }
            Exact::FrozenSet(set) => {
                // Met again inside of itself, by way of an element's state, it is written again.
                if let Some(earlier) = sink.memo.get(object.as_ptr().addr()) {
                    sink.writer.reference(earlier);
                    return Ok(());
                }
                let frozen = Some(sink.writer.position());
                sink.writer.frozenset(set.len());
                Frame::Set {
                    set,
                    position: 0,
                    frozen,
                }
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
            _ => {
                if sink.rarer_leaf(object)? {
                    return Ok(());
                }
                return self.object(object);
            }
        };
        self.enter(frame)
    }

    #[inline(always)]
    pub(super) fn enter(&mut self, frame: Frame<'a, 'py>) -> Written<'a, 'py, ()> {
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
        let has_more = matches!(
            self.frames.last(),
            Some(
                Frame::Items {
                    of: Items::Callable(_) | Items::Call(_),
                    ..
                } | Frame::Set {
                    frozen: Some(_),
                    ..
                }
            )
        );
        if has_more {
            return self.close_and_go_on();
        }
        self.frames.pop();
        self.leave();
    }

    #[inline]
    fn leave(&mut self) {
        if self.frames.len() <= self.hashed_from {
            self.hashed_from = usize::MAX;
        }
    }

    #[cold]
    fn close_and_go_on(&mut self) {
        let closed = self.frames.pop();
        self.leave();
        match closed {
            Some(Frame::Items {
                of: Items::Callable(arguments),
                ..
            }) => self.sink.writer.tuple(arguments),
            Some(Frame::Items {
                of: Items::Call(call),
                ..
            }) => self.called(call),
            Some(Frame::Set {
                set,
                frozen: Some(head),
                ..
            }) => {
                self.sink.memo.note(set.as_object().as_ptr().addr(), head);
            }
            _ => {}
        }
    }
}
