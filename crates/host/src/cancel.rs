//! Throwing cancellations into the threads of running tasks, at a moment when they do no harm.
//!
//! A thrown exception is raised at the thread's next look for such things: at the beginning of a Python function or of a
//! loop's next round. In two places that is wrong:
//!
//! - during an import. The import system's own Python code takes locks and gives them back in separate functions: an
//!   exception between the two leaves a lock taken for ever. And a package whose import breaks off half-way may never be
//!   imported whole again. Whoever throws looks first and comes back later (`Errand::run`); while it looks it holds the
//!   GIL, so the thread cannot move on meanwhile. (Without a GIL it would have to stop it first: there it throws at once.)
//!   A module that goes on for longer than `IMPORT_PATIENCE`, or that stands in the way of a host's end, is broken off
//!   all the same, but not in the part of the import system that takes the locks. In the other part, which looks for files and
//!   reads them, the thread notices the exception before it leaves the function that it is in: it gave the GIL away in a call of
//!   that function.
//! - in a finalizer or a weak reference's callback, where exceptions are reported and dropped. That is noticed when the
//!   exception arrives ([`arrived_in_vain`]), and it is thrown once more, a little later.

use crate::inhabited::Inhabited;
use atoll_core::client::{Deadline, HostId, HostState, Phase, Task, Wait};
use atoll_py::interpreter::throw_into;
use atoll_py::types::Exact;
use atoll_py::{Attached, Borrowed, FREE_THREADED, Owned, Result, ffi};
use std::time::Duration;

/// How long a module may take to be imported before that is taken for the task's own work.
const IMPORT_PATIENCE: Duration = Duration::from_secs(2);
/// How many of a thread's innermost frames are looked at for an import.
const FRAMES_LOOKED_AT: usize = 2_000;
/// How long to let an import go on before looking again, at first. Nothing tells when it is over.
const FIRST_PAUSE: Duration = Duration::from_millis(1);
/// At last.
const LONGEST_PAUSE: Duration = Duration::from_millis(50);
/// How long a task of a closing host may take to clean up before the exception is thrown again, at first. It may have been
/// swallowed, and a host that closes has no time for code that goes on.
const FIRST_GRACE: Duration = Duration::from_millis(200);

/// How long a task may take to notice a thrown exception before its thread's waits are ended once more, at first: the kick
/// may have come just before it fell asleep.
const FIRST_KICK_PAUSE: Duration = Duration::from_millis(2);

/// What is to be done: these tasks of this host are to be cancelled.
pub(crate) struct Errand {
    inhabited: Inhabited,
    host: HostId,
    tasks: Vec<Task>,
    /// The task that runs on the interpreter's owner, if the exception was thrown at it and it has not noticed yet: it may
    /// wait somewhere, and there is a way to end that.
    unnoticed: Option<Unnoticed>,
}

struct Unnoticed {
    task: Task,
    thread: u64,
    pause: Duration,
}

impl Errand {
    pub(crate) fn new(inhabited: Inhabited, host: HostId, tasks: Vec<Task>) -> Self {
        Self {
            inhabited,
            host,
            tasks,
            unnoticed: None,
        }
    }

    /// Throws at every task; comes back for those that were importing, and, while the host closes, for those that go on.
    ///
    /// Needs: detached, on a thread that no interpreter knows.
    pub(crate) fn run(mut self) {
        let mut pause = FIRST_PAUSE;
        let mut grace = FIRST_GRACE;
        let patience = Deadline::after(IMPORT_PATIENCE);
        loop {
            let is_patient = !patience.has_passed() && !self.host_is_closing();
            let Some(all_thrown) = self.visit(is_patient) else {
                return;
            };
            let wait = if !all_thrown {
                pause = (pause * 2).min(LONGEST_PAUSE);
                Deadline::after(pause)
            } else if self.host_is_closing() {
                grace *= 2;
                Deadline::after(grace)
            } else {
                self.kick_until(Deadline::NEVER);
                return;
            };
            self.tasks.retain(|task| !task.is_ended());
            let Some(first) = self.tasks.first().cloned() else {
                return;
            };
            self.kick_until(wait);
            let ended = first.wait(&Wait::until(wait));
            if ended.is_err() && all_thrown {
                for task in &self.tasks {
                    task.request_cancellation();
                }
            }
        }
    }

    fn host_is_closing(&self) -> bool {
        self.inhabited.engine().host_state(self.host) == HostState::Closing
    }

    /// Ends the waits of the owner's thread until its task has noticed, or until `deadline`.
    fn kick_until(&mut self, deadline: Deadline) {
        while let Some(unnoticed) = &mut self.unnoticed {
            let Some(kick) = self.inhabited.kick_for(unnoticed.thread) else {
                return;
            };
            kick();
            let pause = Deadline::after(unnoticed.pause).earlier(deadline);
            unnoticed.pause = (unnoticed.pause * 2).min(LONGEST_PAUSE);
            match unnoticed.task.wait_cancelled(&Wait::until(pause)) {
                Ok(()) => self.unnoticed = None,
                Err(_) if deadline.has_passed() => return,
                Err(_) => {}
            }
        }
    }

