//! A wait of an event loop: begun, and none of its cases was ready.
//!
//! # Invariants
//! - G1: every end of an [`Answer`] lies in the object that was added with it, or in one that that object keeps; the answer's
//!   references are given back after its ends were left (a class's stored references go after its body).

use std::ffi::CStr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use atoll_core::client::{Begun, Deadline, End, Outcome, Pending, Selected};
use atoll_py::class::{Class, This};
use atoll_py::method::{Getter, Method};
use atoll_py::{Attached, Borrowed, Owned, Raised, Result, Stored};

use crate::channel::InUse;
use crate::clone;
use crate::errors::{self, Failure, Verb};
use crate::module::ModuleState;

/// How the outcome of a wait is told.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// By the value alone.
    Bare,
    /// As `(case, value)`, and errors have their `case`.
    WithCase,
}

/// What a wait is for, and how its outcome becomes an answer to Python.
pub(super) struct Answer {
    /// In the order of the cases (G1).
    ends: Vec<InUse<'static>>,
    cases: Vec<(Stored, Verb)>,
    shape: Shape,
    timer: Option<(Stored, Deadline)>,
    patience: Deadline,
}

impl Answer {
    /// For a wait for one end and for ever.
    pub(super) fn bare() -> Answer {
        Answer {
            ends: Vec::with_capacity(1),
            cases: Vec::with_capacity(1),
            shape: Shape::Bare,
            timer: None,
            patience: Deadline::NEVER,
        }
    }

    /// For a select.
    pub(super) fn with_case(patience: Deadline) -> Answer {
        Answer {
            shape: Shape::WithCase,
            patience,
            ..Answer::bare()
        }
    }

    /// # Safety
    /// `end` lies in `case` or in what that keeps for as long as it lives (G1).
    pub(super) unsafe fn add(&mut self, case: Borrowed<'_, '_>, end: InUse<'_>, verb: Verb) {
        // SAFETY: G1: the object behind `end` is kept by `case`, which is kept here until after the end was left.
        self.ends.push(unsafe { end.outliving() });
        self.cases.push((case.to_owned().store(), verb));
    }

    pub(super) fn set_timer(&mut self, case: Borrowed<'_, '_>, deadline: Deadline) {
        self.timer = Some((case.to_owned().store(), deadline));
    }

    pub(super) fn ends(&self) -> impl Iterator<Item = &End> {
        self.ends.iter().map(|end| &**end)
    }

    /// When to look at the clock.
    fn deadline(&self) -> Deadline {
        let timer = self.timer.as_ref();
        timer.map_or(self.patience, |(_, timer)| timer.earlier(self.patience))
    }

    /// The chosen case's value, or its error.
    pub(super) fn give<'py>(
        &self,
        py: Attached<'py>,
        state: &ModuleState,
        selected: Selected,
    ) -> Result<Owned<'py>> {
        let Selected { index, outcome } = selected;
        let (case, verb) = &self.cases[index];
        let (case, verb) = (case.get(py), *verb);
        let failure = match outcome {
            Outcome::Received(message) => {
                return self.shaped(py, case, clone::decode(py, state, message)?);
            }
            Outcome::Sent => return self.shaped(py, case, py.none().to_owned()),
            Outcome::Closed => Failure::Closed,
            Outcome::Poisoned => Failure::Poisoned,
        };
        let exception = errors::exception(py, state, &self.ends[index], verb, failure)?;
        if self.shape == Shape::WithCase {
            exception.borrow().set_attr(c"case", case)?;
        }
        Err(Raised::instance(exception))
    }

    fn shaped<'py>(
        &self,
        py: Attached<'py>,
        case: Borrowed<'_, 'py>,
        value: Owned<'py>,
    ) -> Result<Owned<'py>> {
        match self.shape {
            Shape::Bare => Ok(value),
            Shape::WithCase => py.tuple([case.to_owned(), value]),
        }
    }

    /// What there is to say when the time is up.
    fn give_time<'py>(&self, py: Attached<'py>) -> Result<Owned<'py>> {
        match &self.timer {
            Some((case, timer)) if *timer <= self.patience => {
                py.tuple([case.get(py).to_owned(), py.none().to_owned()])
            }
            Some(_) | None => Err(py.raise_timeout_error(
                "cannot select a case (none was ready before the timeout); give it more time or none",
            )),
        }
    }

    /// Gives back what it holds, where it does not become part of an object.
    pub(super) fn release(self, py: Attached<'_>) {
        drop(self.ends);
        for (case, _) in self.cases {
            case.release(py);
        }
        if let Some((case, _)) = self.timer {
            case.release(py);
        }
    }

    fn each_stored(&self, visit: &mut dyn FnMut(&Stored)) {
        self.cases.iter().for_each(|(case, _)| visit(case));
        self.timer.iter().for_each(|(case, _)| visit(case));
    }
}

