//! Any bytes at all: the reader reads or refuses them, and what it reads keeps the invariants of the format.
//!
//! Run it with `cargo +nightly fuzz run read` in `crates/codec`.

#![no_main]

use atoll_codec::{Reader, Text, Token};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut reader = Reader::new(bytes);
    while let Ok(item) = reader.next_item() {
        let start = item.position.offset();
        let rest = bytes.len() - start - 1;
        match item.token {
            Token::List(count) | Token::Tuple(count) | Token::Set(count) | Token::FrozenSet(count) => {
                assert!(count <= rest);
            }
            Token::Dict(count) => assert!(count <= rest / 2),
            Token::NewInstance(attributes) | Token::Instance(_, attributes) => {
                assert!(attributes.total() <= rest / 2);
            }
            Token::Named(module, qualname) => assert!(module.len() + qualname.len() <= rest),
            Token::Reduced(parts) => assert!((2..=6).contains(&parts.children())),
            Token::Text(text) | Token::Key(text) => assert!(Text::new(text.width(), text.data()).is_some()),
            Token::Reference(target) => {
                assert!(target.offset() < start);
                assert!(bytes[target.offset()] & 0x80 != 0);
            }
            _ => {}
        }
    }
});
