//! Many messages per call: `send_many` and `recv_many`.
//!
//! The items of a list or tuple are there already, so they are published a chunk at a time; what an iterator produces goes out at
//! once, one by one, so that a slow producer never holds back what it has made.

use atoll_core::client::{Deadline, End, Message, RecvError, Wait};
use atoll_py::class::This;
use atoll_py::types::{Exact, List, Tuple};
use atoll_py::{
    Arguments, Attached, Borrowed, FREE_THREADED, Owned, Raised, Result, Signature, ffi,
};

use super::verbs::refuse;
use super::{Holder, enter, parameters};
use crate::blocking::{self, Attempt};
use crate::clone;
use crate::errors::{self, Failure, Met, Verb};
use crate::module::ModuleState;

/// Messages published at a time.
const CHUNK: usize = 64;
/// Messages taken at a time, at most.
const LARGEST_TAKE: usize = 1024;

/// `send_many(iterable, timeout=None)`
pub(super) fn send_many<'a, 'py, T: Holder>(
    this: This<'a, 'py, T>,
    arguments: Arguments<'a, 'py>,
) -> Result<Owned<'py>> {
    const SIGNATURE: Signature<2> = Signature {
        function: "send_many",
        parameters: ["iterable", "timeout"],
        required: 1,
        positional: 2,
    };
    let py = this.py();
    let [iterable, timeout] = arguments.parse(py, &SIGNATURE)?;
    let iterable = iterable.unwrap_or(py.none());
    let deadline = parameters::deadline(py, timeout)?;
    let end = enter(this)?;
    let mut batch = Batch {
        py,
        state: this.state()?,
        end: &end,
        deadline,
        pending: Vec::new(),
        taken: 0,
        sent: 0,
    };
    match Exact::of(iterable) {
        Exact::List(list) => batch.send_list(list)?,
        Exact::Tuple(tuple) => batch.send_tuple(tuple)?,
        _ => batch.send_iterated(iterable)?,
    }
    py.uint(batch.sent)
}

/// Messages on their way out, and how many made it.
struct Batch<'a, 'py> {
    py: Attached<'py>,
    state: &'a ModuleState,
    end: &'a End,
    deadline: Deadline,
    /// Encoded, not yet sent.
    pending: Vec<Message>,
    /// Items looked at.
    taken: usize,
    /// Messages sent.
    sent: u64,
}

impl Batch<'_, '_> {
    fn send_list(&mut self, list: List<'_, '_>) -> Result<()> {
        self.pending.reserve(list.len().min(CHUNK));
        loop {
            if FREE_THREADED {
                // SAFETY: attached, a list.
                let length = unsafe { ffi::PyList_Size(list.as_object().as_ptr()) }.cast_unsigned();
                if self.taken >= length {
                    break;
                }
                // SAFETY: as above; past the end (the list shrank meanwhile) it is null with IndexError set.
                let item = unsafe {
                    ffi::PyList_GetItemRef(list.as_object().as_ptr(), self.taken.cast_signed())
                };
                // SAFETY: the result of that call.
                match unsafe { Owned::from_result(self.py, item) } {
                    Ok(item) => self.add(item.borrow())?,
                    Err(raised) => {
                        raised.clear(self.py);
                        break;
                    }
                }
            } else {
                // The list may change whenever the thread was detached (in `add`, when the channel is full): look anew each time.
                // SAFETY: encoding runs no Python code and keeps the thread attached, so the item outlives its use.
                let Some(item) = (unsafe { list.items() }).get(self.taken).copied() else {
                    break;
                };
                self.add(item)?;
            }
        }
        self.flush()
    }

    fn send_tuple(&mut self, tuple: Tuple<'_, '_>) -> Result<()> {
        self.pending.reserve(tuple.len().min(CHUNK));
        // SAFETY: a tuple that a caller passes is complete.
        for item in unsafe { tuple.items() } {
            self.add(*item)?;
        }
        self.flush()
    }

    fn send_iterated(&mut self, iterable: Borrowed<'_, '_>) -> Result<()> {
        let iterator = iterable.iter()?;
        while let Some(item) = iterator.borrow().next()? {
            self.add(item.borrow())?;
            self.flush()?;
        }
        Ok(())
    }

    /// Encodes an item; publishes the chunk that it fills.
    #[inline]
    fn add(&mut self, item: Borrowed<'_, '_>) -> Result<()> {
        match clone::encode(self.py, self.state, item, "item") {
            Ok(message) => self.pending.push(message),
            Err(raised) => return Err(self.refuse_item(item, raised)),
        }
        self.taken += 1;
        if self.pending.len() < CHUNK {
            return Ok(());
        }
        self.flush()
    }

