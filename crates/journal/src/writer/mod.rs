//! The record writer: takes records into the journal, ships them from there, and never drops one.
//!
//! While the store is away, records wait on the disk, and batches are tried again and again. What the store can never
//! take goes to the quarantine file. What is left when the process ends, the next start ships.

#[cfg(test)]
mod cost;
mod counts;
mod files;
mod housekeeping;
mod shipping;

use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use vllm_gateway_sdk::{Facts, Outcome, RecordSink, Room};
use vllm_gateway_store::LogStore;

use crate::area::Disk;
use crate::folder::{Folder, JournalError, Lock};
use crate::journal::Journal;
use crate::keeper::Keeper;
use crate::place::Place;
use counts::Counts;
pub use counts::RecordCounts;
use files::Files;
use shipping::{Bell, Flush, Shipper};

/// How a record writer works.
#[derive(Clone, Debug)]
pub struct WriterOptions {
    /// The folder of `quarantine.jsonl`; made if it is missing and needed.
    pub folder: PathBuf,
    /// The folder of the journal; made if it is missing. One gateway at a time has it.
    pub journal: PathBuf,
    /// The most bytes that the journal takes on the disk, in steps of 4 MiB, 4096 records each.
    pub max_size: u64,
    /// How often what was written is made to outlive a loss of power, too; never, without it.
    pub sync_every: Option<Duration>,
}

impl WriterOptions {
    /// The defaults, 1 GiB and a sync every second, in this folder.
    pub fn in_folder(folder: impl Into<PathBuf>) -> Self {
        let folder = folder.into();
        let journal = folder.join("journal");
        Self { folder, journal, max_size: 1 << 30, sync_every: Some(Duration::from_secs(1)) }
    }
}

/// Where the records were when a flush ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flushed {
    /// How many could not be stored in time and wait in the journal.
    pub left: u64,
}

/// The sink that the gateway gives to its plugins.
pub struct RecordWriter {
    counts: Arc<Counts>,
    journal: Arc<Journal>,
    bell: Arc<Bell>,
    flushes: mpsc::UnboundedSender<Flush>,
    retention: Arc<Mutex<Option<Duration>>>,
    tasks: [JoinHandle<()>; 2],
    /// Dropped before the lock is: nobody writes to a folder that is not held.
    _keeper: Keeper,
    _lock: Option<Lock>,
}

impl RecordWriter {
    /// Finds what earlier runs have left and starts writing to this store. Must be called within a tokio runtime;
    /// dropping the writer ends its work.
    pub fn start(store: Arc<dyn LogStore>, options: WriterOptions) -> Result<Arc<Self>, JournalError> {
        let (disk, lock) = Folder::lock(&options.journal)?;
        Self::start_on(Box::new(disk), Some(lock), store, options)
    }

    fn start_on(
        disk: Box<dyn Disk>,
        lock: Option<Lock>,
        store: Arc<dyn LogStore>,
        options: WriterOptions,
    ) -> Result<Arc<Self>, JournalError> {
        let failed = |error| JournalError::Io { path: options.journal.clone(), error };
        let (journal, found) = Journal::open_on(disk, options.max_size).map_err(failed)?;
        if found.records > 0 {
            let (records, interrupted, damaged) = (found.records, found.interrupted, found.damaged);
            tracing::info!(records, interrupted, damaged, "the journal holds records of an earlier run");
        }
        let journal = Arc::new(journal);
        let keeper = Keeper::start(&journal, options.sync_every).map_err(failed)?;
        let counts = Arc::new(Counts::default());
        counts.accepted(found.records);
        let bell = Arc::new(Bell::default());
        let (flushes, asked) = mpsc::unbounded_channel();
        let retention = Arc::default();
        let shipper = Shipper::new(
            Arc::clone(&store),
            Arc::clone(&journal),
            Arc::clone(&counts),
            Files::new(options.folder),
            Arc::clone(&bell),
        );
        let house = housekeeping::keep_house(store, Arc::clone(&retention));
        let tasks = [tokio::spawn(shipper.run(asked)), tokio::spawn(house)];
        Ok(Arc::new(Self { counts, journal, bell, flushes, retention, tasks, _keeper: keeper, _lock: lock }))
    }

    /// How many records were accepted, and what became of them.
    #[must_use]
    pub fn counts(&self) -> RecordCounts {
        self.counts.read()
    }

    /// Bytes that the journal takes on the disk, and the most that it may take.
    #[must_use]
    pub fn journal_size(&self) -> (u64, u64) {
        self.journal.size()
    }

    /// Stores whatever has ended by now; what the store has not taken by the deadline stays in the journal, for the
    /// next start. For the end of the process; what ends later is still written.
    pub async fn flush(&self, deadline: Instant) -> Flushed {
        let (done, answer) = oneshot::channel();
        if self.flushes.send(Flush { deadline, done }).is_ok() {
            // Whatever the answer, the counts are true.
            let _ = answer.await;
        }
        Flushed { left: self.counts().pending }
    }
}

impl Drop for RecordWriter {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl RecordSink for RecordWriter {
    fn admit(&self) -> Option<Room> {
        self.journal.admit().map(|place| Room(place.bits()))
    }

    fn more_room(&self) -> Option<Pin<Box<dyn Future<Output = ()> + Send + '_>>> {
        Some(Box::pin(self.journal.more_room()?))
    }

    fn open(&self, room: &mut Room, facts: &Facts) {
        let mut place = Place::from_bits(room.0);
        if self.journal.open(&mut place, &facts.view(Outcome::Interrupted)) {
            self.counts.accepted(1);
        }
        room.0 = place.bits();
    }

    fn checkpoint(&self, room: &mut Room, facts: &Facts) {
        let mut place = Place::from_bits(room.0);
        self.journal.checkpoint(&mut place, &facts.progress(Outcome::Interrupted));
        room.0 = place.bits();
    }

    fn close(&self, room: Room, facts: &Facts, outcome: Outcome) {
        let place = Place::from_bits(room.0);
        if place.is_open() {
            self.journal.close(place, &facts.progress(outcome));
        } else {
            self.counts.accepted(1);
            self.journal.write(place, &facts.view(outcome));
        }
        self.bell.ring();
    }

    fn release(&self, room: Room) {
        let place = Place::from_bits(room.0);
        if place.is_open() {
            // It was accepted, so it has to have an end; nobody said which.
            tracing::error!(
                "the record of a request was given up after an upstream was called: it is kept as it stood"
            );
            self.journal.put_back(place);
            self.bell.ring();
        } else {
            self.journal.release(place);
        }
    }

    fn keep_for(&self, retention: Option<Duration>) {
        *self.retention.lock().unwrap_or_else(PoisonError::into_inner) = retention;
    }
}

#[cfg(test)]
mod tests;
