//! One message in, one message out: the verbs of the three classes.
//!
//! Each tries while attached, which touches neither the heap nor the GIL; only where there is no room or no message does it detach
//! and wait.

use atoll_core::client::{Deadline, End, Message, RecvError, Role, SendError};
use atoll_py::class::This;
use atoll_py::{Arguments, Attached, Borrowed, Owned, Result, Signature};

use super::{Holder, enter, parameters, stats, wrap};
use crate::blocking::{self, Attempt};
use crate::clone;
use crate::errors::{self, Failure, Met, Verb};
use crate::module::ModuleState;
use crate::select::SendCase;

/// What an uncloneable message is called in errors: `cannot clone message.x (...)`.
pub(super) const ROOT: &str = "message";

/// `send(value, timeout=None)`
#[inline]
pub(super) fn send<'a, 'py, T: Holder>(
    this: This<'a, 'py, T>,
    arguments: Arguments<'a, 'py>,
) -> Result<Owned<'py>> {
    const SIGNATURE: Signature<2> = Signature {
        function: "send",
        parameters: ["value", "timeout"],
        required: 1,
        positional: 2,
    };
    if let Some(value) = arguments.only() {
        return put(this, value, Deadline::NEVER);
    }
    let py = this.py();
    let [value, timeout] = arguments.parse(py, &SIGNATURE)?;
    let deadline = parameters::deadline(py, timeout)?;
    put(this, value.unwrap_or(py.none()), deadline)
}

#[inline(always)]
fn put<'a, 'py, T: Holder>(
    this: This<'a, 'py, T>,
    value: Borrowed<'a, 'py>,
    deadline: Deadline,
) -> Result<Owned<'py>> {
    let py = this.py();
    let state = this.state()?;
    let message = clone::encode(py, state, value, ROOT)?;
    let end = enter(this)?;
    match end.try_send(message) {
        Ok(()) => {}
        Err(SendError::Full(message)) => send_later(py, state, &end, message, deadline)?,
        Err(refused) => return Err(refuse(py, state, &end, Verb::Send, refused.reason().into())),
    }
    Ok(py.none().to_owned())
}

/// Waits for room and sends.
#[cold]
pub(super) fn send_later(
    py: Attached<'_>,
    state: &ModuleState,
    end: &End,
    message: Message,
    deadline: Deadline,
) -> Result<()> {
    if deadline.is_now() {
        return Err(errors::raise(py, state, end, Verb::Send, Failure::TimedOut));
    }
    let mut pending = Some(message);
    let outcome = blocking::wait(py, state, deadline, |wait| {
        let Some(message) = pending.take() else {
            return Attempt::Done(Ok(()));
        };
        match end.send(message, wait) {
            Ok(()) => Attempt::Done(Ok(())),
            Err(SendError::Interrupted(message)) => {
                pending = Some(message);
                Attempt::Interrupted
            }
            Err(refused) => Attempt::Done(Err(refused.reason())),
        }
    })?;
    outcome.map_err(|reason| refuse(py, state, end, Verb::Send, reason.into()))
}

/// `send_nowait(value)`
pub(super) fn send_nowait<'a, 'py, T: Holder>(
    this: This<'a, 'py, T>,
    value: Borrowed<'a, 'py>,
) -> Result<Owned<'py>> {
    let py = this.py();
    let state = this.state()?;
    let message = clone::encode(py, state, value, ROOT)?;
    let end = enter(this)?;
    match end.try_send(message) {
        Ok(()) => Ok(py.none().to_owned()),
        Err(refused) => Err(refuse(py, state, &end, Verb::Send, refused.reason().into())),
    }
}

/// `recv(timeout=None)`
#[inline]
pub(super) fn recv<'a, 'py, T: Holder>(
    this: This<'a, 'py, T>,
    arguments: Arguments<'a, 'py>,
) -> Result<Owned<'py>> {
    const SIGNATURE: Signature<1> = Signature {
        function: "recv",
        parameters: ["timeout"],
        required: 0,
        positional: 1,
    };
    let py = this.py();
    let deadline = if arguments.is_empty() {
        Deadline::NEVER
    } else {
        let [timeout] = arguments.parse(py, &SIGNATURE)?;
        parameters::deadline(py, timeout)?
    };
    let state = this.state()?;
    let end = enter(this)?;
    match end.try_recv() {
        Ok(message) => clone::decode(py, state, message),
        Err(RecvError::Empty) => match recv_later(py, state, &end, deadline)? {
            Ok(message) => clone::decode(py, state, message),
            Err(failure) => Err(errors::raise(py, state, &end, Verb::Receive, failure)),
        },
        Err(refused) => Err(refuse(py, state, &end, Verb::Receive, refused.into())),
    }
}

