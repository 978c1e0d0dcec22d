//! The walk that rebuilds an object graph.

use std::fmt::Display;

use atoll_codec::{Corrupt, Head, Item, Maker, Position, Reader, Text as WireText, Token, Width};
use atoll_core::client::End;
use atoll_core::message::Message;
use atoll_py::types::{
    ByteArray, Complex, Dict, Float, Int, List, Range, Set, Slice, Text, TextWidth, Tuple,
};
use atoll_py::{Attached, FREE_THREADED, Owned, Raised, Result};

use super::keys::{Keys, KeysInUse};
use super::scratch;
use super::{DEPTH_LIMIT, HASHED_DEPTH_LIMIT};
use crate::channel;
use crate::module::State;

/// Rebuilds what a message holds.
///
/// Returns: owned. Needs: attached. May run Python: no (K2).
#[inline]
pub(crate) fn decode<'py>(
    py: Attached<'py>,
    state: &State,
    mut message: Message,
) -> Result<Owned<'py>> {
    let ends = message.take_ends();
    rebuild(py, state, message.bytes(), ends)
}

/// Rebuilds a graph without channel ends from its bytes.
///
/// Returns: owned. Needs: attached. May run Python: no (K2).
pub(crate) fn decode_bytes<'py>(
    py: Attached<'py>,
    state: &State,
    bytes: &[u8],
) -> Result<Owned<'py>> {
    rebuild(py, state, bytes, Vec::new())
}

fn rebuild<'py>(
    py: Attached<'py>,
    state: &State,
    bytes: &[u8],
    ends: Vec<End>,
) -> Result<Owned<'py>> {
    let mut reader = Reader::new(bytes);
    let rebuilt = match reader.make_next(&mut Leaf(py)) {
        Ok(Made::Object(object)) => reader.finish().map(|()| object).map_err(Failure::from),
        Ok(first) => graph(py, state, reader, ends, first),
        Err(failure) => Err(failure),
    };
    rebuilt.map_err(|failure| failure.raise(py))
}

#[inline(never)]
fn graph<'py>(
    py: Attached<'py>,
    state: &State,
    reader: Reader<'_>,
    ends: Vec<End>,
    first: Made<'py>,
) -> Step<Owned<'py>> {
    let mut walk = Walk {
        py,
        state,
        reader,
        frames: scratch::take_frames(),
        hashed_from: usize::MAX,
        ends: ends.into_iter().map(Some).collect(),
        memo: Vec::new(),
        keys: None,
    };
    let result = walk.run(first);
    scratch::give_back_frames(walk.frames);
    result
}

/// Why a message cannot be rebuilt. As small as a pointer, as every step may give one.
enum Failure {
    Raised(Raised),
    Unreadable(Box<dyn Display>),
}

impl From<Raised> for Failure {
    fn from(raised: Raised) -> Failure {
        Failure::Raised(raised)
    }
}

impl From<Corrupt> for Failure {
    #[cold]
    fn from(corrupt: Corrupt) -> Failure {
        Failure::Unreadable(Box::new(corrupt))
    }
}

impl Failure {
    #[cold]
    fn structure(why: &'static str) -> Failure {
        Failure::Unreadable(Box::new(why))
    }

    /// A message that nobody's `encode` wrote: no fault of the user's.
    #[cold]
    fn raise(self, py: Attached<'_>) -> Raised {
        match self {
            Failure::Raised(raised) => raised,
            Failure::Unreadable(why) => py.raise_system_error(&format!(
                "cannot rebuild a message ({why}); please report this as a bug of atoll"
            )),
        }
    }
}

/// A container whose children are being rebuilt.
pub(super) struct Frame<'py> {
    /// The container; for a range, a tuple of its parts.
    container: Owned<'py>,
    kind: Kind,
    /// How many children (pairs, in a dict) there are, and how many are in place.
    len: usize,
    done: usize,
    /// In a dict: the key whose value comes next.
    key: Option<Owned<'py>>,
    /// Where it is in the memo; `usize::MAX` for nowhere.
    memo: usize,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    List,
    Tuple,
    Dict,
    Set,
    FrozenSet,
    Range,
    Slice,
}

