//! Writes single objects, and knows which were written before.

use std::sync::Arc;

use atoll_codec::{Position, Width, Writer};
use atoll_core::client::{End, HostId, Region};
use atoll_py::types::{ByteArray, Dict, Exact, Int, List, Set, Text, TextWidth, Tuple};
use atoll_py::{Borrowed, FREE_THREADED, Owned, Result};

use super::{Refusal, Written};
use crate::channel;
use crate::clone::COPIED_BYTES;
use crate::clone::memo::Memo;
use crate::clone::memory::Memory;
use crate::clone::names::Names;
use crate::clone::plans::Plan;
use crate::clone::scratch;
use crate::module::State;

/// Text and data of at least this many bytes are sent once, however often the graph holds them.
const REPEATED_BYTES: usize = 64;

/// Keys of at most this many bytes are numbered, and written once or nearly so.
const LONGEST_NUMBERED_KEY: usize = 32;

/// Where a walk's objects go. Its invariants are the walk's (W1, W2).
pub(super) struct Sink<'a, 'py, 'm> {
    pub(super) state: &'m State,
    pub(super) root: Borrowed<'a, 'py>,
    pub(super) writer: &'m mut Writer,
    pub(super) memo: &'m mut Memo,
    pub(super) names: &'m mut Names,
    pub(super) ends: Vec<End>,
    pub(super) regions: Vec<Region>,
    pub(super) snapshots: Vec<Owned<'py>>,
    /// The classes met so far, and which was met last.
    pub(super) classes: Vec<Met<'a, 'py>>,
    pub(super) recent: usize,
    /// How many of them have a number.
    pub(super) numbered: usize,
    /// Classes that travel by value, and the arguments that stand for each.
    pub(super) shipped: &'a [(Owned<'py>, Owned<'py>)],
    /// Whether the walk may run Python code: then the graph may change under it.
    pub(super) runs_python: bool,
    /// Whether many receivers read the bytes, so that nothing travels beside them.
    pub(super) for_many: bool,
    /// Whether something is in the message that may run code where it is rebuilt.
    pub(super) has_objects: bool,
}

/// A class of which instances were met.
pub(super) struct Met<'a, 'py> {
    pub(super) class: Borrowed<'a, 'py>,
    pub(super) plan: Arc<Plan>,
    /// Its number in the message, once an instance is written.
    pub(super) number: Option<usize>,
}

