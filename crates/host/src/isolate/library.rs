//! Whether a file is the shared library of a CPython, and of which: read from the file, without loading it.

use object::read::elf::{Dyn, ElfFile64, FileHeader, ProgramHeader};
use object::{
    Architecture, Endianness, Object, ObjectSegment, ObjectSymbol, ReadCache, ReadRef, elf,
};
use std::fs::File;
use std::path::{Path, PathBuf};

/// Every libpython exports these.
const EXPORTS: [&[u8]; 2] = [b"Py_InitializeFromConfig", b"PyImport_ImportModule"];
/// PY_VERSION_HEX, as data, since CPython 3.11.
const VERSION: &[u8] = b"Py_Version";
/// PIE executables and shared libraries are told apart by this flag only.
const PIE: u64 = 0x0800_0000;

/// A shared library that holds a CPython.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LibPython {
    path: PathBuf,
    version: (u8, u8),
    flags: String,
}

impl LibPython {
    /// Looks at a file.
    ///
    /// # Errors
    ///
    /// If it cannot be used as libpython here: why, and what to do.
    pub fn inspect(path: &Path) -> Result<Self, String> {
        look_at(path).map_err(|why| {
            format!(
                "cannot use {} as libpython ({why}); name the shared library of a CPython, such as \
                 /usr/lib/x86_64-linux-gnu/libpython3.13.so.1.0",
                path.display()
            )
        })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// X and Y of Python X.Y.
    pub fn version(&self) -> (u8, u8) {
        self.version
    }

    /// What follows X.Y in its name: `t` without the GIL, `d` with debugging checks, mostly nothing.
    pub fn flags(&self) -> &str {
        &self.flags
    }
}

fn look_at(path: &Path) -> Result<LibPython, String> {
    let file = File::open(path).map_err(|error| error.to_string())?;
    let cache = ReadCache::new(file);
    let library = ElfFile64::<Endianness, _>::parse(&cache)
        .map_err(|_| "it is no 64-bit ELF file".to_owned())?;
    let endian = library.endian();
    if library.elf_header().e_type(endian) != elf::ET_DYN {
        return Err("it is no shared library".to_owned());
    }
    if library.architecture() != here() {
        return Err(format!(
            "it is for another processor than this one, {}",
            std::env::consts::ARCH
        ));
    }
    let dynamic = Dynamic::read(&library);
    if dynamic.is_executable {
        return Err("it is a program, and programs cannot be loaded into one".to_owned());
    }
    let mut missing = EXPORTS.to_vec();
    let mut version = None;
    for symbol in library.dynamic_symbols().filter(|it| !it.is_undefined()) {
        let name = symbol.name_bytes().unwrap_or_default();
        missing.retain(|export| *export != name);
        if name == VERSION {
            version = library.segments().find_map(|segment| {
                let bytes = segment.data_range(symbol.address(), 4).ok()??;
                Some(u32::from_le_bytes(bytes.try_into().ok()?).to_be_bytes())
            });
        }
    }
    if missing.len() == EXPORTS.len() {
        return Err("it exports no Python".to_owned());
    }
    if let Some(name) = missing.first() {
        return Err(format!("it lacks {}", String::from_utf8_lossy(name)));
    }
    let Some([major, minor, ..]) = version else {
        return Err("it is older than Python 3.11".to_owned());
    };
    Ok(LibPython {
        path: path.to_owned(),
        version: (major, minor),
        flags: flags_in(&dynamic.name, (major, minor)),
    })
}

/// The processor that this build is for.
fn here() -> Architecture {
    match std::env::consts::ARCH {
        "x86_64" => Architecture::X86_64,
        "aarch64" => Architecture::Aarch64,
        _ => Architecture::Unknown,
    }
}

/// What the dynamic section says of interest.
#[derive(Default)]
struct Dynamic {
    name: Vec<u8>,
    is_executable: bool,
}

impl Dynamic {
    fn read<'data, R: ReadRef<'data>>(library: &ElfFile64<'data, Endianness, R>) -> Self {
        Self::entries(library).unwrap_or_default()
    }

    /// `None` if there is no dynamic section, or it is broken.
    fn entries<'data, R: ReadRef<'data>>(
        library: &ElfFile64<'data, Endianness, R>,
    ) -> Option<Self> {
        let (endian, data) = (library.endian(), library.data());
        let entries = library
            .elf_program_headers()
            .iter()
            .find_map(|header| header.dynamic(endian, data).ok()?)?;
        let value = |tag| {
            let entry = entries.iter().find(|entry| entry.d_tag(endian) == tag)?;
            Some(entry.d_val(endian))
        };
        let name = (|| {
            let at = value(elf::DT_STRTAB)?;
            let names = library
                .segments()
                .find_map(|segment| segment.data_range(at, value(elf::DT_STRSZ)?).ok().flatten())?;
            let name = names.get(value(elf::DT_SONAME)? as usize..)?;
            name.split(|&byte| byte == 0).next()
        })();
        Some(Self {
            name: name.unwrap_or_default().to_vec(),
            is_executable: value(elf::DT_FLAGS_1).unwrap_or(0) & PIE != 0,
        })
    }
}

/// `t` in `libpython3.13t.so.1.0`.
fn flags_in(name: &[u8], (major, minor): (u8, u8)) -> String {
    let name = String::from_utf8_lossy(name);
    name.strip_prefix(&format!("libpython{major}.{minor}"))
        .and_then(|rest| rest.split('.').next())
        .unwrap_or_default()
        .to_owned()
}
