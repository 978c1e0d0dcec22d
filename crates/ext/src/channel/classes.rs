//! The three types and their documentation.

use std::ffi::CStr;

use atoll_core::client::Capacity;
use atoll_py::class::Class;
use atoll_py::method::{Getter, Method};
use atoll_py::slots::Slots;
use atoll_py::{Arguments, Attached, Result, Signature};

use super::{Held, Holder, batch, parameters, verbs};
use crate::asyncio;
use crate::module::ModuleState;

/// A channel with both its ends.
pub(super) struct Channel(pub(super) Held);

/// The end of a channel that can only send.
pub(super) struct Sender(pub(super) Held);

/// The end of a channel that can only receive.
pub(super) struct Receiver(pub(super) Held);

const SEND: &CStr = c"send($self, value, timeout=None)\n--\n\n\
Put a message in, waiting until there is room (without a buffer: until it is taken).

Blocks this thread only; signals still arrive. The value is cloned at once: later changes to it do not travel.
Raises CloneError if it cannot be, ChannelClosed, ChannelPoisoned, TimeoutError after timeout seconds (0: try).";
const SEND_NOWAIT: &CStr = c"send_nowait($self, value, /)\n--\n\n\
Put a message in, now or never. Raises ChannelFull if there is no room, otherwise what send() raises.";
const SEND_MANY: &CStr = c"send_many($self, iterable, timeout=None)\n--\n\n\
Send every item, in order, waiting for room as send() does; return how many were sent.

The items of a list or tuple are published up to 64 at a time; those of any other iterable one by one, as they come.
The timeout is for the whole call. If it ends early, the exception's `sent` says how many messages went.";
const RECV: &CStr = c"recv($self, timeout=None)\n--\n\n\
Take the oldest message, waiting until there is one.

Blocks this thread only; signals still arrive. Raises ChannelClosed once every sender is gone and the buffer is
empty, ChannelPoisoned with the reason, TimeoutError after timeout seconds (0: try).";
const RECV_NOWAIT: &CStr = c"recv_nowait($self, /)\n--\n\n\
Take the oldest message, now or never. Raises ChannelEmpty if there is none, otherwise what recv() raises.";
const RECV_MANY: &CStr = c"recv_many($self, max, timeout=None)\n--\n\n\
Take up to max messages in order, waiting only for the first; return them as a list, never empty.

Raises what recv() raises.";
const ASEND: &CStr = c"asend($self, value, /)\n--\n\n\
As send(), for asyncio: await it. It waits without a thread, and asyncio.timeout() and cancellation end it.

If it is cancelled, the message was not sent; if it returns, it was. Raises what send() raises.";
const ARECV: &CStr = c"arecv($self, /)\n--\n\n\
As recv(), for asyncio: await it. It waits without a thread, and asyncio.timeout() and cancellation end it.

If it is cancelled, no message was taken. Raises what recv() raises.";
const SENDING: &CStr = c"sending($self, value, /)\n--\n\n\
A case for select(): to send value, which is cloned when select() is called.";
const POISON: &CStr = c"poison($self, reason=None)\n--\n\n\
Fail both ends now: messages inside are dropped, and every verb raises ChannelPoisoned(reason) from now on.

The first reason stays. It is cloned; channel ends cannot be part of it.";
const STATS: &CStr =
    c"stats($self, /)\n--\n\nThe channel's counters at this moment, as a ChannelStats.";
const CLOSE_CHANNEL: &CStr = c"close($self, /)\n--\n\n\
Refuse sends from now on, for every end there is. Receivers take what is inside, then meet ChannelClosed. Idempotent.";
const CLOSE_END: &CStr = c"close($self, /)\n--\n\n\
Give this end up; using it later raises ChannelClosed. The last sender's end closes the channel, the last
receiver's fails its senders. A call that waits on this end in another thread ends first. Idempotent.";
const ENTER: &CStr = c"__enter__($self, /)\n--\n\nReturn self.";
const EXIT: &CStr = c"__exit__($self, /, *args)\n--\n\nCall close().";
const REDUCE: &CStr = c"__reduce__($self, /)\n--\n\nRaise TypeError: a pickle cannot count ends.";
const CAPACITY: &CStr = c"How many messages fit: 0 for a rendezvous, None without bound.";
const ID: &CStr = c"The channel's number, unique in the process.";
const SENDER: &CStr = c"Another end of this channel that can only send.";
const RECEIVER: &CStr = c"Another end of this channel that can only receive.";

