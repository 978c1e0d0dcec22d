//! The last moments of a process that has isolates.
//!
//! When `exit` runs, the loader runs the exit code of every library in every namespace: OpenBLAS joins its threads, C++ destroys
//! what its statics hold. That ends well if all threads of the isolates keep still by then: each owner thread holds its
//! interpreter's GIL for good, so whatever else ran in there comes to rest at the next bytecode or at the return from C code. If it
//! does not come to rest in time, the process leaves with its own exit code but without that exit code of the libraries; and
//! should that hang for a reason of its own, a watchdog ends it.

use std::ffi::{c_int, c_void};
use std::fs;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// How long threads in C code get to come back from it.
const PATIENCE: Duration = Duration::from_millis(500);
/// How often to look whether they have. Nothing tells.
const LOOK: Duration = Duration::from_millis(5);
/// How long the exit code of all libraries may take.
const WATCH: Duration = Duration::from_secs(5);

/// Leave at once when `exit` is called, since threads run on in some isolate.
static HURRIED: AtomicBool = AtomicBool::new(false);
/// The process that this is for: a child forked later exits as it likes.
static PROCESS: AtomicU32 = AtomicU32::new(0);
/// The exit code, once `exit` has been called.
static LEAVING: Mutex<Option<c_int>> = Mutex::new(None);
static LEFT: Condvar = Condvar::new();

unsafe extern "C" {
    /// glibc's `atexit` that tells the exit code. Not declared by the libc crate.
    fn on_exit(function: unsafe extern "C" fn(c_int, *mut c_void), argument: *mut c_void) -> c_int;
}

/// To be called when the isolates have been put to rest, and no Python code of the main interpreter is to follow but its own end.
/// `at_rest`: all of them keep still.
pub(super) fn prepare(at_rest: bool) {
    let is_quiet = at_rest && wait_quiet(PATIENCE);
    HURRIED.store(!is_quiet, Ordering::Release);
    PROCESS.store(std::process::id(), Ordering::Release);
    // SAFETY: the function is code of this library, which is never unloaded.
    unsafe { on_exit(leave, std::ptr::null_mut()) };
    // Without a thread to be had there is no watchdog.
    let _ = thread::Builder::new()
        .name("atoll-exit".to_owned())
        .spawn(watch);
}

/// `exit` was called; it calls this before it runs the exit code of the libraries.
unsafe extern "C" fn leave(status: c_int, _: *mut c_void) {
    if PROCESS.load(Ordering::Acquire) != std::process::id() {
        return;
    }
    *LEAVING.lock().unwrap_or_else(PoisonError::into_inner) = Some(status);
    LEFT.notify_all();
    if HURRIED.load(Ordering::Acquire) {
        // SAFETY: writes out what C code has printed; then the process is gone.
        unsafe {
            libc::fflush(std::ptr::null_mut());
            libc::_exit(status);
        }
    }
}

/// Ends the process if `exit` does not.
fn watch() {
    let mut leaving = LEAVING.lock().unwrap_or_else(PoisonError::into_inner);
    let status = loop {
        match *leaving {
            Some(status) => break status,
            None => leaving = LEFT.wait(leaving).unwrap_or_else(PoisonError::into_inner),
        }
    };
    drop(leaving);
    pause(WATCH);
    // SAFETY: the process is gone.
    unsafe { libc::_exit(status) }
}

/// Waits until no other thread runs; twice in a row, as a thread may be on its way from one sleep to the next.
fn wait_quiet(patience: Duration) -> bool {
    let end = Instant::now() + patience;
    let mut quiet = 0;
    loop {
        quiet = if runs_another() { 0 } else { quiet + 1 };
        if quiet == 2 {
            return true;
        }
        if Instant::now() >= end {
            return false;
        }
        pause(LOOK);
    }
}

/// Waits for that time, whatever happens: nothing tells what is waited for.
fn pause(time: Duration) {
    let end = Instant::now() + time;
    while let Some(rest) = end.checked_duration_since(Instant::now()) {
        thread::park_timeout(rest);
    }
}

/// Whether a thread of this process but the calling one is running, or waits for a processor.
fn runs_another() -> bool {
    // SAFETY: no preconditions.
    let own = unsafe { libc::gettid() }.to_string();
    let Ok(threads) = fs::read_dir("/proc/self/task") else {
        return false;
    };
    threads.flatten().any(|thread| {
        thread.file_name().to_string_lossy() != own
            && fs::read_to_string(thread.path().join("stat"))
                .is_ok_and(|stat| state_of(&stat) == Some('R'))
    })
}

/// The state's letter in a line of `/proc/…/stat`, which follows the name in parentheses.
fn state_of(stat: &str) -> Option<char> {
    stat.rsplit_once(") ")?.1.chars().next()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn a_threads_state_is_found_behind_any_name() {
        assert_eq!(state_of("12 (a) R) S 1 2 3"), Some('S'));
        assert_eq!(state_of("12 (python) R 1 2 3"), Some('R'));
        assert_eq!(state_of(""), None);
    }

    #[test]
    fn a_thread_that_computes_is_not_quiet() {
        let stop = Arc::new(AtomicBool::new(false));
        let busy = thread::spawn({
            let stop = stop.clone();
            move || while !stop.load(Ordering::Relaxed) {}
        });
        assert!(!wait_quiet(Duration::from_millis(50)));
        stop.store(true, Ordering::Relaxed);
        busy.join().unwrap();
    }
}
