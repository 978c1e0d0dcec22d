//! Channel ends on the client's side of the table.

use crate::abi::{RawCase, RawStats, Status, Table};
use crate::abi::{capacity_from_raw, capacity_to_raw};
use crate::client::{Blocked, Capacity, ChannelStats, Engine, HostId, Message, RecvError, Wait};
use std::ffi::c_void;
use std::mem::{ManuallyDrop, MaybeUninit};

/// Why a send did not happen; the message comes back.
pub type SendError = crate::channel::SendError<Message>;

/// What a reference to a channel may do.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Role {
    /// Send.
    Sender = 0,
    /// Receive.
    Receiver = 1,
    /// Both.
    Both = 2,
}

impl Role {
    /// Whether it may send.
    #[must_use]
    pub fn can_send(self) -> bool {
        self != Self::Receiver
    }

    /// Whether it may receive.
    #[must_use]
    pub fn can_recv(self) -> bool {
        self != Self::Sender
    }
}

/// A counted reference to a channel, owned by a host (or by a message). Dropping it gives it back; the
/// last sender's end closes the channel, the last receiver's end fails the senders.
///
/// The layout is fixed: ends travel inside messages.
#[repr(C)]
pub struct End {
    table: &'static Table,
    channel: *const c_void,
    owner: HostId,
    role: Role,
}

// SAFETY: a counted reference to a thread-safe channel.
unsafe impl Send for End {}
// SAFETY: as above: all its operations go through the table's thread-safe functions.
unsafe impl Sync for End {}

/// Why a batch was not sent to its end. The messages that were not sent are left in the vector.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct BatchError {
    /// Why.
    pub reason: Blocked,
}

/// One operation of a select.
pub struct Case<'a> {
    /// Where.
    pub end: &'a End,
    /// What.
    pub op: Op,
}

/// What a case does.
#[derive(Debug)]
pub enum Op {
    /// Take a message.
    Recv,
    /// Put this message in. After it was sent: an empty message.
    Send(Message),
}

/// What a select did.
#[derive(Debug)]
pub struct Selected {
    /// Which case.
    pub index: usize,
    /// What it did.
    pub outcome: Outcome,
}

/// What the chosen case did.
#[derive(Debug)]
pub enum Outcome {
    /// A message came.
    Received(Message),
    /// The message was sent.
    Sent,
    /// The case's channel is closed (and drained).
    Closed,
    /// The case's channel was poisoned.
    Poisoned,
}

/// Why no case was chosen.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum SelectError {
    /// Nothing is ready now (deadline "now").
    NoneReady,
    /// Nothing was ready before the deadline.
    TimedOut,
    /// The wait was interrupted.
    Interrupted,
}

impl Engine {
    /// A new channel, of which *owner* holds both ends.
    #[must_use]
    pub fn channel(&self, capacity: Capacity, owner: HostId) -> End {
        let table = self.table;
        // SAFETY: A1.
        let channel = unsafe {
            (table.channels.new)(table.engine, capacity_to_raw(capacity), owner.to_raw())
        };
        End {
            table,
            channel,
            owner,
            role: Role::Both,
        }
    }

    /// Gives back every channel end that a host still holds. For the end of a host.
    pub fn release_host(&self, host: HostId) {
        // SAFETY: A1.
        unsafe { (self.table.channels.release_host)(self.table.engine, host.to_raw()) }
    }

    /// Waits until one of *cases* can go on, and does it; exactly one takes effect, fairly chosen.
    pub fn select(&self, cases: &mut [Case<'_>], wait: &Wait<'_>) -> Result<Selected, SelectError> {
        let mut raw: Vec<RawCase> = cases
            .iter_mut()
            .map(|case| RawCase {
                channel: case.end.channel,
                message: match &mut case.op {
                    Op::Recv => std::ptr::null_mut(),
                    Op::Send(message) => message,
                },
            })
            .collect();
        let mut index = 0;
        let mut received = MaybeUninit::<Message>::uninit();
        // SAFETY: A2 (the ends are borrowed), A3 (messages in the cases, room for one), A4 (the wait's borrows).
        let status = unsafe {
            (self.table.channels.select)(
                raw.as_mut_ptr(),
                raw.len(),
                &wait.to_raw(),
                &mut index,
                received.as_mut_ptr(),
            )
        };
        let outcome = match status {
            Status::Done => match &mut cases[index].op {
                // SAFETY: A3: a receive that is done has written its message.
                Op::Recv => Outcome::Received(unsafe { received.assume_init() }),
                Op::Send(message) => {
                    // SAFETY: A3: the sent message is the engine's now: what is left there is overwritten
                    // without being dropped.
                    unsafe {
                        std::ptr::write(message, Message::from_inline(Default::default(), 0))
                    };
                    Outcome::Sent
                }
            },
            Status::CaseClosed | Status::Closed => Outcome::Closed,
            Status::CasePoisoned | Status::Poisoned => Outcome::Poisoned,
            Status::NotNow => return Err(SelectError::NoneReady),
            Status::TimedOut => return Err(SelectError::TimedOut),
            Status::Interrupted => return Err(SelectError::Interrupted),
        };
        Ok(Selected { index, outcome })
    }
}

impl End {
    /// The channel, as it crosses the table.
    pub(super) fn raw(&self) -> *const c_void {
        self.channel
    }

