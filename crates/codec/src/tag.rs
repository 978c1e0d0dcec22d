//! The tag bytes. Zero is no tag, so that zeroed memory is never a message.

/// Set in a tag when a later reference points at the item.
pub(crate) const SHARED: u8 = 0x80;

pub(crate) const NONE: u8 = 1;
pub(crate) const FALSE: u8 = 2;
pub(crate) const TRUE: u8 = 3;
pub(crate) const ELLIPSIS: u8 = 4;
pub(crate) const NOT_IMPLEMENTED: u8 = 5;
pub(crate) const INT_1: u8 = 6;
pub(crate) const INT_2: u8 = 7;
pub(crate) const INT_4: u8 = 8;
pub(crate) const INT_8: u8 = 9;
pub(crate) const INT_BIG: u8 = 10;
pub(crate) const FLOAT: u8 = 11;
pub(crate) const COMPLEX: u8 = 12;
pub(crate) const TEXT_ASCII: u8 = 13;
pub(crate) const TEXT_LATIN1: u8 = 14;
pub(crate) const TEXT_TWO: u8 = 15;
pub(crate) const TEXT_FOUR: u8 = 16;
pub(crate) const BYTES: u8 = 17;
pub(crate) const BYTEARRAY: u8 = 18;
pub(crate) const LIST: u8 = 19;
pub(crate) const TUPLE: u8 = 20;
pub(crate) const DICT: u8 = 21;
pub(crate) const SET: u8 = 22;
pub(crate) const FROZENSET: u8 = 23;
pub(crate) const RANGE: u8 = 24;
pub(crate) const SLICE: u8 = 25;
pub(crate) const END: u8 = 26;
pub(crate) const REFERENCE: u8 = 27;
pub(crate) const KEY: u8 = 28;
pub(crate) const REPEATED_KEY: u8 = 29;
pub(crate) const NAMED: u8 = 30;
pub(crate) const INSTANCE: u8 = 31;
pub(crate) const NEW_INSTANCE: u8 = 32;
pub(crate) const REDUCED: u8 = 33;
pub(crate) const BUFFER: u8 = 34;
