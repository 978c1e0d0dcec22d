//! How long to spin before sleeping.

use crate::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// The spinning that one side of a channel may afford, learnt from how it went before.
///
/// Falling asleep and being woken costs some ten microseconds, so spinning pays as long as the other
/// side usually answers sooner. Each success doubles the budget, each failure halves it, within
/// bounds; a channel whose messages are far apart soon spins for less than a microsecond. Only one
/// thread a side spins at a time: more would take cores from those who could make progress.
///
/// A budget that has become too short never succeeds again by itself, even if the other side is fast now: falling asleep
/// and waking up makes it slow. So a sleep that turns out brief restores the whole budget.
///
/// Pauses between looks grow up to a limit. A look costs the other side, too (it takes the cache line
/// away that it works on), so whoever can afford to wait should look rarely.
pub(crate) struct SpinBudget {
    rounds: AtomicU32,
    longest_pause: u32,
}

/// Marks that somebody is spinning.
const BUSY: u32 = 1 << 31;

impl SpinBudget {
    const LEAST: u32 = 32;
    const MOST: u32 = 1024;
    /// About what spinning `MOST` pauses takes.
    const BRIEF: Duration = Duration::from_micros(20);

    /// For a side that should notice at once: someone waits for its answer.
    pub(crate) fn eager() -> Self {
        Self::with_longest_pause(16)
    }

    /// For a side that has time: a sender whose messages fill the channel. The longer it looks away, the
    /// more room it finds.
    pub(crate) fn patient() -> Self {
        Self::with_longest_pause(64)
    }

    /// For a rendezvous: two sides that both try meet only if one of them waits.
    pub(crate) fn none() -> Self {
        Self {
            rounds: AtomicU32::new(BUSY),
            longest_pause: 0,
        }
    }

    fn with_longest_pause(longest_pause: u32) -> Self {
        Self {
            rounds: AtomicU32::new(Self::MOST / 2),
            longest_pause,
        }
    }

    /// Calls *fall_asleep*, and learns from how long it took.
    pub(crate) fn sleep<R>(&self, fall_asleep: impl FnOnce() -> R) -> R {
        if cfg!(loom) || self.longest_pause == 0 {
            return fall_asleep();
        }
        let begun = Instant::now();
        let woken = fall_asleep();
        if begun.elapsed() < Self::BRIEF {
            self.rounds.store(Self::MOST, Ordering::Relaxed);
        }
        woken
    }

    /// Calls *attempt* until it gives something or the budget is used up.
    pub(crate) fn spin<R>(&self, mut attempt: impl FnMut() -> Option<R>) -> Option<R> {
        if cfg!(loom) {
            return None;
        }
        // ORDERING: Relaxed throughout: a heuristic, nothing is published through it.
        let rounds = self.rounds.fetch_or(BUSY, Ordering::Relaxed);
        if rounds & BUSY != 0 {
            return None;
        }
        let mut pauses = 1;
        let mut spent = 0;
        while spent < rounds {
            for _ in 0..pauses {
                std::hint::spin_loop();
            }
            spent += pauses;
            if spent > 2 * self.longest_pause {
                // The other side may be waiting for this very core.
                std::thread::yield_now();
            }
            pauses = (pauses * 2).min(self.longest_pause);
            if let Some(result) = attempt() {
                self.rounds
                    .store((rounds * 2).min(Self::MOST), Ordering::Relaxed);
                return Some(result);
            }
        }
        self.rounds
            .store((rounds / 2).max(Self::LEAST), Ordering::Relaxed);
        None
    }
}
