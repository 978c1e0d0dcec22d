//! The way through a message: which container an object goes into.

use atoll_codec::{Head, Item, Position, Reader, Text as WireText, Token, Width};
use atoll_core::client::{End, Region};
use atoll_py::types::{
    ByteArray, Complex, Dict, Int, List, Range, Set, Slice, Text, TextWidth, Tuple,
};
use atoll_py::{Attached, FREE_THREADED, Owned, Result};

use super::frame::{Frame, Kind};
use super::leaf::{Attribute, Key, Leaf, Made, Name};
use super::{Failure, Step};
use crate::channel;
use crate::clone::keys::KeysInUse;
use crate::clone::{DEPTH_LIMIT, HASHED_DEPTH_LIMIT};
use crate::module::State;

/// What references point at, in order of position.
pub(super) struct Remembered<'py> {
    pub(super) position: Position,
    /// Nothing while a frozenset or range is incomplete, or an object was not called for: then it does not exist.
    pub(super) object: Option<Owned<'py>>,
    pub(super) complete: bool,
}

/// One walk over one message.
pub(super) struct Walk<'a, 'py> {
    pub(super) py: Attached<'py>,
    pub(super) state: &'a State,
    /// The containers that are being rebuilt, the innermost last.
    pub(super) frames: Vec<Frame<'py>>,
    /// How many containers are around the outermost one that will be hashed; `usize::MAX` where none will.
    pub(super) hashed_from: usize,
    pub(super) ends: Vec<Option<End>>,
    pub(super) regions: Vec<Option<Region>>,
    /// The classes of instances, in the order of their numbers.
    pub(super) classes: Vec<Owned<'py>>,
    /// Whether Python code may run meanwhile (K2).
    pub(super) runs_code: bool,
    pub(super) memo: Vec<Remembered<'py>>,
    pub(super) keys: Option<KeysInUse<'a>>,
    /// The numbered keys so far. Each lives until the walk ends: `keys` or `kept` owns it.
    pub(super) names: Vec<Name>,
    pub(super) kept: Vec<Owned<'py>>,
}

