//! A linker namespace with a private copy of a library and of all that it needs.

use super::{shim, threads};
use std::error::Error;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::fmt;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A linker namespace. It stays as long as the process, unless it is [closed](Self::close).
#[derive(Debug)]
pub struct Namespace {
    /// Stands for the shim, and for what was loaded with it.
    handle: Handle,
    id: libc::Lmid_t,
    libc: OwnLibc,
    /// What `environ` points to in the namespace at first.
    environ: Environ,
    /// What was loaded later, to be given up before the shim.
    loaded: Mutex<Vec<Handle>>,
}

/// A library in a [`Namespace`].
#[derive(Clone, Copy, Debug)]
pub struct Library(Handle);

/// Why a [`Namespace`] could not be opened. All but the first carry what the dynamic linker says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OpenError {
    /// This process can have no namespaces, for the reason that [`unsupported`](super::unsupported) gives.
    Unsupported(String),
    /// All of the process's namespaces are taken.
    NoMoreNamespaces(String),
    /// The room for thread-local variables that glibc sets aside when a process starts is used up.
    StaticTls(String),
    /// The library, or one that it needs, is no shared library of this platform.
    NotAnElf(String),
    /// Anything else.
    Other(String),
}

impl OpenError {
    /// Sorts what the dynamic linker says.
    fn new(said: String) -> Self {
        let says = |words: &[&str]| words.iter().any(|word| said.contains(word));
        if says(&["no more namespaces"]) {
            Self::NoMoreNamespaces(said)
        } else if says(&["static TLS"]) {
            Self::StaticTls(said)
        } else if says(&[
            "invalid ELF header",
            "file too short",
            "wrong ELF class",
            "ELF file",
        ]) {
            Self::NotAnElf(said)
        } else {
            Self::Other(said)
        }
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unsupported(why)
            | Self::NoMoreNamespaces(why)
            | Self::StaticTls(why)
            | Self::NotAnElf(why)
            | Self::Other(why) => out.write_str(why),
        }
    }
}

impl Error for OpenError {}

/// One namespace at a time is opened, or closed.
static CHANGING: Mutex<Option<Shim>> = Mutex::new(None);
static OPENED: AtomicUsize = AtomicUsize::new(0);

/// The turn to open or close one, and the shim that the last opening made.
fn change() -> MutexGuard<'static, Option<Shim>> {
    CHANGING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A shim as it is loaded: it depends on nothing but the main namespace and the library that it brings along.
struct Shim {
    library: PathBuf,
    distances: Vec<i64>,
    image: Vec<u8>,
}

impl Shim {
    fn make(library: &Path) -> Result<Self, String> {
        let main = Handle::open(c"libc.so.6", libc::RTLD_NOLOAD)?;
        // SAFETY: a handle.
        let distances = unsafe { shim::distances(main.as_ptr()) }
            .map_err(|name| format!("libc.so.6: no symbol {name}"))?;
        let image = shim::image(library.as_os_str().as_bytes(), &distances)
            .map_err(|why| format!("no shim can be made: {why}"))?;
        Ok(Self {
            library: library.to_owned(),
            distances: distances.to_vec(),
            image,
        })
    }
}

/// How many namespaces this process has opened and not closed.
pub fn opened() -> usize {
    OPENED.load(Ordering::Relaxed)
}

