//! How many records there were of each fate.

use std::sync::atomic::{AtomicU64, Ordering};

use vllm_gateway_stripes::Stripes;

/// Records by fate, since the start. Always `accepted = stored + quarantined + pending`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RecordCounts {
    /// Written to the journal, by this run or found there at its start.
    pub accepted: u64,
    /// In the store.
    pub stored: u64,
    /// In the quarantine file.
    pub quarantined: u64,
    /// In the journal: of requests that run, or waiting for the store.
    pub pending: u64,
}

#[derive(Default)]
pub(crate) struct Counts {
    accepted: Stripes<AtomicU64>,
    stored: AtomicU64,
    quarantined: AtomicU64,
}

impl Counts {
    pub(crate) fn accepted(&self, records: u64) {
        self.accepted.own().fetch_add(records, Ordering::Release);
    }

    pub(crate) fn stored(&self, records: usize) {
        self.stored.fetch_add(records as u64, Ordering::Release);
    }

    pub(crate) fn quarantined(&self, records: usize) {
        self.quarantined.fetch_add(records as u64, Ordering::Release);
    }

    pub(crate) fn read(&self) -> RecordCounts {
        // The ends before the start: a record counted in between shows as pending, never as a negative number.
        let stored = self.stored.load(Ordering::Acquire);
        let quarantined = self.quarantined.load(Ordering::Acquire);
        let accepted = self.accepted.iter().map(|counter| counter.load(Ordering::Acquire)).sum::<u64>();
        RecordCounts { accepted, stored, quarantined, pending: accepted.saturating_sub(stored + quarantined) }
    }
}
