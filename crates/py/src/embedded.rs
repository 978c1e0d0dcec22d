//! Bringing up the main interpreter of a libpython that nobody has initialised yet: the private copy in a linker namespace.
//!
//! What `python` does with its command line and environment before it runs a script, [`MainInterpreter::initialize`] does with a
//! [`Configuration`], whose items have the names of CPython's `PyConfig`. Such an interpreter is never finalized: many extension
//! modules cannot be imported a second time, and it goes with the process.

use std::ffi::{CString, c_int};
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::ptr;

use crate::interpreter::{CreateError, InterpreterHandle, reason_of};
use crate::{Attached, ffi};

/// The settings of a new main interpreter, by the names that `PyConfig` gives them. The rest is as for `python` itself, except
/// that no signal handlers are installed and the command line is not read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Configuration {
    /// Flags and numbers.
    pub numbers: Vec<(String, c_int)>,
    /// Texts, as bytes of the file system's encoding.
    pub texts: Vec<(String, CString)>,
    /// Items of lists, in order.
    pub items: Vec<(String, CString)>,
}

/// The main interpreter of this copy of Python, and the calling thread's attached state in it.
///
/// It stays on the thread that made it.
#[derive(Debug)]
pub struct MainInterpreter {
    handle: InterpreterHandle,
    // A thread state belongs to one thread.
    _not_send: PhantomData<*mut ()>,
}

impl MainInterpreter {
    /// Initialises Python and attaches this thread, which becomes Python's main thread.
    ///
    /// Needs: a copy of Python that was not initialised. May run Python: yes (`site`).
    ///
    /// # Panics
    ///
    /// If this copy of Python is initialised already.
    pub fn initialize(configuration: &Configuration) -> Result<Self, CreateError> {
        // SAFETY: reads a flag; callable at any time.
        let initialised = unsafe { ffi::Py_IsInitialized() } != 0;
        assert!(!initialised, "a copy of Python is initialised once");
        preinitialize(configuration)?;
        let mut config = Config::new();
        config.apply(configuration)?;
        // SAFETY: a complete configuration; nobody else initialises this copy.
        check(unsafe { ffi::Py_InitializeFromConfig(&raw const config.0) })?;
        drop(config);
        // SAFETY: just initialised, so this thread is attached to the main interpreter.
        let handle = unsafe { InterpreterHandle::main() };
        Ok(Self {
            handle,
            _not_send: PhantomData,
        })
    }

    /// The token of this thread's attachment.
    pub fn attached(&self) -> Attached<'_> {
        // SAFETY: `initialize` attached this thread, the type is not `Send`, and `Attached::detach` borrows the token.
        unsafe { Attached::assume() }
    }

    /// What other threads need to enter this interpreter.
    pub fn handle(&self) -> InterpreterHandle {
        self.handle
    }
}

/// X and Y of the Python X.Y that this copy of the library was built for.
pub const BUILT_FOR: (&str, &str) = (env!("ATOLL_PYTHON_MAJOR"), env!("ATOLL_PYTHON_MINOR"));

/// Settles the encoding and the memory allocators, which everything after it uses.
fn preinitialize(configuration: &Configuration) -> Result<(), CreateError> {
    let mut config = MaybeUninit::uninit();
    // SAFETY: fills the structure.
    let mut config: ffi::PyPreConfig = unsafe {
        ffi::PyPreConfig_InitPythonConfig(config.as_mut_ptr());
        config.assume_init()
    };
    config.parse_argv = 0;
    for (name, value) in &configuration.numbers {
        match name.as_str() {
            "isolated" => config.isolated = *value,
            "use_environment" => config.use_environment = *value,
            "dev_mode" => config.dev_mode = *value,
            "utf8_mode" => config.utf8_mode = *value,
            _ => {}
        }
    }
    // SAFETY: a complete configuration.
    check(unsafe { ffi::Py_PreInitialize(&raw const config) })
}

/// `PyConfig`, given back when dropped.
struct Config(ffi::PyConfig);

impl Drop for Config {
    fn drop(&mut self) {
        // SAFETY: initialised by `new`.
        unsafe { ffi::PyConfig_Clear(&raw mut self.0) }
    }
}

