//! The one map from the engine's errors to Python exceptions: exhaustive, without wildcards.

use std::sync::OnceLock;

use atoll_core::client::{Blocked, End, RecvError, SelectError};
use atoll_py::module::Module;
use atoll_py::{Attached, Borrowed, Owned, Raised, Result, Stored};

use crate::clone;
use crate::module::ModuleState;

/// The classes of `atoll._errors`, as this interpreter imported them.
pub(crate) struct ErrorTypes {
    pub(crate) atoll_error: Stored,
    pub(crate) channel_closed: Stored,
    pub(crate) channel_poisoned: Stored,
    pub(crate) clone_error: Stored,
    pub(crate) host_unavailable: Stored,
    pub(crate) cancellation: Stored,
    of_queues: OnceLock<QueueErrors>,
}

/// The classes that are errors of Python's `queue`, too, whose import is left until one of them is raised.
struct QueueErrors {
    full: Stored,
    empty: Stored,
}

impl ErrorTypes {
    /// Needs: attached. May run Python: yes (imports `atoll._errors`).
    pub(crate) fn import(module: Module<'_, '_, ModuleState>) -> Result<ErrorTypes> {
        let errors = module.py().import(c"atoll._errors")?;
        let class = |name| Ok(errors.borrow().attr(name)?.store());
        Ok(ErrorTypes {
            atoll_error: class(c"AtollError")?,
            channel_closed: class(c"ChannelClosed")?,
            channel_poisoned: class(c"ChannelPoisoned")?,
            clone_error: class(c"CloneError")?,
            host_unavailable: class(c"HostUnavailable")?,
            cancellation: class(c"Cancellation")?,
            of_queues: OnceLock::new(),
        })
    }

    /// Needs: attached. May run Python: yes, the first time.
    fn of_queues(&self, py: Attached<'_>) -> Result<&QueueErrors> {
        if let Some(found) = self.of_queues.get() {
            return Ok(found);
        }
        let errors = py.import(c"atoll._errors")?;
        let found = QueueErrors {
            full: errors.borrow().attr(c"ChannelFull")?.store(),
            empty: errors.borrow().attr(c"ChannelEmpty")?.store(),
        };
        if let Err(second) = self.of_queues.set(found) {
            // Another thread was faster.
            second.full.release(py);
            second.empty.release(py);
        }
        self.of_queues(py)
    }

    pub(crate) fn each_stored(&self, visit: &mut dyn FnMut(&Stored)) {
        let all = [
            &self.atoll_error,
            &self.channel_closed,
            &self.channel_poisoned,
            &self.clone_error,
            &self.host_unavailable,
            &self.cancellation,
        ];
        let of_queues = self.of_queues.get();
        let of_queues = of_queues
            .into_iter()
            .flat_map(|found| [&found.full, &found.empty]);
        all.into_iter().chain(of_queues).for_each(visit);
    }
}

/// Which verb met the error, for its text.
#[derive(Clone, Copy)]
pub(crate) enum Verb {
    /// Putting messages in.
    Send,
    /// Taking messages out.
    Receive,
}

impl Verb {
    const fn words(self) -> &'static str {
        match self {
            Verb::Send => "send to",
            Verb::Receive => "receive from",
        }
    }
}

/// Why a verb on a channel did not happen: the engine's several enums, less what never reaches Python (interruptions, which
/// [`crate::blocking`] deals with).
#[derive(Clone, Copy)]
pub(crate) enum Failure {
    /// No room, from a verb that does not wait.
    Full,
    /// No message, from a verb that does not wait.
    Empty,
    /// Closed (and drained, for a receiver).
    Closed,
    /// Poisoned.
    Poisoned,
    /// The time is up.
    TimedOut,
}

/// What came of one attempt: an answer, or an interruption that somebody has to look into.
pub(crate) enum Met {
    /// The verb failed.
    Failure(Failure),
    /// The wait was interrupted.
    Interrupted,
}

