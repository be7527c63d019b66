//! The record writer: takes records at once, ships them in batches, and never drops one.
//!
//! Room is bounded: what is admitted and not yet stored counts, and beyond the bound nothing is admitted. While the
//! store is away, batches are tried again and again. What the store can never take goes to the quarantine file. What
//! is left when the process must end goes to the spill file, which the next start ships first.

mod batches;
mod counts;
mod files;
mod housekeeping;
mod shipping;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use vllm_gateway_sdk::{Record, RecordSink};
use vllm_gateway_store::LogStore;

use counts::Counts;
pub use counts::RecordCounts;
use files::Files;
use shipping::{Flush, Shipper};

/// How a record writer works.
#[derive(Clone, Debug)]
pub struct WriterOptions {
    /// How many records may be on their way at once, those included that have only been admitted.
    pub capacity: usize,
    /// The folder for `quarantine.jsonl` and `spill.jsonl`. It is made when it is needed and missing.
    pub folder: PathBuf,
}

impl WriterOptions {
    /// The default capacity of 20,000 records, with files in this folder.
    pub fn in_folder(folder: impl Into<PathBuf>) -> Self {
        Self { capacity: 20_000, folder: folder.into() }
    }
}

/// Where the records were when a flush ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flushed {
    /// How many could not be stored in time and wait in the spill file for the next start.
    pub spilled: u64,
    /// How many could not even be written there: they are in memory only, and trying goes on.
    pub left: u64,
}

/// The sink that the gateway gives to its plugins.
pub struct RecordWriter {
    counts: Arc<Counts>,
    records: mpsc::UnboundedSender<Record>,
    flushes: mpsc::UnboundedSender<Flush>,
    retention: Arc<Mutex<Option<Duration>>>,
    tasks: [JoinHandle<()>; 2],
}

impl RecordWriter {
    /// Starts writing to this store. Must be called within a tokio runtime; dropping the writer ends its work.
    #[must_use]
    pub fn start(store: Arc<dyn LogStore>, options: WriterOptions) -> Arc<Self> {
        // Unbounded by itself: `Counts` bounds what is in it.
        let (records, incoming) = mpsc::unbounded_channel();
        let (flushes, asked) = mpsc::unbounded_channel();
        let counts = Arc::new(Counts::new(options.capacity));
        let retention = Arc::default();
        let shipper = Shipper::new(Arc::clone(&store), Arc::clone(&counts), Files::new(options.folder));
        let house = housekeeping::keep_house(store, Arc::clone(&retention));
        let tasks = [tokio::spawn(shipper.run(incoming, asked)), tokio::spawn(house)];
        Arc::new(Self { counts, records, flushes, retention, tasks })
    }

    /// How many records were accepted, and what became of them.
    #[must_use]
    pub fn counts(&self) -> RecordCounts {
        self.counts.read()
    }

    /// Stores whatever has been submitted; what the store has not taken by the deadline goes to the spill file.
    /// For the end of the process; what is submitted later is still written.
    pub async fn flush(&self, deadline: Instant) -> Flushed {
        let (done, answer) = oneshot::channel();
        let lost = Flushed { spilled: 0, left: self.counts().pending };
        if self.flushes.send(Flush { deadline, done }).is_err() {
            return lost;
        }
        answer.await.unwrap_or(lost)
    }
}

impl Drop for RecordWriter {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl RecordSink for RecordWriter {
    fn admit(&self) -> bool {
        self.counts.admit()
    }

    fn submit(&self, record: Record) {
        self.counts.accepted();
        if let Err(mpsc::error::SendError(record)) = self.records.send(record) {
            // Only after the runtime has ended its tasks: the last place left is the log.
            tracing::error!(
                record = files::line(&record),
                "the record writer has ended, this record is only here"
            );
        }
    }

    fn release(&self) {
        self.counts.give_back(1);
    }

    fn keep_for(&self, retention: Option<Duration>) {
        *self.retention.lock().unwrap_or_else(PoisonError::into_inner) = retention;
    }
}

#[cfg(test)]
mod tests;
