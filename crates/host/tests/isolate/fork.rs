//! Forks in and out of namespaces.

use crate::fixture::{Probe, alone, call, library};
use std::ffi::c_int;
use std::path::Path;

/// The status of a child that ended by `exit(code)`.
const fn exited(code: c_int) -> c_int {
    code << 8
}

#[test]
fn a_child_forked_in_a_namespace_allocates_makes_threads_and_exits() {
    alone(|| {
        let probe = Probe::open();
        for _ in 0..20 {
            assert_eq!(call!(probe.forked_child_status() -> c_int), exited(40));
        }
    });
}

#[test]
fn fork_handlers_of_a_namespace_run_for_forks_on_either_side() {
    alone(|| {
        let probe = Probe::open();
        assert_eq!(call!(probe.watch_forks() -> c_int), 0);
        assert_eq!(call!(probe.forked_child_status() -> c_int), exited(41));
        assert_eq!(call!(probe.forks_seen() -> c_int), 1);
        fork_and_exit();
        assert_eq!(call!(probe.forks_seen() -> c_int), 2);
        let status = call!(probe.child_with_terminal_status() -> c_int);
        if !Path::new("/dev/pts/ptmx").exists() {
            // No terminals here, and the namespace's errno says so.
            assert!(status < 0, "{status}");
            return;
        }
        assert_eq!(status, exited(41));
        assert_eq!(call!(probe.forks_seen() -> c_int), 3);
    });
}

#[test]
fn a_forked_child_opens_a_namespace_of_its_own() {
    alone(|| {
        let _probe = Probe::open();
        let _ = library("tls");
        // SAFETY: this test has one thread more, which holds no lock that the child needs: it waits for this one.
        let child = unsafe { libc::fork() };
        if child == 0 {
            let fine = call_in_new_namespace();
            // SAFETY: ends the process.
            unsafe { libc::_exit(c_int::from(!fine)) };
        }
        assert_eq!(wait_for(child), exited(0));
    });
}

fn call_in_new_namespace() -> bool {
    let probe = Probe::open();
    call!(probe.is_alpha(c_int::from(b'x') => c_int) -> c_int) == 1
}

/// Forks here, in the main namespace.
pub(crate) fn fork_and_exit() {
    // SAFETY: the child does nothing but end.
    let child = unsafe { libc::fork() };
    if child == 0 {
        // SAFETY: ends the process.
        unsafe { libc::_exit(0) };
    }
    assert_eq!(wait_for(child), exited(0));
}

fn wait_for(child: libc::pid_t) -> c_int {
    let mut status = -1;
    // SAFETY: a place for the status.
    assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
    status
}
