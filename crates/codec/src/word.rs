//! Short data as machine words.

/// The first eight bytes of `data`, little endian, with zeros for those that it does not have.
///
/// A whole word in a few instructions, where a copy of so few bytes would be a call.
#[inline]
#[must_use]
pub fn first_word(data: &[u8]) -> u64 {
    if let Some(bytes) = data.first_chunk() {
        return u64::from_le_bytes(*bytes);
    }
    if let (Some(first), Some(last)) = (data.first_chunk(), data.last_chunk()) {
        // Four to seven bytes: two halves that overlap in what both hold.
        let last = u64::from(u32::from_le_bytes(*last));
        return u64::from(u32::from_le_bytes(*first)) | last << (8 * (data.len() - 4));
    }
    match *data {
        [] => 0,
        [first] => first.into(),
        [first, second, ..] => {
            let third = data.get(2).copied().unwrap_or_default();
            u32::from_le_bytes([first, second, third, 0]).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::first_word;

    #[test]
    fn a_word_holds_up_to_eight_bytes_in_order() {
        for len in 0..20 {
            let data: Vec<u8> = (1..).take(len).collect();
            let mut bytes = data.clone();
            bytes.resize(8, 0);
            assert_eq!(first_word(&data).to_le_bytes(), bytes[..], "{len} bytes");
        }
    }
}