impl Namespace {
    /// Opens a namespace and loads the library into it, with `environ` (items NAME=VALUE) as its environment.
    ///
    /// The calling thread may then run code of the namespace; others call [`enter_thread`](Self::enter_thread) first.
    ///
    /// # Errors
    ///
    /// If it cannot be had. A namespace that was begun is given back then.
    pub fn open(library: &Path, environ: Vec<CString>) -> Result<Self, OpenError> {
        if let Some(why) = super::unsupported() {
            return Err(OpenError::Unsupported(why));
        }
        let path = std::path::absolute(library)
            .map_err(|error| OpenError::Other(format!("{}: {error}", library.display())))?;
        if path.as_os_str().as_bytes().contains(&0) {
            return Err(OpenError::Other("the path contains NUL".to_owned()));
        }
        let mut last = change();
        let shim = match last.take() {
            Some(shim) if shim.library == path => last.insert(shim),
            Some(_) | None => last.insert(Shim::make(&path).map_err(OpenError::Other)?),
        };
        let file = memory_file(&shim.image)
            .map_err(|error| OpenError::Other(format!("no memory file can be made: {error}")))?;
        // In a spelling that nobody else uses: the linker remembers the object under this name, and code in the namespace
        // may open a file of its own that has the same number.
        let name = format!("/proc/self/fd/../fd/{}", file.as_raw_fd());
        let name = CString::new(name).unwrap_or_default();
        let handle = Handle::load(libc::LM_ID_NEWLM, &name).map_err(OpenError::new)?;
        drop(file);

        let namespace = handle.namespace().and_then(|id| {
            let libc = OwnLibc::find(id, &shim.distances)?;
            Ok((id, libc))
        });
        let (id, libc) = match namespace {
            Ok(found) => found,
            Err(why) => {
                // SAFETY: nothing of it runs.
                unsafe { handle.close() };
                return Err(OpenError::Other(why));
            }
        };
        let environ = Environ::new(&environ);
        // SAFETY: the address of this variable in the namespace, where nothing runs yet. The array stays until `close`.
        unsafe { libc.environ.write(environ.array.as_ptr().cast()) };
        OPENED.fetch_add(1, Ordering::Relaxed);
        Ok(Self {
            handle,
            id,
            libc,
            environ,
            loaded: Mutex::default(),
        })
    }

    /// Loads another library, with its own share of what the namespace does not have yet.
    ///
    /// # Errors
    ///
    /// What the dynamic linker says.
    pub fn load(&self, path: &Path) -> Result<Library, String> {
        let name = CString::new(path.as_os_str().as_bytes())
            .map_err(|_| format!("{}: the path contains NUL", path.display()))?;
        // Its constructors run on this thread.
        self.enter_thread();
        let handle = Handle::load(self.id, &name)?;
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        loaded.push(handle);
        Ok(Library(handle))
    }

    /// The address of a symbol of the library that the namespace was opened with, or of one that it needs.
    pub fn symbol(&self, name: &CStr) -> Option<NonNull<c_void>> {
        self.handle.symbol(name)
    }

    /// Makes a thread that the main namespace has made fit to run code of this one: without it, `isalpha` and its like
    /// crash there. Again does no harm.
    pub fn enter_thread(&self) {
        // SAFETY: a function without conditions.
        unsafe { (self.libc.ctype_init)() };
    }

    /// Writes out what is in the buffers of the namespace's `FILE`s.
    ///
    /// # Errors
    ///
    /// If one of them could not be written.
    pub fn flush(&self) -> io::Result<()> {
        // SAFETY: NULL is all of them; the result, and then errno, are those of the namespace's libc.
        unsafe {
            if (self.libc.fflush)(ptr::null_mut()) == 0 {
                return Ok(());
            }
            Err(io::Error::from_raw_os_error(*(self.libc.errno_location)()))
        }
    }

    /// Gives the namespace back. Says whether it is gone: a library that does not let itself be unloaded keeps it.
    ///
    /// # Safety
    ///
    /// No code of the namespace runs now or later, nor has Python run there, nor is anything of it referred to.
    pub unsafe fn close(self) -> bool {
        let _one_at_a_time = change();
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        let inside = self.libc.ctype_init as *const c_void;
        for handle in loaded.drain(..).rev() {
            // SAFETY: the caller's promise.
            unsafe { handle.close() };
        }
        drop(loaded);
        let stub = self
            .symbol(c"malloc")
            .map_or(ptr::null_mut(), NonNull::as_ptr);
        let keys = threads::keys_made_through(stub);
        // SAFETY: the caller's promise.
        unsafe { self.handle.close() };
        // All objects of the namespace use its libc, so it goes last.
        let gone = shim::base_of(inside).is_none();
        if gone {
            threads::delete_keys(keys);
            // SAFETY: as asked.
            unsafe { self.environ.free() };
            OPENED.fetch_sub(1, Ordering::Relaxed);
        }
        gone
    }
}

