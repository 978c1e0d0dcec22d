//! The walk that rebuilds an object graph.

use atoll_codec::{Corrupt, Item, Position, Reader, Text as WireText, Token, Width};
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
    let maker = Maker {
        py,
        state,
        reader: Reader::new(bytes),
        ends: ends.into_iter().map(Some).collect(),
        memo: Vec::new(),
        keys: None,
    };
    maker.scalar_or_graph().map_err(|failure| failure.raise(py))
}

/// Why a message cannot be rebuilt.
enum Failure {
    Corrupt(Corrupt),
    Structure(&'static str),
    Raised(Raised),
}

impl From<Corrupt> for Failure {
    fn from(corrupt: Corrupt) -> Failure {
        Failure::Corrupt(corrupt)
    }
}

impl From<Raised> for Failure {
    fn from(raised: Raised) -> Failure {
        Failure::Raised(raised)
    }
}

impl Failure {
    /// A message that nobody's `encode` wrote: no fault of the user's.
    #[cold]
    fn raise(self, py: Attached<'_>) -> Raised {
        let why = match self {
            Failure::Corrupt(corrupt) => corrupt.to_string(),
            Failure::Structure(why) => why.to_owned(),
            Failure::Raised(raised) => return raised,
        };
        py.raise_system_error(&format!(
            "cannot rebuild a message ({why}); please report this as a bug of atoll"
        ))
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

/// One walk over one message: the maker reads items, the frames say where their objects go.
struct Walk<'a, 'py> {
    maker: Maker<'a, 'py>,
    /// The containers that are being rebuilt, the innermost last.
    frames: Vec<Frame<'py>>,
    /// How many containers are around the outermost one that will be hashed; `usize::MAX` where none will.
    hashed_from: usize,
}

struct Maker<'a, 'py> {
    py: Attached<'py>,
    state: &'a State,
    reader: Reader<'a>,
    ends: Vec<Option<End>>,
    memo: Vec<Remembered<'py>>,
    keys: Option<KeysInUse<'a>>,
}

type Step<T> = std::result::Result<T, Failure>;

/// What to do after the innermost container got as many children as could be made on the spot.
enum Next<'a> {
    /// It is complete.
    Finish,
    /// This is the head of a container inside it, or a reference.
    Open(Item<'a>),
}

impl<'a, 'py> Walk<'a, 'py> {
    /// Rebuilds a graph that starts with this item.
    fn run(&mut self, first: Item<'a>) -> Step<Owned<'py>> {
        let mut made = self.open(first)?;
        loop {
            if let Some(object) = made {
                match self.frames.last_mut() {
                    Some(frame) => frame.add(object)?,
                    None => {
                        self.maker.reader.finish()?;
                        return Ok(object);
                    }
                }
            }
            made = match self.fill()? {
                Next::Open(item) => self.open(item)?,
                Next::Finish => self.close()?,
            };
        }
    }

    /// Gives the innermost container its next children, as long as they are leaves.
    #[inline(always)]
    fn fill(&mut self) -> Step<Next<'a>> {
        let Some(frame) = self.frames.last_mut() else {
            return Err(Failure::Structure("it has no container to fill"));
        };
        let maker = &mut self.maker;
        let container = frame.container.borrow();
        match frame.kind {
            Kind::List => {
                // SAFETY: its kind says that it is a list.
                let list = unsafe { List::from_object(container) };
                while frame.done < frame.len {
                    let item = maker.reader.next_item()?;
                    let Some(object) = maker.leaf(&item)? else {
                        return Ok(Next::Open(item));
                    };
                    // SAFETY: a list of `len`, whose places are filled one after another.
                    unsafe { list.put_new(frame.done, object) };
                    frame.done += 1;
                }
            }
            Kind::Dict => {
                // SAFETY: its kind says that it is a dict.
                let dict = unsafe { Dict::from_object(container) };
                while frame.done < frame.len {
                    let key = match frame.key.take() {
                        Some(key) => key,
                        None => {
                            let item = maker.reader.next_item()?;
                            match maker.leaf_key(&item)? {
                                Some(key) => key,
                                None => return Ok(Next::Open(item)),
                            }
                        }
                    };
                    let item = maker.reader.next_item()?;
                    let Some(value) = maker.leaf(&item)? else {
                        frame.key = Some(key);
                        return Ok(Next::Open(item));
                    };
                    dict.set(key.borrow(), value.borrow())?;
                    frame.done += 1;
                }
            }
            Kind::Tuple | Kind::Set | Kind::FrozenSet | Kind::Range | Kind::Slice => {
                while frame.done < frame.len {
                    let item = maker.reader.next_item()?;
                    let Some(object) = maker.leaf(&item)? else {
                        return Ok(Next::Open(item));
                    };
                    frame.add(object)?;
                }
            }
        }
        Ok(Next::Finish)
    }

    /// Starts a container inside the innermost one, or makes an object that is none at once.
    fn open(&mut self, item: Item<'a>) -> Step<Option<Owned<'py>>> {
        let py = self.maker.py;
        let (kind, container, len) = match item.token {
            Token::Dict(len) => (Kind::Dict, Dict::create(py)?, len),
            Token::List(len) => (Kind::List, List::create_unfilled(py, len)?, len),
            Token::Tuple(len) if !item.shared && !FREE_THREADED => {
                (Kind::Tuple, Tuple::create_unfilled(py, len)?, len)
            }
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
            | Token::End(_) => return self.maker.rarer_leaf(&item),
        };
        let mut memo = usize::MAX;
        if item.shared {
            memo = self.maker.memo.len();
            let exists = !matches!(kind, Kind::FrozenSet | Kind::Range);
            let object = exists.then(|| container.clone());
            self.maker.memo.push(Remembered {
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
                return Err(Failure::Structure("its containers are nested too deep"));
            }
        }
        self.frames.push(frame);
        Ok(())
    }

    /// Ends the innermost container, which has all its children.
    #[inline]
    fn close(&mut self) -> Step<Option<Owned<'py>>> {
        let Some(frame) = self.frames.pop() else {
            return Err(Failure::Structure("it has no container to end"));
        };
        if self.frames.len() <= self.hashed_from {
            self.hashed_from = usize::MAX;
        }
        if frame.memo == usize::MAX && frame.kind != Kind::Range {
            return Ok(Some(frame.container));
        }
        self.maker.complete(frame).map(Some)
    }

    /// The object that started at `position`.
    fn remembered(&self, position: Position) -> Step<Owned<'py>> {
        let memo = &self.maker.memo;
        let index = memo
            .binary_search_by_key(&position, |remembered| remembered.position)
            .map_err(|_| Failure::Structure("a reference points into an item"))?;
        let Some(object) = &memo[index].object else {
            return Err(Failure::Structure(
                "a reference points at a set that is being made",
            ));
        };
        if !memo[index].complete && (self.is_hashed_here() || !self.can_hold(index)) {
            return Err(Failure::Structure(
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
}

impl<'a, 'py> Maker<'a, 'py> {
    #[inline(always)]
    fn scalar_or_graph(mut self) -> Step<Owned<'py>> {
        let first = self.reader.next_item()?;
        match self.leaf(&first)? {
            Some(object) => {
                self.reader.finish()?;
                Ok(object)
            }
            None => self.graph(first),
        }
    }

    #[inline(never)]
    fn graph(self, first: Item<'a>) -> Step<Owned<'py>> {
        let mut walk = Walk {
            maker: self,
            frames: scratch::take_frames(),
            hashed_from: usize::MAX,
        };
        let result = walk.run(first);
        scratch::give_back_frames(walk.frames);
        result
    }

    /// The object of an item that is neither a container nor anything shared; nothing for these.
    #[inline(always)]
    fn leaf(&mut self, item: &Item<'a>) -> Step<Option<Owned<'py>>> {
        let py = self.py;
        let object = match item.token {
            Token::Text(text) if !item.shared => created(py, text)?,
            Token::Int(value) => py.int(value)?,
            Token::Float(value) => Float::create(py, value)?,
            Token::None => py.none().to_owned(),
            Token::Bool(value) => py.bool(value).to_owned(),
            _ => return Ok(None),
        };
        Ok(Some(object))
    }

    /// As `leaf`, for a dict's key.
    #[inline(always)]
    fn leaf_key(&mut self, item: &Item<'a>) -> Step<Option<Owned<'py>>> {
        match item.token {
            Token::Text(text)
                if !item.shared
                    && text.width() == Width::Ascii
                    && text.data().len() <= Keys::LONGEST =>
            {
                if self.keys.is_none() {
                    self.keys = self.state.keys.try_use();
                }
                Ok(Some(match &mut self.keys {
                    // SAFETY: looked at just now: ASCII and short.
                    Some(keys) => unsafe { keys.text(self.py, text.data())? },
                    None => created(self.py, text)?,
                }))
            }
            _ => self.leaf(item),
        }
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
            _ => return Err(Failure::Structure("an item is in the wrong place")),
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
        let end = end.ok_or(Failure::Structure(
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
#[inline(always)]
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