/// See the module's documentation.
pub(super) struct Waiting {
    // Before `answer`: a wait is withdrawn before its ends are left.
    /// `None`: it is over.
    pending: Mutex<Option<Pending>>,
    answer: Answer,
}

type ThisWaiting<'a, 'py> = This<'a, 'py, Waiting>;

impl Waiting {
    pub(super) fn new(pending: Pending, answer: Answer) -> Waiting {
        Waiting {
            pending: Mutex::new(Some(pending)),
            answer,
        }
    }

    fn pending(&self) -> MutexGuard<'_, Option<Pending>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn finish<'py>(this: ThisWaiting<'_, 'py>) -> Result<Owned<'py>> {
        let (py, waiting) = (this.py(), this.body());
        let Some(pending) = waiting.pending().take() else {
            return Err(py.raise_runtime_error(
                "cannot finish a wait twice (it is over); begin another one",
            ));
        };
        match pending.finish() {
            Begun::Chosen(selected) => waiting.answer.give(py, this.state()?, selected),
            Begun::Waits(pending) => {
                *waiting.pending() = Some(pending);
                Waiting::look_at_clock(this)
            }
        }
    }

    /// The wait itself, as long as there is time.
    pub(super) fn look_at_clock<'py>(this: ThisWaiting<'_, 'py>) -> Result<Owned<'py>> {
        let waiting = this.body();
        let deadline = waiting.answer.deadline();
        if !deadline.is_now() && !deadline.has_passed() {
            return Ok(this.object().to_owned());
        }
        let pending = waiting.pending().take();
        match pending.and_then(Pending::cancel) {
            Some(selected) => waiting.answer.give(this.py(), this.state()?, selected),
            None => waiting.answer.give_time(this.py()),
        }
    }

    fn cancel<'py>(this: ThisWaiting<'_, 'py>) -> Result<Owned<'py>> {
        let waiting = this.body();
        let pending = waiting.pending().take();
        match pending.and_then(Pending::cancel) {
            Some(selected) => waiting.answer.give(this.py(), this.state()?, selected),
            None => Ok(this.object().to_owned()),
        }
    }

    fn seconds_left<'py>(this: ThisWaiting<'_, 'py>) -> Result<Owned<'py>> {
        match this.body().answer.deadline().remaining() {
            Some(left) => this.py().float(left.as_secs_f64()),
            None => Ok(this.py().none().to_owned()),
        }
    }
}

impl Class for Waiting {
    type State = ModuleState;
    const NAME: &'static CStr = c"atoll._native.Waiting";
    const DOC: &'static CStr = c"A wait of an event loop. Dropped, it is withdrawn.";
    const METHODS: &'static [Method<Self>] = &[
        Method::without(
            c"finish",
            c"What came of it, once its number was on the list or its time is up; itself if it waits on.",
            Self::finish,
        ),
        Method::without(
            c"cancel",
            c"Stop waiting: itself, or what the other side of a rendezvous has done meanwhile.",
            Self::cancel,
        ),
    Method::END,
    ];
    const GETTERS: &'static [Getter<Self>] = &[
        Getter::new(
            c"seconds_left",
            c"After how long to call finish() in any case; None: never.",
            Self::seconds_left,
        ),
        Getter::END,
    ];
    // Made with its contents and never changed, like a tuple: a cycle through it is broken at another member.
    const HOLDS_OBJECTS: bool = true;

    fn each_stored(&self, visit: &mut dyn FnMut(&Stored)) {
        self.answer.each_stored(visit);
    }
}
