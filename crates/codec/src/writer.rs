//! Writes items, one after another.

use crate::parts::Parts;
use crate::tag;
use crate::text::{Text, Width};
use crate::word::first_word;

/// Where an item starts in a message; what a reference to it is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position(pub(crate) usize);

impl Position {
    /// The position of a message's first item.
    pub const ROOT: Position = Position(0);

    /// Its offset in the message, in bytes.
    #[inline]
    #[must_use]
    pub const fn offset(self) -> usize {
        self.0
    }
}

/// Appends items to a message.
///
/// The writer does not check that the children of a container follow its head in the promised number: its caller
/// walks the container and knows. It panics only where memory runs out, as `Vec` does.
#[derive(Debug, Default)]
pub struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    /// A writer of an empty message.
    #[must_use]
    pub const fn new() -> Writer {
        Writer { bytes: Vec::new() }
    }

    /// Forgets what was written and keeps the memory for the next message.
    #[inline]
    pub fn clear(&mut self) {
        self.bytes.clear();
    }

    /// The message so far.
    #[inline]
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Makes room for `additional` bytes more, or says that there is none.
    #[inline]
    #[must_use]
    pub fn try_reserve(&mut self, additional: usize) -> bool {
        // A few bytes more, for the tag and the count of what will be written.
        self.bytes
            .try_reserve(additional.saturating_add(16))
            .is_ok()
    }

    /// Bytes reserved, used or not.
    #[inline]
    #[must_use]
    pub fn capacity_bytes(&self) -> usize {
        self.bytes.capacity()
    }

    /// The message, taken out; the writer starts afresh without memory of its own.
    #[inline]
    #[must_use]
    pub fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.bytes)
    }

    /// Writes on in `buffer`, emptied, instead of memory of its own. What was written so far stays in front.
    pub fn adopt(&mut self, mut buffer: Vec<u8>) {
        buffer.clear();
        buffer.extend_from_slice(&self.bytes);
        self.bytes = buffer;
    }

    /// Where the next item will start.
    #[inline]
    #[must_use]
    pub fn position(&self) -> Position {
        Position(self.bytes.len())
    }

    #[inline]
    fn tag(&mut self, tag: u8) {
        self.bytes.push(tag);
    }

    #[inline]
    fn counted(&mut self, tag: u8, count: usize) {
        if count < 0x80 {
            self.bytes.extend_from_slice(&[tag, count as u8]);
        } else {
            self.tag(tag);
            self.long_count(count);
        }
    }

    #[cold]
    fn long_count(&mut self, mut count: usize) {
        while count >= 0x80 {
            self.bytes.push(count as u8 | 0x80);
            count >>= 7;
        }
        self.bytes.push(count as u8);
    }

    #[inline]
    fn tagged<const N: usize, const M: usize>(&mut self, tag: u8, payload: [u8; N]) {
        const { assert!(M == N + 1) };
        let mut item = [tag; M];
        item[1..].copy_from_slice(&payload);
        self.bytes.extend_from_slice(&item);
    }

    /// `None`.
    #[inline]
    pub fn none(&mut self) {
        self.tag(tag::NONE);
    }

    /// `True` or `False`.
    #[inline]
    pub fn bool(&mut self, value: bool) {
        self.tag(if value { tag::TRUE } else { tag::FALSE });
    }

    /// `...`.
    #[inline]
    pub fn ellipsis(&mut self) {
        self.tag(tag::ELLIPSIS);
    }

    /// `NotImplemented`.
    #[inline]
    pub fn not_implemented(&mut self) {
        self.tag(tag::NOT_IMPLEMENTED);
    }

    /// An int that fits a machine word.
    #[inline]
    pub fn int(&mut self, value: i64) {
        if let Ok(value) = i8::try_from(value) {
            self.tagged::<1, 2>(tag::INT_1, value.to_le_bytes());
        } else if let Ok(value) = i16::try_from(value) {
            self.tagged::<2, 3>(tag::INT_2, value.to_le_bytes());
        } else if let Ok(value) = i32::try_from(value) {
            self.tagged::<4, 5>(tag::INT_4, value.to_le_bytes());
        } else {
            self.tagged::<8, 9>(tag::INT_8, value.to_le_bytes());
        }
    }

    /// An int of any size, `len` bytes of little-endian two's complement that `fill` writes into place.
    ///
    /// `fill` gives back whether it succeeded; where it did not, the message is as it was before, and so is the
    /// answer `false`.
    pub fn big_int(&mut self, len: usize, fill: impl FnOnce(&mut [u8]) -> bool) -> bool {
        let start = self.bytes.len();
        self.counted(tag::INT_BIG, len);
        let data = self.bytes.len();
        self.bytes.resize(data + len, 0);
        let filled = fill(&mut self.bytes[data..]);
        if !filled {
            self.bytes.truncate(start);
        }
        filled
    }

    /// A float.
    #[inline]
    pub fn float(&mut self, value: f64) {
        self.tagged::<8, 9>(tag::FLOAT, value.to_le_bytes());
    }

    /// A complex number.
    pub fn complex(&mut self, real: f64, imaginary: f64) {
        self.float(real);
        let last = self.bytes.len() - size_of::<f64>() - 1;
        self.bytes[last] = tag::COMPLEX;
        self.bytes.extend_from_slice(&imaginary.to_le_bytes());
    }

    /// A text.
    #[inline]
    pub fn text(&mut self, text: Text<'_>) {
        let tag = match text.width {
            Width::Ascii => tag::TEXT_ASCII,
            Width::Latin1 => tag::TEXT_LATIN1,
            Width::Two => tag::TEXT_TWO,
            Width::Four => tag::TEXT_FOUR,
        };
        self.counted(tag, text.len());
        self.bytes.extend_from_slice(text.data);
    }

    /// A text that its owner knows to be canonical, so that it need not be looked through.
    ///
    /// # Panics
    ///
    /// In debug builds where it is not. In release builds a reader would refuse the message.
    #[inline]
    pub fn trusted_text(&mut self, width: Width, data: &[u8]) {
        debug_assert!(Text::new(width, data).is_some(), "text is not canonical");
        self.text(Text { width, data });
    }

    /// The longest text for [`short_ascii`](Self::short_ascii): one that makes an item of sixteen bytes.
    pub const SHORT_ASCII: usize = 14;

    /// A short text that its owner knows to be ASCII: composed in registers and appended as one block.
    ///
    /// # Panics
    ///
    /// In debug builds where it is longer or not ASCII. In release builds a reader would refuse the message.
    #[inline]
    pub fn short_ascii(&mut self, data: &[u8]) {
        debug_assert!(
            data.len() <= Writer::SHORT_ASCII,
            "text is longer than short"
        );
        self.compose(tag::TEXT_ASCII, data);
    }

    /// A dict's key, the next one in the numbering of this message, that its owner knows to be ASCII.
    ///
    /// # Panics
    ///
    /// In debug builds where it is not ASCII. In release builds a reader would refuse the message.
    #[inline]
    pub fn key(&mut self, data: &[u8]) {
        if data.len() <= Writer::SHORT_ASCII {
            self.compose(tag::KEY, data);
        } else {
            self.counted(tag::KEY, data.len());
            self.bytes.extend_from_slice(data);
        }
    }

    /// The key of that number once more.
    #[inline]
    pub fn repeated_key(&mut self, number: usize) {
        self.counted(tag::REPEATED_KEY, number);
    }

    #[inline]
    fn compose(&mut self, tag: u8, data: &[u8]) {
        debug_assert!(data.is_ascii(), "text is not ASCII");
        let len = data.len();
        let high = if len > 8 { first_word(&data[8..]) } else { 0 };
        let content = u128::from(high) << 64 | u128::from(first_word(data));
        let item = content << 16 | (len as u128) << 8 | u128::from(tag);
        let end = self.bytes.len() + 2 + len;
        self.bytes.extend_from_slice(&item.to_le_bytes());
        self.bytes.truncate(end);
    }

    /// A `bytes`.
    #[inline]
    pub fn bytes(&mut self, data: &[u8]) {
        self.counted(tag::BYTES, data.len());
        self.bytes.extend_from_slice(data);
    }

    /// A `bytearray`.
    pub fn bytearray(&mut self, data: &[u8]) {
        self.counted(tag::BYTEARRAY, data.len());
        self.bytes.extend_from_slice(data);
    }

    /// The head of a list; `len` items follow.
    #[inline]
    pub fn list(&mut self, len: usize) {
        self.counted(tag::LIST, len);
    }

    /// The head of a tuple; `len` items follow.
    #[inline]
    pub fn tuple(&mut self, len: usize) {
        self.counted(tag::TUPLE, len);
    }

    /// The head of a dict; `len` pairs of key and value follow.
    #[inline]
    pub fn dict(&mut self, len: usize) {
        self.counted(tag::DICT, len);
    }

    /// The head of a set; `len` items follow.
    #[inline]
    pub fn set(&mut self, len: usize) {
        self.counted(tag::SET, len);
    }

    /// The head of a frozenset; `len` items follow.
    #[inline]
    pub fn frozenset(&mut self, len: usize) {
        self.counted(tag::FROZENSET, len);
    }

    /// The head of a range; three ints follow: start, stop, step.
    pub fn range(&mut self) {
        self.tag(tag::RANGE);
    }

    /// The head of a slice; three items follow: start, stop, step.
    pub fn slice(&mut self) {
        self.tag(tag::SLICE);
    }

    /// A channel end, by its index among the ends that travel beside the bytes.
    pub fn end(&mut self, index: usize) {
        self.counted(tag::END, index);
    }

    /// A class, function or module by its name.
    pub fn named(&mut self, module: &str, qualname: &str) {
        self.counted(tag::NAMED, module.len());
        self.bytes.extend_from_slice(module.as_bytes());
        self.count(qualname.len());
        self.bytes.extend_from_slice(qualname.as_bytes());
    }

    /// The head of the first instance of a class; the class follows, then so many names and values of attributes and of slots.
    pub fn new_instance(&mut self, attributes: usize, slots: usize) {
        self.counted(tag::NEW_INSTANCE, attributes);
        self.count(slots);
    }

    /// The head of another instance of the class of that number.
    #[inline]
    pub fn instance(&mut self, class: usize, attributes: usize, slots: usize) {
        if class | attributes | slots < 0x80 {
            self.bytes.extend_from_slice(&[
                tag::INSTANCE,
                class as u8,
                attributes as u8,
                slots as u8,
            ]);
        } else {
            self.counted(tag::INSTANCE, class);
            self.count(attributes);
            self.count(slots);
        }
    }

    /// The head of an object that a call rebuilds; the callable, its arguments and the parts follow.
    pub fn reduced(&mut self, parts: Parts) {
        self.bytes
            .extend_from_slice(&[tag::REDUCED, parts.to_byte()]);
    }

    /// Changes the parts of a reduced object whose callable and arguments are written, and nothing behind them.
    ///
    /// # Panics
    ///
    /// Where `head` is not the position of such an item.
    pub fn change_parts(&mut self, head: Position, parts: Parts) {
        assert_eq!(self.bytes[head.0] & !tag::SHARED, tag::REDUCED);
        self.bytes[head.0 + 1] = parts.to_byte();
    }

    /// Memory that travels beside the bytes, by its index.
    pub fn buffer(&mut self, index: usize, readonly: bool) {
        self.counted(tag::BUFFER, index << 1 | usize::from(readonly));
    }

    fn count(&mut self, count: usize) {
        if count < 0x80 {
            self.bytes.push(count as u8);
        } else {
            self.long_count(count);
        }
    }

    /// The item at `target` once more.
    ///
    /// # Panics
    ///
    /// Where `target` is not a position of this message.
    pub fn reference(&mut self, target: Position) {
        self.bytes[target.0] |= tag::SHARED;
        self.counted(tag::REFERENCE, target.0);
    }
}
