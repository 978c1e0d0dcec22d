//! One set of threads and keys for all namespaces.

use crate::fixture::{Probe, Symbols, alone, call};
use std::cell::Cell;
use std::ffi::{c_int, c_uint, c_void};
use std::ptr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;

type Call = extern "C" fn();
type Destructor = extern "C" fn(*mut c_void);

#[test]
fn keys_of_two_namespaces_and_of_main_are_different_and_hold_different_values() {
    alone(|| {
        let (one, other) = (Probe::open(), Probe::open());
        let mut main: libc::pthread_key_t = 0;
        // SAFETY: a place for the key.
        assert_eq!(unsafe { libc::pthread_key_create(&mut main, None) }, 0);
        let in_one = call!(one.make_key(ptr::null_mut() => *mut c_void) -> c_int) as c_uint;
        let in_other = call!(other.make_key(ptr::null_mut() => *mut c_void) -> c_int) as c_uint;
        assert!(main != in_one && main != in_other && in_one != in_other);

        let value = |number: usize| ptr::without_provenance_mut::<c_void>(number);
        // SAFETY: a key of ours.
        assert_eq!(unsafe { libc::pthread_setspecific(main, value(1)) }, 0);
        assert_eq!(
            call!(one.set_key(in_one => c_uint, value(2) => *mut c_void) -> c_int),
            0
        );
        assert_eq!(
            call!(other.set_key(in_other => c_uint, value(3) => *mut c_void) -> c_int),
            0
        );
        // SAFETY: a key of ours.
        assert_eq!(unsafe { libc::pthread_getspecific(main) }, value(1));
        assert_eq!(
            call!(one.get_key(in_one => c_uint) -> *mut c_void),
            value(2)
        );
        assert_eq!(
            call!(other.get_key(in_other => c_uint) -> *mut c_void),
            value(3)
        );
    });
}

#[test]
fn a_key_s_destructor_runs_at_the_end_of_a_thread_of_the_namespace() {
    static DESTROYED: AtomicUsize = AtomicUsize::new(0);
    extern "C" fn destroy(value: *mut c_void) {
        DESTROYED.fetch_add(value.addr(), Ordering::SeqCst);
    }
    static KEY: AtomicUsize = AtomicUsize::new(0);
    extern "C" fn set() {
        // SAFETY: a key that the test has made.
        unsafe {
            libc::pthread_setspecific(
                KEY.load(Ordering::SeqCst) as libc::pthread_key_t,
                ptr::without_provenance(7),
            )
        };
    }
    alone(|| {
        let probe = Probe::open();
        let key = call!(probe.make_key(destroy => Destructor) -> c_int);
        KEY.store(key as usize, Ordering::SeqCst);
        assert_eq!(call!(probe.on_thread(set => Call) -> c_int), 0);
        assert_eq!(DESTROYED.load(Ordering::SeqCst), 7);
    });
}

#[test]
fn thread_locals_of_both_sides_are_dropped_at_the_end_of_a_thread_of_the_namespace() {
    static DROPPED: AtomicUsize = AtomicUsize::new(0);
    extern "C" fn destroy(value: *mut c_void) {
        DROPPED.fetch_add(value.addr(), Ordering::SeqCst);
    }
    struct Counted(Cell<usize>);
    impl Drop for Counted {
        fn drop(&mut self) {
            DROPPED.fetch_add(self.0.get(), Ordering::SeqCst);
        }
    }
    thread_local!(static LOCAL: Counted = const { Counted(Cell::new(0)) });
    extern "C" fn set() {
        LOCAL.with(|local| local.0.set(7));
    }
    alone(|| {
        let probe = Probe::open();
        assert_eq!(
            call!(probe.thread_with_destructor(destroy => Destructor) -> c_int),
            0
        );
        assert_eq!(DROPPED.swap(0, Ordering::SeqCst), 5);
        assert_eq!(call!(probe.on_thread(set => Call) -> c_int), 0);
        assert_eq!(DROPPED.swap(0, Ordering::SeqCst), 7);
        assert_eq!(call!(probe.on_c11_thread(set => Call) -> c_int), 11);
        assert_eq!(DROPPED.load(Ordering::SeqCst), 7);
    });
}

#[test]
fn ctype_works_for_both_sides_on_threads_of_either() {
    static SEEN: AtomicUsize = AtomicUsize::new(0);
    extern "C" fn classify() {
        // SAFETY: any character.
        SEEN.store(
            unsafe { libc::isalpha(c_int::from(b'x')) } as usize,
            Ordering::SeqCst,
        );
    }
    alone(|| {
        let probe = Probe::open();
        let is_alpha = || call!(probe.is_alpha(c_int::from(b'x') => c_int) -> c_int);
        assert_eq!(is_alpha(), 1, "on the thread that opened the namespace");
        assert_eq!(call!(probe.on_thread(classify => Call) -> c_int), 0);
        assert_ne!(SEEN.load(Ordering::SeqCst), 0);
        thread::scope(|scope| {
            scope.spawn(|| {
                probe.enter_thread();
                assert_eq!(is_alpha(), 1, "on a thread of the main namespace");
            });
        });
        assert_eq!(call!(probe.on_c11_thread(classify => Call) -> c_int), 11);
    });
}

#[test]
fn threads_of_a_namespace_can_be_left_by_pthread_exit_and_cancelled() {
    alone(|| {
        let probe = Probe::open();
        let value = ptr::without_provenance_mut::<c_void>(9);
        let left = call!(probe.left_by_exit(value => *mut c_void) -> *mut c_void);
        assert_eq!(left, value);
        assert_eq!(call!(probe.cancelled() -> c_int), 1);
    });
}

#[test]
fn a_refused_change_of_groups_sets_the_namespace_s_errno() {
    alone(|| {
        let probe = Probe::open();
        let errno = call!(probe.too_many_groups() -> c_int);
        assert!(matches!(errno, libc::EINVAL | libc::EPERM), "{errno}");
    });
}

#[test]
fn ids_can_be_changed_in_a_namespace_while_main_has_threads() {
    alone(|| {
        let probe = Probe::open();
        let (done, wait) = mpsc::channel::<()>();
        thread::scope(|scope| {
            scope.spawn(move || wait.recv());
            let errno = call!(probe.change_ids() -> c_int);
            // Only root may.
            assert!(matches!(errno, 0 | libc::EPERM), "{errno}");
            drop(done);
        });
    });
}

#[test]
fn a_thread_that_cannot_be_made_is_reported() {
    extern "C" fn body(argument: *mut c_void) -> *mut c_void {
        argument
    }
    alone(|| {
        let probe = Probe::open();
        type Create = unsafe extern "C" fn(
            *mut libc::pthread_t,
            *const libc::pthread_attr_t,
            extern "C" fn(*mut c_void) -> *mut c_void,
            *mut c_void,
        ) -> c_int;
        // SAFETY: attributes are made before use; the function has this type; a stack of this size is nowhere to be had.
        let result = unsafe {
            let create: Create = probe.function(c"pthread_create");
            let mut attributes = std::mem::zeroed();
            libc::pthread_attr_init(&mut attributes);
            libc::pthread_attr_setstacksize(&mut attributes, 1 << 60);
            let mut thread = 0;
            create(&mut thread, &attributes, body, ptr::null_mut())
        };
        assert_eq!(result, libc::EAGAIN);
    });
}
