//! The engine's side of the table's channel functions.

use crate::abi::{ChannelTable, RawChannel};
use crate::channel::{Batch, Blocked, Capacity, RecvError};
use crate::client::{HostId, Role};
use crate::clock::Deadline;
use crate::engine::{Engine, EngineChannel};
use crate::message::Message;
use crate::park::{Bell, Interrupt, Wait};
use crate::select::{self, Case, Op, Outcome, SelectError};
use crate::stats::ChannelCounts;
use std::ffi::c_void;
use std::mem::{ManuallyDrop, MaybeUninit};
use std::num::NonZeroUsize;
use std::sync::Arc;

/// How an operation went.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Status {
    /// It took effect.
    Done,
    /// No room now, nothing there now, no case ready now.
    NotNow,
    /// Closed (and drained).
    Closed,
    /// Poisoned.
    Poisoned,
    /// The deadline passed.
    TimedOut,
    /// The wait was interrupted.
    Interrupted,
    /// Select: the chosen case's channel is closed.
    CaseClosed,
    /// Select: the chosen case's channel is poisoned.
    CasePoisoned,
}

/// A wait, as it crosses the table.
#[repr(C)]
pub struct RawWait {
    /// [`Deadline::to_raw`].
    pub deadline: u64,
    /// An interrupt of `interrupt_new`, or null.
    pub interrupt: *const c_void,
    /// A bell of `bell_new`, or null.
    pub bell: *const c_void,
}

/// A case of a select, as it crosses the table.
#[repr(C)]
pub struct RawCase {
    /// The channel.
    pub channel: *const c_void,
    /// The message to send, or null for a receive. Moved out if this case sends it.
    pub message: *mut Message,
}

/// A channel's counters, as they cross the table.
#[derive(Copy, Clone, Debug, Default)]
#[repr(C)]
pub struct RawStats {
    /// What the channel counts.
    pub counts: ChannelCounts,
    /// References that can send.
    pub senders: u64,
    /// References that can receive.
    pub receivers: u64,
    /// Whether sends are refused.
    pub closed: bool,
    /// Whether it was poisoned.
    pub poisoned: bool,
}

pub(super) const TABLE: ChannelTable = ChannelTable {
    new,
    id,
    capacity,
    acquire,
    release,
    hold,
    let_go,
    transfer,
    release_host,
    try_send,
    send,
    try_recv,
    recv,
    send_batch,
    recv_batch,
    select: select_cases,
    close,
    is_closed,
    poison,
    poison_reason,
    len,
    stats,
    interrupt_new,
    interrupt_retain,
    interrupt_release,
    interrupt_raise,
    interrupt_clear,
    interrupt_is_raised,
    bell_new,
    bell_release,
    bell_write_fd,
    bell_take_signals,
};

// Every function below is called through the table by `crate::client` only, which upholds the one
// contract they share:
// - A1: an engine pointer is that of the table; it lives for ever.
// - A2: a channel pointer is a counted reference from `new` or `acquire`, given back by `release` only
//   after the call.
// - A3: message pointers lead to initialised messages where one goes in, and to room for one where one
//   comes out. After `Done` a sent message belongs to the engine, otherwise still to the caller.
// - A4: interrupts and bells are references from their `new` functions that outlive the call.

/// # Safety
/// A2; the result must not outlive the reference.
#[inline(always)]
unsafe fn channel<'a>(raw: RawChannel) -> &'a EngineChannel {
    // SAFETY: A2: the pointer came from `Arc::into_raw` and its count is held.
    unsafe { &*raw.cast::<EngineChannel>() }
}

/// # Safety
/// A2.
unsafe fn shared(raw: RawChannel) -> ManuallyDrop<Arc<EngineChannel>> {
    // SAFETY: A2; ManuallyDrop leaves the count as it is.
    ManuallyDrop::new(unsafe { Arc::from_raw(raw.cast::<EngineChannel>()) })
}

/// # Safety
/// A4, and *raw* points to a valid wait.
pub(super) unsafe fn wait<'a>(raw: *const RawWait) -> Wait<'a> {
    // SAFETY: by the caller.
    let raw = unsafe { &*raw };
    Wait {
        deadline: Deadline::from_raw(raw.deadline),
        // SAFETY: A4: null or made by `Box::into_raw` in `interrupt_new`.
        interrupt: unsafe { raw.interrupt.cast::<Interrupt>().as_ref() },
        // SAFETY: A4: null or made by `Box::into_raw` in `bell_new`.
        bell: unsafe { raw.bell.cast::<Bell>().as_ref() },
    }
}