/// What references point at, in order of position.
struct Remembered<'py> {
    position: Position,
    /// Nothing while a frozenset or range is incomplete: then it does not exist.
    object: Option<Owned<'py>>,
    complete: bool,
}

/// One walk over one message.
struct Walk<'a, 'py> {
    py: Attached<'py>,
    state: &'a State,
    reader: Reader<'a>,
    /// The containers that are being rebuilt, the innermost last.
    frames: Vec<Frame<'py>>,
    /// How many containers are around the outermost one that will be hashed; `usize::MAX` where none will.
    hashed_from: usize,
    ends: Vec<Option<End>>,
    memo: Vec<Remembered<'py>>,
    keys: Option<KeysInUse<'a>>,
}

type Step<T> = std::result::Result<T, Failure>;

/// What came of an item.
enum Made<'py> {
    /// It is an everyday object that holds nothing.
    Object(Owned<'py>),
    /// It is the head of an everyday container with so many children.
    Head(Head, usize),
    /// It is something rarer, still to be read.
    Other,
}

/// Makes objects of everyday items.
struct Leaf<'py>(Attached<'py>);

impl<'a, 'py> Maker<'a> for Leaf<'py> {
    type Made = Made<'py>;
    type Error = Failure;

    #[inline(always)]
    fn none(&mut self) -> Step<Self::Made> {
        Ok(Made::Object(self.0.none().to_owned()))
    }

    #[inline(always)]
    fn bool(&mut self, value: bool) -> Step<Self::Made> {
        Ok(Made::Object(self.0.bool(value).to_owned()))
    }

    #[inline(always)]
    fn int(&mut self, value: i64) -> Step<Self::Made> {
        Ok(Made::Object(self.0.int(value)?))
    }

    #[inline(always)]
    fn float(&mut self, value: f64) -> Step<Self::Made> {
        Ok(Made::Object(Float::create(self.0, value)?))
    }

    #[inline(always)]
    fn ascii(&mut self, text: WireText<'a>) -> Step<Self::Made> {
        // SAFETY: ASCII, says the reader.
        Ok(Made::Object(unsafe {
            Text::create(self.0, TextWidth::Ascii, text.data())?
        }))
    }

    #[inline(always)]
    fn head(&mut self, head: Head, len: usize) -> Step<Self::Made> {
        Ok(Made::Head(head, len))
    }

    #[inline(always)]
    fn other(&mut self) -> Step<Self::Made> {
        Ok(Made::Other)
    }
}

/// As `Leaf`, for a dict's key: short ones come from the cache.
struct Key<'w, 'a, 'py> {
    py: Attached<'py>,
    state: &'a State,
    keys: &'w mut Option<KeysInUse<'a>>,
}

impl<'a, 'py> Maker<'a> for Key<'_, 'a, 'py> {
    type Made = Made<'py>;
    type Error = Failure;

    #[inline(always)]
    fn none(&mut self) -> Step<Self::Made> {
        Leaf(self.py).none()
    }

    #[inline(always)]
    fn bool(&mut self, value: bool) -> Step<Self::Made> {
        Leaf(self.py).bool(value)
    }

    #[inline(always)]
    fn int(&mut self, value: i64) -> Step<Self::Made> {
        Leaf(self.py).int(value)
    }

    #[inline(always)]
    fn float(&mut self, value: f64) -> Step<Self::Made> {
        Leaf(self.py).float(value)
    }

    #[inline(always)]
    fn ascii(&mut self, text: WireText<'a>) -> Step<Self::Made> {
        let data = text.data();
        if data.len() <= Keys::LONGEST {
            if self.keys.is_none() {
                *self.keys = self.state.keys.try_use(self.py);
            }
            if let Some(keys) = self.keys {
                // SAFETY: ASCII, says the reader, and short.
                return Ok(Made::Object(unsafe { keys.text(self.py, data)? }));
            }
        }
        Leaf(self.py).ascii(text)
    }

    #[inline(always)]
    fn head(&mut self, head: Head, len: usize) -> Step<Self::Made> {
        Ok(Made::Head(head, len))
    }

