//! Bytes that no writer wrote: the reader refuses them, and never panics nor promises what is not there.

mod value;

use atoll_codec::{Corrupt, Head, Maker, Reader, Reason, Text, Token, Width, Writer};
use proptest::collection::vec;
use proptest::prelude::*;
use value::{Value, read, write};

/// Reads all items and checks what a walker relies on: counts that the rest could hold, references backwards.
fn read_all(bytes: &[u8]) -> Result<usize, Corrupt> {
    let mut reader = Reader::new(bytes);
    let mut items = 0;
    while reader.clone().finish().is_err() {
        let item = reader.next_item()?;
        let start = item.position.offset();
        let rest = bytes.len() - start - 1;
        match item.token {
            Token::List(count)
            | Token::Tuple(count)
            | Token::Set(count)
            | Token::FrozenSet(count) => {
                assert!(count <= rest);
            }
            Token::Dict(count) => assert!(count <= rest / 2),
            Token::Reference(target) => assert!(target.offset() < start),
            Token::Text(text) | Token::Key(text) => {
                assert!(Text::new(text.width(), text.data()).is_some())
            }
            _ => {}
        }
        items += 1;
    }
    Ok(items)
}

/// Gives back what it is told as the token that says the same; `None` for what is still to be read.
struct Tokens;

impl<'a> Maker<'a> for Tokens {
    type Made = Option<Token<'a>>;
    type Error = Corrupt;

    fn none(&mut self) -> Result<Self::Made, Corrupt> {
        Ok(Some(Token::None))
    }

    fn bool(&mut self, value: bool) -> Result<Self::Made, Corrupt> {
        Ok(Some(Token::Bool(value)))
    }

    fn int(&mut self, value: i64) -> Result<Self::Made, Corrupt> {
        Ok(Some(Token::Int(value)))
    }

    fn float(&mut self, value: f64) -> Result<Self::Made, Corrupt> {
        Ok(Some(Token::Float(value)))
    }

    fn ascii(&mut self, text: Text<'a>) -> Result<Self::Made, Corrupt> {
        Ok(Some(Token::Text(text)))
    }

    fn key(&mut self, text: Text<'a>) -> Result<Self::Made, Corrupt> {
        Ok(Some(Token::Key(text)))
    }

    fn repeated_key(&mut self, number: usize) -> Result<Self::Made, Corrupt> {
        Ok(Some(Token::RepeatedKey(number)))
    }

    fn head(&mut self, head: Head, len: usize) -> Result<Self::Made, Corrupt> {
        Ok(Some(match head {
            Head::List => Token::List(len),
            Head::Tuple => Token::Tuple(len),
            Head::Dict => Token::Dict(len),
        }))
    }

    fn other(&mut self) -> Result<Self::Made, Corrupt> {
        Ok(None)
    }
}

/// Reads all items in both ways and checks that they agree, in what they read and in what they refuse.
fn read_both_ways(bytes: &[u8]) {
    let (mut plain, mut making) = (Reader::new(bytes), Reader::new(bytes));
    loop {
        let item = plain.next_item();
        let token = match making.make_next(&mut Tokens) {
            Ok(Some(token)) => Ok(token),
            Ok(None) => making.next_item().map(|item| item.token),
            Err(corrupt) => Err(corrupt),
        };
        // As text, because a NaN differs from itself.
        let plain_token = item
            .as_ref()
            .map(|item| item.token)
            .map_err(|corrupt| *corrupt);
        assert_eq!(format!("{token:?}"), format!("{plain_token:?}"));
        if item.is_err() {
            return;
        }
    }
}

fn reason(bytes: &[u8]) -> Option<Reason> {
    Reader::new(bytes)
        .next_item()
        .err()
        .map(|corrupt| corrupt.reason)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4096, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_read_or_refused(bytes in vec(any::<u8>(), 0..200)) {
        let _ = read_all(&bytes);
        let _ = read(&bytes);
        read_both_ways(&bytes);
    }

    #[test]
    fn tags_with_any_payload_are_read_or_refused(tag in 0_u8..32, bytes in vec(any::<u8>(), 0..40)) {
        let mut bytes = bytes;
        bytes.insert(0, tag);
        let _ = read_all(&bytes);
        read_both_ways(&bytes);
    }

    #[test]
    fn a_message_cut_short_is_refused(numbers in vec(any::<i64>(), 1..20), cut in any::<prop::sample::Index>()) {
        let mut writer = Writer::new();
        write(&mut writer, &Value::List(numbers.into_iter().map(Value::Int).collect()));
        let bytes = writer.as_bytes();
        prop_assert!(read(&bytes[..cut.index(bytes.len())]).is_err());
    }
}