/// `next(channel)`: as `recv()`, but the end of the conversation ends the iteration.
#[inline]
pub(super) fn next<'a, 'py, T: Holder>(this: This<'a, 'py, T>) -> Result<Option<Owned<'py>>> {
    let py = this.py();
    let state = this.state()?;
    let end = enter(this)?;
    let received = match end.try_recv() {
        Ok(message) => return clone::decode(py, state, message).map(Some),
        Err(RecvError::Empty) => recv_later(py, state, &end, Deadline::NEVER)?,
        Err(RecvError::Closed) => Err(Failure::Closed),
        Err(refused) => return Err(refuse(py, state, &end, Verb::Receive, refused.into())),
    };
    match received {
        Ok(message) => clone::decode(py, state, message).map(Some),
        Err(Failure::Closed) => Ok(None),
        Err(failure) => Err(errors::raise(py, state, &end, Verb::Receive, failure)),
    }
}

/// Waits for a message. The inner error is the channel's, for the caller to raise or not.
#[cold]
fn recv_later(
    py: Attached<'_>,
    state: &ModuleState,
    end: &End,
    deadline: Deadline,
) -> Result<std::result::Result<Message, Failure>> {
    if deadline.is_now() {
        return Ok(Err(Failure::TimedOut));
    }
    blocking::wait(py, state, deadline, |wait| {
        match end.recv(wait).map_err(Met::from) {
            Ok(message) => Attempt::Done(Ok(message)),
            Err(Met::Failure(failure)) => Attempt::Done(Err(failure)),
            Err(Met::Interrupted) => Attempt::Interrupted,
        }
    })
}

/// `recv_nowait()`
pub(super) fn recv_nowait<'a, 'py, T: Holder>(this: This<'a, 'py, T>) -> Result<Owned<'py>> {
    let py = this.py();
    let state = this.state()?;
    let end = enter(this)?;
    match end.try_recv() {
        Ok(message) => clone::decode(py, state, message),
        Err(refused) => Err(refuse(py, state, &end, Verb::Receive, refused.into())),
    }
}

/// Raises for a verb that met its end. An attempt that does not wait is never interrupted; should it be, it found nothing.
#[cold]
pub(super) fn refuse(
    py: Attached<'_>,
    state: &ModuleState,
    end: &End,
    verb: Verb,
    met: Met,
) -> atoll_py::Raised {
    let failure = match (met, verb) {
        (Met::Failure(failure), _) => failure,
        (Met::Interrupted, Verb::Send) => Failure::Full,
        (Met::Interrupted, Verb::Receive) => Failure::Empty,
    };
    errors::raise(py, state, end, verb, failure)
}

/// `close()` of a Channel: for all.
pub(super) fn close_channel<'a, 'py, T: Holder>(this: This<'a, 'py, T>) -> Result<Owned<'py>> {
    enter(this)?.close();
    Ok(this.py().none().to_owned())
}

/// `close()` of a Sender or Receiver: gives up that end only.
pub(super) fn give_up<'a, 'py, T: Holder>(this: This<'a, 'py, T>) -> Result<Owned<'py>> {
    this.held().give_up();
    Ok(this.py().none().to_owned())
}

/// `poison(reason=None)`
pub(super) fn poison<'a, 'py, T: Holder>(
    this: This<'a, 'py, T>,
    arguments: Arguments<'a, 'py>,
) -> Result<Owned<'py>> {
    const SIGNATURE: Signature<1> = Signature {
        function: "poison",
        parameters: ["reason"],
        required: 0,
        positional: 1,
    };
    let py = this.py();
    let [reason] = arguments.parse(py, &SIGNATURE)?;
    let end = enter(this)?;
    match reason {
        Some(reason) if !reason.is_none() => {
            let state = this.state()?;
            let message = clone::encode_for_many(py, state, reason, "reason")?;
            if message.ends_len() > 0 {
                return Err(py.raise_type_error(
                    "cannot poison with a reason that holds channel ends (everybody may read it, an end has one owner); \
                     send them in a message",
                ));
            }
            if message.regions_len() > 0 {
                return Err(py.raise_type_error(
                    "cannot poison with a reason that holds large arrays (everybody may read it); \
                     send them in a message",
                ));
            }
            end.poison(message.bytes());
        }
        Some(_) | None => {
            end.poison(&[]);
        }
    }
    Ok(py.none().to_owned())
}

