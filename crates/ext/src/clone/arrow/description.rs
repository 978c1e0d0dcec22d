//! Numbers and texts in a row: what a message says about arrays, beside their buffers.

/// Writes them.
#[derive(Default)]
pub(super) struct Description(Vec<u8>);

impl Description {
    pub(super) fn number(&mut self, number: i64) {
        self.0.extend_from_slice(&number.to_le_bytes());
    }

    pub(super) fn count(&mut self, count: usize) {
        self.number(count.cast_signed() as i64);
    }

    pub(super) fn data(&mut self, data: &[u8]) {
        self.count(data.len());
        self.0.extend_from_slice(data);
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Reads them in the same order; `None` where there are no more.
pub(super) struct Described<'a>(pub(super) &'a [u8]);

impl<'a> Described<'a> {
    pub(super) fn number(&mut self) -> Option<i64> {
        let (number, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(i64::from_le_bytes(*number))
    }

    pub(super) fn count(&mut self) -> Option<usize> {
        self.number()?.try_into().ok()
    }

    pub(super) fn data(&mut self) -> Option<&'a [u8]> {
        let count = self.count()?;
        let (data, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(data)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_in_its_order_and_then_nothing() {
        let mut description = Description::default();
        description.number(-7);
        description.data(b"name");
        description.count(3);
        let mut described = Described(description.bytes());
        assert_eq!(described.number(), Some(-7));
        assert_eq!(described.data(), Some(&b"name"[..]));
        assert_eq!(described.count(), Some(3));
        assert_eq!(described.number(), None);
        assert_eq!(Described(&5_i64.to_le_bytes()).data(), None);
    }
}
