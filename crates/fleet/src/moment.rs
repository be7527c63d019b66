//! A point in time that fits into an atomic.

use std::{
    sync::LazyLock,
    time::{Duration, Instant},
};

/// Milliseconds of the monotonic clock since the process first asked; never 0, which stands for "not set".
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(u64);

static BEGAN: LazyLock<Instant> = LazyLock::new(Instant::now);

impl Moment {
    /// The present one.
    pub fn now() -> Self {
        Self::of(Instant::now())
    }

    /// The one of this instant.
    pub fn of(instant: Instant) -> Self {
        Self(1 + millis(instant.saturating_duration_since(*BEGAN)))
    }

    /// How long ago `earlier` was; nothing, if it is not.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    pub(crate) fn get(self) -> u64 {
        self.0
    }

    /// The moment of this number, unless it is "not set".
    pub(crate) fn from_raw(raw: u64) -> Option<Self> {
        (raw != 0).then_some(Self(raw))
    }
}

impl std::ops::Add<Duration> for Moment {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(millis(duration)))
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX - 1)
}