    /// What it may do.
    #[must_use]
    pub fn role(&self) -> Role {
        self.role
    }

    /// Who holds it.
    #[must_use]
    pub fn owner(&self) -> HostId {
        self.owner
    }

    /// The channel's number, unique in the process.
    #[must_use]
    pub fn channel_id(&self) -> u64 {
        // SAFETY: A2.
        unsafe { (self.table.channels.id)(self.channel) }
    }

    /// Another counted reference. *role* must be within this end's own.
    #[must_use]
    pub fn share(&self, role: Role, owner: HostId) -> Self {
        debug_assert!(self.role == Role::Both || self.role == role);
        // SAFETY: A1 and A2.
        unsafe {
            (self.table.channels.acquire)(
                self.table.engine,
                self.channel,
                role as u32,
                owner.to_raw(),
            );
        }
        Self {
            table: self.table,
            channel: self.channel,
            owner,
            role,
        }
    }

    /// The same reference with another owner: into a message, or out of one.
    #[must_use]
    pub fn transfer(mut self, owner: HostId) -> Self {
        // SAFETY: A1 and A2.
        let moved = unsafe {
            (self.table.channels.transfer)(
                self.table.engine,
                self.channel,
                self.role as u32,
                self.owner.to_raw(),
                owner.to_raw(),
            )
        };
        // If the old owner has ended, its references are gone already: this one stays with it, so that
        // dropping it changes no count.
        if moved {
            self.owner = owner;
        }
        self
    }

    /// Sends without waiting.
    #[inline]
    pub fn try_send(&self, message: Message) -> Result<(), SendError> {
        let mut message = ManuallyDrop::new(message);
        // SAFETY: A2 and A3.
        let status = unsafe { (self.table.channels.try_send)(self.channel, &mut *message) };
        sent(status, message)
    }

    /// Sends, waiting for room (for a receiver, if the capacity is zero).
    pub fn send(&self, message: Message, wait: &Wait<'_>) -> Result<(), SendError> {
        let mut message = ManuallyDrop::new(message);
        // SAFETY: A2, A3, A4.
        let status =
            unsafe { (self.table.channels.send)(self.channel, &mut *message, &wait.to_raw()) };
        sent(status, message)
    }

    /// Takes the oldest message without waiting.
    #[inline]
    pub fn try_recv(&self) -> Result<Message, RecvError> {
        let mut message = MaybeUninit::uninit();
        // SAFETY: A2 and A3.
        let status = unsafe { (self.table.channels.try_recv)(self.channel, message.as_mut_ptr()) };
        // SAFETY: A3: done means that a message was written.
        received(status).map(|()| unsafe { message.assume_init() })
    }

    /// Takes the oldest message, waiting for one.
    pub fn recv(&self, wait: &Wait<'_>) -> Result<Message, RecvError> {
        let mut message = MaybeUninit::uninit();
        // SAFETY: A2, A3, A4.
        let status = unsafe {
            (self.table.channels.recv)(self.channel, message.as_mut_ptr(), &wait.to_raw())
        };
        // SAFETY: A3: done means that a message was written.
        received(status).map(|()| unsafe { message.assume_init() })
    }

    /// Sends the messages in order, a chunk at a time, waiting whenever there is no room. Sent messages
    /// leave the vector's front; on an error the others stay.
    pub fn send_batch(
        &self,
        messages: &mut Vec<Message>,
        wait: &Wait<'_>,
    ) -> Result<(), BatchError> {
        let mut sent = 0;
        // SAFETY: A2, A3, A4.
        let status = unsafe {
            (self.table.channels.send_batch)(
                self.channel,
                messages.as_mut_ptr(),
                messages.len(),
                &wait.to_raw(),
                &mut sent,
            )
        };
        let left = messages.len() - sent;
        // SAFETY: the first *sent* messages are the engine's: they are forgotten, and the rest move down.
        unsafe {
            messages.set_len(0);
            let first = messages.as_mut_ptr();
            first.copy_from(first.add(sent), left);
            messages.set_len(left);
        }
        let reason = match status {
            Status::Done => return Ok(()),
            Status::NotNow => Blocked::Full,
            Status::Closed | Status::CaseClosed => Blocked::Closed,
            Status::Poisoned | Status::CasePoisoned => Blocked::Poisoned,
            Status::TimedOut => Blocked::TimedOut,
            Status::Interrupted => Blocked::Interrupted,
        };
        Err(BatchError { reason })
    }

    /// Appends up to *max* messages to *messages*, waiting only for the first. Returns how many.
    pub fn recv_batch(
        &self,
        messages: &mut Vec<Message>,
        max: usize,
        wait: &Wait<'_>,
    ) -> Result<usize, RecvError> {
        messages.reserve(max);
        let mut got = 0;
        // SAFETY: A2, A4; A3: there is room for *max* messages behind the vector's end.
        let status = unsafe {
            (self.table.channels.recv_batch)(
                self.channel,
                messages.as_mut_ptr().add(messages.len()),
                max,
                &wait.to_raw(),
                &mut got,
            )
        };
        // SAFETY: so many were written there.
        unsafe { messages.set_len(messages.len() + got) };
        received(status).map(|()| got)
    }