impl Holder for Channel {
    const WORD: &'static str = "Channel";

    #[inline(always)]
    fn held(&self) -> &Held {
        &self.0
    }
}

impl Holder for Sender {
    const WORD: &'static str = "Sender";

    #[inline(always)]
    fn held(&self) -> &Held {
        &self.0
    }
}

impl Holder for Receiver {
    const WORD: &'static str = "Receiver";

    #[inline(always)]
    fn held(&self) -> &Held {
        &self.0
    }
}

impl Class for Channel {
    type State = ModuleState;
    const NAME: &'static CStr = c"atoll.Channel";
    const DOC: &'static CStr = c"Channel(capacity=64)\n--\n\n\
A first-in, first-out queue between tasks, in this interpreter or any other.

capacity is how many messages it holds before send() waits: 0 hands each over directly (a rendezvous), None is
unbounded. Each message is cloned and reaches exactly one receiver. Pass the channel, its `sender` or its
`receiver` to a task or in a message; iterate over it to receive until it is closed. Raises TypeError or
ValueError for a capacity that is no such number.

    channel = atoll.Channel[int](capacity=8)
    task = atoll.spawn(sum, channel.receiver)
    channel.send_many(range(10))
    channel.close()
    assert task.result() == 45";
    const METHODS: &'static [Method<Self>] = &[
        Method::new(c"send", SEND, verbs::send::<Self>),
        Method::with_one(c"send_nowait", SEND_NOWAIT, verbs::send_nowait::<Self>),
        Method::new(c"send_many", SEND_MANY, batch::send_many::<Self>),
        Method::with_one(c"asend", ASEND, asyncio::asend::<Self>),
        Method::new(c"recv", RECV, verbs::recv::<Self>),
        Method::without(c"recv_nowait", RECV_NOWAIT, verbs::recv_nowait::<Self>),
        Method::new(c"recv_many", RECV_MANY, batch::recv_many::<Self>),
        Method::without(c"arecv", ARECV, asyncio::arecv::<Self>),
        Method::with_one(c"sending", SENDING, verbs::sending::<Self>),
        Method::without(c"close", CLOSE_CHANNEL, verbs::close_channel::<Self>),
        Method::new(c"poison", POISON, verbs::poison::<Self>),
        Method::without(c"stats", STATS, verbs::statistics::<Self>),
        Method::without(c"__enter__", ENTER, verbs::itself::<Self>),
        Method::new(c"__exit__", EXIT, verbs::exit_channel::<Self>),
        Method::without(c"__reduce__", REDUCE, verbs::refuse_pickle::<Self>),
        Method::GENERIC,
        Method::END,
    ];
    const GETTERS: &'static [Getter<Self>] = &[
        Getter::new(c"sender", SENDER, verbs::sender::<Self>),
        Getter::new(c"receiver", RECEIVER, verbs::receiver::<Self>),
        Getter::new(c"capacity", CAPACITY, verbs::capacity::<Self>),
        Getter::new(c"id", ID, verbs::id::<Self>),
        Getter::END,
    ];

    fn slots(slots: Slots<Self>) -> Slots<Self> {
        slots
            .construct(construct)
            .repr(verbs::repr::<Self>)
            .iter(verbs::itself::<Self>)
            .next(verbs::next::<Self>)
            .async_iter(verbs::itself::<Self>)
            .async_next(asyncio::anext::<Self>)
            .length(verbs::length::<Self>)
            .always_true()
            .equality(verbs::equal::<Self>, verbs::hash::<Self>)
    }
}

/// `Channel(capacity=64)`
fn construct<'a, 'py>(
    py: Attached<'py>,
    state: &'a ModuleState,
    arguments: Arguments<'a, 'py>,
) -> Result<Channel> {
    const SIGNATURE: Signature<1> = Signature {
        function: "Channel",
        parameters: ["capacity"],
        required: 0,
        positional: 1,
    };
    let [capacity] = arguments.parse(py, &SIGNATURE)?;
    let capacity: Capacity = parameters::capacity(py, capacity)?;
    Ok(Channel(Held::new(
        state.engine().channel(capacity, state.host()),
    )))
}

