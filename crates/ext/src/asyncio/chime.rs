//! The descriptor of one event loop, and how its waits begin.

use std::ffi::CStr;
use std::sync::{Mutex, PoisonError};

use atoll_core::client::{self, Begun, Case, Message, Op, RecvError, SendError};
use atoll_py::class::{Class, This};
use atoll_py::interpreter::{thread_ident, throw_into};
use atoll_py::method::{Getter, Method};
use atoll_py::slots::Slots;
use atoll_py::types::{Exact, List};
use atoll_py::{Arguments, Attached, Borrowed, Owned, Result, Signature};

use super::waiting::{Answer, Waiting};
use crate::channel::{self, Held, parameters};
use crate::clone;
use crate::current;
use crate::errors::{self, Verb};
use crate::module::ModuleState;
use crate::select::Wanted;

/// How many numbers are taken at once: as many as a loop is likely to wake in one turn.
const TAKEN_AT_ONCE: usize = 256;

/// See the module's documentation. Dropping it closes the descriptor.
pub(super) struct Chime {
    // Dropped before the chime.
    /// Tells the loop that its task is cancelled or its host closes.
    watch: Mutex<Option<client::Watch>>,
    chime: client::Chime,
}

type ThisChime<'a, 'py> = This<'a, 'py, Chime>;

impl Chime {
    fn construct<'py>(
        py: Attached<'py>,
        state: &ModuleState,
        arguments: Arguments<'_, 'py>,
    ) -> Result<Chime> {
        const SIGNATURE: Signature<0> = Signature {
            function: "Chime",
            parameters: [],
            required: 0,
            positional: 0,
        };
        let [] = arguments.parse(py, &SIGNATURE)?;
        client::Chime::new(state.engine())
            .map(|chime| Chime {
                watch: Mutex::new(None),
                chime,
            })
            .map_err(|error| {
                py.raise_runtime_error(&format!(
                    "cannot wait in this event loop (no descriptor for it: {error}); close some files"
                ))
            })
    }

    /// As the engine knows it.
    pub(super) fn engines(&self) -> &client::Chime {
        &self.chime
    }

    fn descriptor<'py>(this: ThisChime<'_, 'py>) -> Result<Owned<'py>> {
        this.py().int(this.body().chime.descriptor().into())
    }

    fn take<'py>(this: ThisChime<'_, 'py>) -> Result<Owned<'py>> {
        let py = this.py();
        let mut room = [0; TAKEN_AT_ONCE];
        let taken = this.body().chime.take(&mut room);
        let list = List::create_unfilled(py, taken)?;
        let Exact::List(filled) = Exact::of(list.borrow()) else {
            unreachable!("a new list")
        };
        for (index, number) in room[..taken].iter().enumerate() {
            // SAFETY: in range, and each place is filled once. Should a number fail, the rest stays empty, which a list that
            // is dropped allows.
            unsafe { filled.put_new(index, py.uint(*number)?) };
        }
        Ok(list)
    }

    fn recv<'py>(this: ThisChime<'_, 'py>, arguments: Arguments<'_, 'py>) -> Result<Owned<'py>> {
        const SIGNATURE: Signature<2> = Signature {
            function: "recv",
            parameters: ["end", "number"],
            required: 2,
            positional: 2,
        };
        let (py, state) = (this.py(), this.state()?);
        let [Some(end), Some(number)] = arguments.parse(py, &SIGNATURE)? else {
            unreachable!("both are required")
        };
        let (held, word) = end_for(py, channel::receiving_end(state, end))?;
        let Some(entered) = held.enter() else {
            return Err(errors::raise_given_up(py, state, word));
        };
        match entered.try_recv() {
            Ok(message) => return clone::decode(py, state, message),
            // What else it may be, the wait finds, too.
            Err(RecvError::Empty | RecvError::Closed | RecvError::Poisoned) => {}
            Err(RecvError::TimedOut | RecvError::Interrupted) => {}
        }
        let mut answer = Answer::bare();
        // SAFETY: the answer keeps `end`, which keeps what was entered.
        unsafe { answer.add(end, entered, Verb::Receive) };
        Chime::begin(this, number, vec![Op::Recv], answer)
    }

    fn send<'py>(this: ThisChime<'_, 'py>, arguments: Arguments<'_, 'py>) -> Result<Owned<'py>> {
        const SIGNATURE: Signature<3> = Signature {
            function: "send",
            parameters: ["end", "value", "number"],
            required: 3,
            positional: 3,
        };
        let (py, state) = (this.py(), this.state()?);
        let [Some(end), Some(value), Some(number)] = arguments.parse(py, &SIGNATURE)? else {
            unreachable!("all three are required")
        };
        let message = clone::encode(py, state, value, "message")?;
        let (held, word) = end_for(py, channel::sending_end(state, end))?;
        let Some(entered) = held.enter() else {
            return Err(errors::raise_given_up(py, state, word));
        };
        let message = match entered.try_send(message) {
            Ok(()) => return Ok(py.none().to_owned()),
            Err(
                SendError::Full(message)
                | SendError::Closed(message)
                | SendError::Poisoned(message)
                | SendError::TimedOut(message)
                | SendError::Interrupted(message),
            ) => message,
        };
        let mut answer = Answer::bare();
        // SAFETY: the answer keeps `end`, which keeps what was entered.
        unsafe { answer.add(end, entered, Verb::Send) };
        Chime::begin(this, number, vec![Op::Send(message)], answer)
    }

    fn select<'py>(this: ThisChime<'_, 'py>, arguments: Arguments<'_, 'py>) -> Result<Owned<'py>> {
        let (py, state) = (this.py(), this.state()?);
        let mut given = arguments.by_position();
        let (Some(number), Some(timeout)) = (given.next(), given.next()) else {
            return Err(py.raise_type_error(
                "cannot select without a number and a timeout; use atoll.aselect",
            ));
        };
        let patience = parameters::deadline(py, Some(timeout))?;
        let wanted = Wanted::read(py, state, given)?;
        if let Some(case) = wanted.expired_case() {
            return py.tuple([case.to_owned(), py.none().to_owned()]);
        }
        let mut answer = Answer::with_case(patience);
        let mut ops = Vec::new();
        for (case, end, message) in wanted.operations {
            let verb = message
                .as_ref()
                .map_or(Verb::Receive, |_: &Message| Verb::Send);
            // SAFETY: the answer keeps `case`, which is the end or keeps it.
            unsafe { answer.add(case, end, verb) };
            ops.push(message.map_or(Op::Recv, Op::Send));
        }
        if let Some((case, deadline)) = wanted.timer {
            answer.set_timer(case, deadline);
        }
        Chime::begin(this, number, ops, answer)
    }

    /// Has `number` rung when the task of this thread is cancelled; on a thread without one, when its host closes.
    fn watch<'py>(this: ThisChime<'_, 'py>, number: Borrowed<'_, 'py>) -> Result<Owned<'py>> {
        let (py, state) = (this.py(), this.state()?);
        let number = number_of(py, number)?;
        let interrupt = match current::get() {
            Some(current) => Some(current.interrupt.clone()),
            None => state.engine().host_interrupt(state.host()),
        };
        let watch = interrupt.map(|interrupt| this.body().chime.watch(&interrupt, number));
        let kept = &this.body().watch;
        let before = std::mem::replace(
            &mut *kept.lock().unwrap_or_else(PoisonError::into_inner),
            watch,
        );
        drop(before);
        Ok(py.none().to_owned())
    }

    /// The cancellation of this thread's task has reached its code, by way of the loop.
    fn notice_cancellation<'py>(this: ThisChime<'_, 'py>) -> Result<Owned<'py>> {
        let py = this.py();
        if let Some(task) = current::task()
            && task.claim_cancellation()
        {
            // SAFETY: null withdraws what is pending for this very thread.
            unsafe { throw_into(py, thread_ident(), std::ptr::null_mut()) };
        }
        Ok(py.none().to_owned())
    }

    /// Tries once more, with everything in place to wait.
    fn begin<'py>(
        this: ThisChime<'_, 'py>,
        number: Borrowed<'_, 'py>,
        ops: Vec<Op>,
        answer: Answer,
    ) -> Result<Owned<'py>> {
        let (py, state) = (this.py(), this.state()?);
        let cases = answer.ends().zip(ops);
        let cases = cases.map(|(end, op)| Case { end, op }).collect();
        let begun = match number_of(py, number) {
            Ok(number) => this.body().chime.begin(number, cases),
            Err(raised) => {
                drop(cases);
                answer.release(py);
                return Err(raised);
            }
        };
        match begun {
            Begun::Chosen(selected) => {
                let given = answer.give(py, state, selected);
                answer.release(py);
                given
            }
            Begun::Waits(pending) => {
                let waiting = Waiting::new(pending, answer);
                let made = state.asyncio.waiting.make(py, waiting)?;
                match state.asyncio.waiting.this(made.borrow()) {
                    Some(waiting) => Waiting::look_at_clock(waiting),
                    None => unreachable!("just made"),
                }
            }
        }
    }
}

