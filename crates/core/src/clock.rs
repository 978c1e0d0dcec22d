//! Time as the engine knows it: absolute deadlines on the monotonic clock.

use std::time::Duration;

/// The moment at which a wait gives up. Absolute, so that a wait can be resumed after an
/// interruption without starting its time again.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(transparent)]
pub struct Deadline(u64);

impl Deadline {
    /// Do not wait at all.
    pub const NOW: Self = Self(0);
    /// Wait for ever.
    pub const NEVER: Self = Self(u64::MAX);

    /// A deadline *delay* from now; further away than the clock can count is [`Self::NEVER`].
    #[must_use]
    pub fn after(delay: Duration) -> Self {
        if delay.is_zero() {
            return Self::NOW;
        }
        let delay = u64::try_from(delay.as_nanos()).unwrap_or(u64::MAX);
        Self(now().saturating_add(delay))
    }

    /// As [`Self::after`], from seconds. Zero, negative numbers and NaN mean [`Self::NOW`].
    #[must_use]
    pub fn after_seconds(seconds: f64) -> Self {
        if seconds.is_nan() || seconds <= 0.0 {
            return Self::NOW;
        }
        match Duration::try_from_secs_f64(seconds) {
            // Less than a nanosecond is still a wait, not a try.
            Ok(delay) => Self::after(delay.max(Duration::from_nanos(1))),
            Err(_) => Self::NEVER,
        }
    }

    /// Whether this deadline means "do not wait".
    #[must_use]
    pub fn is_now(self) -> bool {
        self == Self::NOW
    }

    /// Whether this deadline means "wait for ever".
    #[must_use]
    pub fn is_never(self) -> bool {
        self == Self::NEVER
    }

    /// Whether the moment has come.
    #[must_use]
    pub fn has_passed(self) -> bool {
        !self.is_never() && now() >= self.0
    }

    /// The time left, `None` for ever.
    #[must_use]
    pub fn remaining(self) -> Option<Duration> {
        (!self.is_never()).then(|| Duration::from_nanos(self.0.saturating_sub(now())))
    }

    /// The earlier of two deadlines.
    #[must_use]
    pub fn earlier(self, other: Self) -> Self {
        self.min(other)
    }

    /// Nanoseconds of the monotonic clock, as the function table carries them.
    #[must_use]
    pub fn to_raw(self) -> u64 {
        self.0
    }

    /// The inverse of [`Self::to_raw`].
    #[must_use]
    pub fn from_raw(raw: u64) -> Self {
        Self(raw)
    }

    /// As the kernel takes it (absolute, CLOCK_MONOTONIC); `None` for ever.
    #[cfg(all(target_os = "linux", not(loom)))]
    pub(crate) fn to_timespec(self) -> Option<libc::timespec> {
        (!self.is_never()).then(|| libc::timespec {
            tv_sec: libc::time_t::try_from(self.0 / 1_000_000_000).unwrap_or(libc::time_t::MAX),
            tv_nsec: (self.0 % 1_000_000_000) as libc::c_long,
        })
    }
}

/// Nanoseconds of the monotonic clock.
fn now() -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is a valid timespec to write to; CLOCK_MONOTONIC exists on every supported system.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut time) };
    (time.tv_sec as u64) * 1_000_000_000 + time.tv_nsec as u64
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn odd_numbers_of_seconds_become_tries_or_endless_waits() {
        assert!(Deadline::after_seconds(0.0).is_now());
        assert!(Deadline::after_seconds(-1.0).is_now());
        assert!(Deadline::after_seconds(f64::NAN).is_now());
        assert!(Deadline::after_seconds(f64::INFINITY).is_never());
        assert!(Deadline::after_seconds(1e300).is_never());
        assert!(!Deadline::after_seconds(1e-12).is_now());
    }

    #[test]
    fn a_deadline_passes_when_its_time_has_come() {
        assert!(Deadline::NOW.has_passed());
        assert!(!Deadline::NEVER.has_passed());
        assert!(!Deadline::after_seconds(3600.0).has_passed());
        assert_eq!(Deadline::NEVER.remaining(), None);
    }
}
