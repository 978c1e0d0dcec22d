//! `select`: wait for the first of several channel operations, exactly one of which takes effect; its timers and send cases.

use std::ffi::CStr;
use std::hash::{BuildHasher, RandomState};

use atoll_core::client::{Case, Deadline, Message, Op, Outcome, Selected, Wait};
use atoll_py::class::{Class, This};
use atoll_py::method::{Getter, Method};
use atoll_py::module::Module;
use atoll_py::slots::Slots;
use atoll_py::{Arguments, Attached, Borrowed, Owned, Raised, Result, Signature, Stored};

use crate::blocking::{self, Attempt};
use crate::channel::{self, Held, InUse, parameters};
use crate::clone;
use crate::errors::{self, Failure, NoCase, Verb};
use crate::module::ModuleState;

pub(crate) const SELECT_DOC: &CStr = c"select($module, /, *cases, default=..., timeout=None)\n--\n\n\
Wait until one of the cases can go on, do it, and return (case, value); exactly one takes effect.

A case is a Receiver or Channel (to receive from), sender.sending(value), or after(seconds). Among several that are
ready one is chosen at random. The value is the message received, None for a send or a timer. With a default, never
wait: if nothing is ready, return (None, default). Raises TimeoutError after timeout seconds, and ChannelClosed or
ChannelPoisoned, with its `case` set, if the chosen case's channel is.

    case, value = atoll.select(jobs, results.sending(42), atoll.after(0.5))";

pub(crate) const AFTER_DOC: &CStr = c"after(seconds)\n--\n\n\
A case for select() that is ready from the given number of seconds after this call on.";

/// A send as a case of a select: an object that can send, and what.
pub(crate) struct SendCase {
    holder: Stored,
    value: Stored,
}

impl SendCase {
    pub(crate) fn new(holder: Owned<'_>, value: Owned<'_>) -> SendCase {
        SendCase {
            holder: holder.store(),
            value: value.store(),
        }
    }
}

impl Class for SendCase {
    type State = ModuleState;
    const NAME: &'static CStr = c"atoll.SendCase";
    const DOC: &'static CStr = c"A send as a case of select(): made by sender.sending(value).";
    const METHODS: &'static [Method<Self>] = &[Method::GENERIC, Method::END];
    const GETTERS: &'static [Getter<Self>] = &[
        Getter::new(c"sender", c"The Channel or Sender to send to.", case_sender),
        Getter::new(c"value", c"What to send.", case_value),
        Getter::END,
    ];
    // Made with its contents and never changed, like a tuple: a cycle through it is broken at another member, so it needs no clear.
    const HOLDS_OBJECTS: bool = true;

    fn slots(slots: Slots<Self>) -> Slots<Self> {
        slots
            .construct(|py, _, _| {
                Err(py.raise_type_error("cannot make a SendCase by itself (it belongs to a channel); use sender.sending(value)"))
            })
            .repr(|this| {
                let (holder, value) = (this.holder.get(this.py()).repr()?, this.value.get(this.py()).repr()?);
                this.py().string(&format!("<atoll.SendCase {value} to {holder}>"))
            })
    }

    fn each_stored(&self, visit: &mut dyn FnMut(&Stored)) {
        visit(&self.holder);
        visit(&self.value);
    }
}

fn case_sender<'py>(this: This<'_, 'py, SendCase>) -> Result<Owned<'py>> {
    Ok(this.holder.get(this.py()).to_owned())
}

fn case_value<'py>(this: This<'_, 'py, SendCase>) -> Result<Owned<'py>> {
    Ok(this.value.get(this.py()).to_owned())
}

/// A timer as a case of a select.
pub(crate) struct AfterCase {
    seconds: f64,
    deadline: Deadline,
}

impl Class for AfterCase {
    type State = ModuleState;
    const NAME: &'static CStr = c"atoll.AfterCase";
    const DOC: &'static CStr = c"A timer as a case of select(): made by after(seconds).";
    const METHODS: &'static [Method<Self>] = &[Method::END];
    const GETTERS: &'static [Getter<Self>] = &[
        Getter::new(
            c"seconds",
            c"How long after it was made the case is ready.",
            after_seconds,
        ),
        Getter::END,
    ];

    fn slots(slots: Slots<Self>) -> Slots<Self> {
        slots
            .construct(|py, _, _| {
                Err(py.raise_type_error("cannot make an AfterCase by itself (its clock starts with after()); use after(seconds)"))
            })
            .repr(|this| this.py().string(&format!("<atoll.AfterCase {} s>", this.seconds)))
    }
}

