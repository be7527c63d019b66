//! Room for records, and how many there were of each fate.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Records by fate, since the start. Always `accepted = stored + quarantined + pending`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RecordCounts {
    /// Submitted, or found in the spill file of the run before.
    pub accepted: u64,
    /// In the store.
    pub stored: u64,
    /// In the quarantine file.
    pub quarantined: u64,
    /// On their way, or waiting in the spill file.
    pub pending: u64,
}

pub(crate) struct Counts {
    capacity: usize,
    /// Admitted and neither given back nor at their end.
    taken: AtomicUsize,
    accepted: AtomicU64,
    stored: AtomicU64,
    quarantined: AtomicU64,
}

impl Counts {
    pub(crate) fn new(capacity: usize) -> Self {
        let zero = || AtomicU64::new(0);
        Self { capacity, taken: AtomicUsize::new(0), accepted: zero(), stored: zero(), quarantined: zero() }
    }

    pub(crate) fn admit(&self) -> bool {
        let more = |taken: usize| (taken < self.capacity).then(|| taken + 1);
        self.taken.try_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
    }

    pub(crate) fn give_back(&self, room: usize) {
        // Saturating: a sink that is submitted to without asking for room must not end up with endless room.
        self.taken.update(Ordering::Relaxed, Ordering::Relaxed, |taken| taken.saturating_sub(room));
    }

    pub(crate) fn accepted(&self) {
        self.accepted.fetch_add(1, Ordering::Release);
    }

    /// A record of an earlier run takes room whether there is any or not: it was admitted then.
    pub(crate) fn readmitted(&self) {
        self.taken.fetch_add(1, Ordering::Relaxed);
        self.accepted();
    }

    pub(crate) fn stored(&self, records: usize) {
        self.stored.fetch_add(records as u64, Ordering::Release);
    }

    pub(crate) fn quarantined(&self) {
        self.quarantined.fetch_add(1, Ordering::Release);
    }

    pub(crate) fn read(&self) -> RecordCounts {
        // The ends before the start: a record counted in between shows as pending, never as a negative number.
        let stored = self.stored.load(Ordering::Acquire);
        let quarantined = self.quarantined.load(Ordering::Acquire);
        let accepted = self.accepted.load(Ordering::Acquire);
        RecordCounts { accepted, stored, quarantined, pending: accepted.saturating_sub(stored + quarantined) }
    }
}
