//! From capsules to a description and memory.

use std::ffi::{CStr, c_char};

use atoll_core::client::Region;
use atoll_py::module::Module;
use atoll_py::types::Tuple;
use atoll_py::{Arguments, Attached, Borrowed, Owned, Raised, Result, Signature};

use super::description::Description;
use super::layout::Layout;
use super::{ARRAY, Array, Guard, SCHEMA, STREAM, Schema, Stream};
use crate::clone::memory::Memory;
use crate::module::State;

/// Each buffer starts at such a border, as the interface recommends.
const ALIGNMENT: usize = 64;

/// How deep types may be nested.
const DEPTH_LIMIT: usize = 100;

pub(crate) const EXPORT_DOC: &CStr = c"arrow_export($module, stream_or_schema, array=None)\n--\n\n\
Copy what is in capsules of Arrow's: (description, memory), or None for a type whose layout is not known.";

/// `arrow_export(stream_or_schema, array=None)`.
pub(crate) fn export<'py>(
    module: Module<'_, 'py, State>,
    arguments: Arguments<'_, 'py>,
) -> Result<Owned<'py>> {
    const SIGNATURE: Signature<2> = Signature {
        function: "arrow_export",
        parameters: ["stream_or_schema", "array"],
        required: 1,
        positional: 2,
    };
    let (py, state) = (module.py(), module.state()?);
    let [first, second] = arguments.parse(py, &SIGNATURE)?;
    let first = first.unwrap_or(py.none());
    let (schema, arrays) = match second {
        None => stream(py, first)?,
        Some(second) => {
            let wrong = || py.raise_type_error("cannot export (no capsules of an Arrow array)");
            let schema = first.capsule_pointer(SCHEMA).ok_or_else(wrong)?;
            let array = second.capsule_pointer(ARRAY).ok_or_else(wrong)?;
            // SAFETY: A1: structures of these types, which their capsules keep. They are moved out: marked as released there.
            let moved = unsafe {
                let (schema, array) = (schema.cast::<Schema>(), array.cast::<Array>());
                let moved = (
                    Guard(Box::new(schema.read())),
                    Guard(Box::new(array.read())),
                );
                (*schema.as_ptr()).release = None;
                (*array.as_ptr()).release = None;
                moved
            };
            if moved.0.0.release.is_none() || moved.1.0.release.is_none() {
                return Err(used_before(py));
            }
            (moved.0, vec![moved.1])
        }
    };
    let mut copier = Copier {
        description: Description::default(),
        pieces: Vec::new(),
        size: 0,
    };
    if copier.everything(&schema, &arrays).is_none() {
        return Ok(py.none().to_owned());
    }
    let Some(region) = copier.copied() else {
        return Err(
            py.raise_memory_error("cannot clone (no memory for the buffers of an Arrow table)")
        );
    };
    // The copy is made: the library may have its own memory back.
    drop((arrays, schema));
    let memory = state.memory.make(py, Memory::new(region, true))?;
    let description = py.bytes(copier.description.bytes())?;
    Tuple::create(py, &[description.borrow(), memory.borrow()])
}

/// The schema and all arrays of a stream.
fn stream(
    py: Attached<'_>,
    capsule: Borrowed<'_, '_>,
) -> Result<(Guard<Schema>, Vec<Guard<Array>>)> {
    let Some(pointer) = capsule.capsule_pointer(STREAM) else {
        return Err(py.raise_type_error("cannot export (no capsule of an Arrow stream)"));
    };
    let stream = pointer.cast::<Stream>().as_ptr();
    // SAFETY: A1: a structure of this type, which its capsule keeps.
    let (release, calls) = unsafe {
        (
            (*stream).release,
            ((*stream).get_schema, (*stream).get_next),
        )
    };
    let (Some(_), (Some(get_schema), Some(get_next))) = (release, calls) else {
        return Err(used_before(py));
    };
    let mut schema = Guard::<Schema>::empty();
    // SAFETY: a stream that was not released, and room for its schema.
    if unsafe { get_schema(stream, &raw mut *schema.0) } != 0 {
        return Err(failed(py, stream));
    }
    let mut arrays = Vec::new();
    loop {
        let mut array = Guard::<Array>::empty();
        // SAFETY: as above, and room for an array.
        if unsafe { get_next(stream, &raw mut *array.0) } != 0 {
            return Err(failed(py, stream));
        }
        if array.0.release.is_none() {
            return Ok((schema, arrays));
        }
        arrays.push(array);
    }
}