    #[inline(always)]
    fn other(&mut self) -> Step<Self::Made> {
        Ok(Made::Other)
    }
}

impl<'a, 'py> Walk<'a, 'py> {
    /// Rebuilds a graph that starts with this.
    fn run(&mut self, first: Made<'py>) -> Step<Owned<'py>> {
        let mut made = first;
        loop {
            let object = match made {
                Made::Object(object) => Some(object),
                Made::Head(head, len) => {
                    self.begin(head, len)?;
                    None
                }
                Made::Other => self.open()?,
            };
            if let Some(object) = object {
                match self.frames.last_mut() {
                    Some(frame) => frame.add(object)?,
                    None => {
                        self.reader.finish()?;
                        return Ok(object);
                    }
                }
            }
            made = self.fill()?;
        }
    }

    /// Gives the innermost container its next children, as long as they are everyday objects that hold nothing. Comes back with
    /// one that is not, or with the container itself, complete.
    #[inline(always)]
    fn fill(&mut self) -> Step<Made<'py>> {
        let Some(frame) = self.frames.last_mut() else {
            return Err(Failure::structure("it has no container to fill"));
        };
        let reader = &mut self.reader;
        let mut leaf = Leaf(self.py);
        let container = frame.container.borrow();
        match frame.kind {
            Kind::List => {
                // SAFETY: its kind says that it is a list.
                let list = unsafe { List::from_object(container) };
                while frame.done < frame.len {
                    match reader.make_next(&mut leaf)? {
                        // SAFETY: a list of `len`, whose places are filled one after another.
                        Made::Object(object) => unsafe { list.put_new(frame.done, object) },
                        other => return Ok(other),
                    }
                    frame.done += 1;
                }
            }
            Kind::Dict => {
                // SAFETY: its kind says that it is a dict.
                let dict = unsafe { Dict::from_object(container) };
                let mut keys = Key {
                    py: self.py,
                    state: self.state,
                    keys: &mut self.keys,
                };
                while frame.done < frame.len {
                    let key = match frame.key.take() {
                        Some(key) => key,
                        None => match reader.make_next(&mut keys)? {
                            Made::Object(key) => key,
                            other => return Ok(other),
                        },
                    };
                    let value = match reader.make_next(&mut leaf)? {
                        Made::Object(value) => value,
                        other => {
                            frame.key = Some(key);
                            return Ok(other);
                        }
                    };
                    dict.set(key.borrow(), value.borrow())?;
                    frame.done += 1;
                }
            }
            Kind::Tuple | Kind::Set | Kind::FrozenSet | Kind::Range | Kind::Slice => {
                while frame.done < frame.len {
                    match reader.make_next(&mut leaf)? {
                        Made::Object(object) => frame.add(object)?,
                        other => return Ok(other),
                    }
                }
            }
        }
        self.close().map(Made::Object)
    }

    /// Starts an everyday container inside the innermost one.
    #[inline]
    fn begin(&mut self, head: Head, len: usize) -> Step<()> {
        let (kind, container) = match head {
            Head::List => (Kind::List, List::create_unfilled(self.py, len)?),
            Head::Dict => (Kind::Dict, Dict::create(self.py)?),
            // Without a GIL others may see it before it is complete; a tuple seen so never holds a null.
            Head::Tuple if FREE_THREADED => (Kind::Tuple, Tuple::create_of_none(self.py, len)?),
            Head::Tuple => (Kind::Tuple, Tuple::create_unfilled(self.py, len)?),
        };
        self.enter(Frame {
            container,
            kind,
            len,
            done: 0,
            key: None,
            memo: usize::MAX,
        })
    }

