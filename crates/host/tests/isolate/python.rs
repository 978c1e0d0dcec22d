//! The real libpython in namespaces: that of the Python that the crates are built for.

use crate::fixture::{alone, call, library};
use atoll_host::isolate::{LibPython, Namespace};
use std::ffi::{CStr, CString, c_char, c_int};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

/// The interpreter that PYO3_PYTHON (or PYTHON) names, else the first on PATH; asked for its shared library.
fn libpython() -> PathBuf {
    let named = ["PYO3_PYTHON", "PYTHON"]
        .iter()
        .find_map(|name| std::env::var(name).ok());
    let output = Command::new(named.as_deref().unwrap_or("python3"))
        .args([
            "-c",
            "import os, sysconfig as s; print(os.path.join(s.get_config_var('LIBDIR'), s.get_config_var('INSTSONAME')))",
        ])
        .output()
        .expect("a Python");
    let path = String::from_utf8(output.stdout).expect("a path in UTF-8");
    let path = PathBuf::from(path.trim());
    if path.exists() {
        return path;
    }
    // Debian's Python does not use the shared library, which has a folder of its own.
    let folder = Path::new("/usr/lib/x86_64-linux-gnu");
    folder.join(path.file_name().expect("a name"))
}

fn run(namespace: &Namespace, code: &CStr) {
    assert_eq!(
        call!(namespace.PyRun_SimpleString(code.as_ptr() => *const c_char) -> c_int),
        0
    );
}

#[test]
fn three_pythons_run_side_by_side_each_on_a_thread_of_main() {
    alone(|| {
        let path = libpython();
        let namespaces: Vec<_> = (0..3)
            .map(|_| Namespace::open(&path, vec![c"COLOUR=green".to_owned()]).expect("a namespace"))
            .collect();
        thread::scope(|scope| {
            for (number, namespace) in namespaces.iter().enumerate() {
                scope.spawn(move || {
                    namespace.enter_thread();
                    call!(namespace.Py_InitializeEx(0 => c_int));
                    let code = format!(
                        "import ctypes, os, sys, threading\n\
                         results = []\n\
                         threads = [threading.Thread(target=results.append, args=({number} * i,)) for i in range(20)]\n\
                         for thread in threads: thread.start()\n\
                         for thread in threads: thread.join()\n\
                         assert sorted(results) == [{number} * i for i in range(20)]\n\
                         assert os.environ['COLOUR'] == 'green' and 'PATH' not in os.environ\n\
                         ours = ctypes.c_long.in_dll(ctypes.pythonapi, '_Py_NoneStruct')\n\
                         assert ctypes.addressof(ours) == id(None)\n\
                         ctypes.CDLL('libm.so.6', ctypes.RTLD_GLOBAL)\n"
                    );
                    run(namespace, &CString::new(code).expect("no NUL"));
                });
            }
        });
    });
}

#[test]
fn a_python_that_was_loaded_and_never_initialised_can_be_given_back() {
    alone(|| {
        for _ in 0..20 {
            thread::scope(|scope| {
                scope.spawn(|| {
                    let namespace = Namespace::open(&libpython(), vec![]).expect("a namespace");
                    // SAFETY: nothing has run there.
                    assert!(unsafe { namespace.close() });
                });
            });
        }
    });
}

#[test]
fn libpython_is_known_by_looking_at_it() {
    let path = libpython();
    let found = LibPython::inspect(&path).expect("libpython");
    let name = format!(
        "libpython{}.{}{}.so",
        found.version().0,
        found.version().1,
        found.flags()
    );
    let file = path.file_name().expect("a name").to_string_lossy();
    assert!(file.starts_with(&name), "{file} is not {name}");
    assert_eq!(found.path(), path);
}

#[test]
fn what_is_not_libpython_is_refused_with_the_reason() {
    let probe = library("probe");
    let cases = [
        (probe.as_path(), "it exports no Python"),
        (Path::new("/nowhere.so"), "No such file"),
        (Path::new(file!()), "No such file"),
        (
            &Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml"),
            "it is no 64-bit ELF file",
        ),
        (
            &std::env::current_exe().expect("this program"),
            "it is a program",
        ),
    ];
    for (path, reason) in cases {
        let refused = LibPython::inspect(path).expect_err("not libpython");
        let beginning = format!("cannot use {} as libpython ({reason}", path.display());
        assert!(refused.starts_with(&beginning), "{refused}");
        assert!(refused.contains("; name the shared library"), "{refused}");
    }
}
