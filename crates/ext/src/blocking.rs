//! The one place that waits: every blocking verb comes here after it tried in vain while attached.
//!
//! # Protocol
//! What ends a wait early depends on the thread:
//! - a thread that Atoll started waits with its task's (or, idle, its host's) interrupt; raised, it becomes `atoll.Cancellation`;
//! - another thread of a host's interpreter waits with the host's interrupt, raised when the host closes; then it gets `SystemExit`;
//! - the main thread of the main interpreter waits on a bell, a pipe that Python's C-level signal handler writes to; any signal ends
//!   the wait, Python's handlers run, and if none raised, the wait goes on with the same deadline;
//! - any other thread of the main interpreter waits undisturbed, as Python threads do.
//!
//! No signal is missed: the bell is set as the wake-up descriptor *before* the last look at pending signals, so one that comes after
//! the look rings the bell, and one that came before is handled by the look. Signals that the bell heard are passed on to the
//! descriptor that was set before (asyncio's, say), which is set again before any handler runs.

use std::ffi::c_int;
use std::fs::File;
use std::io::Write;
use std::mem::ManuallyDrop;
use std::os::fd::FromRawFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use atoll_core::client::{Bell, Deadline, HostId, Interrupt, Wait};
use atoll_py::{Attached, Raised, Result, Stored, ffi};

use crate::current::{self, Current};
use crate::module::{ModuleState, engine};

/// What came of one detached attempt.
pub(crate) enum Attempt<T> {
    /// It is over, one way or the other.
    Done(T),
    /// The wait was interrupted and nothing happened: look why, and try again.
    Interrupted,
}

