//! Reads items, one after another, out of bytes that may be anything.

use crate::corrupt::{Corrupt, Reason};
use crate::parts::Parts;
use crate::tag;
use crate::text::{Text, Width, is_ascii};
use crate::writer::Position;

/// One item of a message.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Item<'a> {
    /// Where it starts: what a reference to it says.
    pub position: Position,
    /// Whether a later reference points at it.
    pub shared: bool,
    /// What it is.
    pub token: Token<'a>,
}

/// What an item is. The number in a container is the count of its children (of pairs, for a dict) that follow.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Token<'a> {
    /// `None`.
    None,
    /// `True` or `False`.
    Bool(bool),
    /// `...`.
    Ellipsis,
    /// `NotImplemented`.
    NotImplemented,
    /// An int that fits a machine word.
    Int(i64),
    /// An int in little-endian two's complement.
    BigInt(&'a [u8]),
    /// A float.
    Float(f64),
    /// A complex number: real and imaginary part.
    Complex(f64, f64),
    /// A text.
    Text(Text<'a>),
    /// A `bytes`.
    Bytes(&'a [u8]),
    /// A `bytearray`.
    ByteArray(&'a [u8]),
    /// A list.
    List(usize),
    /// A tuple.
    Tuple(usize),
    /// A dict.
    Dict(usize),
    /// A set.
    Set(usize),
    /// A frozenset.
    FrozenSet(usize),
    /// A range: start, stop and step follow, all ints.
    Range,
    /// A slice: start, stop and step follow.
    Slice,
    /// A channel end, by its index among the ends of the message.
    End(usize),
    /// The shared item at that position once more.
    Reference(Position),
    /// A dict's key, the next one in the numbering; always ASCII.
    Key(Text<'a>),
    /// The key of that number once more. The reader does not count keys: there may be none of that number.
    RepeatedKey(usize),
    /// A class, function or module by the name of its module and its qualified name there.
    Named(&'a str, &'a str),
    /// The first instance of a class, which follows; then so many names and values.
    NewInstance(Attributes),
    /// An instance of the class of that number, if there is one; so many names and values follow.
    Instance(usize, Attributes),
    /// An object that a call rebuilds: callable, arguments and the parts follow.
    Reduced(Parts),
    /// Memory that travels beside the bytes: its index there.
    Buffer {
        /// The index among the regions of the message.
        index: usize,
        /// Whether it is not to be written to.
        readonly: bool,
    },
}

/// How many names and values of an instance follow: of its `__dict__` first, then of its slots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attributes {
    /// Those of its `__dict__`.
    pub named: usize,
    /// Those of its slots.
    pub slots: usize,
}

impl Attributes {
    /// All of them.
    #[must_use]
    pub const fn total(self) -> usize {
        self.named + self.slots
    }
}

/// What to make of each item: one function for each of the everyday ones, so that a reader can call it right where it has
/// told the item's kind, and one for all others. None of those here is shared.
pub trait Maker<'a> {
    /// What is made.
    type Made;
    /// Why it could not be made.
    type Error: From<Corrupt>;

    /// `None`.
    fn none(&mut self) -> Result<Self::Made, Self::Error>;
    /// `True` or `False`.
    fn bool(&mut self, value: bool) -> Result<Self::Made, Self::Error>;
    /// An int that fits a machine word.
    fn int(&mut self, value: i64) -> Result<Self::Made, Self::Error>;
    /// A float.
    fn float(&mut self, value: f64) -> Result<Self::Made, Self::Error>;
    /// A text in ASCII.
    fn ascii(&mut self, text: Text<'a>) -> Result<Self::Made, Self::Error>;
    /// A dict's key, the next one in the numbering; always ASCII.
    fn key(&mut self, text: Text<'a>) -> Result<Self::Made, Self::Error>;
    /// The key of that number once more, if there is one.
    fn repeated_key(&mut self, number: usize) -> Result<Self::Made, Self::Error>;
    /// The head of a container with so many children (pairs, in a dict).
    fn head(&mut self, head: Head, len: usize) -> Result<Self::Made, Self::Error>;
    /// Another item, which is still to be read.
    fn other(&mut self) -> Result<Self::Made, Self::Error>;
}

/// The everyday containers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Head {
    /// A list.
    List,
    /// A tuple.
    Tuple,
    /// A dict.
    Dict,
}

/// Reads the items of one message.
///
/// It knows nothing of nesting: its caller counts the children of containers, and bounds their depth.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    /// What is still to be read: the end of `bytes`.
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// A reader at the first item of `bytes`.
    #[inline]
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { bytes, rest: bytes }
    }

    /// How many bytes were read.
    #[inline]
    fn offset(&self) -> usize {
        self.bytes.len() - self.rest.len()
    }

    /// The next item.
    ///
    /// # Errors
    ///
    /// Where no item can be read; the reader is then of no further use.
    #[inline]
    pub fn next_item(&mut self) -> Result<Item<'a>, Corrupt> {
        let start = self.offset();
        match self.item_at(start) {
            Ok(item) => Ok(item),
            Err(reason) => Err(Corrupt::at(start, reason)),
        }
    }

    /// Reads the next item and has `maker` make something of it; leaves it where it is no everyday one.
    ///
    /// # Errors
    ///
    /// Where no item can be read, and what `maker` says.
    #[inline(always)]
    pub fn make_next<M: Maker<'a>>(&mut self, maker: &mut M) -> Result<M::Made, M::Error> {
        let before = self.rest;
        let start = self.bytes.len() - before.len();
        let corrupt = |reason| M::Error::from(Corrupt::at(start, reason));
        let Some((&head, rest)) = before.split_first() else {
            return Err(corrupt(Reason::Truncated));
        };
        self.rest = rest;
        // A head with the shared bit is none of these tags.
        match head {
            tag::TEXT_ASCII => maker.ascii(self.ascii().map_err(corrupt)?),
            tag::REPEATED_KEY => maker.repeated_key(self.count().map_err(corrupt)?),
            tag::KEY => maker.key(self.ascii().map_err(corrupt)?),
            tag::INT_1 => maker.int(i8::from_le_bytes(self.array().map_err(corrupt)?).into()),
            tag::INT_2 => maker.int(i16::from_le_bytes(self.array().map_err(corrupt)?).into()),
            tag::INT_4 => maker.int(i32::from_le_bytes(self.array().map_err(corrupt)?).into()),
            tag::INT_8 => maker.int(i64::from_le_bytes(self.array().map_err(corrupt)?)),
            tag::FLOAT => maker.float(f64::from_le_bytes(self.array().map_err(corrupt)?)),
            tag::NONE => maker.none(),
            tag::TRUE => maker.bool(true),
            tag::FALSE => maker.bool(false),
            tag::DICT => maker.head(Head::Dict, self.children(2).map_err(corrupt)?),
            tag::LIST => maker.head(Head::List, self.children(1).map_err(corrupt)?),
            tag::TUPLE => maker.head(Head::Tuple, self.children(1).map_err(corrupt)?),
            _ => {
                self.rest = before;
                maker.other()
            }
        }
    }

    /// Checks that all items were read.
    ///
    /// # Errors
    ///
    /// Where bytes are left.
    #[inline]
    pub fn finish(&self) -> Result<(), Corrupt> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(Corrupt::at(self.offset(), Reason::TrailingBytes))
        }
    }

    fn item_at(&mut self, start: usize) -> Result<Item<'a>, Reason> {
        let (&head, rest) = self.rest.split_first().ok_or(Reason::Truncated)?;
        self.rest = rest;
        let shared = head & tag::SHARED != 0;
        let token = match head & !tag::SHARED {
            tag::NONE => Token::None,
            tag::FALSE => Token::Bool(false),
            tag::TRUE => Token::Bool(true),
            tag::ELLIPSIS => Token::Ellipsis,
            tag::NOT_IMPLEMENTED => Token::NotImplemented,
            tag::INT_1 => Token::Int(i8::from_le_bytes(self.array()?).into()),
            tag::INT_2 => Token::Int(i16::from_le_bytes(self.array()?).into()),
            tag::INT_4 => Token::Int(i32::from_le_bytes(self.array()?).into()),
            tag::INT_8 => Token::Int(i64::from_le_bytes(self.array()?)),
            tag::INT_BIG => Token::BigInt(self.counted_bytes()?),
            tag::FLOAT => Token::Float(f64::from_le_bytes(self.array()?)),
            tag::COMPLEX => {
                let real = f64::from_le_bytes(self.array()?);
                Token::Complex(real, f64::from_le_bytes(self.array()?))
            }
            tag::TEXT_ASCII => self.text(Width::Ascii)?,
            tag::TEXT_LATIN1 => self.text(Width::Latin1)?,
            tag::TEXT_TWO => self.text(Width::Two)?,
            tag::TEXT_FOUR => self.text(Width::Four)?,
            tag::BYTES => Token::Bytes(self.counted_bytes()?),
            tag::BYTEARRAY => Token::ByteArray(self.counted_bytes()?),
            tag::LIST => Token::List(self.children(1)?),
            tag::TUPLE => Token::Tuple(self.children(1)?),
            tag::DICT => Token::Dict(self.children(2)?),
            tag::SET => Token::Set(self.children(1)?),
            tag::FROZENSET => Token::FrozenSet(self.children(1)?),
            tag::RANGE => Token::Range,
            tag::SLICE => Token::Slice,
            tag::END => Token::End(self.count()?),
            tag::KEY if !shared => Token::Key(self.ascii()?),
            tag::REPEATED_KEY if !shared => Token::RepeatedKey(self.count()?),
            tag::NAMED => {
                let module = self.utf8()?;
                Token::Named(module, self.utf8()?)
            }
            tag::NEW_INSTANCE => Token::NewInstance(self.attributes()?),
            tag::INSTANCE => {
                let class = self.count()?;
                Token::Instance(class, self.attributes()?)
            }
            tag::REDUCED => {
                let [byte] = self.array()?;
                Token::Reduced(Parts::from_byte(byte).ok_or(Reason::UnknownParts(byte))?)
            }
            tag::BUFFER => {
                let count = self.count()?;
                Token::Buffer {
                    index: count >> 1,
                    readonly: count & 1 != 0,
                }
            }
            tag::REFERENCE if !shared => Token::Reference(self.target(start)?),
            _ => return Err(Reason::UnknownTag(head)),
        };
        Ok(Item {
            position: Position(start),
            shared,
            token,
        })
    }

    #[inline(always)]
    fn array<const N: usize>(&mut self) -> Result<[u8; N], Reason> {
        let (&array, rest) = self.rest.split_first_chunk().ok_or(Reason::Truncated)?;
        self.rest = rest;
        Ok(array)
    }

    #[inline(always)]
    fn take(&mut self, len: usize) -> Result<&'a [u8], Reason> {
        let (data, rest) = self
            .rest
            .split_at_checked(len)
            .ok_or(Reason::CountBeyondEnd)?;
        self.rest = rest;
        Ok(data)
    }

    #[inline(always)]
    fn count(&mut self) -> Result<usize, Reason> {
        match *self.rest {
            [byte, ref rest @ ..] if byte < 0x80 => {
                self.rest = rest;
                Ok(byte.into())
            }
            _ => {
                let (count, rest) = long_count(self.rest)?;
                self.rest = rest;
                Ok(count)
            }
        }
    }

    /// A count of children that take at least `least` bytes each.
    #[inline(always)]
    fn children(&mut self, least: usize) -> Result<usize, Reason> {
        let count = self.count()?;
        if count > self.rest.len() / least {
            return Err(Reason::CountBeyondEnd);
        }
        Ok(count)
    }

    #[inline(always)]
    fn counted_bytes(&mut self) -> Result<&'a [u8], Reason> {
        let len = self.count()?;
        self.take(len)
    }

    fn utf8(&mut self) -> Result<&'a str, Reason> {
        std::str::from_utf8(self.counted_bytes()?).map_err(|_| Reason::TextNotCanonical)
    }

    fn attributes(&mut self) -> Result<Attributes, Reason> {
        let (named, slots) = (self.count()?, self.count()?);
        match named.checked_add(slots) {
            Some(total) if total <= self.rest.len() / 2 => Ok(Attributes { named, slots }),
            _ => Err(Reason::CountBeyondEnd),
        }
    }

    fn text(&mut self, width: Width) -> Result<Token<'a>, Reason> {
        self.characters(width).map(Token::Text)
    }

    #[inline(always)]
    fn ascii(&mut self) -> Result<Text<'a>, Reason> {
        let data = self.counted_bytes()?;
        if is_ascii(data) {
            Ok(Text {
                width: Width::Ascii,
                data,
            })
        } else {
            Err(Reason::TextNotCanonical)
        }
    }

    fn characters(&mut self, width: Width) -> Result<Text<'a>, Reason> {
        let len = self.count()?;
        let size_bytes = len
            .checked_mul(width.bytes_per_character())
            .ok_or(Reason::CountBeyondEnd)?;
        let data = self.take(size_bytes)?;
        Text::new(width, data).ok_or(Reason::TextNotCanonical)
    }

    #[inline]
    fn target(&mut self, start: usize) -> Result<Position, Reason> {
        let target = self.count()?;
        if target < start && self.bytes[target] & tag::SHARED != 0 {
            Ok(Position(target))
        } else {
            Err(Reason::BadReference)
        }
    }
}

/// A count of several bytes at the start of `bytes`, and what follows it.
#[cold]
fn long_count(bytes: &[u8]) -> Result<(usize, &[u8]), Reason> {
    let (mut count, mut rest) = (0, bytes);
    for shift in (0..usize::BITS).step_by(7) {
        let (&byte, behind) = rest.split_first().ok_or(Reason::Truncated)?;
        rest = behind;
        let bits = usize::from(byte & 0x7F);
        let shifted = bits << shift;
        if shifted >> shift != bits {
            return Err(Reason::CountTooLong);
        }
        count |= shifted;
        if byte < 0x80 {
            return Ok((count, rest));
        }
    }
    Err(Reason::CountTooLong)
}
