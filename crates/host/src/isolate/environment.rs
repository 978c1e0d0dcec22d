//! What an isolate is to be like, as the Python front describes it: `atoll._environment` packs it, this reads it.
//!
//! Bytes: items separated by NUL, each with a tag as its first byte. Neither paths nor environment variables can hold a NUL. The
//! tags are those of [`Environment::read`].

use atoll_py::embedded::Configuration;
use std::ffi::{CString, OsString, c_int};
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

/// The description of an isolate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Environment {
    /// The shared library with Python in it.
    pub(crate) library: PathBuf,
    /// The copy of this very extension module that belongs to that Python.
    pub(crate) native: PathBuf,
    /// X.Y of that Python.
    pub(crate) version: (u32, u32),
    /// A parked isolate with an equal key may be used again.
    pub(crate) key: Vec<u8>,
    /// The settings of the interpreter.
    pub(crate) configuration: Configuration,
    /// The environment variables.
    pub(crate) environ: Vec<CString>,
    /// For `atoll._isolate`, unread here.
    pub(crate) setup: String,
}

impl Environment {
    /// Reads the front's description. An error is a bug of the front.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, String> {
        let mut read = Self::default();
        for item in bytes.split(|byte| *byte == 0) {
            let Some((tag, rest)) = item.split_first() else {
                continue;
            };
            match tag {
                b'l' => read.library = path(rest),
                b'n' => read.native = path(rest),
                b'p' => read.version = version(rest).ok_or_else(|| malformed(item))?,
                b'k' => read.key = rest.to_vec(),
                b'c' => configure(&mut read.configuration, rest).ok_or_else(|| malformed(item))?,
                b'v' => read.environ.push(text(rest)),
                b's' => read.setup = String::from_utf8_lossy(rest).into_owned(),
                _ => return Err(malformed(item)),
            }
        }
        if read.library.as_os_str().is_empty() || read.native.as_os_str().is_empty() {
            return Err("the description of the isolate names no library".to_owned());
        }
        Ok(read)
    }
}

fn path(bytes: &[u8]) -> PathBuf {
    OsString::from_vec(bytes.to_vec()).into()
}

/// Pieces between NULs have none inside.
fn text(bytes: &[u8]) -> CString {
    CString::new(bytes).unwrap_or_default()
}

fn version(bytes: &[u8]) -> Option<(u32, u32)> {
    let (major, minor) = std::str::from_utf8(bytes).ok()?.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// `i:NAME=NUMBER`, `s:NAME=TEXT`, `l:NAME=ITEM`.
fn configure(configuration: &mut Configuration, item: &[u8]) -> Option<()> {
    let equals = item.iter().position(|byte| *byte == b'=')?;
    let (name, value) = (item.get(2..equals)?, &item[equals + 1..]);
    let name = String::from_utf8(name.to_vec()).ok()?;
    match item.get(..2)? {
        b"i:" => {
            let number: c_int = std::str::from_utf8(value).ok()?.parse().ok()?;
            configuration.numbers.push((name, number));
        }
        b"s:" => configuration.texts.push((name, text(value))),
        b"l:" => configuration.items.push((name, text(value))),
        _ => return None,
    }
    Some(())
}

fn malformed(item: &[u8]) -> String {
    let item = String::from_utf8_lossy(item);
    format!("the description of the isolate is malformed at {item:?}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_item_is_read_into_its_place() {
        let packed = b"l/lib/libpython3.13.so.1.0\0n/a/_native.so\0p3.13\0kkey\0ci:dev_mode=1\0cs:executable=/bin/py=3\0\
            cl:argv=a\0cl:argv=\0vA=1\0vB=\xff\0s{\"a\": 1}";
        let read = Environment::read(packed).unwrap();
        assert_eq!(read.library, PathBuf::from("/lib/libpython3.13.so.1.0"));
        assert_eq!(read.native, PathBuf::from("/a/_native.so"));
        assert_eq!(read.version, (3, 13));
        assert_eq!(read.key, b"key");
        assert_eq!(
            read.configuration,
            Configuration {
                numbers: vec![("dev_mode".to_owned(), 1)],
                texts: vec![("executable".to_owned(), c"/bin/py=3".to_owned())],
                items: vec![
                    ("argv".to_owned(), c"a".to_owned()),
                    ("argv".to_owned(), c"".to_owned()),
                ],
            }
        );
        assert_eq!(read.environ, [c"A=1".to_owned(), c"B=\xff".to_owned()]);
        assert_eq!(read.setup, "{\"a\": 1}");
    }

    #[test]
    fn a_malformed_item_is_named() {
        for (packed, named) in [
            (&b"l/a\0n/b\0p3"[..], "p3"),
            (b"l/a\0n/b\0ci:verbose=x", "ci:verbose=x"),
            (b"l/a\0n/b\0cq:verbose=1", "cq:verbose=1"),
            (b"l/a\0n/b\0?", "?"),
        ] {
            let error = Environment::read(packed).unwrap_err();
            assert!(error.contains(named), "{error}");
        }
        assert!(Environment::read(b"n/b").unwrap_err().contains("library"));
    }
}