fn role(raw: u32) -> Role {
    match raw {
        0 => Role::Sender,
        1 => Role::Receiver,
        _ => Role::Both,
    }
}

/// -1 unbounded, 0 rendezvous, else the number of messages.
pub(crate) fn capacity_to_raw(capacity: Capacity) -> i64 {
    match capacity {
        Capacity::Unbounded => -1,
        Capacity::Rendezvous => 0,
        Capacity::Bounded(capacity) => capacity.get() as i64,
    }
}

pub(crate) fn capacity_from_raw(raw: i64) -> Capacity {
    match usize::try_from(raw) {
        Err(_) => Capacity::Unbounded,
        Ok(capacity) => NonZeroUsize::new(capacity).map_or(Capacity::Rendezvous, Capacity::Bounded),
    }
}

unsafe extern "C" fn new(engine: *const Engine, capacity: i64, owner: u64) -> RawChannel {
    // SAFETY: A1.
    let engine = unsafe { &*engine };
    Arc::into_raw(engine.new_channel(capacity_from_raw(capacity), HostId::from_raw(owner))).cast()
}

unsafe extern "C" fn id(raw: RawChannel) -> u64 {
    // SAFETY: A2.
    unsafe { channel(raw) }.id
}

unsafe extern "C" fn capacity(raw: RawChannel) -> i64 {
    // SAFETY: A2.
    capacity_to_raw(unsafe { channel(raw) }.channel.capacity())
}

unsafe extern "C" fn acquire(engine: *const Engine, raw: RawChannel, to: u32, owner: u64) {
    // SAFETY: A1 and A2.
    let (engine, shared) = unsafe { (&*engine, shared(raw)) };
    engine.acquire(&shared, role(to), HostId::from_raw(owner));
    // The new reference holds the channel, too.
    std::mem::forget(Arc::clone(&shared));
}

unsafe extern "C" fn release(engine: *const Engine, raw: RawChannel, from: u32, owner: u64) {
    // SAFETY: A1 and A2: the caller gives this reference up.
    let (engine, shared) = unsafe { (&*engine, shared(raw)) };
    let shared = ManuallyDrop::into_inner(shared);
    engine.release(&shared, role(from), HostId::from_raw(owner));
}

/// One more hold on the channel itself, which is no end of it: it keeps nothing open.
unsafe extern "C" fn hold(raw: RawChannel) {
    // SAFETY: A2.
    let shared = unsafe { shared(raw) };
    std::mem::forget(Arc::clone(&shared));
}

unsafe extern "C" fn let_go(raw: RawChannel) {
    // SAFETY: A2, for a hold that the caller gives up.
    drop(ManuallyDrop::into_inner(unsafe { shared(raw) }));
}

unsafe extern "C" fn transfer(
    engine: *const Engine,
    raw: RawChannel,
    with: u32,
    from: u64,
    to: u64,
) -> bool {
    // SAFETY: A1 and A2.
    let (engine, shared) = unsafe { (&*engine, shared(raw)) };
    engine.transfer(
        &shared,
        role(with),
        HostId::from_raw(from),
        HostId::from_raw(to),
    )
}

unsafe extern "C" fn release_host(engine: *const Engine, host: u64) {
    // SAFETY: A1.
    unsafe { &*engine }.release_host(HostId::from_raw(host));
}

fn send_status(result: Result<(), Blocked>) -> Status {
    match result {
        Ok(()) => Status::Done,
        Err(Blocked::Full) => Status::NotNow,
        Err(Blocked::Closed) => Status::Closed,
        Err(Blocked::Poisoned) => Status::Poisoned,
        Err(Blocked::TimedOut) => Status::TimedOut,
        Err(Blocked::Interrupted) => Status::Interrupted,
    }
}

fn recv_status(result: Result<(), RecvError>) -> Status {
    match result {
        Ok(()) => Status::Done,
        Err(RecvError::Empty) => Status::NotNow,
        Err(RecvError::Closed) => Status::Closed,
        Err(RecvError::Poisoned) => Status::Poisoned,
        Err(RecvError::TimedOut) => Status::TimedOut,
        Err(RecvError::Interrupted) => Status::Interrupted,
    }
}

unsafe extern "C" fn try_send(raw: RawChannel, message: *mut Message) -> Status {
    // SAFETY: A2 and A3.
    send_status(unsafe {
        channel(raw)
            .channel
            .send_from(message, &Wait::until(Deadline::NOW))
    })
}