fn used_before(py: Attached<'_>) -> Raised {
    py.raise_type_error("cannot export (what is in the capsule was used before)")
}

fn failed(py: Attached<'_>, stream: *mut Stream) -> Raised {
    // SAFETY: a stream of which a call just failed: it has a text about that, or none.
    let text = unsafe {
        (*stream)
            .get_last_error
            .map_or(std::ptr::null(), |last_error| last_error(stream))
    };
    let why = if text.is_null() {
        "it does not say why".into()
    } else {
        // SAFETY: a text that ends with a zero and lives until the stream's next call.
        unsafe { CStr::from_ptr(text) }.to_string_lossy()
    };
    py.raise_value_error(&format!("cannot export an Arrow stream ({why})"))
}

/// Describes arrays and notes what is to be copied.
struct Copier {
    description: Description,
    pieces: Vec<Piece>,
    size: usize,
}

/// A part of a buffer that goes to `at`.
struct Piece {
    at: usize,
    data: *const u8,
    size: usize,
    /// For offsets: how wide they are, and what is to be subtracted from each.
    rebased: Option<(usize, i64)>,
}

impl Copier {
    /// The schema, and each array: how many there are stands between them.
    fn everything(&mut self, schema: &Guard<Schema>, arrays: &[Guard<Array>]) -> Option<()> {
        let mut inner = std::mem::take(&mut self.description);
        // SAFETY: A1.
        unsafe { self.schema(&schema.0, 0) }?;
        std::mem::swap(&mut inner, &mut self.description);
        self.description.data(inner.bytes());
        self.description.count(arrays.len());
        for array in arrays {
            // SAFETY: A1.
            unsafe { self.array(&array.0, &schema.0, 0, array.0.length) }?;
        }
        Some(())
    }

    /// # Safety
    /// A1.
    unsafe fn schema(&mut self, schema: &Schema, depth: usize) -> Option<()> {
        if depth > DEPTH_LIMIT {
            return None;
        }
        // SAFETY: A1: a text.
        let format = unsafe { CStr::from_ptr(schema.format) };
        Layout::of(format.to_str().ok()?)?;
        self.description.data(format.to_bytes());
        // SAFETY: A1: a text, or none.
        let name = (!schema.name.is_null()).then(|| unsafe { CStr::from_ptr(schema.name) });
        self.description.data(name.unwrap_or_default().to_bytes());
        // SAFETY: A1: metadata, or none.
        self.description.data(unsafe { metadata(schema.metadata) });
        self.description.number(schema.flags);
        self.description.number(schema.n_children);
        for index in 0..usize::try_from(schema.n_children).ok()? {
            // SAFETY: A1: so many children.
            unsafe { self.schema(&**schema.children.add(index), depth + 1) }?;
        }
        self.description
            .number((!schema.dictionary.is_null()).into());
        // SAFETY: A1: a schema, or none.
        match unsafe { schema.dictionary.as_ref() } {
            // SAFETY: A1.
            Some(dictionary) => unsafe { self.schema(dictionary, depth + 1) },
            None => Some(()),
        }
    }

