//! Which dict keys a walk has written lately, by address, and their numbers.

/// A small table with one place for each of many addresses: a key that lost its place is written in full again, under a new
/// number. Made to be used again: [`clear`](Names::clear) is one addition.
pub(super) struct Names {
    slots: Box<[Slot; Names::SLOTS]>,
    next: u32,
    epoch: u32,
}

#[derive(Clone, Copy)]
struct Slot {
    address: usize,
    number: u32,
    /// The slot counts where this is the table's.
    epoch: u32,
}

impl Default for Names {
    fn default() -> Names {
        Names {
            slots: Box::new([Slot::EMPTY; Names::SLOTS]),
            next: 0,
            epoch: Slot::EMPTY.epoch + 1,
        }
    }
}

impl Slot {
    const EMPTY: Slot = Slot {
        address: 0,
        number: 0,
        epoch: 0,
    };
}

impl Names {
    const SLOTS: usize = 128;

    /// The number of the key at `address`, or `None` where it is to be written in full and gets the next number.
    #[inline]
    pub(super) fn number(&mut self, address: usize) -> Option<usize> {
        // Objects lie on 16-byte boundaries; the highest bits of a product depend on all bits of its factors.
        let hash = (address as u64 >> 4).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let slot =
            &mut self.slots[(hash >> (u64::BITS - Names::SLOTS.ilog2())) as usize % Names::SLOTS];
        if slot.address == address && slot.epoch == self.epoch {
            return Some(slot.number as usize);
        }
        *slot = Slot {
            address,
            number: self.next,
            epoch: self.epoch,
        };
        // Keys beyond four thousand million would need as many items; the walk ends long before.
        self.next = self.next.wrapping_add(1);
        None
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        self.next = 0;
        self.epoch = self.epoch.wrapping_add(1);
        if self.epoch == Slot::EMPTY.epoch {
            self.slots.fill(Slot::EMPTY);
            self.epoch += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_the_number_of_its_first_mention() {
        let mut names = Names::default();
        assert_eq!(names.number(16), None);
        assert_eq!(names.number(32), None);
        assert_eq!(names.number(16), Some(0));
        assert_eq!(names.number(32), Some(1));
    }

    #[test]
    fn a_key_that_lost_its_place_gets_a_new_number() {
        let mut names = Names::default();
        let mut written = Vec::new();
        for address in (0..10_000).map(|index| index % 300 * 16) {
            match names.number(address) {
                Some(number) => assert_eq!(written[number], address),
                None => written.push(address),
            }
        }
        assert!(written.len() > 300);
    }

    #[test]
    fn nothing_is_left_after_clear_also_when_the_epochs_wrap() {
        let mut names = Names::default();
        for epoch in [1, 2, u32::MAX, 1] {
            names.epoch = epoch;
            names.number(16);
            names.clear();
            assert_eq!(names.number(16), None);
        }
    }
}
