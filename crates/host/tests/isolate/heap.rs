//! One heap for all namespaces.

use crate::fixture::{Probe, alone, alone_with, call, in_child, library};
use atoll_host::isolate::Namespace;
use std::ffi::{CString, c_int};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::ExitStatusExt;

const THREADS: c_int = 100;

#[test]
fn threads_of_a_namespace_with_large_thread_local_data_come_and_go() {
    alone(|| {
        let namespace = Namespace::open(&library("tls"), vec![]).expect("a namespace");
        assert_eq!(call!(namespace.churn(THREADS => c_int) -> c_int), THREADS);
    });
}

#[test]
fn the_same_threads_in_a_namespace_without_a_shim_crash() {
    let ended = in_child(&[], || {
        let path = CString::new(library("tls").as_os_str().as_bytes()).expect("no NUL");
        // SAFETY: loads a library that has no constructors, and calls a function of it, which is meant to crash.
        unsafe {
            let tls = libc::dlmopen(libc::LM_ID_NEWLM, path.as_ptr(), libc::RTLD_NOW);
            assert!(!tls.is_null());
            let address = libc::dlsym(tls, c"churn".as_ptr());
            let churn = *(&raw const address).cast::<unsafe extern "C" fn(c_int) -> c_int>();
            churn(THREADS);
        }
    });
    if let Some(output) = ended {
        let signal = output.status.signal();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            matches!(signal, Some(libc::SIGSEGV | libc::SIGABRT)),
            "the shim is needed no more? {} {said}",
            output.status
        );
    }
}

#[test]
fn what_one_namespace_allocates_lies_in_main_s_heap_and_another_may_free_it() {
    const BYTES: usize = 60_000;
    let in_use = || {
        // SAFETY: only counts.
        unsafe { libc::mallinfo2() }.uordblks
    };
    alone(|| {
        let (one, other) = (Probe::open(), Probe::open());
        for round in 0..100 {
            let before = in_use();
            let block = call!(one.malloc(BYTES => usize) -> *mut libc::c_void);
            assert!(in_use() >= before + BYTES / 2, "round {round}");
            call!(other.free(block => *mut libc::c_void));
            // Other threads of the test's program allocate a little now and then.
            assert!(in_use() < before + BYTES / 2, "round {round}");
        }
    });
}

#[test]
fn an_allocator_that_was_preloaded_serves_the_namespaces() {
    let preload = library("preload");
    alone_with(
        &[("LD_PRELOAD", preload.to_str().expect("a path in UTF-8"))],
        || {
            let probe = Probe::open();
            assert_eq!(call!(probe.usable_size() -> usize), 4242);
        },
    );
}
