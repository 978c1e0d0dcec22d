//! Why bytes are not a message.

use std::error::Error;
use std::fmt;

/// Bytes that no [`Writer`](crate::Writer) would have written, and where they went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Corrupt {
    /// Offset of the tag of the item that could not be read.
    pub position: usize,
    /// What is wrong there.
    pub reason: Reason,
}

/// What is wrong with an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The bytes end inside an item, or before one that is due.
    Truncated,
    /// No item starts with this tag, or it may not carry the shared bit.
    UnknownTag(u8),
    /// A count, index or position does not fit the machine's word.
    CountTooLong,
    /// A count promises more than the remaining bytes could hold.
    CountBeyondEnd,
    /// Text that is not in the narrowest width that holds it, or is no text at all.
    TextNotCanonical,
    /// A reduced object promises parts that there are none of.
    UnknownParts(u8),
    /// A reference that points forward, or not at a shared item.
    BadReference,
    /// Bytes are left after the last item.
    TrailingBytes,
}

impl Corrupt {
    #[cold]
    pub(crate) const fn at(position: usize, reason: Reason) -> Corrupt {
        Corrupt { position, reason }
    }
}

impl fmt::Display for Corrupt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.reason {
            Reason::Truncated => f.write_str("the message ends inside an item")?,
            Reason::UnknownTag(tag) => write!(f, "no item starts with tag {tag:#04x}")?,
            Reason::CountTooLong => f.write_str("a count is longer than a machine word")?,
            Reason::CountBeyondEnd => {
                f.write_str("a count promises more than the message holds")?
            }
            Reason::TextNotCanonical => f.write_str("text is not in its narrowest form")?,
            Reason::UnknownParts(parts) => {
                write!(f, "no reduced object has the parts {parts:#04x}")?;
            }
            Reason::BadReference => f.write_str("a reference points at nothing shared")?,
            Reason::TrailingBytes => f.write_str("bytes are left after the last item")?,
        }
        write!(f, " (at byte {})", self.position)
    }
}

impl Error for Corrupt {}