    /// `count` rows of an array from its row `first` on.
    ///
    /// # Safety
    /// A1, and that it has those rows.
    unsafe fn array(
        &mut self,
        array: &Array,
        schema: &Schema,
        first: i64,
        count: i64,
    ) -> Option<()> {
        // SAFETY: A1: a text.
        let layout = Layout::of(unsafe { CStr::from_ptr(schema.format) }.to_str().ok()?)?;
        let from = usize::try_from(array.offset + first).ok()?;
        let count = usize::try_from(count).ok()?;
        // Bits are copied by whole bytes, so up to seven rows before the first one come along. Runs are not cut.
        let lead = match layout {
            Layout::Runs => from,
            _ if count == 0 => 0,
            _ => from % 8,
        };
        let (start, rows) = (from - lead, lead + count);
        // SAFETY: A1.
        let Rows { buffers, nulls } = unsafe { self.head(array, layout, count, lead) }?;
        let at = |index: usize| -> Option<*const u8> { buffers.get(index).copied() };
        let mut children: Option<(usize, usize)> = None;
        self.description.count(match layout {
            Layout::Null | Layout::Runs => 0,
            Layout::Views => buffers.len(),
            Layout::Struct | Layout::FixedList(_) | Layout::SparseUnion => 1,
            Layout::Bits | Layout::Fixed(_) | Layout::List(_) | Layout::DenseUnion => 2,
            Layout::Bytes(_) | Layout::ListView(_) => 3,
        });
        if layout.has_validity() {
            let validity = if nulls { at(0)? } else { std::ptr::null() };
            self.piece(validity, start / 8, rows.div_ceil(8));
        }
        match layout {
            Layout::Null => {}
            Layout::Bits => self.piece(at(1)?, start / 8, rows.div_ceil(8)),
            Layout::Fixed(width) => self.piece(at(1)?, start * width, rows * width),
            Layout::Bytes(width) => {
                // SAFETY: A1: one offset more than rows.
                let (base, end) = unsafe { self.offsets(at(1)?, width, start, rows)? };
                self.piece(at(2)?, base, end - base);
            }
            Layout::Views => {
                self.piece(at(1)?, start * 16, rows * 16);
                let (sizes, data) = buffers.get(2..)?.split_last()?;
                for (index, data) in data.iter().enumerate() {
                    // SAFETY: A1: the last buffer has the size of each of those before it.
                    let size = unsafe { sizes.cast::<i64>().add(index).read_unaligned() };
                    self.piece(*data, 0, usize::try_from(size).ok()?);
                }
                self.piece(*sizes, 0, data.len() * size_of::<i64>());
            }
            Layout::List(width) => {
                // SAFETY: A1: one offset more than rows.
                let (base, end) = unsafe { self.offsets(at(1)?, width, start, rows)? };
                children = Some((base, end - base));
            }
            Layout::ListView(width) => {
                self.piece(at(1)?, start * width, rows * width);
                self.piece(at(2)?, start * width, rows * width);
            }
            Layout::FixedList(each) => children = Some((start * each, rows * each)),
            Layout::Struct => children = Some((start, rows)),
            Layout::SparseUnion => {
                self.piece(at(0)?, start, rows);
                children = Some((start, rows));
            }
            Layout::DenseUnion => {
                self.piece(at(0)?, start, rows);
                self.piece(at(1)?, start * 4, rows * 4);
            }
            Layout::Runs => {}
        }
        self.description.number(array.n_children);
        for index in 0..usize::try_from(array.n_children).ok()? {
            // SAFETY: A1: so many children, in the array and in its schema.
            let (child, schema) =
                unsafe { (&**array.children.add(index), &**schema.children.add(index)) };
            let (first, count) = match children {
                Some((first, count)) => (i64::try_from(first).ok()?, i64::try_from(count).ok()?),
                None => (0, child.length),
            };
            // SAFETY: A1: the rows of the parent have those of its children.
            unsafe { self.array(child, schema, first, count) }?;
        }
        // SAFETY: A1: a dictionary where its schema has one.
        match unsafe { (array.dictionary.as_ref(), schema.dictionary.as_ref()) } {
            // SAFETY: A1.
            (Some(array), Some(schema)) => unsafe { self.array(array, schema, 0, array.length) },
            _ => Some(()),
        }
    }