impl Library {
    /// The address of a symbol of the library, or of one that it needs.
    pub fn symbol(&self, name: &CStr) -> Option<NonNull<c_void>> {
        self.0.symbol(name)
    }

    /// A function of the library.
    ///
    /// # Safety
    ///
    /// `F` is the type of a pointer to the function of that name.
    pub unsafe fn function<F: Copy>(&self, name: &CStr) -> Option<F> {
        let address = self.symbol(name)?;
        // SAFETY: the caller's promise.
        Some(unsafe { function(address.as_ptr()) })
    }
}

/// What the namespace's own libc has for us.
#[derive(Clone, Copy, Debug)]
struct OwnLibc {
    environ: *mut *mut *mut c_char,
    fflush: unsafe extern "C" fn(*mut c_void) -> c_int,
    errno_location: unsafe extern "C" fn() -> *mut c_int,
    ctype_init: unsafe extern "C" fn(),
}

// SAFETY: addresses in a library that stays loaded. `environ` is written once, before the namespace is anyone's.
unsafe impl Send for OwnLibc {}
// SAFETY: as above; the functions may be called on any thread.
unsafe impl Sync for OwnLibc {}

impl OwnLibc {
    /// The libc of the namespace, which must be laid out as the shim was told.
    fn find(namespace: libc::Lmid_t, distances: &[i64]) -> Result<Self, String> {
        let handle = Handle::load_with(namespace, c"libc.so.6", libc::RTLD_NOLOAD)?;
        // SAFETY: a handle.
        let found = unsafe { shim::distances(handle.as_ptr()) };
        if found.is_ok_and(|found| found != distances) {
            // SAFETY: gives up one of several references.
            unsafe { handle.close() };
            return Err(
                "libc.so.6 on disk is not the one that this process runs with; start it again"
                    .to_owned(),
            );
        }
        let address = |name: &CStr| {
            (handle.symbol(name))
                .map(NonNull::as_ptr)
                .ok_or_else(|| format!("libc.so.6: no symbol {}", name.to_string_lossy()))
        };
        let found = (|| {
            let (environ, fflush) = (address(c"environ")?, address(c"fflush")?);
            let (errno_location, ctype_init) =
                (address(c"__errno_location")?, address(c"__ctype_init")?);
            // SAFETY: glibc's symbols of these names are a variable and functions of these types.
            Ok(unsafe {
                Self {
                    environ: environ.cast(),
                    fflush: function(fflush),
                    errno_location: function(errno_location),
                    ctype_init: function(ctype_init),
                }
            })
        })();
        // SAFETY: gives up one of several references.
        unsafe { handle.close() };
        found
    }
}

/// The function at an address.
///
/// # Safety
///
/// `F` is the type of the function pointer that the address is.
unsafe fn function<F: Copy>(address: *mut c_void) -> F {
    const { assert!(size_of::<F>() == size_of::<*mut c_void>()) };
    // SAFETY: the caller's promise; equal sizes.
    unsafe { (&raw const address).cast::<F>().read() }
}

/// The environment of a namespace, in the shape that C wants.
///
/// It stays unless it is freed: code in the namespace may hold it as long as the process lives. That code may also write other
/// addresses into the array, so the text is one block, whose address is kept beside.
#[derive(Debug)]
struct Environ {
    text: NonNull<[u8]>,
    array: NonNull<[*mut c_char]>,
}

// SAFETY: two blocks of the heap, used by the namespace only until it is closed.
unsafe impl Send for Environ {}
// SAFETY: as above; nothing can be done through a shared reference.
unsafe impl Sync for Environ {}

impl Environ {
    fn new(items: &[CString]) -> Self {
        let text: Vec<u8> = (items.iter())
            .flat_map(|item| item.as_bytes_with_nul())
            .copied()
            .collect();
        let text = NonNull::from(Box::leak(text.into_boxed_slice()));
        let mut next = text.cast::<c_char>();
        let mut array = Vec::with_capacity(items.len() + 1);
        for item in items {
            array.push(next.as_ptr());
            // SAFETY: the item's length in the text, so this is the next item or the end of the block.
            next = unsafe { next.add(item.as_bytes_with_nul().len()) };
        }
        array.push(ptr::null_mut());
        let array = NonNull::from(Box::leak(array.into_boxed_slice()));
        Self { text, array }
    }