impl Config {
    /// Needs: preinitialised.
    fn new() -> Self {
        let mut config = MaybeUninit::uninit();
        // SAFETY: fills the structure.
        let mut config: ffi::PyConfig = unsafe {
            ffi::PyConfig_InitPythonConfig(config.as_mut_ptr());
            config.assume_init()
        };
        config.parse_argv = 0;
        // The process's signals belong to the interpreter that it began with.
        config.install_signal_handlers = 0;
        config.faulthandler = 0;
        config.buffered_stdio = 1;
        // Those are the C library's buffers, which this copy has for itself.
        config.configure_c_stdio = 0;
        Self(config)
    }

    fn apply(&mut self, configuration: &Configuration) -> Result<(), CreateError> {
        for (name, value) in &configuration.numbers {
            match self.number(name) {
                Some(number) => *number = *value,
                // Settled before.
                None if name == "utf8_mode" => {}
                None => return Err(unknown(name)),
            }
        }
        for (name, value) in &configuration.texts {
            let text = self.text(name).ok_or_else(|| unknown(name))?;
            let config = &raw mut self.0;
            // SAFETY: `text` is a field of `config`, `value` is nul-terminated, Python is preinitialised.
            check(unsafe { ffi::PyConfig_SetBytesString(config, text, value.as_ptr()) })?;
        }
        for (name, value) in &configuration.items {
            let list = self.list(name).ok_or_else(|| unknown(name))?;
            // SAFETY: nul-terminated; Python is preinitialised, so the encoding is settled.
            let wide = unsafe { ffi::Py_DecodeLocale(value.as_ptr(), ptr::null_mut()) };
            if wide.is_null() {
                return Err(CreateError::new(format!("{name} cannot be decoded")));
            }
            // SAFETY: a list of the configuration and a wide string, which is copied.
            let status = unsafe { ffi::PyWideStringList_Append(list, wide) };
            // SAFETY: what `Py_DecodeLocale` gave.
            unsafe { ffi::PyMem_RawFree(wide.cast()) };
            check(status)?;
        }
        Ok(())
    }

    fn number(&mut self, name: &str) -> Option<&mut c_int> {
        let config = &mut self.0;
        Some(match name {
            "isolated" => &mut config.isolated,
            "use_environment" => &mut config.use_environment,
            "dev_mode" => &mut config.dev_mode,
            "site_import" => &mut config.site_import,
            "user_site_directory" => &mut config.user_site_directory,
            "optimization_level" => &mut config.optimization_level,
            "write_bytecode" => &mut config.write_bytecode,
            "verbose" => &mut config.verbose,
            "quiet" => &mut config.quiet,
            "bytes_warning" => &mut config.bytes_warning,
            "safe_path" => &mut config.safe_path,
            "int_max_str_digits" => &mut config.int_max_str_digits,
            "warn_default_encoding" => &mut config.warn_default_encoding,
            "code_debug_ranges" => &mut config.code_debug_ranges,
            "use_frozen_modules" => &mut config.use_frozen_modules,
            _ => return None,
        })
    }

    fn text(&mut self, name: &str) -> Option<*mut *mut libc::wchar_t> {
        let config = &mut self.0;
        Some(match name {
            "executable" => &raw mut config.executable,
            "program_name" => &raw mut config.program_name,
            "pycache_prefix" => &raw mut config.pycache_prefix,
            "stdio_encoding" => &raw mut config.stdio_encoding,
            "stdio_errors" => &raw mut config.stdio_errors,
            _ => return None,
        })
    }

    fn list(&mut self, name: &str) -> Option<*mut ffi::PyWideStringList> {
        let config = &mut self.0;
        Some(match name {
            "argv" => &raw mut config.argv,
            "orig_argv" => &raw mut config.orig_argv,
            "xoptions" => &raw mut config.xoptions,
            "warnoptions" => &raw mut config.warnoptions,
            _ => return None,
        })
    }
}

fn unknown(name: &str) -> CreateError {
    CreateError::new(format!("{name:?} is no setting of an interpreter"))
}

fn check(status: ffi::PyStatus) -> Result<(), CreateError> {
    // SAFETY: a status that CPython gave just now.
    match unsafe { ffi::PyStatus_Exception(status) } {
        0 => Ok(()),
        _ => Err(CreateError::new(reason_of(&status))),
    }
}
