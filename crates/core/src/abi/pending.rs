//! The engine's side of the table's functions for event loops: chimes, pending selects, watched interruptions.

use crate::abi::{RawCase, Status};
use crate::channel::Channel;
use crate::engine::EngineChannel;
use crate::message::Message;
use crate::park::{Chime, Interrupt, Watch};
use crate::select::{Case, Op, Outcome, Pending};
use std::ffi::c_void;
use std::mem::ManuallyDrop;
use std::sync::Arc;

/// Everything that an event loop needs.
#[repr(C)]
pub(crate) struct PendingTable {
    pub(crate) chime_new: unsafe extern "C" fn(*mut i32) -> *const c_void,
    pub(crate) chime_release: unsafe extern "C" fn(*const c_void),
    pub(crate) chime_descriptor: unsafe extern "C" fn(*const c_void) -> i32,
    pub(crate) chime_take: unsafe extern "C" fn(*const c_void, *mut u64, usize) -> usize,
    pub(crate) begin: unsafe extern "C" fn(
        *const c_void,
        u64,
        *mut RawCase,
        usize,
        *mut RawChosen,
    ) -> *mut c_void,
    pub(crate) finish: unsafe extern "C" fn(*mut c_void, *mut RawChosen) -> *mut c_void,
    pub(crate) cancel: unsafe extern "C" fn(*mut c_void, *mut RawChosen) -> bool,
    pub(crate) watch: unsafe extern "C" fn(*const c_void, *const c_void, u64) -> *mut c_void,
    pub(crate) unwatch: unsafe extern "C" fn(*mut c_void),
}

/// The case that was chosen, as it crosses the table.
#[repr(C)]
pub(crate) struct RawChosen {
    pub(crate) index: usize,
    /// `Done`, `CaseClosed` or `CasePoisoned`.
    pub(crate) status: Status,
    /// Room for a message; written if the case is a receive that is done.
    pub(crate) received: *mut Message,
}

impl RawChosen {
    /// Nothing chosen yet.
    pub(crate) fn with_room(received: *mut Message) -> Self {
        Self {
            index: 0,
            status: Status::NotNow,
            received,
        }
    }
}

pub(super) const TABLE: PendingTable = PendingTable {
    chime_new,
    chime_release,
    chime_descriptor,
    chime_take,
    begin,
    finish,
    cancel,
    watch,
    unwatch,
};

// Every function below is called through the table by `crate::client` only, which upholds, besides A2 to A4 of
// `abi::channels`:
// - D1: a chime pointer came from `chime_new` and is released once, after every other call.
// - D2: a pending pointer came from `begin` or `finish`; `finish` and `cancel` take it over.
// - D3: a watch pointer came from `watch`, and `unwatch` takes it over.

/// A select that waits, and what keeps its channels where they are.
struct Held {
    // Dropped before `channels`.
    pending: Pending<'static, Message>,
    channels: Channels,
}

/// The channels of a select, in the order of its cases. Holding one keeps nothing open.
struct Channels(Vec<Arc<EngineChannel>>);

impl Channels {
    /// # Safety
    /// The result is gone before `self` is.
    unsafe fn get(&self, index: usize) -> &'static Channel<Message> {
        // SAFETY: an Arc's content does not move, and lives as long as `self` at least: by the caller.
        unsafe { &*std::ptr::from_ref(&self.0[index].channel) }
    }
}

/// # Safety
/// D1.
unsafe fn chime<'a>(raw: *const c_void) -> &'a Chime {
    // SAFETY: D1.
    unsafe { &*raw.cast::<Chime>() }
}

/// Null on failure, with the error number in *error*.
unsafe extern "C" fn chime_new(error: *mut i32) -> *const c_void {
    match Chime::new() {
        Ok(chime) => Box::into_raw(Box::new(chime)).cast_const().cast(),
        Err(failure) => {
            // SAFETY: the caller's place.
            unsafe { error.write(failure.raw_os_error().unwrap_or(0)) };
            std::ptr::null()
        }
    }
}

/// Closes the descriptor, too; waits and watches that still know the chime ring for nobody.
unsafe extern "C" fn chime_release(raw: *const c_void) {
    // SAFETY: D1: made by Box, and the caller gives it up.
    let chime = unsafe { Box::from_raw(raw.cast_mut().cast::<Chime>()) };
    chime.close();
}

unsafe extern "C" fn chime_descriptor(raw: *const c_void) -> i32 {
    // SAFETY: D1.
    unsafe { chime(raw) }.descriptor().unwrap_or(-1)
}

unsafe extern "C" fn chime_take(raw: *const c_void, out: *mut u64, room: usize) -> usize {
    // SAFETY: D1.
    let numbers = unsafe { chime(raw) }.take(room);
    // SAFETY: the caller has room for so many.
    unsafe { out.copy_from_nonoverlapping(numbers.as_ptr(), numbers.len()) };
    numbers.len()
}

