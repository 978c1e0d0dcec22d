//! The table's functions about the terminal that all debuggers share.

use crate::abi::hosts::status_of;
use crate::abi::{RawWait, Status, channels};
use crate::client::HostId;
use crate::engine::Engine;
use crate::region::Region;
use crate::terminal::Line;
use std::ffi::c_void;

/// A line, as it crosses the table.
#[repr(C)]
pub(crate) struct RawLine {
    pub(crate) kind: u32,
    /// Why it cannot be read ([`FAILED`]).
    pub(crate) error: i32,
    /// A region with the line, given away, or null.
    pub(crate) text: *const c_void,
}

pub(crate) const TEXT: u32 = 0;
pub(crate) const INTERRUPTED: u32 = 1;
pub(crate) const FAILED: u32 = 2;

/// Everything about the terminal.
#[repr(C)]
pub(crate) struct TerminalTable {
    /// The turn to take or had before, who takes it, whether it wants Ctrl-C; a place for the turn.
    pub(crate) take:
        unsafe extern "C" fn(*const Engine, u64, u64, bool, *const RawWait, *mut u64) -> Status,
    pub(crate) leave_prompt: unsafe extern "C" fn(*const Engine, u64),
    pub(crate) give_back: unsafe extern "C" fn(*const Engine, u64),
    pub(crate) read_line:
        unsafe extern "C" fn(*const Engine, *const RawWait, *mut RawLine) -> Status,
}

pub(super) const TABLE: TerminalTable = TerminalTable {
    take,
    leave_prompt,
    give_back,
    read_line,
};

// Called through the table by `crate::client` only: the engine lives for ever, waits are valid during the call, and what comes out
// has a place.

unsafe extern "C" fn take(
    engine: *const Engine,
    turn: u64,
    host: u64,
    wants_ctrl_c: bool,
    wait: *const RawWait,
    out: *mut u64,
) -> Status {
    // SAFETY: as told above.
    let (engine, wait) = unsafe { (&*engine, channels::wait(wait)) };
    let taken = engine
        .terminal
        .take(turn, HostId::from_raw(host), wants_ctrl_c, &wait);
    status_of(taken.map(|turn| {
        // SAFETY: as told above.
        unsafe { out.write(turn) };
    }))
}

unsafe extern "C" fn leave_prompt(engine: *const Engine, turn: u64) {
    // SAFETY: as told above.
    unsafe { &*engine }.terminal.leave_prompt(turn);
}

unsafe extern "C" fn give_back(engine: *const Engine, turn: u64) {
    // SAFETY: as told above.
    unsafe { &*engine }.terminal.give_back(turn);
}

unsafe extern "C" fn read_line(
    engine: *const Engine,
    wait: *const RawWait,
    out: *mut RawLine,
) -> Status {
    // SAFETY: as told above.
    let (engine, wait) = unsafe { (&*engine, channels::wait(wait)) };
    let null = std::ptr::null();
    status_of(engine.terminal.read_line(&wait).map(|line| {
        let (kind, error, text) = match line {
            Line::Text(text) => (TEXT, 0, Region::from_vec(text).into_raw()),
            Line::Interrupted => (INTERRUPTED, 0, null),
            Line::Failed(error) => (FAILED, error, null),
        };
        // SAFETY: as told above.
        unsafe { out.write(RawLine { kind, error, text }) };
    }))
}
