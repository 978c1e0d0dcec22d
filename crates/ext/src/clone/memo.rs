//! Which objects a walk has met, and where in the message they are.

use atoll_codec::Position;

/// A map from addresses to positions, made to be used again: [`clear`](Memo::clear) is one addition.
///
/// # Invariants
/// - **M1**: the count of slots is a power of two, and at most half of them are live (`epoch` is the memo's own), so that a
///   search by steps of one finds its key or a slot that is not live.
#[derive(Default)]
pub(super) struct Memo {
    slots: Vec<Slot>,
    live: usize,
    epoch: u32,
}

#[derive(Clone, Copy)]
struct Slot {
    address: usize,
    position: Position,
    epoch: u32,
}

/// No slot is live in this epoch.
const NEVER: u32 = 0;
const FIRST_SIZE: usize = 64;
/// More slots than these (a few hundred kilobytes) are not kept for the next message.
const LARGEST_KEPT: usize = 16 * 1024;

impl Memo {
    /// Notes that the object at `address` starts at `position`, unless it was noted before: then gives where.
    #[inline]
    pub(super) fn note(&mut self, address: usize, position: Position) -> Option<Position> {
        if self.live * 2 >= self.slots.len() {
            self.grow();
        }
        let index = self.index_of(address);
        let slot = &mut self.slots[index];
        if slot.epoch == self.epoch {
            return Some(slot.position);
        }
        *slot = Slot {
            address,
            position,
            epoch: self.epoch,
        };
        self.live += 1;
        None
    }

    /// Where the object at `address` starts, if it was noted.
    #[inline]
    pub(super) fn get(&self, address: usize) -> Option<Position> {
        if self.live == 0 {
            return None;
        }
        let slot = &self.slots[self.index_of(address)];
        (slot.epoch == self.epoch).then_some(slot.position)
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        if self.slots.len() > LARGEST_KEPT {
            self.slots = Vec::new();
        }
        self.live = 0;
        self.epoch = self.epoch.wrapping_add(1);
        if self.epoch == NEVER {
            self.slots.fill(Slot::EMPTY);
            self.epoch += 1;
        }
    }

    /// Where the address is, or would go.
    #[inline]
    fn index_of(&self, address: usize) -> usize {
        // Objects lie on 16-byte boundaries; the product spreads what is above over the high half.
        let hash = (address as u64 >> 4).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let mask = self.slots.len() - 1;
        let mut index = (hash >> 32) as usize & mask;
        while self.slots[index].epoch == self.epoch && self.slots[index].address != address {
            index = (index + 1) & mask;
        }
        index
    }

    #[cold]
    fn grow(&mut self) {
        if self.epoch == NEVER {
            self.epoch += 1;
        }
        let larger = (self.slots.len() * 4).max(FIRST_SIZE);
        let before = std::mem::replace(&mut self.slots, vec![Slot::EMPTY; larger]);
        for slot in before.into_iter().filter(|slot| slot.epoch == self.epoch) {
            let index = self.index_of(slot.address);
            self.slots[index] = slot;
        }
    }
}

impl Slot {
    const EMPTY: Slot = Slot {
        address: 0,
        position: Position::ROOT,
        epoch: NEVER,
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use atoll_codec::Writer;

    fn positions(count: usize) -> Vec<Position> {
        let mut writer = Writer::new();
        (0..count)
            .map(|_| {
                writer.none();
                writer.position()
            })
            .collect()
    }

    #[test]
    fn every_address_is_found_again_through_growth() {
        let positions = positions(100_000);
        let mut memo = Memo::default();
        for (index, &position) in positions.iter().enumerate() {
            assert_eq!(memo.note(index * 16, position), None);
        }
        for (index, &position) in positions.iter().enumerate() {
            assert_eq!(memo.note(index * 16, Position::ROOT), Some(position));
        }
    }

    #[test]
    fn nothing_is_left_after_clear() {
        let mut memo = Memo::default();
        for _ in 0..3 {
            assert_eq!(memo.note(16, Position::ROOT), None);
            assert_eq!(memo.note(16, Position::ROOT), Some(Position::ROOT));
            memo.clear();
        }
    }

    #[test]
    fn nothing_comes_back_when_the_epochs_wrap() {
        let mut memo = Memo::default();
        memo.clear();
        assert_eq!(memo.note(16, Position::ROOT), None);
        memo.epoch = u32::MAX;
        assert_eq!(memo.note(32, Position::ROOT), None);
        memo.clear();
        assert_eq!(memo.note(16, Position::ROOT), None);
        assert_eq!(memo.note(32, Position::ROOT), None);
    }

    #[test]
    fn a_large_table_is_given_back() {
        let mut memo = Memo::default();
        for address in 0..LARGEST_KEPT {
            memo.note(address * 16, Position::ROOT);
        }
        memo.clear();
        assert_eq!(memo.slots.capacity(), 0);
    }
}