/// Reads the number of a wait.
pub(crate) fn number_of(py: Attached<'_>, number: Borrowed<'_, '_>) -> Result<u64> {
    let number = match Exact::of(number) {
        Exact::Int(number) => number
            .to_i64()
            .and_then(|number| u64::try_from(number).ok()),
        _ => None,
    };
    number.ok_or_else(|| {
        py.raise_type_error("cannot wait under that number (it is no int from 0 on); count up")
    })
}

fn end_for<'a>(
    py: Attached<'_>,
    found: Option<(&'a Held, &'static str)>,
) -> Result<(&'a Held, &'static str)> {
    found.ok_or_else(|| {
        py.raise_type_error(
            "cannot wait on that (it is no end that can do it); pass a channel's end",
        )
    })
}

impl Class for Chime {
    type State = ModuleState;
    const NAME: &'static CStr = c"atoll._native.Chime";
    const DOC: &'static CStr = c"Chime()\n--\n\n\
What an event loop listens to for its waits in Atoll: one descriptor, readable while some may go on.";
    const METHODS: &'static [Method<Self>] = &[
        Method::without(
            c"take",
            c"The numbers of waits that may go on, some of them: call again while the descriptor is readable.",
            Self::take,
        ),
        Method::new(
            c"recv",
            c"The oldest message, or a Waiting for it under this number.",
            Self::recv,
        ),
        Method::new(
            c"send",
            c"None once the message is in, or a Waiting for room under this number.",
            Self::send,
        ),
        Method::new(
            c"select",
            c"select(number, timeout, *cases): (case, value), or a Waiting for one of the cases.",
            Self::select,
        ),
        Method::with_one(
            c"watch",
            c"Have this number rung when this thread's task is cancelled; without one, when its host closes.",
            Self::watch,
        ),
        Method::without(
            c"notice_cancellation",
            c"The cancellation of this thread's task has reached its code.",
            Self::notice_cancellation,
        ),
        Method::END,
    ];
    const GETTERS: &'static [Getter<Self>] = &[
        Getter::new(c"descriptor", c"What to listen to.", Self::descriptor),
        Getter::END,
    ];

    fn slots(slots: Slots<Self>) -> Slots<Self> {
        slots.construct(Self::construct)
    }
}