fn after_seconds<'py>(this: This<'_, 'py, AfterCase>) -> Result<Owned<'py>> {
    this.py().float(this.seconds)
}

/// `after(seconds)`
pub(crate) fn after<'a, 'py>(
    module: Module<'a, 'py, ModuleState>,
    arguments: Arguments<'a, 'py>,
) -> Result<Owned<'py>> {
    const SIGNATURE: Signature<1> = Signature {
        function: "after",
        parameters: ["seconds"],
        required: 1,
        positional: 1,
    };
    let py = module.py();
    let [seconds] = arguments.parse(py, &SIGNATURE)?;
    let seconds = parameters::seconds(py, seconds.unwrap_or(py.none()), "seconds")?;
    let deadline = Deadline::after_seconds(seconds);
    module
        .state()?
        .channels
        .after_case
        .make(py, AfterCase { seconds, deadline })
}

/// `select(*cases, default=..., timeout=None)`
pub(crate) fn select<'a, 'py>(
    module: Module<'a, 'py, ModuleState>,
    arguments: Arguments<'a, 'py>,
) -> Result<Owned<'py>> {
    const OPTIONS: Signature<2> = Signature {
        function: "select",
        parameters: ["default", "timeout"],
        required: 0,
        positional: 0,
    };
    let py = module.py();
    let state = module.state()?;
    let [default, timeout] = arguments.parse_named(py, &OPTIONS)?;
    let patience = match default {
        Some(_) => Deadline::NOW,
        None => parameters::deadline(py, timeout)?,
    };
    let wanted = Wanted::read(py, state, arguments.by_position())?;
    match wanted.choose(py, state, patience)? {
        Chosen::Case(case, value) => py.tuple([case.to_owned(), value]),
        Chosen::None => match default {
            Some(default) => py.tuple([py.none().to_owned(), default.to_owned()]),
            None => Err(py.raise_timeout_error("cannot select a case (none was ready before the timeout); give it more time or none")),
        },
    }
}

/// The cases of one call, sorted by kind.
pub(crate) struct Wanted<'a, 'py> {
    /// The operations on channels: the case as the caller gave it, its end, and the message to send.
    pub(crate) operations: Vec<(Borrowed<'a, 'py>, InUse<'a>, Option<Message>)>,
    /// The timer that is ready first.
    pub(crate) timer: Option<(Borrowed<'a, 'py>, Deadline)>,
}

enum Chosen<'a, 'py> {
    Case(Borrowed<'a, 'py>, Owned<'py>),
    None,
}

impl<'a, 'py> Wanted<'a, 'py> {
    pub(crate) fn read(
        py: Attached<'py>,
        state: &ModuleState,
        cases: impl Iterator<Item = Borrowed<'a, 'py>>,
    ) -> Result<Wanted<'a, 'py>> {
        let mut wanted = Wanted {
            operations: Vec::new(),
            timer: None,
        };
        for (index, case) in cases.enumerate() {
            wanted.add(py, state, index, case)?;
        }
        if wanted.operations.is_empty() && wanted.timer.is_none() {
            return Err(py.raise_value_error(
                "cannot select without cases (nothing would ever be ready); pass receivers, sender.sending(value) or after(seconds)",
            ));
        }
        Ok(wanted)
    }

    fn add(
        &mut self,
        py: Attached<'py>,
        state: &ModuleState,
        index: usize,
        case: Borrowed<'a, 'py>,
    ) -> Result<()> {
        let classes = &state.channels;
        if let Some((held, word)) = channel::receiving_end(state, case) {
            let end = enter(py, state, case, held, word)?;
            self.operations.push((case, end, None));
        } else if let Some(send) = classes.send_case.body_of(case) {
            let Some((held, word)) = channel::sending_end(state, send.holder.get(py)) else {
                return Err(py.raise_type_error("cannot select a SendCase of another interpreter; make it with sender.sending(value)"));
            };
            let end = enter(py, state, case, held, word)?;
            let message = clone::encode(
                py,
                state,
                send.value.get(py),
                &format!("cases[{index}].value"),
            )?;
            self.operations.push((case, end, Some(message)));
        } else if let Some(after) = classes.after_case.body_of(case) {
            if self
                .timer
                .is_none_or(|(_, earliest)| after.deadline < earliest)
            {
                self.timer = Some((case, after.deadline));
            }
        } else {
            let (shown, given) = (case.repr()?, case.type_name());
            return Err(py.raise_type_error(&format!(
                "cannot select {shown} (of type {given}, which is no case); pass a Receiver, a Channel, sender.sending(value) or after(seconds)"
            )));
        }
        Ok(())
    }