    /// # Safety
    ///
    /// The namespace is gone.
    unsafe fn free(self) {
        // SAFETY: from `leak`; nobody else refers to them.
        unsafe {
            drop(Box::from_raw(self.text.as_ptr()));
            drop(Box::from_raw(self.array.as_ptr()));
        }
    }
}

/// An object of the dynamic linker.
#[derive(Clone, Copy, Debug)]
struct Handle(NonNull<c_void>);

// SAFETY: the dynamic linker locks itself.
unsafe impl Send for Handle {}
// SAFETY: as above.
unsafe impl Sync for Handle {}

impl Handle {
    /// In the main namespace.
    fn open(name: &CStr, flags: c_int) -> Result<Self, String> {
        Self::load_with(libc::LM_ID_BASE, name, flags)
    }

    fn load(namespace: libc::Lmid_t, name: &CStr) -> Result<Self, String> {
        Self::load_with(namespace, name, 0)
    }

    /// The namespace is new, or it has objects: in an empty one, glibc fails and keeps the linker's lock.
    fn load_with(namespace: libc::Lmid_t, name: &CStr, flags: c_int) -> Result<Self, String> {
        let flags = flags | libc::RTLD_NOW | libc::RTLD_LOCAL;
        // SAFETY: runs the constructors of what it loads, as the caller means it to.
        let handle = unsafe { libc::dlmopen(namespace, name.as_ptr(), flags) };
        NonNull::new(handle).map(Self).ok_or_else(last_error)
    }

    fn as_ptr(self) -> *mut c_void {
        self.0.as_ptr()
    }

    fn symbol(self, name: &CStr) -> Option<NonNull<c_void>> {
        // SAFETY: a handle and a C string.
        NonNull::new(unsafe { libc::dlsym(self.as_ptr(), name.as_ptr()) })
    }

    fn namespace(self) -> Result<libc::Lmid_t, String> {
        let mut id: libc::Lmid_t = 0;
        // SAFETY: a handle; this request writes an Lmid_t.
        let result =
            unsafe { libc::dlinfo(self.as_ptr(), libc::RTLD_DI_LMID, (&raw mut id).cast()) };
        if result == 0 {
            Ok(id)
        } else {
            Err(last_error())
        }
    }

    /// # Safety
    ///
    /// If it is the last reference, nothing of the object is used any more.
    unsafe fn close(self) {
        // SAFETY: the caller's promise. A handle that was given out is known, so it cannot fail.
        unsafe { libc::dlclose(self.as_ptr()) };
    }
}

/// What the dynamic linker says about the last call of this thread, in English, since we look for words in it.
fn last_error() -> String {
    // SAFETY: the locale "C" is always there and is not freed; the thread gets its own back; the text is copied at once.
    unsafe {
        let english = libc::newlocale(libc::LC_ALL_MASK, c"C".as_ptr(), ptr::null_mut());
        let own = libc::uselocale(english);
        let text = libc::dlerror();
        let text = if text.is_null() {
            "the dynamic linker gives no reason".to_owned()
        } else {
            CStr::from_ptr(text).to_string_lossy().into_owned()
        };
        libc::uselocale(own);
        text
    }
}

/// A file without a name that holds these bytes.
fn memory_file(bytes: &[u8]) -> io::Result<File> {
    // The file is mapped, never executed. Systems may insist on hearing that; older ones do not know the flag.
    let create = |flags| {
        // SAFETY: a C string.
        let file = unsafe { libc::memfd_create(c"atoll-isolate-shim".as_ptr(), flags) };
        if file == -1 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: a new descriptor, owned by nobody else.
        Ok(File::from(unsafe { OwnedFd::from_raw_fd(file) }))
    };
    let mut file =
        create(libc::MFD_CLOEXEC | libc::MFD_NOEXEC_SEAL).or_else(|_| create(libc::MFD_CLOEXEC))?;
    file.write_all(bytes)?;
    Ok(file)
}
