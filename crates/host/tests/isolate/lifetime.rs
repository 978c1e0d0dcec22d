//! How many namespaces there are, and how they end.

use crate::fixture::{Probe, alone, alone_with, call, library};
use crate::fork::fork_and_exit;
use atoll_host::isolate::{Namespace, OpenError, limit, opened, unsupported};
use std::ffi::{c_char, c_int, c_void};
use std::path::Path;
use std::thread;

#[test]
fn fifteen_namespaces_fit_with_the_tunable_and_the_next_is_refused() {
    alone_with(&[("GLIBC_TUNABLES", "glibc.rtld.nns=16")], || {
        assert_eq!(limit(), 15);
        let all: Vec<_> = (0..limit()).map(|_| Probe::open()).collect();
        assert_eq!(opened(), 15);
        let refused = Namespace::open(&library("probe"), vec![]);
        assert!(
            matches!(refused, Err(OpenError::NoMoreNamespaces(_))),
            "{refused:?}"
        );
        for probe in &all {
            assert_eq!(
                call!(probe.is_alpha(c_int::from(b'x') => c_int) -> c_int),
                1
            );
        }
    });
}

#[test]
fn as_many_namespaces_fit_without_the_tunable_as_the_limit_says() {
    alone(|| {
        assert_eq!(limit(), 5);
        let all: Vec<_> = (0..limit()).map(|_| Probe::open()).collect();
        assert_eq!(opened(), all.len());
    });
}

#[test]
fn when_the_room_for_thread_locals_is_used_up_the_open_namespaces_go_on() {
    alone(|| {
        let mut all = Vec::new();
        let refused = loop {
            match Namespace::open(&library("probe"), vec![]) {
                Ok(namespace) => all.push(Probe { namespace }),
                Err(refused) => break refused,
            }
        };
        assert!(matches!(refused, OpenError::StaticTls(_)), "{refused}");
        for _ in 0..20 {
            let again = Namespace::open(&library("probe"), vec![]);
            assert!(matches!(again, Err(OpenError::StaticTls(_))), "{again:?}");
        }
        assert_eq!(opened(), all.len());
        for probe in &all {
            assert_eq!(
                call!(probe.is_alpha(c_int::from(b'x') => c_int) -> c_int),
                1
            );
        }
    });
}

#[test]
fn the_limit_is_what_the_tunable_said_at_the_start_of_the_process() {
    alone_with(
        &[("GLIBC_TUNABLES", "glibc.malloc.check=0:glibc.rtld.nns=7")],
        || {
            // SAFETY: no other thread looks at the environment.
            unsafe { std::env::set_var("GLIBC_TUNABLES", "glibc.rtld.nns=16") };
            assert_eq!(limit(), 8);
        },
    );
}

#[test]
fn a_namespace_that_is_closed_makes_room_for_another() {
    alone(|| {
        for _ in 0..40 {
            let namespace = Namespace::open(&library("tls"), vec![]).expect("a namespace");
            assert!(namespace.load(&library("guest")).is_ok());
            assert_eq!(opened(), 1);
            // SAFETY: nothing of it is used any more.
            assert!(unsafe { namespace.close() });
            assert_eq!(opened(), 0);
        }
    });
}

#[test]
fn a_closed_namespace_leaves_no_fork_handlers_and_no_keys() {
    alone(|| {
        let before = new_key();
        let open_and_close = || {
            let namespace = Namespace::open(&library("guest"), vec![]).expect("a namespace");
            // SAFETY: nothing of it is used any more.
            assert!(unsafe { namespace.close() });
        };
        // The thread's end is where the destructors of its keys would run.
        thread::scope(|scope| scope.spawn(open_and_close).join().expect("closed"));
        fork_and_exit();
        assert_eq!(new_key(), before, "the first free number");
    });
}

/// The number that the next key gets.
fn new_key() -> libc::pthread_key_t {
    let mut key = 0;
    // SAFETY: a place for the key, which is deleted again.
    unsafe {
        assert_eq!(libc::pthread_key_create(&mut key, None), 0);
        assert_eq!(libc::pthread_key_delete(key), 0);
    }
    key
}

#[test]
fn a_namespace_with_a_library_that_does_not_go_is_not_given_back() {
    alone(|| {
        let probe = Probe::open();
        let name = c"libm.so.6".as_ptr();
        // Nobody closes this handle.
        let handle = call!(probe.open_global(name => *const c_char) -> *mut c_void);
        assert!(!handle.is_null());
        // SAFETY: nothing of it is used any more.
        assert!(!unsafe { probe.namespace.close() });
        assert_eq!(opened(), 1);
    });
}

#[test]
fn a_library_that_cannot_be_loaded_costs_no_namespace() {
    alone(|| {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
        for _ in 0..20 {
            let refused = Namespace::open(&source, vec![]);
            assert!(
                matches!(refused, Err(OpenError::NotAnElf(_))),
                "{refused:?}"
            );
            let refused = Namespace::open(Path::new("/nowhere.so"), vec![]);
            let Err(OpenError::Other(why)) = refused else {
                panic!("{refused:?}");
            };
            assert!(why.contains("/nowhere.so"), "{why}");
        }
        assert_eq!(opened(), 0);
        let probe = Probe::open();
        let refused = probe.load(Path::new("/nowhere.so"));
        assert!(refused.is_err_and(|why| why.contains("/nowhere.so")));
        probe.load(&library("tls")).expect("a library");
    });
}

#[test]
fn namespaces_opened_by_several_threads_at_once_are_different() {
    alone(|| {
        let path = library("probe");
        let open = || {
            let namespace = Namespace::open(&path, vec![]).expect("a namespace");
            (namespace.symbol(c"early").is_none(), namespace)
        };
        let all: Vec<_> = thread::scope(|scope| {
            let threads: Vec<_> = (0..5).map(|_| scope.spawn(open)).collect();
            let opened = threads
                .into_iter()
                .map(|thread| thread.join().expect("opened"));
            opened.map(|(_, namespace)| namespace).collect()
        });
        let mut places: Vec<_> = all.iter().map(|it| it.symbol(c"make_key")).collect();
        places.sort_unstable();
        places.dedup();
        assert_eq!(places.len(), 5);
    });
}

#[test]
fn this_machine_can_have_namespaces() {
    assert_eq!(unsupported(), None);
}
