//! The structured-clone wire format of Atoll. No unsafe code, no dependencies.
//!
//! A message is one object graph, written as a flat sequence of items in the order in which a depth-first walk meets
//! them. [`Writer`] appends items; [`Reader`] gives them back as [`Token`]s and trusts nothing: whatever bytes it is
//! given, it neither panics nor asks its caller to reserve more than the input could fill. What an item means in
//! Python (which object to make of it, what may be a key) is for the walkers of `crates/ext` to say.
//!
//! # Format
//!
//! Every item is a tag byte, the fixed or counted payload of its kind, and for a container its children, one item
//! after another:
//!
//! | item | payload | children |
//! |---|---|---|
//! | None, False, True, Ellipsis, NotImplemented | | |
//! | int | 1, 2, 4 or 8 bytes, or a count and that many bytes; two's complement, little endian | |
//! | float, complex | 8 or 16 bytes, IEEE 754, little endian | |
//! | text | count of characters, then 1, 2 or 4 bytes for each | |
//! | bytes, bytearray | count, data | |
//! | list, tuple, set, frozenset | count | that many |
//! | dict | count of pairs | key, value, key, value… |
//! | range, slice | | start, stop, step |
//! | end | index into the ends that travel beside the bytes | |
//! | reference | position of the tag that it repeats | |
//! | key | as text in ASCII | |
//! | repeated key | number of a key | |
//! | named | module and qualified name, each a count and that many bytes of UTF-8 | |
//! | new instance | count of attributes, count of slots | the class, then name, value, name, value… |
//! | instance | number of a class, count of attributes, count of slots | name, value, name, value… |
//! | reduced | one byte of [`Parts`] | callable, arguments, then each of the parts that there is |
//! | buffer | index into the regions that travel beside the bytes, doubled, plus one where it is read-only | |
//!
//! Counts, indices and positions are unsigned LEB128. Numbers and wide characters are little endian. The highest bit
//! of a tag ([`Item::shared`]) says that a later reference points at this item, so that a reader remembers nothing
//! else; the writer sets it when it writes the first such reference.
//!
//! The keys of dicts repeat: in a list of records they are most of the text. So a dict's key that is a short text in ASCII
//! is an item of its own, the keys of a message are numbered in their order from zero, and a repeated key says a number.
//!
//! Likewise a class of which there are many instances is written with the first one; the classes of a message are numbered in
//! the order in which their first instances are met.
//!
//! # Invariants
//!
//! - I1: text is canonical: in the narrowest of ASCII, Latin-1, two bytes and four bytes that holds all its
//!   characters, as CPython wants it. Lone surrogates are ordinary two-byte characters.
//! - I2: a count never exceeds what the rest of the message could hold.
//! - I3: a reference points backwards, at the tag of an item that carries the shared bit.
//!
//! The reader checks all three and the writer keeps them.
//!
//! # Example
//!
//! ```
//! use atoll_codec::{Reader, Token, Writer};
//!
//! let mut writer = Writer::new();
//! writer.list(2);
//! writer.int(7);
//! writer.none();
//!
//! let mut reader = Reader::new(writer.as_bytes());
//! assert_eq!(reader.next_item()?.token, Token::List(2));
//! assert_eq!(reader.next_item()?.token, Token::Int(7));
//! assert_eq!(reader.next_item()?.token, Token::None);
//! reader.finish()?;
//! # Ok::<(), atoll_codec::Corrupt>(())
//! ```

#![forbid(unsafe_code)]

mod corrupt;
mod packed;
mod parts;
mod reader;
mod tag;
mod text;
mod word;
mod writer;

pub use corrupt::{Corrupt, Reason};
pub use packed::Packed;
pub use parts::Parts;
pub use reader::{Attributes, Head, Item, Maker, Reader, Token};
pub use text::{Text, Width};
pub use word::first_word;
pub use writer::{Position, Writer};

/// The version of the byte format; it changes whenever a message of before would be read differently.
pub const FORMAT_VERSION: u16 = 2;
