//! What the writer writes, the reader reads.

mod value;

use atoll_codec::{Packed, Parts, Position, Reader, Text, Token, Width, Writer};
use proptest::collection::vec;
use proptest::prelude::*;
use value::{Value, read, write};

fn characters() -> impl Strategy<Value = Vec<u32>> {
    prop_oneof![
        vec(0_u32..0x80, 0..200),
        vec(0_u32..0x100, 0..20),
        vec(0_u32..0x1_0000, 0..20),
        vec(0_u32..0x11_0000, 0..20),
        vec(0xD800_u32..0xE000, 1..5),
    ]
}

fn leaves() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::None),
        any::<bool>().prop_map(Value::Bool),
        Just(Value::Ellipsis),
        Just(Value::NotImplemented),
        any::<i64>().prop_map(Value::Int),
        (-70_000_i64..70_000).prop_map(Value::Int),
        vec(any::<u8>(), 9..300).prop_map(Value::BigInt),
        any::<u64>().prop_map(Value::Float),
        any::<(u64, u64)>().prop_map(|(real, imaginary)| Value::Complex(real, imaginary)),
        characters().prop_map(Value::Text),
        vec(any::<u8>(), 0..300).prop_map(Value::Bytes),
        vec(any::<u8>(), 0..300).prop_map(Value::ByteArray),
        any::<usize>().prop_map(Value::End),
        "[ -~]{0,40}".prop_map(Value::Key),
        any::<usize>().prop_map(Value::RepeatedKey),
        (".{0,9}", ".{0,200}").prop_map(|(module, qualname)| Value::Named(module, qualname)),
        (0..usize::MAX >> 1, any::<bool>())
            .prop_map(|(index, readonly)| Value::Buffer(index, readonly)),
    ]
}

fn attributes<S>(inner: &S) -> BoxedStrategy<Vec<(Value, Value)>>
where
    S: Strategy<Value = Value> + Clone + 'static,
{
    vec((inner.clone(), inner.clone()), 0..4).boxed()
}

