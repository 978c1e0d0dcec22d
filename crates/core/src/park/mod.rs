//! The one place where a thread sleeps.
//!
//! A blocked operation makes a [`Waiter`], registers it wherever something may happen (one
//! [`WaitQueue`] for each case, the [`Interrupt`] of its task), looks once more whether anything is
//! ready, and sleeps. Whoever changes a channel claims one registered waiter and wakes it. An
//! asynchronous waiter takes the same path with a callback instead of a sleeping thread.
//! The protocol and its proof are in the README beside this file.

mod bell;
mod chime;
mod futex;
mod interrupt;
mod queue;
mod spin;
mod waiter;

pub use bell::Bell;
pub use chime::Chime;
pub use interrupt::{Interrupt, Watch};
pub(crate) use queue::{Key, WaitQueue};
pub(crate) use spin::SpinBudget;
pub use waiter::Wake;
pub(crate) use waiter::{Waiter, Woken};

use crate::clock::Deadline;

/// How long a blocking operation waits and what may end it early.
#[derive(Copy, Clone)]
pub struct Wait<'a> {
    /// When it gives up.
    pub deadline: Deadline,
    /// What ends it from outside (the cancellation of a task, the closing of a host).
    pub interrupt: Option<&'a Interrupt>,
    /// What to sleep on instead of the futex: the main thread of the main interpreter, which must
    /// wake up for signals whichever thread they arrive on.
    pub bell: Option<&'a Bell>,
}

impl Wait<'static> {
    /// Wait for ever, with nothing that could interrupt.
    #[must_use]
    pub fn forever() -> Self {
        Self::until(Deadline::NEVER)
    }

    /// Wait until *deadline*, with nothing that could interrupt.
    #[must_use]
    pub fn until(deadline: Deadline) -> Self {
        Self {
            deadline,
            interrupt: None,
            bell: None,
        }
    }
}
