//! The engine as a table of C functions: the only way in.
//!
//! Under `dlmopen` a library's statics exist once per linker namespace, so a copy of this library that
//! was loaded inside an isolate must not start a second engine: it attaches to this table, like a
//! program to a kernel. Everything that crosses has a fixed layout; code that runs behind the table is
//! that of the copy that owns the engine. [`crate::client`] is the safe face of this.
//!
//! Whoever changes a signature, a layout or an order here raises [`VERSION`].

mod channels;
pub(crate) mod driving;
pub(crate) mod hosts;
pub(crate) mod pending;
pub(crate) mod tasks;
pub(crate) mod terminal;

pub use channels::{RawCase, RawStats, RawWait, Status};
pub(crate) use channels::{capacity_from_raw, capacity_to_raw};

use crate::engine::Engine;
use crate::message::Message;
use std::ffi::c_void;

/// The version of the table and of every layout that crosses it.
pub const VERSION: u32 = 7;

/// What an engine hands to the copies of the library that use it.
#[repr(C)]
pub struct Table {
    /// [`VERSION`] of the copy that owns the engine. Always first.
    pub version: u32,
    /// `size_of::<Table>()` there.
    pub size: u32,
    pub(crate) engine: *const Engine,
    pub(crate) channels: ChannelTable,
    pub(crate) hosts: hosts::HostTable,
    pub(crate) driving: driving::DrivingTable,
    pub(crate) tasks: tasks::TaskTable,
    pub(crate) pending: pending::PendingTable,
    pub(crate) terminal: terminal::TerminalTable,
    pub(crate) write_whole: unsafe extern "C" fn(*const Engine, i32, *const u8, usize) -> i32,
}

// SAFETY: the engine is Sync and lives for ever; the rest are function pointers.
unsafe impl Send for Table {}
// SAFETY: as above.
unsafe impl Sync for Table {}

/// A reference to a channel, as it crosses the table. Each one counts.
pub(crate) type RawChannel = *const c_void;

/// Everything about channels, interrupts and bells.
#[repr(C)]
pub(crate) struct ChannelTable {
    pub(crate) new: unsafe extern "C" fn(*const Engine, i64, u64) -> RawChannel,
    pub(crate) id: unsafe extern "C" fn(RawChannel) -> u64,
    pub(crate) capacity: unsafe extern "C" fn(RawChannel) -> i64,
    pub(crate) acquire: unsafe extern "C" fn(*const Engine, RawChannel, u32, u64),
    pub(crate) release: unsafe extern "C" fn(*const Engine, RawChannel, u32, u64),
    pub(crate) hold: unsafe extern "C" fn(RawChannel),
    pub(crate) let_go: unsafe extern "C" fn(RawChannel),
    pub(crate) transfer: unsafe extern "C" fn(*const Engine, RawChannel, u32, u64, u64) -> bool,
    pub(crate) release_host: unsafe extern "C" fn(*const Engine, u64),
    pub(crate) try_send: unsafe extern "C" fn(RawChannel, *mut Message) -> Status,
    pub(crate) send: unsafe extern "C" fn(RawChannel, *mut Message, *const RawWait) -> Status,
    pub(crate) try_recv: unsafe extern "C" fn(RawChannel, *mut Message) -> Status,
    pub(crate) recv: unsafe extern "C" fn(RawChannel, *mut Message, *const RawWait) -> Status,
    pub(crate) send_batch:
        unsafe extern "C" fn(RawChannel, *mut Message, usize, *const RawWait, *mut usize) -> Status,
    pub(crate) recv_batch:
        unsafe extern "C" fn(RawChannel, *mut Message, usize, *const RawWait, *mut usize) -> Status,
    pub(crate) select: unsafe extern "C" fn(
        *mut RawCase,
        usize,
        *const RawWait,
        *mut usize,
        *mut Message,
    ) -> Status,
    pub(crate) close: unsafe extern "C" fn(RawChannel) -> bool,
    pub(crate) is_closed: unsafe extern "C" fn(RawChannel) -> bool,
    pub(crate) poison: unsafe extern "C" fn(RawChannel, *const u8, usize) -> bool,
    pub(crate) poison_reason: unsafe extern "C" fn(
        RawChannel,
        *mut c_void,
        unsafe extern "C" fn(*mut c_void, *const u8, usize),
    ) -> bool,
    pub(crate) len: unsafe extern "C" fn(RawChannel) -> usize,
    pub(crate) stats: unsafe extern "C" fn(RawChannel, *mut RawStats),
    pub(crate) interrupt_new: unsafe extern "C" fn() -> *const c_void,
    pub(crate) interrupt_retain: unsafe extern "C" fn(*const c_void) -> *const c_void,
    pub(crate) interrupt_release: unsafe extern "C" fn(*const c_void),
    pub(crate) interrupt_raise: unsafe extern "C" fn(*const c_void),
    pub(crate) interrupt_clear: unsafe extern "C" fn(*const c_void),
    pub(crate) interrupt_is_raised: unsafe extern "C" fn(*const c_void) -> bool,
    pub(crate) bell_new: unsafe extern "C" fn(*mut i32) -> *const c_void,
    pub(crate) bell_release: unsafe extern "C" fn(*const c_void),
    pub(crate) bell_write_fd: unsafe extern "C" fn(*const c_void) -> i32,
    pub(crate) bell_take_signals: unsafe extern "C" fn(*const c_void, *mut u8, usize) -> usize,
}

impl Table {
    /// Starts an engine and makes its table. Both live as long as the process: threads may use them
    /// until its very end. `crew_size`: how many hosts a crew has at most, if not one for each core.
    pub(crate) fn start(crew_size: Option<usize>) -> &'static Self {
        let engine = Box::leak(Box::new(Engine::new()));
        Box::leak(Box::new(Self {
            version: VERSION,
            size: size_of::<Self>() as u32,
            engine,
            channels: channels::TABLE,
            hosts: hosts::table(engine, crew_size),
            driving: driving::TABLE,
            tasks: tasks::TABLE,
            pending: pending::TABLE,
            terminal: terminal::TABLE,
            write_whole,
        }))
    }
}

/// 0, or the error's number.
unsafe extern "C" fn write_whole(
    engine: *const Engine,
    descriptor: i32,
    bytes: *const u8,
    length: usize,
) -> i32 {
    // SAFETY: the engine lives for ever; the caller's bytes are there during the call.
    let (engine, bytes) = unsafe { (&*engine, std::slice::from_raw_parts(bytes, length)) };
    engine
        .streams
        .write_whole(descriptor, bytes)
        .err()
        .unwrap_or(0)
}