/// `sender`: another end of the same channel that can only send.
pub(super) fn sender<'a, 'py, T: Holder>(this: This<'a, 'py, T>) -> Result<Owned<'py>> {
    share(this, Role::Sender)
}

/// `receiver`: another end of the same channel that can only receive.
pub(super) fn receiver<'a, 'py, T: Holder>(this: This<'a, 'py, T>) -> Result<Owned<'py>> {
    share(this, Role::Receiver)
}

fn share<'a, 'py, T: Holder>(this: This<'a, 'py, T>, role: Role) -> Result<Owned<'py>> {
    let state = this.state()?;
    let end = enter(this)?.share(role, state.host());
    wrap(this.py(), state, end)
}

/// `sending(value)`: a case for `select`.
pub(super) fn sending<'a, 'py, T: Holder>(
    this: This<'a, 'py, T>,
    value: Borrowed<'a, 'py>,
) -> Result<Owned<'py>> {
    let case = SendCase::new(this.object().to_owned(), value.to_owned());
    this.state()?.channels.send_case.make(this.py(), case)
}

/// `len(channel)`
pub(super) fn length<'a, 'py, T: Holder>(this: This<'a, 'py, T>) -> Result<usize> {
    Ok(enter(this)?.len())
}

/// `capacity`
pub(super) fn capacity<'a, 'py, T: Holder>(this: This<'a, 'py, T>) -> Result<Owned<'py>> {
    stats::capacity(this.py(), &*enter(this)?)
}

/// `id`
pub(super) fn id<'a, 'py, T: Holder>(this: This<'a, 'py, T>) -> Result<Owned<'py>> {
    this.py().uint(this.held().identity.0)
}

/// `stats()`
pub(super) fn statistics<'a, 'py, T: Holder>(this: This<'a, 'py, T>) -> Result<Owned<'py>> {
    stats::snapshot(this.py(), this.state()?, &*enter(this)?)
}

/// `repr(channel)`
pub(super) fn repr<'a, 'py, T: Holder>(this: This<'a, 'py, T>) -> Result<Owned<'py>> {
    let Some(end) = this.held().enter() else {
        return this.py().string(&format!("<atoll.{} given up>", T::WORD));
    };
    let stats = end.stats();
    let condition = match (stats.poisoned, stats.closed) {
        (true, _) => "poisoned",
        (false, true) => "closed",
        (false, false) => "open",
    };
    let capacity = stats::capacity(this.py(), &end)?.borrow().repr()?;
    let (id, depth) = (end.channel_id(), stats.counts.depth);
    this.py().string(&format!(
        "<atoll.{} {id}: {condition}, {depth} inside, capacity {capacity}>",
        T::WORD
    ))
}

/// `channel == other`: the same kind of end of the same channel.
pub(super) fn equal<'a, 'py, T: Holder>(
    this: This<'a, 'py, T>,
    other: Borrowed<'a, 'py>,
) -> Result<Option<bool>> {
    let other = this.state()?.channels.held_by(other);
    Ok(other.map(|other| other.identity == this.held().identity))
}

/// `hash(channel)`
pub(super) fn hash<'a, 'py, T: Holder>(this: This<'a, 'py, T>) -> u64 {
    let (id, role) = this.held().identity;
    id.wrapping_mul(4).wrapping_add(role as u64)
}

/// `iter(channel)` and `with channel`: the object itself.
pub(super) fn itself<'a, 'py, T: Holder>(this: This<'a, 'py, T>) -> Result<Owned<'py>> {
    Ok(this.object().to_owned())
}

/// `__exit__` of a Channel.
pub(super) fn exit_channel<'a, 'py, T: Holder>(
    this: This<'a, 'py, T>,
    _raised: Arguments<'a, 'py>,
) -> Result<Owned<'py>> {
    close_channel(this)
}

/// `__exit__` of a Sender or Receiver.
pub(super) fn exit_end<'a, 'py, T: Holder>(
    this: This<'a, 'py, T>,
    _raised: Arguments<'a, 'py>,
) -> Result<Owned<'py>> {
    give_up(this)
}

/// `__reduce__`: copying by pickle would lose count of the ends.
pub(super) fn refuse_pickle<'a, 'py, T: Holder>(this: This<'a, 'py, T>) -> Result<Owned<'py>> {
    Err(this.py().raise_type_error(&format!(
        "cannot pickle a {0} (its ends are counted while they live); send it in a message, or pass it to spawn() or run()",
        T::WORD
    )))
}