    /// No more sends; receivers drain what is inside. True: this call closed the channel.
    pub fn close(&self) -> bool {
        // SAFETY: A2.
        unsafe { (self.table.channels.close)(self.channel) }
    }

    /// Both ends fail from now on; what is inside is dropped. True: this call poisoned the channel.
    pub fn poison(&self, reason: &[u8]) -> bool {
        // SAFETY: A2, and as many bytes as told.
        unsafe { (self.table.channels.poison)(self.channel, reason.as_ptr(), reason.len()) }
    }

    /// Why the channel was poisoned, if it was.
    #[must_use]
    pub fn poison_reason(&self) -> Option<Vec<u8>> {
        unsafe extern "C" fn keep(context: *mut c_void, bytes: *const u8, length: usize) {
            // SAFETY: the context is the vector below, the bytes are the engine's for this call.
            unsafe {
                (*context.cast::<Vec<u8>>())
                    .extend_from_slice(std::slice::from_raw_parts(bytes, length));
            }
        }
        let mut reason = Vec::new();
        // SAFETY: A2; the sink fits its context.
        let poisoned = unsafe {
            (self.table.channels.poison_reason)(
                self.channel,
                std::ptr::from_mut(&mut reason).cast(),
                keep,
            )
        };
        poisoned.then_some(reason)
    }

    /// Messages inside.
    #[must_use]
    pub fn len(&self) -> usize {
        // SAFETY: A2.
        unsafe { (self.table.channels.len)(self.channel) }
    }

    /// Whether nothing is inside.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The capacity that the channel was made with.
    #[must_use]
    pub fn capacity(&self) -> Capacity {
        // SAFETY: A2.
        capacity_from_raw(unsafe { (self.table.channels.capacity)(self.channel) })
    }

    /// Whether sends are refused.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        // SAFETY: A2.
        unsafe { (self.table.channels.is_closed)(self.channel) }
    }

    /// Counters of the channel.
    #[must_use]
    pub fn stats(&self) -> ChannelStats {
        let mut stats = RawStats::default();
        // SAFETY: A2, and a place for the result.
        unsafe { (self.table.channels.stats)(self.channel, &mut stats) };
        stats
    }
}

impl Drop for End {
    fn drop(&mut self) {
        // SAFETY: A1 and A2: our reference, given back once.
        unsafe {
            (self.table.channels.release)(
                self.table.engine,
                self.channel,
                self.role as u32,
                self.owner.to_raw(),
            );
        }
    }
}

/// The power to poison a channel without holding an end of it: it keeps the channel open for nobody.
pub struct Poisoner {
    table: &'static Table,
    channel: *const c_void,
}

// SAFETY: a hold on a thread-safe channel.
unsafe impl Send for Poisoner {}

impl Poisoner {
    /// For the channel of this end.
    #[must_use]
    pub fn of(end: &End) -> Self {
        // SAFETY: A2: the end's reference.
        unsafe { (end.table.channels.hold)(end.channel) };
        Self {
            table: end.table,
            channel: end.channel,
        }
    }

    /// As [`End::poison`].
    pub fn poison(&self, reason: &[u8]) -> bool {
        // SAFETY: A2: our hold, and as many bytes as told.
        unsafe { (self.table.channels.poison)(self.channel, reason.as_ptr(), reason.len()) }
    }
}

impl Drop for Poisoner {
    fn drop(&mut self) {
        // SAFETY: A2: our hold, given back once.
        unsafe { (self.table.channels.let_go)(self.channel) }
    }
}

impl std::fmt::Debug for End {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("End")
            .field("channel", &self.channel_id())
            .field("role", &self.role)
            .field("owner", &self.owner)
            .finish()
    }
}

/// What a send's status says. The message is the engine's if it was sent, otherwise it comes back.
#[inline]
fn sent(status: Status, message: ManuallyDrop<Message>) -> Result<(), SendError> {
    let back = || ManuallyDrop::into_inner(message);
    match status {
        Status::Done => Ok(()),
        Status::NotNow => Err(SendError::Full(back())),
        Status::Closed | Status::CaseClosed => Err(SendError::Closed(back())),
        Status::Poisoned | Status::CasePoisoned => Err(SendError::Poisoned(back())),
        Status::TimedOut => Err(SendError::TimedOut(back())),
        Status::Interrupted => Err(SendError::Interrupted(back())),
    }
}

#[inline]
fn received(status: Status) -> Result<(), RecvError> {
    match status {
        Status::Done => Ok(()),
        Status::NotNow => Err(RecvError::Empty),
        Status::Closed | Status::CaseClosed => Err(RecvError::Closed),
        Status::Poisoned | Status::CasePoisoned => Err(RecvError::Poisoned),
        Status::TimedOut => Err(RecvError::TimedOut),
        Status::Interrupted => Err(RecvError::Interrupted),
    }
}
