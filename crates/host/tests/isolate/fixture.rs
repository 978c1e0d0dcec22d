//! What the tests stand on: processes of their own, and small libraries in C.

use atoll_host::isolate::{Library, Namespace};
use std::any::type_name;
use std::env;
use std::ffi::{CStr, c_void};
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::ptr::NonNull;

/// Says which test a child process is for.
const CHILD: &str = "ATOLL_TEST_CHILD";

/// Runs the body of the test that calls this in a process of its own, and fails as it does.
pub(crate) fn alone<F: FnOnce()>(body: F) {
    alone_with(&[], body);
}

/// As [`alone`], with more variables in the process's environment.
pub(crate) fn alone_with<F: FnOnce()>(variables: &[(&str, &str)], body: F) {
    if let Some(output) = in_child(variables, body) {
        assert!(
            output.status.success(),
            "{}\n{}{}",
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

/// In the test's process, how its child with this body ended. In the child, nothing, once the body is through.
pub(crate) fn in_child<F: FnOnce()>(variables: &[(&str, &str)], body: F) -> Option<Output> {
    // A closure's type is named after the function that it is in, which is the test.
    let test = type_name::<F>().trim_end_matches("::{{closure}}");
    let (_, test) = test.split_once("::").expect("a path in this crate");
    if env::var(CHILD).is_ok_and(|child| child == test) {
        body();
        return None;
    }
    let output = Command::new(env::current_exe().expect("this program"))
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(CHILD, test)
        .env_remove("GLIBC_TUNABLES")
        .envs(variables.iter().copied())
        .output()
        .expect("a child process");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("running 1 test"), "no test {test}: {said}");
    Some(output)
}

/// A library made of one of the C files beside this one. All lie in one folder.
pub(crate) fn library(name: &str) -> PathBuf {
    let changed = |path: &Path| std::fs::metadata(path).and_then(|file| file.modified());
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/isolate");
    let source = sources.join(format!("{name}.c"));
    let library = folder.join(format!("lib{name}.so"));
    let source_changed = changed(&source).expect("a fixture");
    if changed(&library).is_ok_and(|made| made > source_changed) {
        return library;
    }
    // Other tests may make it at the same time; what has the final name is whole.
    let unfinished = folder.join(format!("{name}-{}", std::process::id()));
    let compiler = env::var("CC").unwrap_or_else(|_| "cc".to_owned());
    let status = Command::new(compiler)
        .args(["-shared", "-fPIC", "-O1", "-pthread"])
        .args(["-Wl,--enable-new-dtags,-rpath,$ORIGIN", "-o"])
        .args([&unfinished, &source])
        .status()
        .expect("a C compiler");
    assert!(status.success());
    std::fs::rename(&unfinished, &library).expect("the library gets its name");
    library
}

/// A namespace with the probe in it.
pub(crate) struct Probe {
    pub(crate) namespace: Namespace,
}

impl Probe {
    pub(crate) fn open() -> Self {
        Self::with_environ(&[])
    }

    pub(crate) fn with_environ(environ: &[&CStr]) -> Self {
        let environ = environ.iter().map(|&item| item.to_owned()).collect();
        let namespace = Namespace::open(&library("probe"), environ).expect("a namespace");
        Self { namespace }
    }
}

impl Deref for Probe {
    type Target = Namespace;

    fn deref(&self) -> &Namespace {
        &self.namespace
    }
}

/// Where functions are found by name.
pub(crate) trait Symbols {
    fn address(&self, name: &CStr) -> NonNull<c_void>;

    /// The function of that name.
    ///
    /// # Safety
    ///
    /// `F` is the type of a pointer to it.
    unsafe fn function<F: Copy>(&self, name: &CStr) -> F {
        const { assert!(size_of::<F>() == size_of::<usize>()) };
        let address = self.address(name);
        // SAFETY: the caller's promise; equal sizes.
        unsafe { (&raw const address).cast::<F>().read() }
    }
}

impl Symbols for Namespace {
    fn address(&self, name: &CStr) -> NonNull<c_void> {
        self.symbol(name).expect("a symbol of the namespace")
    }
}

impl Symbols for Library {
    fn address(&self, name: &CStr) -> NonNull<c_void> {
        self.symbol(name).expect("a symbol of the library")
    }
}

/// `call!(namespace.name(argument: Type, …) -> Type)`: calls a C function of a namespace, of these types.
macro_rules! call {
    ($from:ident.$name:ident($($argument:expr => $type:ty),*) $(-> $result:ty)?) => {{
        use $crate::fixture::Symbols;
        let name = const {
            match std::ffi::CStr::from_bytes_with_nul(concat!(stringify!($name), "\0").as_bytes()) {
                Ok(name) => name,
                Err(_) => panic!(),
            }
        };
        // SAFETY: the fixtures' functions have the types that the tests give.
        unsafe {
            let function: unsafe extern "C" fn($($type),*) $(-> $result)? = $from.function(name);
            function($($argument),*)
        }
    }};
}
pub(crate) use call;
