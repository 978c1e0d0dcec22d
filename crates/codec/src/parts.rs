//! What a reduced object is rebuilt from, besides a callable and its arguments.

/// Which parts follow the callable and the arguments of a reduced object, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Parts(u8);

impl Parts {
    /// None: the call gives the whole object.
    pub const NONE: Parts = Parts(0);
    /// A list of what is to be appended.
    pub const ITEMS: Parts = Parts(1);
    /// A list of keys and values in turn.
    pub const PAIRS: Parts = Parts(2);
    /// A callable that takes the object and its state, in place of the object's own way.
    pub const SETTER: Parts = Parts(4);
    /// The state.
    pub const STATE: Parts = Parts(8);
    /// The callable is a class, of which a bare object is made with the arguments (`cls.__new__(cls, *arguments)`).
    pub const BARE: Parts = Parts(16);
    /// The object was met again inside its own arguments, and is finished there: a reference to it is the only part, and the
    /// call is not to be made.
    pub const REPLACED: Parts = Parts(32);
    const ALL: u8 = 63;

    /// Both together.
    #[must_use]
    pub const fn with(self, other: Parts) -> Parts {
        Parts(self.0 | other.0)
    }

    /// Whether all of `other` is in it.
    #[inline]
    #[must_use]
    pub const fn has(self, other: Parts) -> bool {
        self.0 & other.0 == other.0
    }

    /// How many items follow, with callable and arguments.
    #[must_use]
    pub const fn children(self) -> usize {
        if self.has(Parts::REPLACED) {
            return 3;
        }
        2 + (self.0 & 15).count_ones() as usize
    }

    pub(crate) const fn to_byte(self) -> u8 {
        self.0
    }

    pub(crate) const fn from_byte(byte: u8) -> Option<Parts> {
        if byte & !Parts::ALL == 0 {
            Some(Parts(byte))
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Parts;

    #[test]
    fn every_part_is_a_child() {
        assert_eq!(Parts::NONE.children(), 2);
        assert_eq!(Parts::BARE.children(), 2);
        assert_eq!(Parts::STATE.with(Parts::SETTER).children(), 4);
        assert_eq!(Parts::STATE.with(Parts::REPLACED).children(), 3);
    }
}