#[test]
fn nothing_is_truncated() {
    assert_eq!(reason(b""), Some(Reason::Truncated));
    assert_eq!(
        read(b""),
        Err(Corrupt {
            position: 0,
            reason: Reason::Truncated
        })
    );
}

#[test]
fn unknown_tags_are_refused() {
    assert_eq!(reason(&[0]), Some(Reason::UnknownTag(0)));
    assert_eq!(reason(&[0x7F]), Some(Reason::UnknownTag(0x7F)));
    assert_eq!(reason(&[0xFF]), Some(Reason::UnknownTag(0xFF)));
}

#[test]
fn counts_beyond_the_end_are_refused_for_every_counted_item() {
    for tag in [10, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 28] {
        assert_eq!(
            reason(&[tag, 2, 1]),
            Some(Reason::CountBeyondEnd),
            "tag {tag}"
        );
        let mut huge = vec![tag];
        huge.extend([0xFF; 9]);
        huge.push(1);
        assert_eq!(reason(&huge), Some(Reason::CountBeyondEnd), "tag {tag}");
    }
}

#[test]
fn counts_longer_than_a_word_are_refused() {
    let mut endless = vec![19];
    endless.extend([0xFF; 20]);
    assert_eq!(reason(&endless), Some(Reason::CountTooLong));
    let mut wide = vec![19];
    wide.extend([0x80; 9]);
    wide.push(2);
    assert_eq!(reason(&wide), Some(Reason::CountTooLong));
    assert_eq!(reason(&[19, 0x80]), Some(Reason::Truncated));
}

#[test]
fn text_in_too_wide_a_form_is_refused() {
    assert_eq!(reason(&[13, 1, 0x80]), Some(Reason::TextNotCanonical));
    assert_eq!(reason(&[28, 1, 0x80]), Some(Reason::TextNotCanonical));
    assert_eq!(reason(&[14, 1, b'a']), Some(Reason::TextNotCanonical));
    assert_eq!(reason(&[14, 0]), Some(Reason::TextNotCanonical));
    assert_eq!(reason(&[15, 1, 0xFF, 0]), Some(Reason::TextNotCanonical));
    assert_eq!(
        reason(&[16, 1, 0xFF, 0xFF, 0, 0]),
        Some(Reason::TextNotCanonical)
    );
}

#[test]
fn characters_beyond_unicode_are_refused() {
    assert_eq!(reason(&[16, 1, 0xFF, 0xFF, 0x10, 0]), None);
    assert_eq!(
        reason(&[16, 1, 0, 0, 0x11, 0]),
        Some(Reason::TextNotCanonical)
    );
    assert!(Text::new(Width::Two, &[0, 1, 0]).is_none());
    assert!(Text::new(Width::Four, &[0, 0, 1, 0, 0]).is_none());
}

#[test]
fn references_forward_to_themselves_or_to_unshared_items_are_refused() {
    let list_then = |last: [u8; 2]| {
        let bytes = [19, 2, 1, last[0], last[1]];
        let mut reader = Reader::new(&bytes);
        reader
            .next_item()
            .and_then(|_| reader.next_item())
            .expect("the head is fine");
        reader.next_item().map(|item| item.position)
    };
    let refused = Err(Corrupt {
        position: 3,
        reason: Reason::BadReference,
    });
    assert_eq!(list_then([27, 0]), refused);
    assert_eq!(list_then([27, 3]), refused);
    assert_eq!(list_then([27, 100]), refused);
    for tag in [27, 28, 29] {
        assert_eq!(
            reason(&[0x80 | tag, 0]),
            Some(Reason::UnknownTag(0x80 | tag))
        );
    }
}

#[test]
fn bytes_after_the_last_item_are_refused() {
    assert_eq!(
        read(&[1, 1]),
        Err(Corrupt {
            position: 1,
            reason: Reason::TrailingBytes
        })
    );
}

#[test]
fn the_error_says_what_and_where() {
    let error = read(&[19, 1, 0]).expect_err("no item starts with tag 0");
    assert_eq!(
        error.to_string(),
        "no item starts with tag 0x00 (at byte 2)"
    );
}