    /// Starts a container inside the innermost one, or makes an object that is none at once.
    #[inline(never)]
    fn open(&mut self) -> Step<Option<Owned<'py>>> {
        let py = self.py;
        let item = self.reader.next_item()?;
        let (kind, container, len) = match item.token {
            Token::Dict(len) => (Kind::Dict, Dict::create(py)?, len),
            Token::List(len) => (Kind::List, List::create_unfilled(py, len)?, len),
            // One that others can see before it is complete never holds a null.
            Token::Tuple(len) => (Kind::Tuple, Tuple::create_of_none(py, len)?, len),
            Token::Set(len) => (Kind::Set, Set::create(py)?, len),
            Token::FrozenSet(len) => (Kind::FrozenSet, Set::create_frozen(py)?, len),
            Token::Range => (Kind::Range, Tuple::create_of_none(py, 3)?, 3),
            Token::Slice => (Kind::Slice, Slice::create_of_none(py)?, 3),
            Token::Reference(position) => return self.remembered(position).map(Some),
            Token::Text(_)
            | Token::Int(_)
            | Token::BigInt(_)
            | Token::Float(_)
            | Token::Complex(..)
            | Token::Bytes(_)
            | Token::ByteArray(_)
            | Token::None
            | Token::Bool(_)
            | Token::Ellipsis
            | Token::NotImplemented
            | Token::End(_) => return self.rarer_leaf(&item),
        };
        let mut memo = usize::MAX;
        if item.shared {
            memo = self.memo.len();
            let exists = !matches!(kind, Kind::FrozenSet | Kind::Range);
            let object = exists.then(|| container.clone());
            self.memo.push(Remembered {
                position: item.position,
                object,
                complete: false,
            });
        }
        self.enter(Frame {
            container,
            kind,
            len,
            done: 0,
            key: None,
            memo,
        })?;
        Ok(None)
    }

    #[inline]
    fn enter(&mut self, frame: Frame<'py>) -> Step<()> {
        let depth = self.frames.len();
        if let Some(outer) = self.frames.last() {
            if self.hashed_from == usize::MAX && outer.hashes_child() {
                self.hashed_from = depth;
            }
            if depth >= DEPTH_LIMIT || depth.saturating_sub(self.hashed_from) >= HASHED_DEPTH_LIMIT
            {
                return Err(Failure::structure("its containers are nested too deep"));
            }
        }
        self.frames.push(frame);
        Ok(())
    }

    /// Ends the innermost container, which has all its children.
    #[inline]
    fn close(&mut self) -> Step<Owned<'py>> {
        let Some(frame) = self.frames.pop() else {
            return Err(Failure::structure("it has no container to end"));
        };
        if self.frames.len() <= self.hashed_from {
            self.hashed_from = usize::MAX;
        }
        if frame.memo == usize::MAX && frame.kind != Kind::Range {
            return Ok(frame.container);
        }
        self.complete(frame)
    }

    /// The object that started at `position`.
    fn remembered(&self, position: Position) -> Step<Owned<'py>> {
        let memo = &self.memo;
        let index = memo
            .binary_search_by_key(&position, |remembered| remembered.position)
            .map_err(|_| Failure::structure("a reference points into an item"))?;
        let Some(object) = &memo[index].object else {
            return Err(Failure::structure(
                "a reference points at a set that is being made",
            ));
        };
        if !memo[index].complete && (self.is_hashed_here() || !self.can_hold(index)) {
            return Err(Failure::structure(
                "a reference points at an object that is being made",
            ));
        }
        Ok(object.clone())
    }

    /// Whether the next object will be hashed, or lies inside one that will.
    fn is_hashed_here(&self) -> bool {
        self.hashed_from != usize::MAX || self.frames.last().is_some_and(Frame::hashes_child)
    }

    /// Whether a cycle through the incomplete container at `index` of the memo is one that Python could make: through
    /// something that can change. (Hashing any other would never end.)
    fn can_hold(&self, index: usize) -> bool {
        for frame in self.frames.iter().rev() {
            if matches!(frame.kind, Kind::List | Kind::Dict | Kind::Set) {
                return true;
            }
            if frame.memo == index {
                return false;
            }
        }
        false
    }

    fn rarer_leaf(&mut self, item: &Item<'a>) -> Step<Option<Owned<'py>>> {
        let py = self.py;
        let object = match item.token {
            Token::Text(text) => created(py, text)?,
            Token::Bytes(data) => py.bytes(data)?,
            Token::ByteArray(data) => ByteArray::create(py, data)?,
            Token::BigInt(data) => Int::from_bytes(py, data)?,
            Token::Complex(real, imaginary) => Complex::create(py, real, imaginary)?,
            Token::Ellipsis => py.ellipsis().to_owned(),
            Token::NotImplemented => py.not_implemented().to_owned(),
            Token::End(index) => self.end(index)?,
            _ => return Err(Failure::structure("an item is in the wrong place")),
        };
        if item.shared {
            let object = Some(object.clone());
            self.memo.push(Remembered {
                position: item.position,
                object,
                complete: true,
            });
        }
        Ok(Some(object))
    }

    fn end(&mut self, index: usize) -> Step<Owned<'py>> {
        let end = self.ends.get_mut(index).and_then(Option::take);
        let end = end.ok_or(Failure::structure(
            "it names a channel end that did not come with it",
        ))?;
        Ok(channel::wrap(self.py, self.state, end)?)
    }

    /// The object of a container whose children are all there, for ranges and whatever is shared.
    #[cold]
    fn complete(&mut self, frame: Frame<'py>) -> Step<Owned<'py>> {
        let object = match frame.kind {
            Kind::Range => {
                // SAFETY: `open` made a tuple of three, and all of them are in place.
                let parts = unsafe { Tuple::from_object(frame.container.borrow()).items() };
                Range::create(self.py, [parts[0], parts[1], parts[2]])?
            }
            _ => frame.container,
        };
        if let Some(remembered) = self.memo.get_mut(frame.memo) {
            remembered.object.get_or_insert_with(|| object.clone());
            remembered.complete = true;
        }
        Ok(object)
    }
}

