//! A tree of the values that the format knows, and the plainest walkers that write and read it.

use atoll_codec::{Corrupt, Parts, Position, Reader, Reason, Text, Token, Width, Writer};

/// A value, with text as characters (lone surrogates included) and references as the count of the shared value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    None,
    Bool(bool),
    Ellipsis,
    NotImplemented,
    Int(i64),
    BigInt(Vec<u8>),
    /// By its bits, so that NaN equals itself.
    Float(u64),
    Complex(u64, u64),
    Text(Vec<u32>),
    Bytes(Vec<u8>),
    ByteArray(Vec<u8>),
    List(Vec<Value>),
    Tuple(Vec<Value>),
    Dict(Vec<(Value, Value)>),
    Set(Vec<Value>),
    FrozenSet(Vec<Value>),
    Range(Vec<Value>),
    Slice(Vec<Value>),
    End(usize),
    /// The message's first item once more.
    Root,
    Key(String),
    RepeatedKey(usize),
    Named(String, String),
    /// The class, if it is the first of its instances, else its number; attributes; slots.
    Instance(
        Result<Box<Value>, usize>,
        Vec<(Value, Value)>,
        Vec<(Value, Value)>,
    ),
    /// As many children as its parts say.
    Reduced(Parts, Vec<Value>),
    Buffer(usize, bool),
}

fn narrowest(characters: &[u32]) -> Width {
    match characters.iter().max().copied().unwrap_or(0) {
        0..0x80 => Width::Ascii,
        0x80..0x100 => Width::Latin1,
        0x100..0x1_0000 => Width::Two,
        _ => Width::Four,
    }
}

fn write_text(writer: &mut Writer, characters: &[u32]) {
    let width = narrowest(characters);
    let size = width.bytes_per_character();
    let data: Vec<u8> = characters
        .iter()
        .flat_map(|c| c.to_le_bytes().into_iter().take(size))
        .collect();
    writer.text(Text::new(width, &data).expect("the narrowest width is canonical"));
}

pub(crate) fn write(writer: &mut Writer, value: &Value) {
    match value {
        Value::None => writer.none(),
        Value::Bool(value) => writer.bool(*value),
        Value::Ellipsis => writer.ellipsis(),
        Value::NotImplemented => writer.not_implemented(),
        Value::Int(value) => writer.int(*value),
        Value::BigInt(digits) => {
            let written = writer.big_int(digits.len(), |place| {
                place.copy_from_slice(digits);
                true
            });
            assert!(written);
        }
        Value::Float(bits) => writer.float(f64::from_bits(*bits)),
        Value::Complex(real, imaginary) => {
            writer.complex(f64::from_bits(*real), f64::from_bits(*imaginary))
        }
        Value::Text(characters) => write_text(writer, characters),
        Value::Bytes(data) => writer.bytes(data),
        Value::ByteArray(data) => writer.bytearray(data),
        Value::List(items) => {
            writer.list(items.len());
            items.iter().for_each(|item| write(writer, item));
        }
        Value::Tuple(items) => {
            writer.tuple(items.len());
            items.iter().for_each(|item| write(writer, item));
        }
        Value::Dict(pairs) => {
            writer.dict(pairs.len());
            for (key, value) in pairs {
                write(writer, key);
                write(writer, value);
            }
        }
        Value::Set(items) => {
            writer.set(items.len());
            items.iter().for_each(|item| write(writer, item));
        }
        Value::FrozenSet(items) => {
            writer.frozenset(items.len());
            items.iter().for_each(|item| write(writer, item));
        }
        Value::Range(parts) => {
            writer.range();
            parts.iter().for_each(|part| write(writer, part));
        }
        Value::Slice(parts) => {
            writer.slice();
            parts.iter().for_each(|part| write(writer, part));
        }
        Value::End(index) => writer.end(*index),
        Value::Root => writer.reference(Position::ROOT),
        Value::Key(text) => writer.key(text.as_bytes()),
        Value::RepeatedKey(number) => writer.repeated_key(*number),
        Value::Named(module, qualname) => writer.named(module, qualname),
        Value::Instance(class, attributes, slots) => {
            match class {
                Ok(class) => {
                    writer.new_instance(attributes.len(), slots.len());
                    write(writer, class);
                }
                Err(number) => writer.instance(*number, attributes.len(), slots.len()),
            }
            for (name, value) in attributes.iter().chain(slots) {
                write(writer, name);
                write(writer, value);
            }
        }
        Value::Reduced(parts, children) => {
            writer.reduced(*parts);
            children.iter().for_each(|child| write(writer, child));
        }
        Value::Buffer(index, readonly) => writer.buffer(*index, *readonly),
    }
}