fn values() -> impl Strategy<Value = Value> {
    leaves().prop_recursive(6, 200, 10, |inner| {
        let inner = prop_oneof![9 => inner, 1 => Just(Value::Root)];
        prop_oneof![
            vec(inner.clone(), 0..10).prop_map(Value::List),
            vec(inner.clone(), 0..10).prop_map(Value::Tuple),
            vec((inner.clone(), inner.clone()), 0..10).prop_map(Value::Dict),
            vec(inner.clone(), 0..10).prop_map(Value::Set),
            vec(inner.clone(), 0..10).prop_map(Value::FrozenSet),
            vec(inner.clone(), 3..=3).prop_map(Value::Range),
            vec(inner.clone(), 3..=3).prop_map(Value::Slice),
            (inner.clone(), attributes(&inner), attributes(&inner)).prop_map(
                |(class, attributes, slots)| {
                    Value::Instance(Ok(Box::new(class)), attributes, slots)
                }
            ),
            (any::<usize>(), attributes(&inner), attributes(&inner)).prop_map(
                |(class, attributes, slots)| Value::Instance(Err(class), attributes, slots)
            ),
            vec(inner.clone(), 2..=2)
                .prop_map(|children| Value::Reduced(Parts::NONE.with(Parts::BARE), children)),
            vec(inner.clone(), 3..=3)
                .prop_map(|children| Value::Reduced(Parts::REPLACED.with(Parts::STATE), children)),
            vec(inner, 6..=6).prop_map(|children| {
                let parts = Parts::ITEMS.with(Parts::PAIRS);
                Value::Reduced(parts.with(Parts::STATE).with(Parts::SETTER), children)
            }),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_value_comes_back_as_it_was(value in values()) {
        let mut writer = Writer::new();
        write(&mut writer, &value);
        prop_assert_eq!(read(writer.as_bytes()), Ok(value));
    }

    #[test]
    fn a_packed_int_is_what_the_writer_would_write(value in any::<i64>(), bits in 0_u32..64) {
        let value = value >> bits;
        let mut writer = Writer::new();
        writer.int(value);
        let packed = Packed::int(value);
        prop_assert_eq!(packed.as_bytes(), writer.as_bytes());
    }

    #[test]
    fn a_packed_text_is_what_the_writer_would_write(text in "[ -~]{0,20}") {
        let mut writer = Writer::new();
        writer.text(Text::new(Width::Ascii, text.as_bytes()).expect("the pattern is ASCII"));
        let packed = Packed::ascii(text.as_bytes()).expect("it is short");
        prop_assert_eq!(packed.as_bytes(), writer.as_bytes());
    }
}

#[test]
fn packed_text_that_is_long_or_not_ascii_is_refused() {
    assert!(Packed::ascii(&[b'x'; Packed::LONGEST_ASCII]).is_some());
    assert!(Packed::ascii(&[b'x'; Packed::LONGEST_ASCII + 1]).is_none());
    assert!(Packed::ascii("é".as_bytes()).is_none());
}

#[test]
fn packed_scalars_are_what_the_writer_would_write() {
    let mut writer = Writer::new();
    writer.none();
    writer.bool(true);
    writer.bool(false);
    writer.float(-0.5);
    let packed = [
        Packed::none(),
        Packed::bool(true),
        Packed::bool(false),
        Packed::float(-0.5),
    ];
    let joined: Vec<u8> = packed
        .iter()
        .flat_map(|packed| packed.as_bytes().to_vec())
        .collect();
    assert_eq!(joined, writer.as_bytes());
}

#[test]
fn a_reference_marks_its_target_and_nothing_else_as_shared() {
    let mut writer = Writer::new();
    writer.list(3);
    writer.list(0);
    let target = writer.position();
    writer.list(0);
    writer.reference(target);

    let mut reader = Reader::new(writer.as_bytes());
    let shared: Vec<bool> = (0..4)
        .map(|_| reader.next_item().expect("it was written").shared)
        .collect();
    assert_eq!(shared, [false, false, true, false]);
    assert_eq!(
        Reader::new(writer.as_bytes())
            .next_item()
            .expect("it was written")
            .position,
        Position::ROOT
    );
}

#[test]
fn a_big_int_that_its_filler_gives_up_leaves_no_trace() {
    let mut writer = Writer::new();
    writer.none();
    assert!(!writer.big_int(1000, |_| false));
    assert_eq!(writer.as_bytes().len(), 1);
}

#[test]
fn a_writer_is_fresh_after_clear_and_after_take() {
    let mut writer = Writer::new();
    writer.int(1);
    writer.clear();
    assert_eq!(writer.as_bytes(), b"");
    assert!(writer.capacity_bytes() > 0);
    writer.none();
    assert_eq!(writer.take().len(), 1);
    assert_eq!(writer.position(), Position::ROOT);
}

#[test]
fn short_ascii_is_what_text_would_write() {
    for len in 0..=Writer::SHORT_ASCII {
        let data: Vec<u8> = (b'a'..).take(len).collect();
        let (mut short, mut plain) = (Writer::new(), Writer::new());
        short.int(1);
        plain.int(1);
        short.short_ascii(&data);
        plain.text(Text::new(Width::Ascii, &data).expect("it is ASCII"));
        assert_eq!(short.as_bytes(), plain.as_bytes(), "{len} bytes");
    }
}

#[test]
fn a_writer_goes_on_in_an_adopted_buffer() {
    let mut writer = Writer::new();
    writer.list(1);
    writer.adopt(vec![9; 1000]);
    writer.none();
    assert_eq!(writer.as_bytes(), [19, 1, 1]);
    assert!(writer.capacity_bytes() >= 1000);
}

#[test]
fn counts_of_every_length_come_back() {
    for count in [0, 1, 127, 128, 16_383, 16_384, 2_097_152] {
        let data = vec![7; count];
        let mut writer = Writer::new();
        writer.bytes(&data);
        let item = Reader::new(writer.as_bytes())
            .next_item()
            .expect("it was written");
        assert_eq!(item.token, Token::Bytes(&data));
    }
}