impl Class for Sender {
    type State = ModuleState;
    const NAME: &'static CStr = c"atoll.Sender";
    const DOC: &'static CStr =
        c"The sending end of a channel: `channel.sender`. Each object counts as one sender.";
    const METHODS: &'static [Method<Self>] = &[
        Method::new(c"send", SEND, verbs::send::<Self>),
        Method::with_one(c"send_nowait", SEND_NOWAIT, verbs::send_nowait::<Self>),
        Method::new(c"send_many", SEND_MANY, batch::send_many::<Self>),
        Method::with_one(c"asend", ASEND, asyncio::asend::<Self>),
        Method::with_one(c"sending", SENDING, verbs::sending::<Self>),
        Method::without(c"close", CLOSE_END, verbs::give_up::<Self>),
        Method::new(c"poison", POISON, verbs::poison::<Self>),
        Method::without(c"stats", STATS, verbs::statistics::<Self>),
        Method::without(c"__enter__", ENTER, verbs::itself::<Self>),
        Method::new(c"__exit__", EXIT, verbs::exit_end::<Self>),
        Method::without(c"__reduce__", REDUCE, verbs::refuse_pickle::<Self>),
        Method::GENERIC,
        Method::END,
    ];
    const GETTERS: &'static [Getter<Self>] = &[
        Getter::new(c"capacity", CAPACITY, verbs::capacity::<Self>),
        Getter::new(c"id", ID, verbs::id::<Self>),
        Getter::END,
    ];

    fn slots(slots: Slots<Self>) -> Slots<Self> {
        slots
            .construct(|py, _, _| Err(no_end_alone(py, "Sender", "sender")))
            .repr(verbs::repr::<Self>)
            .length(verbs::length::<Self>)
            .always_true()
            .equality(verbs::equal::<Self>, verbs::hash::<Self>)
    }
}

impl Class for Receiver {
    type State = ModuleState;
    const NAME: &'static CStr = c"atoll.Receiver";
    const DOC: &'static CStr =
        c"The receiving end of a channel: `channel.receiver`. Each object counts as one receiver.";
    const METHODS: &'static [Method<Self>] = &[
        Method::new(c"recv", RECV, verbs::recv::<Self>),
        Method::without(c"recv_nowait", RECV_NOWAIT, verbs::recv_nowait::<Self>),
        Method::new(c"recv_many", RECV_MANY, batch::recv_many::<Self>),
        Method::without(c"arecv", ARECV, asyncio::arecv::<Self>),
        Method::without(c"close", CLOSE_END, verbs::give_up::<Self>),
        Method::new(c"poison", POISON, verbs::poison::<Self>),
        Method::without(c"stats", STATS, verbs::statistics::<Self>),
        Method::without(c"__enter__", ENTER, verbs::itself::<Self>),
        Method::new(c"__exit__", EXIT, verbs::exit_end::<Self>),
        Method::without(c"__reduce__", REDUCE, verbs::refuse_pickle::<Self>),
        Method::GENERIC,
        Method::END,
    ];
    const GETTERS: &'static [Getter<Self>] = &[
        Getter::new(c"capacity", CAPACITY, verbs::capacity::<Self>),
        Getter::new(c"id", ID, verbs::id::<Self>),
        Getter::END,
    ];

    fn slots(slots: Slots<Self>) -> Slots<Self> {
        slots
            .construct(|py, _, _| Err(no_end_alone(py, "Receiver", "receiver")))
            .repr(verbs::repr::<Self>)
            .iter(verbs::itself::<Self>)
            .next(verbs::next::<Self>)
            .async_iter(verbs::itself::<Self>)
            .async_next(asyncio::anext::<Self>)
            .length(verbs::length::<Self>)
            .always_true()
            .equality(verbs::equal::<Self>, verbs::hash::<Self>)
    }
}

fn no_end_alone(py: Attached<'_>, class: &str, attribute: &str) -> atoll_py::Raised {
    py.raise_type_error(&format!(
        "cannot make a {class} by itself (it is an end of a channel); use channel.{attribute}"
    ))
}