fn characters(text: Text<'_>) -> Vec<u32> {
    text.data()
        .chunks_exact(text.width().bytes_per_character())
        .map(|character| {
            character
                .iter()
                .rev()
                .fold(0, |value, byte| value << 8 | u32::from(*byte))
        })
        .collect()
}

fn many(reader: &mut Reader<'_>, count: usize, depth: usize) -> Result<Vec<Value>, Corrupt> {
    (0..count).map(|_| read_nested(reader, depth)).collect()
}

fn pairs(
    reader: &mut Reader<'_>,
    count: usize,
    depth: usize,
) -> Result<Vec<(Value, Value)>, Corrupt> {
    (0..count)
        .map(|_| Ok((read_nested(reader, depth)?, read_nested(reader, depth)?)))
        .collect()
}

fn read_nested(reader: &mut Reader<'_>, depth: usize) -> Result<Value, Corrupt> {
    let item = reader.next_item()?;
    let Some(depth) = depth.checked_sub(1) else {
        return Err(Corrupt {
            position: item.position.offset(),
            reason: Reason::Truncated,
        });
    };
    Ok(match item.token {
        Token::None => Value::None,
        Token::Bool(value) => Value::Bool(value),
        Token::Ellipsis => Value::Ellipsis,
        Token::NotImplemented => Value::NotImplemented,
        Token::Int(value) => Value::Int(value),
        Token::BigInt(digits) => Value::BigInt(digits.to_vec()),
        Token::Float(value) => Value::Float(value.to_bits()),
        Token::Complex(real, imaginary) => Value::Complex(real.to_bits(), imaginary.to_bits()),
        Token::Text(text) => Value::Text(characters(text)),
        Token::Bytes(data) => Value::Bytes(data.to_vec()),
        Token::ByteArray(data) => Value::ByteArray(data.to_vec()),
        Token::List(count) => Value::List(many(reader, count, depth)?),
        Token::Tuple(count) => Value::Tuple(many(reader, count, depth)?),
        Token::Dict(count) => Value::Dict(pairs(reader, count, depth)?),
        Token::Set(count) => Value::Set(many(reader, count, depth)?),
        Token::FrozenSet(count) => Value::FrozenSet(many(reader, count, depth)?),
        Token::Range => Value::Range(many(reader, 3, depth)?),
        Token::Slice => Value::Slice(many(reader, 3, depth)?),
        Token::End(index) => Value::End(index),
        Token::Reference(_) => Value::Root,
        Token::Key(text) => Value::Key(String::from_utf8_lossy(text.data()).into_owned()),
        Token::RepeatedKey(number) => Value::RepeatedKey(number),
        Token::Named(module, qualname) => Value::Named(module.to_owned(), qualname.to_owned()),
        Token::NewInstance(attributes) => Value::Instance(
            Ok(Box::new(read_nested(reader, depth)?)),
            pairs(reader, attributes.named, depth)?,
            pairs(reader, attributes.slots, depth)?,
        ),
        Token::Instance(class, attributes) => Value::Instance(
            Err(class),
            pairs(reader, attributes.named, depth)?,
            pairs(reader, attributes.slots, depth)?,
        ),
        Token::Reduced(parts) => Value::Reduced(parts, many(reader, parts.children(), depth)?),
        Token::Buffer { index, readonly } => Value::Buffer(index, readonly),
    })
}

/// Reads a whole message, nested at most a hundred deep.
pub(crate) fn read(bytes: &[u8]) -> Result<Value, Corrupt> {
    let mut reader = Reader::new(bytes);
    let value = read_nested(&mut reader, 100)?;
    reader.finish()?;
    Ok(value)
}