    /// Publishes what is encoded.
    #[inline]
    fn flush(&mut self) -> Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let before = self.pending.len();
        let result = self
            .end
            .send_batch(&mut self.pending, &Wait::until(Deadline::NOW));
        self.sent += (before - self.pending.len()) as u64;
        match result.map_err(|error| Met::from(error.reason)) {
            Ok(()) => Ok(()),
            Err(Met::Failure(Failure::Full)) => self.flush_later(),
            Err(met) => Err(self.fail(met)),
        }
    }

    #[cold]
    fn flush_later(&mut self) -> Result<()> {
        if self.deadline.is_now() {
            return Err(self.fail(Met::Failure(Failure::TimedOut)));
        }
        let before = self.pending.len();
        let (end, pending) = (self.end, &mut self.pending);
        let outcome = blocking::wait(self.py, self.state, self.deadline, |wait| {
            match end
                .send_batch(pending, wait)
                .map_err(|error| Met::from(error.reason))
            {
                Ok(()) => Attempt::Done(Ok(())),
                Err(Met::Failure(failure)) => Attempt::Done(Err(failure)),
                Err(Met::Interrupted) => Attempt::Interrupted,
            }
        });
        self.sent += (before - self.pending.len()) as u64;
        outcome?.map_err(|failure| self.fail(Met::Failure(failure)))
    }

    /// Raises for an item that does not cross, naming it by its index; what came before it is sent first.
    #[cold]
    fn refuse_item(&mut self, item: Borrowed<'_, '_>, raised: Raised) -> Raised {
        raised.clear(self.py);
        let root = format!("items[{}]", self.taken);
        let refusal = match clone::encode(self.py, self.state, item, &root) {
            Err(raised) => raised.take(self.py),
            // It changed between the two looks, under another thread: still an error, there is no telling what it is now.
            Ok(_) => self
                .py
                .raise_runtime_error(&format!(
                    "cannot send {root} (it changed while it was sent); do not share it"
                ))
                .take(self.py),
        };
        if let Err(raised) = self.flush() {
            return raised;
        }
        self.with_count(refusal)
    }

    #[cold]
    fn fail(&self, met: Met) -> Raised {
        let raised = refuse(self.py, self.state, self.end, Verb::Send, met);
        self.with_count(raised.take(self.py))
    }

    /// Raises `exception` with its `sent` set.
    fn with_count(&self, exception: Owned<'_>) -> Raised {
        let added = self
            .py
            .uint(self.sent)
            .and_then(|count| exception.borrow().set_attr(c"sent", count.borrow()));
        match added {
            Ok(()) => Raised::instance(exception),
            Err(raised) => raised,
        }
    }
}

/// `recv_many(max, timeout=None)`
pub(super) fn recv_many<'a, 'py, T: Holder>(
    this: This<'a, 'py, T>,
    arguments: Arguments<'a, 'py>,
) -> Result<Owned<'py>> {
    const SIGNATURE: Signature<2> = Signature {
        function: "recv_many",
        parameters: ["max", "timeout"],
        required: 1,
        positional: 2,
    };
    let py = this.py();
    let [max, timeout] = arguments.parse(py, &SIGNATURE)?;
    let max = parameters::most(py, max.unwrap_or(py.none()))?;
    let deadline = parameters::deadline(py, timeout)?;
    let state = this.state()?;
    let end = enter(this)?;

    let mut messages = Vec::new();
    match take_ready(&end, &mut messages, max) {
        Ok(()) => {}
        Err(RecvError::Empty) => {
            if let Err(failure) = take_later(py, state, &end, &mut messages, max, deadline)? {
                return Err(errors::raise(py, state, &end, Verb::Receive, failure));
            }
        }
        Err(refused) => return Err(refuse(py, state, &end, Verb::Receive, refused.into())),
    }
    let list = List::create_unfilled(py, messages.len())?;
    // SAFETY: just made as a list.
    let places = unsafe { List::from_object(list.borrow()) };
    for (index, message) in messages.into_iter().enumerate() {
        let value = clone::decode(py, state, message)?;
        // SAFETY: as many places as messages, each filled once.
        unsafe { places.put_new(index, value) };
    }
    Ok(list)
}

/// Takes what is there, up to `max`; an error only if nothing is.
fn take_ready(
    end: &End,
    messages: &mut Vec<Message>,
    max: usize,
) -> std::result::Result<(), RecvError> {
    loop {
        let take = (max - messages.len()).min(LARGEST_TAKE);
        match end.recv_batch(messages, take, &Wait::until(Deadline::NOW)) {
            Ok(taken) if taken == take && messages.len() < max => {}
            Ok(_) => return Ok(()),
            // What was taken is good; the next call meets the error.
            Err(_) if !messages.is_empty() => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

/// Waits for the first message, and takes what is there then. The inner error is the channel's.
#[cold]
fn take_later(
    py: Attached<'_>,
    state: &ModuleState,
    end: &End,
    messages: &mut Vec<Message>,
    max: usize,
    deadline: Deadline,
) -> Result<std::result::Result<(), Failure>> {
    if deadline.is_now() {
        return Ok(Err(Failure::TimedOut));
    }
    let take = max.min(LARGEST_TAKE);
    blocking::wait(py, state, deadline, |wait| {
        match end.recv_batch(messages, take, wait).map_err(Met::from) {
            Ok(_) => Attempt::Done(Ok(())),
            Err(Met::Failure(failure)) => Attempt::Done(Err(failure)),
            Err(Met::Interrupted) => Attempt::Interrupted,
        }
    })
}