unsafe extern "C" fn send(raw: RawChannel, message: *mut Message, until: *const RawWait) -> Status {
    // SAFETY: A2, A3, A4.
    send_status(unsafe { channel(raw).channel.send_from(message, &wait(until)) })
}

/// # Safety
/// A3: room for one message.
unsafe fn place<'a>(message: *mut Message) -> &'a mut MaybeUninit<Message> {
    // SAFETY: by the caller; MaybeUninit has the layout of its content.
    unsafe { &mut *message.cast() }
}

unsafe extern "C" fn try_recv(raw: RawChannel, message: *mut Message) -> Status {
    // SAFETY: A2 and A3.
    let (channel, place) = unsafe { (channel(raw), place(message)) };
    recv_status(
        channel
            .channel
            .recv_into(place, &Wait::until(Deadline::NOW)),
    )
}

unsafe extern "C" fn recv(raw: RawChannel, message: *mut Message, until: *const RawWait) -> Status {
    // SAFETY: A2, A3, A4.
    let (channel, place, wait) = unsafe { (channel(raw), place(message), wait(until)) };
    recv_status(channel.channel.recv_into(place, &wait))
}

unsafe extern "C" fn send_batch(
    raw: RawChannel,
    messages: *mut Message,
    count: usize,
    until: *const RawWait,
    sent: *mut usize,
) -> Status {
    // SAFETY: A3: *count* messages; the first *sent* of them are the engine's afterwards.
    let mut batch = unsafe { Batch::from_raw(messages, count) };
    // SAFETY: A2 and A4.
    let result = unsafe { channel(raw).channel.send_batch(&mut batch, &wait(until)) };
    // SAFETY: the caller's place for the number.
    unsafe { sent.write(batch.taken()) };
    send_status(result)
}

unsafe extern "C" fn recv_batch(
    raw: RawChannel,
    messages: *mut Message,
    max: usize,
    until: *const RawWait,
    received: *mut usize,
) -> Status {
    let mut got = 0;
    // SAFETY: A2, A3, A4: there is room for *max* messages, and no more than that come.
    let result = unsafe {
        channel(raw)
            .channel
            .recv_batch(max, &wait(until), |message| {
                messages.add(got).write(message);
                got += 1;
            })
    };
    // SAFETY: the caller's place for the number.
    unsafe { received.write(got) };
    recv_status(result.map(drop))
}

unsafe extern "C" fn select_cases(
    raw: *mut RawCase,
    count: usize,
    until: *const RawWait,
    chosen: *mut usize,
    received: *mut Message,
) -> Status {
    let raw: &[RawCase] = if count == 0 {
        &[]
    } else {
        // SAFETY: the caller's *count* cases.
        unsafe { std::slice::from_raw_parts(raw, count) }
    };
    let mut cases: Vec<Case<'_, Message>> = raw
        .iter()
        .map(|case| Case {
            // SAFETY: A2.
            channel: unsafe { &channel(case.channel).channel },
            op: if case.message.is_null() {
                Op::Recv
            } else {
                // SAFETY: A3: moved out; put back below unless it was sent.
                Op::Send(Some(unsafe { case.message.read() }))
            },
        })
        .collect();
    // SAFETY: A4.
    let result = select::select(&mut cases, &unsafe { wait(until) });
    let channels: Vec<_> = cases.iter().map(|case| case.channel).collect();
    for (case, raw) in cases.into_iter().zip(raw) {
        if let Op::Send(Some(message)) = case.op {
            // SAFETY: A3: the caller's place, from which this message was moved out.
            unsafe { raw.message.write(message) };
        }
    }
    let (index, outcome) = match result {
        Ok(selected) => selected,
        Err(SelectError::NoneReady) => return Status::NotNow,
        Err(SelectError::TimedOut) => return Status::TimedOut,
        Err(SelectError::Interrupted) => return Status::Interrupted,
    };
    // SAFETY: the caller's place for the index.
    unsafe { chosen.write(index) };
    match outcome {
        Outcome::Received(message) => {
            // SAFETY: A3: there is room for one message.
            unsafe { received.write(message) };
            Status::Done
        }
        Outcome::Sent => Status::Done,
        Outcome::RecvRefused | Outcome::SendRefused if channels[index].is_poisoned() => {
            Status::CasePoisoned
        }
        Outcome::RecvRefused | Outcome::SendRefused => Status::CaseClosed,
    }
}