/// The `str` of these characters.
fn created<'py>(py: Attached<'py>, text: WireText<'_>) -> Result<Owned<'py>> {
    const {
        assert!(
            cfg!(target_endian = "little"),
            "messages hold wide characters in little endian"
        )
    };
    let width = match text.width() {
        Width::Ascii => TextWidth::Ascii,
        Width::Latin1 => TextWidth::Latin1,
        Width::Two => TextWidth::Two,
        Width::Four => TextWidth::Four,
    };
    // SAFETY: a reader gives whole characters in the narrowest width that fits them (I1 of atoll-codec).
    unsafe { Text::create(py, width, text.data()) }
}

impl<'py> Frame<'py> {
    /// Whether the child being made will be hashed.
    #[inline]
    fn hashes_child(&self) -> bool {
        match self.kind {
            Kind::Set | Kind::FrozenSet => true,
            Kind::Dict => self.key.is_none(),
            Kind::List | Kind::Tuple | Kind::Range | Kind::Slice => false,
        }
    }

    /// Puts the next child into its place.
    #[inline]
    fn add(&mut self, child: Owned<'py>) -> Result<()> {
        let container = self.container.borrow();
        match self.kind {
            Kind::List => {
                // SAFETY: a list of `len` (its kind says so), whose places are filled one after another.
                unsafe { List::from_object(container).put_new(self.done, child) };
            }
            Kind::Tuple | Kind::Range => {
                // SAFETY: a tuple of `len` (its kind says so); nobody has relied on its items: `remembered` gives out no
                // incomplete one to be hashed, and Python code has not seen it.
                unsafe { Tuple::from_object(container).put(self.done, child) };
            }
            Kind::Dict => match self.key.take() {
                None => {
                    self.key = Some(child);
                    return Ok(());
                }
                // SAFETY: its kind says that it is a dict.
                Some(key) => {
                    unsafe { Dict::from_object(container) }.set(key.borrow(), child.borrow())?
                }
            },
            Kind::Set | Kind::FrozenSet => {
                // SAFETY: its kind says that it is one.
                unsafe { Set::from_object(container) }.insert(child.borrow())?;
            }
            Kind::Slice => {
                // SAFETY: a slice (its kind says so), on whose parts nobody has relied, as for a tuple.
                unsafe { Slice::from_object(container).put(self.done, child) };
            }
        }
        self.done += 1;
        Ok(())
    }
}
