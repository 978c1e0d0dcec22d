//! The bytes themselves: interpreters of different builds read each other's messages, so a change here means a new
//! [`FORMAT_VERSION`].

use atoll_codec::{FORMAT_VERSION, Parts, Position, Text, Width, Writer};

fn written(write: impl FnOnce(&mut Writer)) -> Vec<u8> {
    let mut writer = Writer::new();
    write(&mut writer);
    writer.take()
}

#[test]
fn the_format_is_version_two() {
    assert_eq!(FORMAT_VERSION, 2);
}

#[test]
fn singletons_are_one_byte() {
    assert_eq!(written(|w| w.none()), [1]);
    assert_eq!(written(|w| w.bool(false)), [2]);
    assert_eq!(written(|w| w.bool(true)), [3]);
    assert_eq!(written(|w| w.ellipsis()), [4]);
    assert_eq!(written(|w| w.not_implemented()), [5]);
}

#[test]
fn ints_take_the_fewest_bytes_that_hold_them() {
    assert_eq!(written(|w| w.int(0)), [6, 0]);
    assert_eq!(written(|w| w.int(-128)), [6, 0x80]);
    assert_eq!(written(|w| w.int(128)), [7, 0x80, 0]);
    assert_eq!(written(|w| w.int(-32_769)), [8, 0xFF, 0x7F, 0xFF, 0xFF]);
    assert_eq!(written(|w| w.int(1 << 31)), [9, 0, 0, 0, 0x80, 0, 0, 0, 0]);
    assert_eq!(written(|w| w.int(i64::MIN)), [9, 0, 0, 0, 0, 0, 0, 0, 0x80]);
    let big = written(|w| {
        assert!(w.big_int(3, |place| {
            place.copy_from_slice(&[1, 2, 3]);
            true
        }));
    });
    assert_eq!(big, [10, 3, 1, 2, 3]);
}

#[test]
fn floats_are_little_endian_ieee() {
    assert_eq!(
        written(|w| w.float(1.0)),
        [11, 0, 0, 0, 0, 0, 0, 0xF0, 0x3F]
    );
    assert_eq!(
        written(|w| w.complex(1.0, -0.0)),
        [12, 0, 0, 0, 0, 0, 0, 0xF0, 0x3F, 0, 0, 0, 0, 0, 0, 0, 0x80]
    );
}

#[test]
fn text_is_tagged_by_its_width() {
    let text =
        |width, data: &[u8]| written(|w| w.text(Text::new(width, data).expect("it is canonical")));
    assert_eq!(text(Width::Ascii, b""), [13, 0]);
    assert_eq!(text(Width::Ascii, b"ab"), [13, 2, b'a', b'b']);
    assert_eq!(text(Width::Latin1, &[0xE9]), [14, 1, 0xE9]);
    assert_eq!(text(Width::Two, &[0x00, 0xD8]), [15, 1, 0x00, 0xD8]);
    assert_eq!(
        text(Width::Four, &[0x00, 0xF6, 0x01, 0x00]),
        [16, 1, 0x00, 0xF6, 0x01, 0x00]
    );
}

#[test]
fn data_and_containers_are_counted() {
    assert_eq!(written(|w| w.bytes(&[9])), [17, 1, 9]);
    assert_eq!(written(|w| w.bytearray(&[9])), [18, 1, 9]);
    assert_eq!(written(|w| w.list(200)), [19, 0xC8, 0x01]);
    assert_eq!(written(|w| w.tuple(2)), [20, 2]);
    assert_eq!(written(|w| w.dict(2)), [21, 2]);
    assert_eq!(written(|w| w.set(2)), [22, 2]);
    assert_eq!(written(|w| w.frozenset(2)), [23, 2]);
    assert_eq!(written(|w| w.range()), [24]);
    assert_eq!(written(|w| w.slice()), [25]);
    assert_eq!(written(|w| w.end(1)), [26, 1]);
}

#[test]
fn a_reference_names_a_position_and_marks_it() {
    let cycle = written(|w| {
        w.list(1);
        w.reference(Position::ROOT);
    });
    assert_eq!(cycle, [0x80 | 19, 1, 27, 0]);
}

#[test]
fn keys_are_text_and_repeated_keys_are_numbers() {
    assert_eq!(written(|w| w.key(b"id")), [28, 2, b'i', b'd']);
    assert_eq!(
        written(|w| w.key(b"fifteen letters")),
        *b"\x1c\x0ffifteen letters"
    );
    assert_eq!(written(|w| w.repeated_key(0)), [29, 0]);
    assert_eq!(written(|w| w.repeated_key(200)), [29, 0xC8, 0x01]);
}

#[test]
fn names_are_two_texts_in_utf8() {
    assert_eq!(
        written(|w| w.named("m", "C.é")),
        [30, 1, b'm', 4, b'C', b'.', 0xC3, 0xA9]
    );
}

#[test]
fn instances_say_their_class_and_their_counts() {
    assert_eq!(written(|w| w.new_instance(2, 1)), [32, 2, 1]);
    assert_eq!(written(|w| w.instance(0, 2, 1)), [31, 0, 2, 1]);
    assert_eq!(written(|w| w.instance(1, 200, 0)), [31, 1, 0xC8, 0x01, 0]);
}

#[test]
fn reduced_objects_say_their_parts() {
    assert_eq!(written(|w| w.reduced(Parts::STATE)), [33, 8]);
    let changed = written(|w| {
        w.reduced(Parts::STATE);
        w.change_parts(Position::ROOT, Parts::REPLACED);
    });
    assert_eq!(changed, [33, 32]);
}

#[test]
fn buffers_say_their_index_and_whether_they_may_be_written_to() {
    assert_eq!(written(|w| w.buffer(3, true)), [34, 7]);
    assert_eq!(written(|w| w.buffer(3, false)), [34, 6]);
}