unsafe extern "C" fn close(raw: RawChannel) -> bool {
    // SAFETY: A2.
    unsafe { channel(raw) }.channel.close()
}

unsafe extern "C" fn is_closed(raw: RawChannel) -> bool {
    // SAFETY: A2.
    unsafe { channel(raw) }.channel.is_closed()
}

unsafe extern "C" fn poison(raw: RawChannel, reason: *const u8, length: usize) -> bool {
    // SAFETY: the caller's bytes.
    let reason = unsafe { std::slice::from_raw_parts(reason, length) };
    // SAFETY: A2.
    unsafe { channel(raw) }.channel.poison(reason)
}

unsafe extern "C" fn poison_reason(
    raw: RawChannel,
    context: *mut c_void,
    sink: unsafe extern "C" fn(*mut c_void, *const u8, usize),
) -> bool {
    // SAFETY: A2.
    let Some(reason) = unsafe { channel(raw) }.channel.poison_reason() else {
        return false;
    };
    // SAFETY: the sink takes the context that came with it, and copies the bytes.
    unsafe { sink(context, reason.as_ptr(), reason.len()) };
    true
}

unsafe extern "C" fn len(raw: RawChannel) -> usize {
    // SAFETY: A2.
    unsafe { channel(raw) }.channel.len()
}

unsafe extern "C" fn stats(raw: RawChannel, out: *mut RawStats) {
    // SAFETY: A2.
    let channel = unsafe { channel(raw) };
    let (senders, receivers) = channel.ends();
    let stats = RawStats {
        counts: channel.counts(),
        senders: senders as u64,
        receivers: receivers as u64,
        closed: channel.channel.is_closed(),
        poisoned: channel.channel.is_poisoned(),
    };
    // SAFETY: the caller's place.
    unsafe { out.write(stats) };
}

unsafe extern "C" fn interrupt_new() -> *const c_void {
    Box::into_raw(Box::new(Interrupt::new()))
        .cast_const()
        .cast()
}

/// # Safety
/// A4.
unsafe fn interrupt<'a>(raw: *const c_void) -> &'a Interrupt {
    // SAFETY: A4.
    unsafe { &*raw.cast::<Interrupt>() }
}

unsafe extern "C" fn interrupt_retain(raw: *const c_void) -> *const c_void {
    // SAFETY: A4.
    let copy = unsafe { interrupt(raw) }.clone();
    Box::into_raw(Box::new(copy)).cast_const().cast()
}

unsafe extern "C" fn interrupt_release(raw: *const c_void) {
    // SAFETY: A4: made by Box, and the caller gives it up.
    drop(unsafe { Box::from_raw(raw.cast_mut().cast::<Interrupt>()) });
}

unsafe extern "C" fn interrupt_raise(raw: *const c_void) {
    // SAFETY: A4.
    unsafe { interrupt(raw) }.raise();
}

unsafe extern "C" fn interrupt_clear(raw: *const c_void) {
    // SAFETY: A4.
    unsafe { interrupt(raw) }.clear();
}

unsafe extern "C" fn interrupt_is_raised(raw: *const c_void) -> bool {
    // SAFETY: A4.
    unsafe { interrupt(raw) }.is_raised()
}

/// Null on failure, with the error number in *error*.
unsafe extern "C" fn bell_new(error: *mut i32) -> *const c_void {
    match Bell::new() {
        Ok(bell) => Box::into_raw(Box::new(bell)).cast_const().cast(),
        Err(failure) => {
            // SAFETY: the caller's place.
            unsafe { error.write(failure.raw_os_error().unwrap_or(0)) };
            std::ptr::null()
        }
    }
}

unsafe extern "C" fn bell_release(raw: *const c_void) {
    // SAFETY: A4: made by Box, and the caller gives it up.
    drop(unsafe { Box::from_raw(raw.cast_mut().cast::<Bell>()) });
}

unsafe extern "C" fn bell_write_fd(raw: *const c_void) -> i32 {
    // SAFETY: A4.
    unsafe { &*raw.cast::<Bell>() }.write_fd()
}

/// Copies the signals out, as many as fit; returns how many. Call again until it gives 0.
unsafe extern "C" fn bell_take_signals(raw: *const c_void, out: *mut u8, room: usize) -> usize {
    // SAFETY: A4.
    let signals = unsafe { &*raw.cast::<Bell>() }.take_signals(room);
    // SAFETY: the caller has room for so many bytes.
    unsafe { out.copy_from_nonoverlapping(signals.as_ptr(), signals.len()) };
    signals.len()
}