impl<'a, 'py> Walk<'a, 'py> {
    /// Rebuilds a graph that starts with this.
    pub(super) fn run(&mut self, mut reader: Reader<'a>, first: Made<'py>) -> Step<Owned<'py>> {
        let mut made = first;
        loop {
            let object = match made {
                Made::Object(object) => Some(object),
                Made::Head(head, len) => {
                    self.begin(head, len)?;
                    None
                }
                Made::Other => {
                    // A copy, so that the reader itself, whose address nobody takes, stays in the processor's registers.
                    let mut copy = reader.clone();
                    let opened = self.open(&mut copy)?;
                    reader = copy;
                    opened
                }
            };
            if let Some(object) = object {
                match self.frames.last_mut() {
                    Some(frame)
                        if matches!(frame.kind, Kind::NewInstance(_) | Kind::Reduced(_)) =>
                    {
                        self.add_part(object)?;
                    }
                    Some(frame) => frame.add(object)?,
                    None => {
                        reader.finish()?;
                        return Ok(object);
                    }
                }
            }
            made = match self.fill(&mut reader)? {
                Some(made) => made,
                None => Made::Object(self.close()?),
            };
        }
    }

    /// Gives the innermost container its next children, as long as they are everyday objects that hold nothing. Comes back with
    /// one that is not, or with nothing where the container is complete.
    #[inline(always)]
    fn fill(&mut self, reader: &mut Reader<'a>) -> Step<Option<Made<'py>>> {
        let Some(frame) = self.frames.last_mut() else {
            return Err(Failure::structure("it has no container to fill"));
        };
        let mut leaf = Leaf(self.py);
        let container = frame.container.borrow();
        match frame.kind {
            Kind::List => {
                // SAFETY: its kind says that it is a list.
                let list = unsafe { List::from_object(container) };
                for index in frame.done..frame.len {
                    match reader.make_next(&mut leaf)? {
                        // SAFETY: a list of `len`, whose places are filled one after another.
                        Made::Object(object) => unsafe { list.put_new(index, object) },
                        other => {
                            frame.done = index;
                            return Ok(Some(other));
                        }
                    }
                }
            }
            Kind::Dict => {
                // SAFETY: its kind says that it is a dict.
                let dict = unsafe { Dict::from_object(container) };
                let mut keys = Key {
                    py: self.py,
                    state: self.state,
                    keys: &mut self.keys,
                    names: &mut self.names,
                    kept: &mut self.kept,
                };
                if let Some(key) = frame.key.take() {
                    match reader.make_next(&mut leaf)? {
                        Made::Object(value) => dict.set(key.borrow(), value.borrow())?,
                        other => {
                            frame.key = Some(key);
                            return Ok(Some(other));
                        }
                    }
                    frame.done += 1;
                }
                for index in frame.done..frame.len {
                    let key = match reader.make_next(&mut keys)? {
                        Made::Object(key) => key,
                        other => {
                            frame.done = index;
                            return Ok(Some(other));
                        }
                    };
                    let value = match reader.make_next(&mut leaf)? {
                        Made::Object(value) => value,
                        other => {
                            (frame.key, frame.done) = (Some(key), index);
                            return Ok(Some(other));
                        }
                    };
                    dict.set(key.borrow(), value.borrow())?;
                }
            }
            Kind::Instance { .. } => {
                let mut keys = Key {
                    py: self.py,
                    state: self.state,
                    keys: &mut self.keys,
                    names: &mut self.names,
                    kept: &mut self.kept,
                };
                while frame.done < frame.len {
                    let made = if frame.key.is_none() {
                        reader.make_next(&mut Attribute(&mut keys))?
                    } else {
                        reader.make_next(&mut leaf)?
                    };
                    match made {
                        Made::Object(object) => frame.add(object)?,
                        other => return Ok(Some(other)),
                    }
                }
            }
            Kind::NewInstance(_) | Kind::Reduced(_) => {
                if frame.done < frame.len {
                    return Ok(Some(reader.make_next(&mut leaf)?));
                }
            }
            Kind::Tuple
            | Kind::Set
            | Kind::FrozenSet
            | Kind::Range
            | Kind::Slice
            | Kind::Growing => {
                while frame.done < frame.len {
                    match reader.make_next(&mut leaf)? {
                        Made::Object(object) => frame.add(object)?,
                        other => return Ok(Some(other)),
                    }
                }
            }
        }
        Ok(None)
    }

    /// Starts an everyday container inside the innermost one.
    #[inline]
    fn begin(&mut self, head: Head, len: usize) -> Step<()> {
        let (kind, container) = match head {
            Head::List if self.runs_code => (Kind::Growing, List::create_unfilled(self.py, 0)?),
            Head::List => (Kind::List, List::create_unfilled(self.py, len)?),
            Head::Dict => (Kind::Dict, Dict::create(self.py)?),
            // Others may see it before it is complete; a tuple seen so never holds a null.
            Head::Tuple if FREE_THREADED || self.runs_code => {
                (Kind::Tuple, Tuple::create_of_none(self.py, len)?)
            }
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
    fn open(&mut self, reader: &mut Reader<'a>) -> Step<Option<Owned<'py>>> {
        let py = self.py;
        let item = reader.next_item()?;
        let (kind, container, len) = match item.token {
            Token::Dict(len) => (Kind::Dict, Dict::create(py)?, len),
            Token::List(len) if self.runs_code => {
                (Kind::Growing, List::create_unfilled(py, 0)?, len)
            }
            Token::List(len) => (Kind::List, List::create_unfilled(py, len)?, len),
            // One that others can see before it is complete never holds a null.
            Token::Tuple(len) => (Kind::Tuple, Tuple::create_of_none(py, len)?, len),
            Token::Set(len) => (Kind::Set, Set::create(py)?, len),
            Token::FrozenSet(len) => (Kind::FrozenSet, Set::create_frozen(py)?, len),
            Token::Range => (Kind::Range, Tuple::create_of_none(py, 3)?, 3),
            Token::Slice => (Kind::Slice, Slice::create_of_none(py)?, 3),
            Token::NewInstance(_)
            | Token::Instance(..)
            | Token::Reduced(_)
            | Token::Named(..)
            | Token::Buffer { .. } => return self.open_object(&item),
            Token::Reference(position) => return self.remembered(position).map(Some),
            Token::Key(_) | Token::RepeatedKey(_) => return Err(Failure::key_out_of_place()),
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
        let exists = !matches!(kind, Kind::FrozenSet | Kind::Range);
        let object = exists.then(|| container.clone());
        let memo = self.remember(&item, object, false);
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

    /// Notes an item's object for later references, if there are any; where it is in the memo.
    pub(super) fn remember(
        &mut self,
        item: &Item<'a>,
        object: Option<Owned<'py>>,
        complete: bool,
    ) -> usize {
        if !item.shared {
            return usize::MAX;
        }
        self.memo.push(Remembered {
            position: item.position,
            object,
            complete,
        });
        self.memo.len() - 1
    }

    #[inline]
    pub(super) fn enter(&mut self, frame: Frame<'py>) -> Step<()> {
        let depth = self.frames.len();
        if let Some(outer) = self.frames.last() {
            if self.hashed_from == usize::MAX && outer.hashes_child() {
                self.hashed_from = depth;
            }
            // An object that a call rebuilds and the tuple of its arguments are one level to the writer.
            let hashed_depth = depth.saturating_sub(self.hashed_from);
            if depth >= 2 * DEPTH_LIMIT || hashed_depth >= 2 * HASHED_DEPTH_LIMIT {
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
                "a reference points at an object that is not made yet",
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
    ///
    /// Inside an instance it may stand: that is hashed by what its class says.
    fn is_hashed_here(&self) -> bool {
        for frame in self.frames.iter().rev() {
            if frame.kind.is_object() {
                return false;
            }
            if frame.hashes_child() {
                return true;
            }
        }
        false
    }

    /// Whether a cycle through the incomplete container at `index` of the memo is one that Python could make: through
    /// something that can change. (Hashing any other would never end.)
    fn can_hold(&self, index: usize) -> bool {
        for frame in self.frames.iter().rev() {
            if matches!(
                frame.kind,
                Kind::List | Kind::Growing | Kind::Dict | Kind::Set
            ) || frame.kind.is_object()
            {
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
        self.remember(item, Some(object.clone()), true);
        Ok(Some(object))
    }

    fn end(&mut self, index: usize) -> Step<Owned<'py>> {
        let end = self.ends.get_mut(index).and_then(Option::take);
        let end = end.ok_or_else(|| {
            Failure::structure("it names a channel end that did not come with it")
        })?;
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
