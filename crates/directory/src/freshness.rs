//! How old what is known may be: how long ago the store was heard, by two clocks, of which the older answer counts.
//!
//! The monotonic clock cannot be set, but does not run while a machine sleeps; the wall clock may jump. A clock that
//! jumped back, or stood still, therefore prolongs nothing.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::{Duration, Instant};

use jiff::Timestamp;

/// Without word from the store for this long, a key that is not known here may have been made elsewhere.
pub(crate) const FRESH: Duration = Duration::from_secs(5);

const NEVER: i64 = i64::MIN;

/// A moment, by both clocks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    pub(crate) instant: Instant,
    pub(crate) wall: Timestamp,
}

impl Moment {
    pub(crate) fn now() -> Self {
        Self { instant: Instant::now(), wall: Timestamp::now() }
    }
}

pub(crate) struct Freshness {
    max_staleness: Duration,
    born: Instant,
    /// Milliseconds from `born` to the last sync, negative for one before this process; or `NEVER`.
    synced: AtomicI64,
    /// The same moment in milliseconds since 1970.
    synced_wall: AtomicI64,
    /// Whether the last attempt to ask the store succeeded, in this process.
    live: AtomicBool,
}

impl Freshness {
    pub(crate) fn new(max_staleness: Duration) -> Self {
        Self {
            max_staleness,
            born: Instant::now(),
            synced: AtomicI64::new(NEVER),
            synced_wall: AtomicI64::new(NEVER),
            live: AtomicBool::new(false),
        }
    }

    pub(crate) const fn max_staleness(&self) -> Duration {
        self.max_staleness
    }

    /// The store has answered a question that was asked at that moment.
    pub(crate) fn heard(&self, asked: Moment) {
        self.set(signed(asked.instant.saturating_duration_since(self.born)), asked.wall.as_millisecond());
        self.live.store(true, Ordering::Release);
    }

    /// What is known now is of another process, which heard the store that long ago.
    pub(crate) fn restored(&self, age: Duration) {
        let now = Moment::now();
        let wall = now.wall.as_millisecond().saturating_sub(signed(age));
        let since_born = signed(now.instant.saturating_duration_since(self.born));
        self.set(since_born.saturating_sub(signed(age)), wall);
    }

    /// The store could not be asked.
    pub(crate) fn failed(&self) {
        self.live.store(false, Ordering::Release);
    }

    fn set(&self, synced: i64, wall: i64) {
        // A reader between the two takes the older of both: it errs on the safe side.
        self.synced_wall.store(wall, Ordering::Release);
        self.synced.store(synced, Ordering::Release);
    }

    /// When the store was last heard, by the wall clock.
    pub(crate) fn synced(&self) -> Option<Timestamp> {
        let wall = self.synced_wall.load(Ordering::Acquire);
        if wall == NEVER { None } else { Timestamp::from_millisecond(wall).ok() }
    }

    /// How long ago the store was last heard; `None` if never.
    pub(crate) fn age(&self, now: Timestamp) -> Option<Duration> {
        let by_wall = now.as_millisecond().saturating_sub(self.synced_wall.load(Ordering::Acquire));
        Some(self.monotonic_age()?.max(Duration::from_millis(u64::try_from(by_wall).unwrap_or(0))))
    }

    fn monotonic_age(&self) -> Option<Duration> {
        let synced = self.synced.load(Ordering::Acquire);
        let age = signed(self.born.elapsed()).saturating_sub(synced);
        (synced != NEVER).then(|| Duration::from_millis(u64::try_from(age).unwrap_or(0)))
    }

    /// Whether what is known may still be relied on.
    pub(crate) fn is_within(&self, now: Timestamp) -> bool {
        self.age(now).is_some_and(|age| age <= self.max_staleness)
    }

    /// Whether what is not known here is known nowhere: the store answers this process, and did so just now.
    pub(crate) fn is_live(&self, now: Timestamp) -> bool {
        self.live.load(Ordering::Acquire)
            && self.is_within(now)
            && self.monotonic_age().is_some_and(|age| age <= FRESH)
    }
}

fn signed(length: Duration) -> i64 {
    i64::try_from(length.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use jiff::SignedDuration;

    use super::*;

    const HOUR: Duration = Duration::from_hours(1);

    #[test]
    fn what_was_never_heard_has_no_age_and_is_neither_within_nor_live() {
        let freshness = Freshness::new(HOUR);
        assert_eq!(freshness.age(Timestamp::now()), None);
        assert!(!freshness.is_within(Timestamp::now()) && !freshness.is_live(Timestamp::now()));
    }

    #[test]
    fn what_was_restored_is_within_but_not_live() {
        let freshness = Freshness::new(HOUR);
        freshness.restored(Duration::from_mins(1));
        assert!(freshness.is_within(Timestamp::now()) && !freshness.is_live(Timestamp::now()));
        assert!(freshness.age(Timestamp::now()).unwrap() >= Duration::from_mins(1));
        freshness.restored(HOUR + Duration::from_millis(1));
        assert!(!freshness.is_within(Timestamp::now()));
    }

    #[test]
    fn a_wall_clock_that_jumps_back_makes_nothing_younger() {
        let freshness = Freshness::new(HOUR);
        freshness.restored(HOUR + Duration::from_millis(1));
        let yesterday = Timestamp::now() - SignedDuration::from_hours(24);
        assert!(!freshness.is_within(yesterday));
        freshness.heard(Moment::now());
        assert!(freshness.is_within(yesterday), "heard just now, whatever the clock says");
    }

    #[test]
    fn a_machine_that_slept_knows_by_the_wall_clock() {
        let freshness = Freshness::new(HOUR);
        freshness.heard(Moment::now());
        assert!(!freshness.is_within(Timestamp::now() + SignedDuration::from_hours(2)));
    }

    #[test]
    fn a_failed_question_ends_the_certainty_at_once() {
        let freshness = Freshness::new(HOUR);
        freshness.heard(Moment::now());
        assert!(freshness.is_live(Timestamp::now()));
        freshness.failed();
        assert!(!freshness.is_live(Timestamp::now()) && freshness.is_within(Timestamp::now()));
    }
}
