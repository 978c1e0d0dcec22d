//! The terminal that the process was started from, which the debuggers of all hosts share: one at a time talks to it.
//!
//! # Protocol
//!
//! - Who wants to talk takes the *turn* ([`Terminal::take`]), in the order of asking, and keeps it until [`Terminal::give_back`].
//!   Meanwhile it is *at the prompt*, or, after [`Terminal::leave_prompt`], *away*: the code under its debugger runs on to the
//!   next stop, where `take` with the same turn brings it back to the prompt.
//! - Whoever is away for longer than [`PATIENCE`] may lose the turn to one that waits, and queues for it anew when it comes back:
//!   what it runs may wait for the very task whose debugger waits for the turn.
//! - Ctrl-C is for whoever is at the prompt, if it says that it wants it ([`ctrl_c`]).
//! - Lines are read byte by byte, so that what one debugger does not read is there for the next, and for the program.
//!
//! # Invariants
//!
//! - W1: only the holder of the turn reads, and only at the prompt; so one thread at most reads the descriptor.

mod ctrl_c;
mod line;

use crate::client::HostId;
use crate::clock::Deadline;
use crate::park::{Wait, WaitQueue};
use crate::sync::{Mutex, lock};
use crate::waiting::{Unfinished, wait_for};
use ctrl_c::CtrlC;
use std::collections::VecDeque;
use std::time::Duration;

pub use line::Line;

/// How long a debugger whose code runs between two prompts keeps others waiting.
const PATIENCE: Duration = Duration::from_secs(1);

/// Who may talk, and who wants to.
pub(crate) struct Terminal {
    state: Mutex<State>,
    /// Whoever waits for the turn.
    changes: WaitQueue,
    descriptor: i32,
}

#[derive(Default)]
struct State {
    holder: Option<Holder>,
    /// The turns of those who wait, oldest first.
    queue: VecDeque<u64>,
    last_turn: u64,
}

struct Holder {
    turn: u64,
    host: HostId,
    /// Until when it keeps the turn in any case; `None`: it is at the prompt.
    away_until: Option<Deadline>,
    /// Ctrl-C reaches it, as long as this lives.
    ctrl_c: Option<CtrlC>,
}

impl Terminal {
    /// That of this descriptor.
    pub(crate) fn new(descriptor: i32) -> Self {
        Self {
            state: Mutex::default(),
            changes: WaitQueue::new(),
            descriptor,
        }
    }

    /// Waits for the turn and is at the prompt then. `turn` is the turn that the caller has had, or 0; the result is the one it
    /// has now. `wants_ctrl_c`: Ctrl-C ends its [`read_line`](Self::read_line), and is nobody else's, as long as it is at the prompt.
    pub(crate) fn take(
        &self,
        turn: u64,
        host: HostId,
        wants_ctrl_c: bool,
        wait: &Wait<'_>,
    ) -> Result<u64, Unfinished> {
        let turn = {
            let mut state = lock(&self.state);
            if let Some(holder) = state.holder.as_mut().filter(|holder| holder.turn == turn) {
                holder.come_back(wants_ctrl_c);
                return Ok(turn);
            }
            state.last_turn += 1;
            let turn = state.last_turn;
            state.queue.push_back(turn);
            turn
        };
        let taken = loop {
            let held_until = lock(&self.state).held_until();
            let until = Wait {
                deadline: wait.deadline.earlier(held_until),
                ..*wait
            };
            let taken = wait_for(&self.changes, None, &until, || {
                lock(&self.state)
                    .take(turn, host, wants_ctrl_c)
                    .then_some(turn)
            });
            match taken {
                // The holder may be overtaken now, or has come back to the prompt.
                Err(Unfinished::TimedOut) if !wait.deadline.has_passed() => {}
                done => break done,
            }
        };
        if taken.is_err() {
            lock(&self.state).queue.retain(|other| *other != turn);
            self.changes.notify_all();
        }
        taken
    }

    /// The code of the holder's debugger runs on.
    pub(crate) fn leave_prompt(&self, turn: u64) {
        if let Some(holder) = &mut lock(&self.state).holder
            && holder.turn == turn
        {
            holder.away_until = Some(Deadline::after(PATIENCE));
            holder.ctrl_c = None;
        }
        // Those who wait have a deadline now.
        self.changes.notify_all();
    }

    /// The holder's debugger is done.
    pub(crate) fn give_back(&self, turn: u64) {
        lock(&self.state)
            .holder
            .take_if(|holder| holder.turn == turn);
        self.changes.notify_all();
    }

    /// The host has ended, and with it the debugger that may have had the turn.
    pub(crate) fn release_host(&self, host: HostId) {
        let gone = lock(&self.state)
            .holder
            .take_if(|holder| holder.host == host);
        if gone.is_some() {
            self.changes.notify_all();
        }
    }

