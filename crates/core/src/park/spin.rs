//! How long to spin before sleeping.

use crate::sync::atomic::{AtomicU32, Ordering};

/// The spinning that one side of a channel may afford, learnt from how it went before.
///
/// Falling asleep and being woken costs some ten microseconds, so spinning pays as long as the other
/// side usually answers sooner. Each success doubles the budget, each failure halves it, within
/// bounds; a channel whose messages are far apart soon spins for less than a microsecond. Only one
/// thread a side spins at a time: more would take cores from those who could make progress.
pub(crate) struct SpinBudget {
    rounds: AtomicU32,
}

/// Marks that somebody is spinning.
const BUSY: u32 = 1 << 31;

impl SpinBudget {
    const LEAST: u32 = 32;
    const MOST: u32 = 1024;
    const PAUSES: u32 = 16;

    pub(crate) fn new() -> Self {
        Self {
            rounds: AtomicU32::new(Self::MOST / 2),
        }
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
            pauses = (pauses * 2).min(Self::PAUSES);
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
