//! Which buffers an array of a type has, by the type's format string.

/// How the values of a type lie in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    /// No buffers.
    Null,
    /// Validity, values of one bit.
    Bits,
    /// Validity, values of so many bytes.
    Fixed(usize),
    /// Validity, offsets of so many bytes, data.
    Bytes(usize),
    /// Validity, views of 16 bytes, any number of data buffers, their sizes.
    Views,
    /// Validity, offsets of so many bytes; a child.
    List(usize),
    /// Validity, offsets and sizes of so many bytes; a child whose order is free.
    ListView(usize),
    /// Validity; a child with so many values for each.
    FixedList(usize),
    /// Validity; children as long as itself.
    Struct,
    /// Numbers of types; children as long as itself.
    SparseUnion,
    /// Numbers of types, offsets; children of any length.
    DenseUnion,
    /// No buffers; where runs end, and their values.
    Runs,
}

impl Layout {
    /// The layout of a format that is known.
    pub(super) fn of(format: &str) -> Option<Layout> {
        let (kind, parameters) = match format.split_once(':') {
            Some((kind, parameters)) => (kind, parameters),
            None => (format, ""),
        };
        Some(match kind {
            "n" => Layout::Null,
            "b" => Layout::Bits,
            "c" | "C" => Layout::Fixed(1),
            "s" | "S" | "e" => Layout::Fixed(2),
            "i" | "I" | "f" | "tdD" | "tts" | "ttm" | "tiM" => Layout::Fixed(4),
            "l" | "L" | "g" | "tdm" | "ttu" | "ttn" | "tiD" => Layout::Fixed(8),
            "tss" | "tsm" | "tsu" | "tsn" | "tDs" | "tDm" | "tDu" | "tDn" => Layout::Fixed(8),
            "tin" => Layout::Fixed(16),
            "d" => Layout::Fixed(decimal_bits(parameters)? / 8),
            "w" => Layout::Fixed(parameters.parse().ok()?),
            "z" | "u" => Layout::Bytes(4),
            "Z" | "U" => Layout::Bytes(8),
            "vz" | "vu" => Layout::Views,
            "+l" | "+m" => Layout::List(4),
            "+L" => Layout::List(8),
            "+vl" => Layout::ListView(4),
            "+vL" => Layout::ListView(8),
            "+w" => Layout::FixedList(parameters.parse().ok()?),
            "+s" => Layout::Struct,
            "+us" => Layout::SparseUnion,
            "+ud" => Layout::DenseUnion,
            "+r" => Layout::Runs,
            _ => return None,
        })
    }

    /// Whether the first buffer says which values are there.
    pub(super) fn has_validity(self) -> bool {
        !matches!(
            self,
            Layout::Null | Layout::SparseUnion | Layout::DenseUnion | Layout::Runs
        )
    }
}

/// `precision,scale` is of 128 bits; `precision,scale,bits` of so many.
fn decimal_bits(parameters: &str) -> Option<usize> {
    match parameters.split(',').nth(2) {
        None => Some(128),
        Some(bits) => bits.parse().ok().filter(|bits| bits % 8 == 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_of_the_interface_are_known() {
        for (format, layout) in [
            ("n", Layout::Null),
            ("b", Layout::Bits),
            ("g", Layout::Fixed(8)),
            ("tsu:Europe/Berlin", Layout::Fixed(8)),
            ("tsn:", Layout::Fixed(8)),
            ("d:10,2", Layout::Fixed(16)),
            ("d:40,2,256", Layout::Fixed(32)),
            ("w:7", Layout::Fixed(7)),
            ("U", Layout::Bytes(8)),
            ("vu", Layout::Views),
            ("+w:3", Layout::FixedList(3)),
            ("+ud:0,1", Layout::DenseUnion),
        ] {
            assert_eq!(Layout::of(format), Some(layout), "{format}");
        }
    }

    #[test]
    fn others_are_not() {
        for format in ["", "x", "w:", "w:a", "d:1,2,x", "+", "+x", "_pli128"] {
            assert_eq!(Layout::of(format), None, "{format}");
        }
    }
}