    /// Waits for a line. For the holder of the turn, at the prompt (W1).
    pub(crate) fn read_line(&self, wait: &Wait<'_>) -> Result<Line, Unfinished> {
        line::read(self.descriptor, wait)
    }
}

impl State {
    fn take(&mut self, turn: u64, host: HostId, wants_ctrl_c: bool) -> bool {
        let is_free = self
            .holder
            .as_ref()
            .is_none_or(|holder| holder.away_until.is_some_and(Deadline::has_passed));
        if !is_free || self.queue.front() != Some(&turn) {
            return false;
        }
        self.queue.pop_front();
        let mut holder = Holder {
            turn,
            host,
            away_until: None,
            ctrl_c: None,
        };
        holder.come_back(wants_ctrl_c);
        self.holder = Some(holder);
        true
    }

    fn held_until(&self) -> Deadline {
        let holder = self.holder.as_ref();
        holder
            .and_then(|holder| holder.away_until)
            .unwrap_or(Deadline::NEVER)
    }
}

impl Holder {
    fn come_back(&mut self, wants_ctrl_c: bool) {
        self.away_until = None;
        if wants_ctrl_c && self.ctrl_c.is_none() {
            self.ctrl_c = CtrlC::take();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::park::Interrupt;
    use std::sync::Arc;
    use std::thread;

    const HERE: HostId = HostId(7);

    fn take(terminal: &Terminal, turn: u64) -> u64 {
        terminal
            .take(turn, HERE, false, &Wait::forever())
            .expect("without a deadline there is but one end")
    }

    fn try_take(terminal: &Terminal) -> Result<u64, Unfinished> {
        terminal.take(0, HERE, false, &Wait::until(Deadline::after_seconds(0.0)))
    }

    #[test]
    fn the_turn_is_taken_by_one_at_a_time() {
        let terminal = Terminal::new(-1);
        let turn = take(&terminal, 0);
        assert_eq!(try_take(&terminal), Err(Unfinished::TimedOut));

        terminal.give_back(turn);
        assert!(try_take(&terminal).is_ok());
    }

    #[test]
    fn who_is_away_for_a_moment_keeps_the_turn() {
        let terminal = Terminal::new(-1);
        let turn = take(&terminal, 0);
        terminal.leave_prompt(turn);
        assert_eq!(try_take(&terminal), Err(Unfinished::TimedOut));
        assert_eq!(take(&terminal, turn), turn);
    }

    #[test]
    fn who_is_away_for_long_loses_the_turn_to_one_that_waits_and_queues_anew() {
        let terminal = Terminal::new(-1);
        let first = take(&terminal, 0);
        terminal.leave_prompt(first);
        let second = take(&terminal, 0);
        assert_ne!(second, first);

        // What the first says of a turn that it has lost changes nothing.
        terminal.leave_prompt(first);
        terminal.give_back(first);
        assert_eq!(try_take(&terminal), Err(Unfinished::TimedOut));

        terminal.give_back(second);
        assert_ne!(take(&terminal, first), first);
    }

    #[test]
    fn turns_come_in_the_order_of_asking() {
        let terminal = Arc::new(Terminal::new(-1));
        let mut turn = take(&terminal, 0);
        let threads: Vec<_> = (0..4_usize)
            .map(|number| {
                let other = terminal.clone();
                let thread = thread::spawn(move || (number, take(&other, 0)));
                while lock(&terminal.state).queue.len() <= number {
                    thread::yield_now();
                }
                thread
            })
            .collect();
        for thread in threads {
            terminal.give_back(turn);
            turn = thread.join().expect("no panic").1;
        }
    }

    #[test]
    fn an_interrupted_wait_leaves_the_queue_to_the_others() {
        let terminal = Terminal::new(-1);
        let turn = take(&terminal, 0);
        let interrupt = Interrupt::new();
        interrupt.raise();
        let wait = Wait {
            deadline: Deadline::NEVER,
            interrupt: Some(&interrupt),
            bell: None,
        };
        assert_eq!(
            terminal.take(0, HERE, false, &wait),
            Err(Unfinished::Interrupted)
        );
        terminal.give_back(turn);
        assert!(try_take(&terminal).is_ok());
    }

    #[test]
    fn a_host_that_ends_gives_its_turn_back() {
        let terminal = Terminal::new(-1);
        take(&terminal, 0);
        terminal.release_host(HostId(8));
        assert_eq!(try_take(&terminal), Err(Unfinished::TimedOut));
        terminal.release_host(HERE);
        assert!(try_take(&terminal).is_ok());
    }
}