/// Calls `attempt`, detached, until it is done. An error is the exception that ended the wait: KeyboardInterrupt from a signal,
/// Cancellation of the task.
///
/// Needs: attached. May run Python: yes.
pub(crate) fn wait<T: Send>(
    py: Attached<'_>,
    state: &ModuleState,
    deadline: Deadline,
    mut attempt: impl FnMut(&Wait<'_>) -> Attempt<T> + Send,
) -> Result<T> {
    if let Some(current) = current::get() {
        return wait_with_interrupt(
            py,
            state,
            deadline,
            &current.interrupt,
            Some(&current),
            &mut attempt,
        );
    }
    if let Some(interrupt) = &state.signals.host_interrupt() {
        return wait_with_interrupt(py, state, deadline, interrupt, None, &mut attempt);
    }
    if state.signals.arrive_here(py)? {
        return wait_with_bell(py, deadline, &mut attempt);
    }
    loop {
        if let Attempt::Done(done) = py.detach(|| attempt(&Wait::until(deadline))) {
            return Ok(done);
        }
    }
}

fn wait_with_interrupt<T: Send>(
    py: Attached<'_>,
    state: &ModuleState,
    deadline: Deadline,
    interrupt: &Interrupt,
    current: Option<&Current>,
    attempt: &mut (impl FnMut(&Wait<'_>) -> Attempt<T> + Send),
) -> Result<T> {
    loop {
        let met = py.detach(|| {
            attempt(&Wait {
                deadline,
                interrupt: Some(interrupt),
                bell: None,
            })
        });
        match met {
            Attempt::Done(done) => return Ok(done),
            Attempt::Interrupted if interrupt.is_raised() => {
                return Err(raise_cancellation(py, state, current));
            }
            Attempt::Interrupted => {}
        }
    }
}

fn wait_with_bell<T: Send>(
    py: Attached<'_>,
    deadline: Deadline,
    attempt: &mut (impl FnMut(&Wait<'_>) -> Attempt<T> + Send),
) -> Result<T> {
    let bell = bell(py)?;
    loop {
        py.check_signals()?;
        let armed = Armed::new(py, &bell);
        // A signal between the look above and the arming wrote to nobody: look again. Rarely, a handler runs here with the bell as
        // wake-up descriptor; `Armed` respects what it sets.
        py.check_signals()?;
        let met = py.detach(|| {
            attempt(&Wait {
                deadline,
                interrupt: None,
                bell: Some(&bell),
            })
        });
        armed.put_back(matches!(met, Attempt::Interrupted));
        if let Attempt::Done(done) = met {
            return Ok(done);
        }
    }
}

/// Sets the exception for a raised interrupt: `atoll.Cancellation` in a task. A thread of the program's own is told to go as
/// any other is when its interpreter ends, by `SystemExit`, which nobody reports.
#[cold]
fn raise_cancellation(py: Attached<'_>, state: &ModuleState, current: Option<&Current>) -> Raised {
    let Some(current) = current else {
        return py.raise_system_exit("the interpreter is closing");
    };
    let text = match &current.task {
        Some(task) => {
            if task.claim_cancellation() {
                // SAFETY: attached; withdraws the exception that is pending for this very thread, raised here instead.
                unsafe { ffi::PyThreadState_SetAsyncExc(thread_ident(), std::ptr::null_mut()) };
            }
            "the task was cancelled"
        }
        None => "the interpreter is closing",
    };
    Raised::new(state.errors.cancellation.get(py), text)
}

fn thread_ident() -> std::ffi::c_long {
    // SAFETY: asks the operating system; callable at any time.
    unsafe { ffi::PyThread_get_thread_ident() }.cast_signed()
}

/// How the threads of one interpreter notice that they should stop waiting.
pub(crate) struct Signals {
    /// In a host's interpreter: raised when the host closes.
    host_interrupt: Mutex<Option<Interrupt>>,
    /// In the main interpreter: `_thread._get_main_thread_ident`, which is right also in a forked child.
    main_thread_ident: Option<Stored>,
}

impl Signals {
    /// Needs: attached. May run Python: yes.
    pub(crate) fn new(py: Attached<'_>, host: Option<HostId>) -> Result<Signals> {
        let main_thread_ident = match py.in_main_interpreter() {
            true => Some(
                py.import(c"_thread")?
                    .borrow()
                    .attr(c"_get_main_thread_ident")?
                    .store(),
            ),
            false => None,
        };
        Ok(Signals {
            host_interrupt: Mutex::new(host.and_then(|host| engine().host_interrupt(host))),
            main_thread_ident,
        })
    }

    pub(crate) fn each_stored(&self, visit: &mut dyn FnMut(&Stored)) {
        self.main_thread_ident.iter().for_each(visit);
    }

    /// The interpreter is that host from now on.
    pub(crate) fn become_host(&self, host: HostId) {
        let interrupt = engine().host_interrupt(host);
        *self.lock_host_interrupt() = interrupt;
    }

    fn host_interrupt(&self) -> Option<Interrupt> {
        self.lock_host_interrupt().clone()
    }

    fn lock_host_interrupt(&self) -> MutexGuard<'_, Option<Interrupt>> {
        self.host_interrupt
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether Python runs its signal handlers in this thread.
    fn arrive_here(&self, py: Attached<'_>) -> Result<bool> {
        let Some(main_thread_ident) = &self.main_thread_ident else {
            return Ok(false);
        };
        let ident = main_thread_ident.get(py).call(&[])?;
        // SAFETY: attached, a live int.
        let ident = unsafe { ffi::PyLong_AsUnsignedLongLongMask(ident.as_ptr()) };
        // SAFETY: asks the operating system; callable at any time.
        Ok(ident == unsafe { ffi::PyThread_get_thread_ident() })
    }
}

/// The main thread's bell. A forked child makes its own, since it shares the parent's pipe.
fn bell(py: Attached<'_>) -> Result<Arc<Bell>> {
    static BELL: Mutex<Option<(u32, Arc<Bell>)>> = Mutex::new(None);
    let process = std::process::id();
    let mut bell = BELL.lock().unwrap_or_else(PoisonError::into_inner);
    match &*bell {
        Some((owner, bell)) if *owner == process => Ok(Arc::clone(bell)),
        Some(_) | None => {
            let new = Bell::new(engine()).map(Arc::new).map_err(|error| {
                py.raise_runtime_error(&format!(
                    "cannot wait (no pipe for signals: {error}); close some files"
                ))
            })?;
            *bell = Some((process, Arc::clone(&new)));
            Ok(new)
        }
    }
}

/// While it lives, signals ring the bell instead of writing to the descriptor that was set before.
struct Armed<'a, 'py> {
    py: Attached<'py>,
    bell: &'a Bell,
    before: c_int,
    rang: bool,
}

impl<'a, 'py> Armed<'a, 'py> {
    fn new(py: Attached<'py>, bell: &'a Bell) -> Armed<'a, 'py> {
        let before = py.set_signal_wakeup_fd(bell.write_fd());
        if before >= 0 {
            // What the bell heard in earlier waits went to nobody, and is not to go to this descriptor now.
            py.set_signal_wakeup_fd(before);
            let _stale = bell.take_signals();
            py.set_signal_wakeup_fd(bell.write_fd());
        }
        Armed {
            py,
            bell,
            before,
            rang: false,
        }
    }

    /// Ends the arming; `rang` says that a signal ended the wait.
    fn put_back(mut self, rang: bool) {
        self.rang = rang;
    }

    /// Writes signals to the descriptor that was set before.
    fn pass_on(&self, signals: &[u8]) {
        if self.before >= 0 && !signals.is_empty() {
            // SAFETY: an open descriptor of the program, which `ManuallyDrop` leaves open.
            let mut program = ManuallyDrop::new(unsafe { File::from_raw_fd(self.before) });
            // Full or closed meanwhile: then Python's own handler could not have written either.
            let _ = program.write(signals);
        }
    }
}

impl Drop for Armed<'_, '_> {
    fn drop(&mut self) {
        let found = self.py.set_signal_wakeup_fd(self.before);
        if found != self.bell.write_fd() {
            // A handler set another one while the bell was armed: that is now the program's choice.
            self.py.set_signal_wakeup_fd(found);
        }
        // Without anybody to pass them on to, signals may stay in the pipe: the next wait looks once more than it must. That
        // saves a system call in each wait that no signal ended.
        if self.rang || self.before >= 0 {
            self.pass_on(&self.bell.take_signals());
        }
    }
}
