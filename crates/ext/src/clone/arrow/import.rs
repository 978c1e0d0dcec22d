//! From a description and memory to capsules.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::ptr::{NonNull, null, null_mut};

use atoll_core::client::Region;
use atoll_py::module::Module;
use atoll_py::types::{Exact, Tuple};
use atoll_py::{Arguments, Attached, Owned, Result, Signature};

use super::description::Described;
use super::{ARRAY, Array, Guard, Released, SCHEMA, STREAM, Schema, Stream};
use crate::module::State;

pub(crate) const IMPORT_DOC: &CStr = c"arrow_import($module, description, memory, stream)\n--\n\n\
Make capsules of what arrow_export() gave: of a stream, or of a schema and its one array.";

/// `arrow_import(description, memory, stream)`.
pub(crate) fn import<'py>(
    module: Module<'_, 'py, State>,
    arguments: Arguments<'_, 'py>,
) -> Result<Owned<'py>> {
    const SIGNATURE: Signature<3> = Signature {
        function: "arrow_import",
        parameters: ["description", "memory", "stream"],
        required: 3,
        positional: 3,
    };
    let (py, state) = (module.py(), module.state()?);
    let [description, memory, stream] = arguments.parse(py, &SIGNATURE)?;
    let wrong = || py.raise_type_error("cannot import (not what arrow_export() gave)");
    let description = match description.map(Exact::of) {
        Some(Exact::Bytes(bytes)) => bytes.data().to_vec(),
        _ => return Err(wrong()),
    };
    let memory = memory.and_then(|memory| state.memory.body_of(memory)?.shared());
    let source = Source::new(description, memory.ok_or_else(wrong)?).ok_or_else(wrong)?;
    if stream.unwrap_or(py.none()).is_true()? {
        let stream = Guard(Box::new(Stream {
            get_schema: Some(get_schema),
            get_next: Some(get_next),
            get_last_error: Some(get_last_error),
            release: Some(release_stream),
            private_data: Box::into_raw(Box::new(source)).cast(),
        }));
        return capsule(py, STREAM, stream);
    }
    let mut source = source;
    let (schema, array) = (source.schema(), source.next());
    let (Some(schema), Some(Some(array))) = (schema, array) else {
        return Err(wrong());
    };
    let (schema, array) = (Guard(Box::new(schema)), Guard(Box::new(array)));
    let both: [Owned<'py>; 2] = [capsule(py, SCHEMA, schema)?, capsule(py, ARRAY, array)?];
    Tuple::create(py, &both.each_ref().map(Owned::borrow))
}

fn capsule<'py, T: Released + 'static>(
    py: Attached<'py>,
    name: &'static CStr,
    guard: Guard<T>,
) -> Result<Owned<'py>> {
    py.capsule(name, NonNull::from(&*guard.0).cast(), guard)
}

/// Where the schema and the arrays of a stream come from.
struct Source {
    description: Vec<u8>,
    /// Where in it the schema is, and where the next array.
    schema: std::ops::Range<usize>,
    position: usize,
    /// How many arrays are left.
    left: usize,
    region: Region,
}

impl Source {
    fn new(description: Vec<u8>, region: Region) -> Option<Source> {
        let mut described = Described(&description);
        let len = described.data()?.len();
        let end = description.len() - described.0.len();
        let left = described.count()?;
        let position = description.len() - described.0.len();
        Some(Source {
            schema: end - len..end,
            position,
            left,
            region,
            description,
        })
    }

    fn schema(&self) -> Option<Schema> {
        schema(&mut Described(&self.description[self.schema.clone()]))
    }

    /// The next array, or nothing at the end; `None` where the description is not one.
    fn next(&mut self) -> Option<Option<Array>> {
        let Some(left) = self.left.checked_sub(1) else {
            return Some(None);
        };
        let mut formats = Described(&self.description[self.schema.clone()]);
        let mut described = Described(&self.description[self.position..]);
        let made = array(&mut described, &mut formats, &self.region)?;
        self.position = self.description.len() - described.0.len();
        self.left = left;
        Some(Some(made))
    }
}

/// What a schema owns.
struct SchemaParts {
    _texts: [CString; 2],
    _metadata: Vec<u8>,
    children: Vec<*mut Schema>,
}

fn schema(described: &mut Described<'_>) -> Option<Schema> {
    let format = CString::new(described.data()?).ok()?;
    let name = CString::new(described.data()?).ok()?;
    let metadata = described.data()?.to_vec();
    let flags = described.number()?;
    let mut made: Vec<Guard<Schema>> = Vec::new();
    for _ in 0..described.count()? {
        made.push(Guard(Box::new(schema(described)?)));
    }
    let dictionary = match described.number()? {
        0 => None,
        _ => Some(Guard(Box::new(schema(described)?))),
    };
    let mut parts = Box::new(SchemaParts {
        children: made.into_iter().map(Guard::into_raw).collect(),
        _texts: [format, name],
        _metadata: metadata,
    });
    let [format, name] = parts._texts.each_ref().map(|text| text.as_ptr());
    Some(Schema {
        format,
        name,
        metadata: match &parts._metadata[..] {
            [] => null(),
            metadata => metadata.as_ptr().cast(),
        },
        flags,
        n_children: parts.children.len().try_into().ok()?,
        children: parts.children.as_mut_ptr(),
        dictionary: dictionary.map_or(null_mut(), Guard::into_raw),
        release: Some(release_schema),
        private_data: Box::into_raw(parts).cast(),
    })
}

