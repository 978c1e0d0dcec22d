//! The terminal that all debuggers share, on the client's side of the table.

use crate::abi::terminal::{INTERRUPTED, RawLine, TEXT};
use crate::client::hosts::finished;
use crate::client::{Engine, HostId, Region, Unfinished, Wait};
use std::mem::MaybeUninit;

pub use crate::terminal::Line;

impl Engine {
    /// Waits for the turn to talk at the terminal. `turn` is the turn that the caller has had, or 0; the result is the one it has
    /// now, until [`Self::give_terminal_back`]. With `wants_ctrl_c`, Ctrl-C ends [`Self::read_terminal_line`] and reaches nobody
    /// else until [`Self::leave_terminal_prompt`].
    pub fn take_terminal(
        &self,
        turn: u64,
        host: HostId,
        wants_ctrl_c: bool,
        wait: &Wait<'_>,
    ) -> Result<u64, Unfinished> {
        let (table, mut taken) = (self.table, 0);
        // SAFETY: a valid wait, and a place for the turn.
        let status = unsafe {
            (table.terminal.take)(
                table.engine,
                turn,
                host.to_raw(),
                wants_ctrl_c,
                &wait.to_raw(),
                &mut taken,
            )
        };
        finished(status).map(|()| taken)
    }

    /// The code under the debugger runs on. Whoever waits for the terminal may overtake it if it takes its time.
    pub fn leave_terminal_prompt(&self, turn: u64) {
        // SAFETY: no further conditions.
        unsafe { (self.table.terminal.leave_prompt)(self.table.engine, turn) }
    }

    /// The debugger is done.
    pub fn give_terminal_back(&self, turn: u64) {
        // SAFETY: no further conditions.
        unsafe { (self.table.terminal.give_back)(self.table.engine, turn) }
    }

    /// Waits for a line from the terminal, for whoever has the turn.
    pub fn read_terminal_line(&self, wait: &Wait<'_>) -> Result<Line, Unfinished> {
        let (table, mut raw) = (self.table, MaybeUninit::<RawLine>::uninit());
        // SAFETY: a valid wait, and a place for the line.
        let status =
            unsafe { (table.terminal.read_line)(table.engine, &wait.to_raw(), raw.as_mut_ptr()) };
        finished(status)?;
        // SAFETY: written, as the wait has finished.
        let raw = unsafe { raw.assume_init() };
        Ok(match raw.kind {
            TEXT => {
                // SAFETY: a region's reference, given to us.
                let text = unsafe { Region::from_raw(raw.text) };
                Line::Text(text.bytes().to_vec())
            }
            INTERRUPTED => Line::Interrupted,
            _ => Line::Failed(raw.error),
        })
    }
}