impl<'a, 'py> Sink<'a, 'py, '_> {
    /// Writes an everyday object that holds nothing, or says that it is none.
    #[inline(always)]
    pub(super) fn leaf(&mut self, object: Borrowed<'a, 'py>) -> bool {
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

    /// As `leaf`, for a dict's key.
    #[inline(always)]
    pub(super) fn key(&mut self, object: Borrowed<'a, 'py>) -> bool {
        let Exact::Text(text) = Exact::of(object) else {
            return self.leaf(object);
        };
        match text.ascii() {
            // W1: the key lives, so that its address is its own, until the walk ends.
            Some(data) if data.len() <= LONGEST_NUMBERED_KEY => {
                match self.names.number(object.as_ptr().addr()) {
                    Some(number) => self.writer.repeated_key(number),
                    None => self.writer.key(data),
                }
            }
            _ => self.longer_text(text),
        }
        true
    }

    /// Writes a rarer object that holds nothing, or says that it is none.
    #[inline(never)]
    pub(super) fn rarer_leaf(&mut self, object: Borrowed<'a, 'py>) -> Written<'a, 'py, bool> {
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
                None => match self.state.memory.body_of(object).and_then(Memory::shared) {
                    Some(region) => self.region(object, region),
                    None => return Ok(false),
                },
            },
        }
        Ok(true)
    }

    /// Writes memory that everyone who has it only reads: a reference to it.
    fn region(&mut self, object: Borrowed<'a, 'py>, region: Region) {
        self.has_objects = true;
        if self.repeats(object) {
            return;
        }
        if self.for_many {
            self.writer.bytes(&region);
        } else {
            self.writer.buffer(self.regions.len(), true);
            self.regions.push(region);
        }
    }

    /// Whether the object was met before; a reference to it is then written, and otherwise it is noted as met here.
    #[inline(always)]
    pub(super) fn repeats(&mut self, object: Borrowed<'a, 'py>) -> bool {
        // W2: only the root can be met again.
        let met_once = !self.runs_python && object.has_one_reference();
        if met_once && object.as_ptr() != self.root.as_ptr() {
            return false;
        }
        self.repeats_noted(object, met_once)
    }

    #[inline(never)]
    fn repeats_noted(&mut self, object: Borrowed<'a, 'py>, is_root: bool) -> bool {
        let position = self.writer.position();
        let earlier = if is_root {
            (position != Position::ROOT).then_some(Position::ROOT)
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
        match text.ascii() {
            Some(data) if data.len() <= Writer::SHORT_ASCII => self.writer.short_ascii(data),
            _ => self.longer_text(text),
        }
    }

    #[inline(never)]
    fn longer_text(&mut self, text: Text<'a, 'py>) {
        let (width, data) = text.data();
        if data.len() >= REPEATED_BYTES && self.repeats(text.as_object()) {
            return;
        }
        let width = match width {
            TextWidth::Ascii => Width::Ascii,
            TextWidth::Latin1 => Width::Latin1,
            TextWidth::Two => Width::Two,
            TextWidth::Four => Width::Four,
        };
        self.writer.trusted_text(width, data);
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
        if size_bytes > COPIED_BYTES {
            self.reserve_large(size_bytes)
        } else {
            Ok(())
        }
    }

    #[cold]
    fn reserve_large(&mut self, size_bytes: usize) -> Written<'a, 'py, ()> {
        if self.writer.capacity_bytes() < size_bytes
            && let Some(buffer) = scratch::take_buffer()
        {
            self.writer.adopt(buffer);
        }
        if self.writer.try_reserve(size_bytes) {
            Ok(())
        } else {
            Err(Box::new(Refusal::Memory))
        }
    }

    /// The items of a list, as they will stay until the walk ends.
    #[inline(always)]
    pub(super) fn still_items(&mut self, list: List<'a, 'py>) -> Result<&'a [Borrowed<'a, 'py>]> {
        if FREE_THREADED || self.runs_python {
            let snapshot = list.to_tuple()?;
            // SAFETY: `to_tuple` gives a tuple, complete.
            return Ok(unsafe { Tuple::from_object(self.keep(snapshot)).items() });
        }
        // SAFETY: K1: the list does not change during the walk.
        Ok(unsafe { list.items() })
    }

    /// A dict with these pairs that will stay as it is until the walk ends.
    #[inline(always)]
    pub(super) fn still_dict(&mut self, dict: Dict<'a, 'py>) -> Result<Dict<'a, 'py>> {
        if FREE_THREADED || self.runs_python {
            let snapshot = dict.copy()?;
            // SAFETY: a copy of a dict is a dict.
            return Ok(unsafe { Dict::from_object(self.keep(snapshot)) });
        }
        Ok(dict)
    }

    /// A set with these elements that will stay as it is until the walk ends.
    pub(super) fn still_set(&mut self, set: Set<'a, 'py>) -> Result<Set<'a, 'py>> {
        if FREE_THREADED || self.runs_python {
            let snapshot = set.copy()?;
            // SAFETY: a copy of a set is a set.
            return Ok(unsafe { Set::from_object(self.keep(snapshot)) });
        }
        Ok(set)
    }

    pub(super) fn keep(&mut self, snapshot: Owned<'py>) -> Borrowed<'a, 'py> {
        let pointer = snapshot.as_ptr();
        self.snapshots.push(snapshot);
        // SAFETY: W1: it stays in `snapshots` until the walk ends, and what the walk borrows ends before.
        unsafe { Borrowed::from_ptr(self.root.py(), pointer) }
    }
}