/// What an array owns.
struct ArrayParts {
    buffers: Vec<*const c_void>,
    children: Vec<*mut Array>,
    _region: Region,
}

fn array(
    described: &mut Described<'_>,
    formats: &mut Described<'_>,
    region: &Region,
) -> Option<Array> {
    let (_format, _name, _metadata) = (formats.data()?, formats.data()?, formats.data()?);
    let (_flags, types) = (formats.number()?, formats.count()?);
    let length = described.number()?;
    let null_count = described.number()?;
    let offset = described.number()?;
    let mut buffers = Vec::new();
    for _ in 0..described.count()? {
        buffers.push(match described.number()? {
            -1 => null(),
            at => {
                let (at, size) = (usize::try_from(at).ok()?, described.count()?);
                if at.checked_add(size)? > region.len() {
                    return None;
                }
                region.bytes().as_ptr().wrapping_add(at).cast::<c_void>()
            }
        });
    }
    let mut made: Vec<Guard<Array>> = Vec::new();
    let children = described.count()?;
    if children != types {
        return None;
    }
    for _ in 0..children {
        made.push(Guard(Box::new(array(described, formats, region)?)));
    }
    let dictionary = match formats.number()? {
        0 => None,
        _ => Some(Guard(Box::new(array(described, formats, region)?))),
    };
    let mut parts = Box::new(ArrayParts {
        buffers,
        children: made.into_iter().map(Guard::into_raw).collect(),
        _region: region.clone(),
    });
    Some(Array {
        length,
        null_count,
        offset,
        n_buffers: parts.buffers.len().try_into().ok()?,
        n_children: parts.children.len().try_into().ok()?,
        buffers: parts.buffers.as_mut_ptr(),
        children: parts.children.as_mut_ptr(),
        dictionary: dictionary.map_or(null_mut(), Guard::into_raw),
        release: Some(release_array),
        private_data: Box::into_raw(parts).cast(),
    })
}

impl<T: Released> Guard<T> {
    /// The structure on the heap, to be taken back by [`release_part`].
    fn into_raw(self) -> *mut T {
        let guard = std::mem::ManuallyDrop::new(self);
        // SAFETY: read once, as the guard is not dropped.
        Box::into_raw(unsafe { std::ptr::read(&raw const guard.0) })
    }
}

/// Releases a child or dictionary, unless its user took it over, and frees its structure.
///
/// # Safety
/// *part* is null or came from `Guard::into_raw`, and is not used afterwards.
unsafe fn release_part<T: Released>(part: *mut T) {
    if !part.is_null() {
        // SAFETY: by the caller.
        drop(Guard(unsafe { Box::from_raw(part) }));
    }
}

/// # Safety
/// As the interface says: *schema* was made by `schema` and is released once.
unsafe extern "C" fn release_schema(schema: *mut Schema) {
    // SAFETY: by the caller; the parts were made by Box in `schema`.
    unsafe {
        let parts = Box::from_raw((*schema).private_data.cast::<SchemaParts>());
        for &child in &parts.children {
            release_part(child);
        }
        release_part((*schema).dictionary);
        (*schema).release = None;
    }
}

/// # Safety
/// As the interface says: *array* was made by `array` and is released once.
unsafe extern "C" fn release_array(array: *mut Array) {
    // SAFETY: by the caller; the parts were made by Box in `array`.
    unsafe {
        let parts = Box::from_raw((*array).private_data.cast::<ArrayParts>());
        for &child in &parts.children {
            release_part(child);
        }
        release_part((*array).dictionary);
        (*array).release = None;
    }
}

/// # Safety
/// As the interface says: *stream* was made by `import` and is released once.
unsafe extern "C" fn release_stream(stream: *mut Stream) {
    // SAFETY: by the caller; the source was made by Box there.
    unsafe {
        drop(Box::from_raw((*stream).private_data.cast::<Source>()));
        (*stream).release = None;
    }
}

/// # Safety
/// As the interface says: *stream* was made by `import` and not released; *out* has room.
unsafe extern "C" fn get_schema(stream: *mut Stream, out: *mut Schema) -> c_int {
    // SAFETY: by the caller.
    let source = unsafe { &*(*stream).private_data.cast::<Source>() };
    // SAFETY: by the caller.
    unsafe { give(source.schema(), out) }
}

/// # Safety
/// As for [`get_schema`]; nobody else uses the stream meanwhile.
unsafe extern "C" fn get_next(stream: *mut Stream, out: *mut Array) -> c_int {
    // SAFETY: by the caller.
    let source = unsafe { &mut *(*stream).private_data.cast::<Source>() };
    let next = source.next().map(|array| array.unwrap_or(Array::EMPTY));
    // SAFETY: by the caller.
    unsafe { give(next, out) }
}

/// # Safety
/// *out* has room.
unsafe fn give<T>(made: Option<T>, out: *mut T) -> c_int {
    /// EINVAL: the interface wants an errno.
    const INVALID: c_int = 22;
    match made {
        Some(made) => {
            // SAFETY: by the caller.
            unsafe { out.write(made) };
            0
        }
        None => INVALID,
    }
}

unsafe extern "C" fn get_last_error(_stream: *mut Stream) -> *const c_char {
    c"the description of an Arrow table is not what was sent".as_ptr()
}