    /// Describes how many rows, nulls and rows before the first there are; gives what the buffers are.
    ///
    /// # Safety
    /// A1.
    unsafe fn head<'a>(
        &mut self,
        array: &'a Array,
        layout: Layout,
        count: usize,
        lead: usize,
    ) -> Option<Rows<'a>> {
        let buffers = match usize::try_from(array.n_buffers).ok()? {
            0 => &[],
            // SAFETY: A1: so many buffers.
            n => unsafe { std::slice::from_raw_parts(array.buffers.cast::<*const u8>(), n) },
        };
        let nulls = layout.has_validity() && !buffers.first()?.is_null() && array.null_count != 0;
        let null_count = match layout {
            Layout::Null => i64::try_from(count).ok()?,
            _ if !nulls => 0,
            _ if i64::try_from(count) == Ok(array.length) => array.null_count,
            _ => -1,
        };
        self.description.count(count);
        self.description.number(null_count);
        self.description.count(lead);
        Some(Rows { buffers, nulls })
    }

    /// Offsets of `rows` rows, which will begin with zero; the first and the last of them.
    ///
    /// # Safety
    /// So many offsets of that width, and one more, are there, or `data` is null (an array without rows may have none).
    unsafe fn offsets(
        &mut self,
        data: *const u8,
        width: usize,
        start: usize,
        rows: usize,
    ) -> Option<(usize, usize)> {
        if data.is_null() {
            self.piece(data, 0, 0);
            return (rows == 0).then_some((0, 0));
        }
        let read = |index: usize| -> i64 {
            // SAFETY: `start + rows` is the last one, by the caller.
            unsafe {
                match width {
                    4 => data.cast::<i32>().add(index).read_unaligned().into(),
                    _ => data.cast::<i64>().add(index).read_unaligned(),
                }
            }
        };
        let (base, end) = (read(start), read(start + rows));
        self.piece(data, start * width, (rows + 1) * width);
        self.pieces.last_mut()?.rebased = Some((width, base));
        let (base, end) = (usize::try_from(base).ok()?, usize::try_from(end).ok()?);
        (base <= end).then_some((base, end))
    }

    /// Describes a buffer, and notes that this part of `data` is to be copied for it. None is described as such.
    fn piece(&mut self, data: *const u8, skipped: usize, size: usize) {
        if data.is_null() {
            self.description.number(-1);
            return;
        }
        let at = self.size.next_multiple_of(ALIGNMENT);
        self.description.count(at);
        self.description.count(size);
        self.size = at + size;
        self.pieces.push(Piece {
            at,
            data: data.wrapping_add(skipped),
            size,
            rebased: None,
        });
    }

    /// A region with all the pieces; `None` where there is no memory.
    fn copied(&self) -> Option<Region> {
        let region = Region::zeroed(self.size)?;
        let start = region.as_mut_ptr();
        for piece in &self.pieces {
            // SAFETY: the region has `size` bytes, and the piece lies in it, by `piece`.
            let target = unsafe { start.add(piece.at) };
            // SAFETY: A1: the buffer has those bytes; the region is nobody else's yet.
            unsafe {
                match piece.rebased {
                    None | Some((_, 0)) => target.copy_from_nonoverlapping(piece.data, piece.size),
                    Some((4, base)) => rebase(
                        piece.data.cast(),
                        target.cast(),
                        piece.size / 4,
                        base as i32,
                    ),
                    Some((_, base)) => {
                        rebase(piece.data.cast(), target.cast(), piece.size / 8, base)
                    }
                }
            }
        }
        Some(region)
    }
}

/// What an array's rows are made of.
struct Rows<'a> {
    buffers: &'a [*const u8],
    /// Whether some of them may be null.
    nulls: bool,
}

/// Copies numbers, less `base`.
///
/// # Safety
/// So many are there at *source*, and room for them at *target*.
unsafe fn rebase<T: Copy + std::ops::Sub<Output = T>>(
    source: *const T,
    target: *mut T,
    count: usize,
    base: T,
) {
    for index in 0..count {
        // SAFETY: by the caller.
        unsafe {
            let offset = source.add(index).read_unaligned();
            target.add(index).write_unaligned(offset - base);
        }
    }
}

/// Metadata with its length: a count of pairs, then the length of each part before it.
///
/// # Safety
/// A1; null for none.
unsafe fn metadata<'a>(metadata: *const c_char) -> &'a [u8] {
    if metadata.is_null() {
        return &[];
    }
    // SAFETY: A1: a number.
    let number = |at: usize| unsafe { metadata.add(at).cast::<i32>().read_unaligned() };
    let mut len = size_of::<i32>();
    for _ in 0..number(0).max(0).saturating_mul(2) {
        len += size_of::<i32>() + usize::try_from(number(len)).unwrap_or(0);
    }
    // SAFETY: A1: so many bytes, as its own numbers say.
    unsafe { std::slice::from_raw_parts(metadata.cast(), len) }
}