    /// The timer's case, if it is ready and its turn has come: channels that are always ready must not starve it.
    pub(crate) fn expired_case(&self) -> Option<Borrowed<'a, 'py>> {
        let (case, deadline) = self.timer?;
        (deadline.has_passed() && one_in(self.operations.len() + 1)).then_some(case)
    }

    fn choose(
        self,
        py: Attached<'py>,
        state: &ModuleState,
        patience: Deadline,
    ) -> Result<Chosen<'a, 'py>> {
        if let Some(case) = self.expired_case() {
            return Ok(Chosen::Case(case, py.none().to_owned()));
        }
        let Wanted { operations, timer } = self;
        let expired = timer.filter(|(_, deadline)| deadline.has_passed());
        let mut objects = Vec::with_capacity(operations.len());
        let mut ends = Vec::with_capacity(operations.len());
        let mut ops = Vec::with_capacity(operations.len());
        for (case, end, message) in operations {
            objects.push((
                case,
                if message.is_some() {
                    Verb::Send
                } else {
                    Verb::Receive
                },
            ));
            ends.push(end);
            ops.push(message.map_or(Op::Recv, Op::Send));
        }
        let mut cases: Vec<Case<'_>> = ends
            .iter()
            .zip(ops)
            .map(|(end, op)| Case { end, op })
            .collect();
        let engine = state.engine();

        let selected = match engine.select(&mut cases, &Wait::until(Deadline::NOW)) {
            Ok(selected) => Some(selected),
            Err(_) if expired.is_some() || patience.is_now() => None,
            Err(_) => {
                let deadline = timer.map_or(patience, |(_, timer)| timer.earlier(patience));
                blocking::wait(py, state, deadline, |wait| {
                    match engine.select(&mut cases, wait).map_err(NoCase::from) {
                        Ok(selected) => Attempt::Done(Some(selected)),
                        Err(NoCase::NoneReady | NoCase::TimedOut) => Attempt::Done(None),
                        Err(NoCase::Interrupted) => Attempt::Interrupted,
                    }
                })?
            }
        };
        let Some(Selected { index, outcome }) = selected else {
            return Ok(match timer {
                Some((case, timer))
                    if timer.has_passed() && (expired.is_some() || timer <= patience) =>
                {
                    Chosen::Case(case, py.none().to_owned())
                }
                Some(_) | None => Chosen::None,
            });
        };
        let (case, verb) = objects[index];
        let failure = match outcome {
            Outcome::Received(message) => {
                return Ok(Chosen::Case(case, clone::decode(py, state, message)?));
            }
            Outcome::Sent => return Ok(Chosen::Case(case, py.none().to_owned())),
            Outcome::Closed => Failure::Closed,
            Outcome::Poisoned => Failure::Poisoned,
        };
        let exception = errors::exception(py, state, &ends[index], verb, failure)?;
        exception.borrow().set_attr(c"case", case)?;
        Err(Raised::instance(exception))
    }
}

/// The end of a case, or ChannelClosed with the case set if it was given up.
fn enter<'a, 'py>(
    py: Attached<'py>,
    state: &ModuleState,
    case: Borrowed<'a, 'py>,
    held: &'a Held,
    word: &str,
) -> Result<InUse<'a>> {
    if let Some(end) = held.enter() {
        return Ok(end);
    }
    let exception = errors::raise_given_up(py, state, word).take(py);
    exception.borrow().set_attr(c"case", case)?;
    Err(Raised::instance(exception))
}

/// True once in `times` calls, at random.
fn one_in(times: usize) -> bool {
    times <= 1
        || RandomState::new()
            .hash_one(times)
            .is_multiple_of(times as u64)
}