    /// Enters the interpreter and throws wherever it can be done now. `None`: the interpreter is gone.
    fn visit(&mut self, is_patient: bool) -> Option<bool> {
        let visitor = self.inhabited.engine().visit_host(self.host)?;
        // SAFETY: the host, and so its interpreter, lives as long as `visitor`, which outlives the visit (S1 of `inhabited`).
        let visit = unsafe { self.inhabited.interpreter().enter() };
        let thrown = self
            .throw(visit.attached(), is_patient)
            .unwrap_or_else(|raised| {
                raised.write_unraisable(None);
                true
            });
        drop(visit);
        drop(visitor);
        Some(thrown)
    }

    fn throw(&mut self, py: Attached<'_>, is_patient: bool) -> Result<bool> {
        let class = py.import(c"atoll._native")?;
        let class = class.borrow().attr(c"CancellationArrives")?;
        // From here on only C code runs, so the GIL stays here and the other threads where they are.
        let mut all_thrown = true;
        for task in &self.tasks {
            if let Phase::Running(thread) = task.phase()
                && self.is_importing(py, thread, is_patient)?
            {
                all_thrown = false;
                continue;
            }
            let mut thrown_at = None;
            task.throw_cancellation(|thread| {
                // SAFETY: the class is alive. A thread that is gone has no task (the task's invariant T2).
                unsafe { throw_into(py, thread, class.as_ptr()) };
                thrown_at = Some(thread);
            });
            if let Some(thread) = thrown_at
                && self.inhabited.kick_for(thread).is_some()
            {
                self.unnoticed = Some(Unnoticed {
                    task: task.clone(),
                    thread,
                    pause: FIRST_KICK_PAUSE,
                });
            }
        }
        Ok(all_thrown)
    }

    /// Whether a thread that runs a task is in the middle of an import; without patience, of taking an import's locks.
    fn is_importing(&self, py: Attached<'_>, thread: u64, is_patient: bool) -> Result<bool> {
        if FREE_THREADED {
            return Ok(false);
        }
        let Some(state) = self.inhabited.state_of(thread) else {
            return Ok(false);
        };
        // SAFETY: the thread runs a task, so it has not left its state; this thread holds the GIL.
        let innermost = unsafe { state.frame(py) };
        for frame in Innermost::from(innermost) {
            let code = Code::of(frame?.borrow())?;
            if !is_patient {
                return Ok(code.locks_imports());
            }
            if code.imports() {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// Whether a cancellation that arrives on this thread now is lost there, and has to be thrown again: in a finalizer, in the
/// hook that reports what finalizers raise, in the import system's callback for locks that are gone.
///
/// Needs: attached, at the moment when the exception is about to be raised. May run Python: no.
pub fn arrived_in_vain(py: Attached<'_>) -> Result<bool> {
    // SAFETY: attached; the frame is borrowed from the thread, which is in this call meanwhile; null if there is none.
    let frame = unsafe { ffi::PyEval_GetFrame() };
    // SAFETY: not null, and alive as told.
    let frame =
        (!frame.is_null()).then(|| unsafe { Borrowed::from_ptr(py, frame.cast()) }.to_owned());
    let hook = py.import(c"sys")?.borrow().attr(c"unraisablehook")?;
    // The usual hook is written in C, and has none.
    let hook = hook
        .borrow()
        .attr(c"__code__")
        .map_err(|raised| raised.clear(py))
        .ok();
    for frame in Innermost::from(frame) {
        let frame = frame?;
        let code = frame.borrow().attr(c"f_code")?;
        let is_hook = hook
            .as_ref()
            .is_some_and(|hook| hook.borrow().is(code.borrow()));
        let code = Code::of(frame.borrow())?;
        if is_hook || code.name == "__del__" || (code.imports() && code.name == "cb") {
            return Ok(true);
        }
    }
    Ok(false)
}

/// A frame, the one that called it, and so on, up to [`FRAMES_LOOKED_AT`].
struct Innermost<'py> {
    next: Option<Owned<'py>>,
    left: usize,
}

impl<'py> From<Option<Owned<'py>>> for Innermost<'py> {
    fn from(innermost: Option<Owned<'py>>) -> Self {
        Self {
            next: innermost,
            left: FRAMES_LOOKED_AT,
        }
    }
}

impl<'py> Iterator for Innermost<'py> {
    type Item = Result<Owned<'py>>;

    fn next(&mut self) -> Option<Self::Item> {
        let frame = self.next.take()?;
        self.left = self.left.checked_sub(1)?;
        match frame.borrow().attr(c"f_back") {
            Ok(back) => self.next = (!back.borrow().is_none()).then_some(back),
            Err(raised) => return Some(Err(raised)),
        }
        Some(Ok(frame))
    }
}

/// What a frame executes.
struct Code {
    file: String,
    name: String,
}

impl Code {
    fn of(frame: Borrowed<'_, '_>) -> Result<Self> {
        let code = frame.attr(c"f_code")?;
        Ok(Self {
            file: text_of(code.borrow().attr(c"co_filename")?)?,
            name: text_of(code.borrow().attr(c"co_name")?)?,
        })
    }

    fn imports(&self) -> bool {
        self.file.starts_with("<frozen importlib.")
    }

    fn locks_imports(&self) -> bool {
        self.file == "<frozen importlib._bootstrap>"
    }
}

fn text_of(object: Owned<'_>) -> Result<String> {
    match Exact::of(object.borrow()) {
        Exact::Text(_) => object.borrow().utf8_lossy(),
        _ => Ok(String::new()),
    }
}