/// Takes over the messages of the cases. Null: a case was chosen at once.
unsafe extern "C" fn begin(
    raw_chime: *const c_void,
    number: u64,
    raw: *mut RawCase,
    count: usize,
    chosen: *mut RawChosen,
) -> *mut c_void {
    let raw: &[RawCase] = if count == 0 {
        &[]
    } else {
        // SAFETY: the caller's *count* cases.
        unsafe { std::slice::from_raw_parts(raw, count) }
    };
    let hold = |case: &RawCase| {
        // SAFETY: A2; ManuallyDrop leaves the caller's reference as it is.
        let shared = unsafe { Arc::from_raw(case.channel.cast::<EngineChannel>()) };
        Arc::clone(&ManuallyDrop::new(shared))
    };
    let channels = Channels(raw.iter().map(hold).collect());
    let cases = raw.iter().enumerate().map(|(index, case)| Case {
        // SAFETY: `answer` keeps the cases beside their channels, and drops them first.
        channel: unsafe { channels.get(index) },
        op: if case.message.is_null() {
            Op::Recv
        } else {
            // SAFETY: A3: moved out, for good.
            Op::Send(Some(unsafe { case.message.read() }))
        },
    });
    // SAFETY: D1.
    let wake = unsafe { chime(raw_chime) }.wake(number);
    let begun = Pending::begin(cases.collect(), wake);
    // SAFETY: the caller's place.
    unsafe { answer(begun, channels, chosen) }
}

/// Null: a case was chosen. Else the same wait goes on.
unsafe extern "C" fn finish(raw: *mut c_void, chosen: *mut RawChosen) -> *mut c_void {
    // SAFETY: D2: made by Box, and the caller gives it up.
    let held = unsafe { Box::from_raw(raw.cast::<Held>()) };
    let Held { pending, channels } = *held;
    // SAFETY: the caller's place.
    unsafe { answer(pending.finish(), channels, chosen) }
}

/// False: nothing has happened, and the messages are dropped.
unsafe extern "C" fn cancel(raw: *mut c_void, chosen: *mut RawChosen) -> bool {
    // SAFETY: D2: made by Box, and the caller gives it up.
    let held = unsafe { Box::from_raw(raw.cast::<Held>()) };
    let Held { pending, channels } = *held;
    match pending.cancel() {
        Ok((index, outcome, cases)) => {
            drop(cases);
            // SAFETY: the caller's place.
            unsafe { tell(index, outcome, &channels, chosen) };
            true
        }
        Err(cases) => {
            drop(cases);
            false
        }
    }
}

/// # Safety
/// *chosen* is the caller's place for the case that was chosen; *channels* are those of the select.
unsafe fn answer(
    state: Result<crate::select::Chosen<'static, Message>, Pending<'static, Message>>,
    channels: Channels,
    chosen: *mut RawChosen,
) -> *mut c_void {
    match state {
        Err(pending) => Box::into_raw(Box::new(Held { pending, channels })).cast(),
        Ok((index, outcome, cases)) => {
            drop(cases);
            // SAFETY: by the caller.
            unsafe { tell(index, outcome, &channels, chosen) };
            std::ptr::null_mut()
        }
    }
}

/// # Safety
/// As for [`answer`].
unsafe fn tell(
    index: usize,
    outcome: Outcome<Message>,
    channels: &Channels,
    chosen: *mut RawChosen,
) {
    // SAFETY: by the caller.
    let chosen = unsafe { &mut *chosen };
    chosen.index = index;
    chosen.status = match outcome {
        Outcome::Received(message) => {
            // SAFETY: A3: there is room for one message.
            unsafe { chosen.received.write(message) };
            Status::Done
        }
        Outcome::Sent => Status::Done,
        Outcome::RecvRefused | Outcome::SendRefused => {
            match channels.0[index].channel.is_poisoned() {
                true => Status::CasePoisoned,
                false => Status::CaseClosed,
            }
        }
    };
}

unsafe extern "C" fn watch(
    interrupt: *const c_void,
    raw_chime: *const c_void,
    number: u64,
) -> *mut c_void {
    // SAFETY: A4: made by `Box::into_raw` in `interrupt_new` or its like.
    let interrupt = unsafe { &*interrupt.cast::<Interrupt>() };
    // SAFETY: D1.
    let wake = unsafe { chime(raw_chime) }.wake(number);
    Box::into_raw(Box::new(interrupt.watch(wake))).cast()
}

unsafe extern "C" fn unwatch(raw: *mut c_void) {
    // SAFETY: D3: made by Box, and the caller gives it up.
    drop(unsafe { Box::from_raw(raw.cast::<Watch>()) });
}