impl From<Blocked> for Met {
    fn from(reason: Blocked) -> Met {
        match reason {
            Blocked::Full => Met::Failure(Failure::Full),
            Blocked::Closed => Met::Failure(Failure::Closed),
            Blocked::Poisoned => Met::Failure(Failure::Poisoned),
            Blocked::TimedOut => Met::Failure(Failure::TimedOut),
            Blocked::Interrupted => Met::Interrupted,
        }
    }
}

impl From<RecvError> for Met {
    fn from(error: RecvError) -> Met {
        match error {
            RecvError::Empty => Met::Failure(Failure::Empty),
            RecvError::Closed => Met::Failure(Failure::Closed),
            RecvError::Poisoned => Met::Failure(Failure::Poisoned),
            RecvError::TimedOut => Met::Failure(Failure::TimedOut),
            RecvError::Interrupted => Met::Interrupted,
        }
    }
}

/// Sets the exception for a verb that failed on `end`.
///
/// Needs: attached. May run Python: yes.
#[cold]
pub(crate) fn raise(
    py: Attached<'_>,
    state: &ModuleState,
    end: &End,
    verb: Verb,
    failure: Failure,
) -> Raised {
    match exception(py, state, end, verb, failure) {
        Ok(exception) => Raised::instance(exception),
        Err(raised) => raised,
    }
}

/// The exception for a verb that failed on `end`, not yet raised, so that the caller can add to it.
///
/// Returns: owned. Needs: attached. May run Python: yes.
#[cold]
pub(crate) fn exception<'py>(
    py: Attached<'py>,
    state: &ModuleState,
    end: &End,
    verb: Verb,
    failure: Failure,
) -> Result<Owned<'py>> {
    let (verb, id) = (verb.words(), end.channel_id());
    let new = |class: Borrowed<'_, 'py>, why: &str| {
        let text = py.string(&format!("cannot {verb} channel {id} ({why}"))?;
        class.call(&[text.borrow()])
    };
    let errors = &state.errors;
    match failure {
        Failure::Full => new(
            errors.of_queues(py)?.full.get(py),
            "it is full); use send() to wait for room",
        ),
        Failure::Empty => new(
            errors.of_queues(py)?.empty.get(py),
            "it is empty); use recv() to wait for a message",
        ),
        Failure::Closed => new(
            errors.channel_closed.get(py),
            "it is closed); make a new channel",
        ),
        Failure::TimedOut => new(
            py.timeout_error(),
            "the timeout passed); give it more time or none",
        ),
        Failure::Poisoned => {
            let reason = match end.poison_reason() {
                Some(reason) if !reason.is_empty() => clone::decode_bytes(py, state, &reason)?,
                Some(_) | None => py.none().to_owned(),
            };
            let shown = match reason.borrow().is_none() {
                true => String::new(),
                false => format!(": {}", reason.borrow().repr()?),
            };
            let text = py.string(&format!(
                "cannot {verb} channel {id} (it was poisoned{shown}); make a new channel"
            ))?;
            errors
                .channel_poisoned
                .get(py)
                .call(&[text.borrow(), reason.borrow()])
        }
    }
}

/// Sets ChannelClosed for an end that was given up with `close()` or a `with` block.
#[cold]
pub(crate) fn raise_given_up(py: Attached<'_>, state: &ModuleState, class: &str) -> Raised {
    let text = format!(
        "cannot use this {class} (its close() was called); take another one from the channel"
    );
    Raised::new(state.errors.channel_closed.get(py), &text)
}

/// Why a select chose no case; an interruption is none of these.
pub(crate) enum NoCase {
    /// Nothing is ready, and the caller does not wait.
    NoneReady,
    /// The time is up.
    TimedOut,
    /// The wait was interrupted.
    Interrupted,
}

impl From<SelectError> for NoCase {
    fn from(error: SelectError) -> NoCase {
        match error {
            SelectError::NoneReady => NoCase::NoneReady,
            SelectError::TimedOut => NoCase::TimedOut,
            SelectError::Interrupted => NoCase::Interrupted,
        }
    }
}
