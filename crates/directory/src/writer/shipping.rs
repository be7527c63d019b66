//! Ships batches to the store until it has them: the task behind the writer.

use std::collections::{BTreeMap, VecDeque};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use vllm_gateway_sdk::Record;
use vllm_gateway_store::{Appended, LogStore};

use super::Flushed;
use super::batches::{self, MOST};
use super::counts::Counts;
use super::files::{Files, Spill, Spilled, line};

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// A store that hangs without keeping its own deadlines. Appending again is harmless.
const APPEND_DEADLINE: Duration = Duration::from_mins(1);
/// After so many errors that do not mean "away", a batch is cut in two, to find the record at fault.
const PATIENCE: u32 = 5;

/// The wish to have everything stored by a deadline.
pub(super) struct Flush {
    pub(super) deadline: Instant,
    pub(super) done: oneshot::Sender<Flushed>,
}

/// The task's state. Every await in it may be dropped when a flush comes: a record is always in the queue, in
/// `batch`, in `hands`, in the store or in a file.
pub(super) struct Shipper {
    store: Arc<dyn LogStore>,
    counts: Arc<Counts>,
    files: Files,
    spill: Spilling,
    /// This run has spilled: what is in the spill file counts as accepted here already, the next run ships it.
    has_spilled: bool,
    /// The batch that is being filled.
    batch: Vec<Record>,
    /// Batches on their way, the next one first.
    hands: VecDeque<Vec<Record>>,
    attempts: Attempts,
    away: bool,
}

/// How far the spill file of earlier runs has been shipped.
enum Spilling {
    Unread,
    Reading(Spill),
    Done,
}

/// Failed attempts at the first batch.
#[derive(Clone, Copy, Default)]
struct Attempts {
    all: u32,
    /// Those of them that do not mean "away".
    odd: u32,
}

impl Shipper {
    pub(super) fn new(store: Arc<dyn LogStore>, counts: Arc<Counts>, files: Files) -> Self {
        let (batch, hands, attempts) = Default::default();
        Self {
            store,
            counts,
            files,
            spill: Spilling::Unread,
            has_spilled: false,
            batch,
            hands,
            attempts,
            away: false,
        }
    }

    /// Ships until the writer is gone, and with it everyone who could submit.
    pub(super) async fn run(
        mut self,
        mut queue: UnboundedReceiver<Record>,
        mut flushes: UnboundedReceiver<Flush>,
    ) {
        loop {
            tokio::select! {
                biased;
                asked = flushes.recv() => {
                    let Some(flush) = asked else { return };
                    let flushed = self.flush(&mut queue, flush.deadline).await;
                    // Whoever asked may have left.
                    let _ = flush.done.send(flushed);
                }
                () = self.work(&mut queue) => {}
            }
        }
    }

    async fn work(&mut self, queue: &mut UnboundedReceiver<Record>) {
        self.ship_hands().await;
        if let Err(error) = self.ship_spill().await {
            tracing::error!(%error, "cannot ship the spill file, it is kept for the next start");
            self.spill = Spilling::Done;
        }
        batches::fill(queue, &mut self.batch).await;
        self.take_in_hand();
        self.ship_hands().await;
    }

    async fn flush(&mut self, queue: &mut UnboundedReceiver<Record>, deadline: Instant) -> Flushed {
        loop {
            batches::fill_at_once(queue, &mut self.batch);
            self.take_in_hand();
            if self.hands.is_empty() {
                return Flushed { spilled: 0, left: 0 };
            }
            // A store that has been away gets its chance now, whatever its pause was.
            if timeout_at(deadline, self.ship_hands()).await.is_err() {
                return self.spill_rest(queue);
            }
        }
    }

    /// The deadline of a flush has passed: what is left goes to the disk, which is waited for.
    fn spill_rest(&mut self, queue: &mut UnboundedReceiver<Record>) -> Flushed {
        let mut records: Vec<Record> = self.hands.drain(..).flatten().collect();
        while let Ok(record) = queue.try_recv() {
            records.push(record);
        }
        let count = records.len() as u64;
        match self.files.spill(&records) {
            Ok(()) => {
                let file = self.files.spill_path();
                let message = "the store did not take the last records in time: the next start ships them";
                tracing::warn!(records = count, file = %file.display(), "{message}");
                self.has_spilled = true;
                self.attempts = Attempts::default();
                // They stay pending: the run that ships them counts them as accepted.
                self.counts.give_back(records.len());
                Flushed { spilled: count, left: 0 }
            }
            Err(error) => {
                tracing::error!(%error, records = count, "cannot write the last records to the spill file");
                self.hands = records.chunks(MOST).map(<[Record]>::to_vec).collect();
                Flushed { spilled: 0, left: count }
            }
        }
    }

    /// Ships what earlier runs have spilled. The file goes only when all of it is stored.
    async fn ship_spill(&mut self) -> std::io::Result<()> {
        loop {
            let spill = match &mut self.spill {
                Spilling::Done => return Ok(()),
                Spilling::Reading(spill) => spill,
                Spilling::Unread if self.has_spilled => return Ok(()),
                Spilling::Unread => {
                    self.spill = self.files.take_spill()?.map_or(Spilling::Done, Spilling::Reading);
                    continue;
                }
            };
            let lines = spill.read(MOST)?;
            if lines.is_empty() {
                spill.remove()?;
                tracing::info!("shipped the records that an earlier run could not store");
                self.spill = Spilling::Unread;
            }
            for line in lines {
                match line {
                    Spilled::Record(record) => {
                        self.counts.readmitted();
                        self.batch.push(*record);
                    }
                    Spilled::Unreadable(text) => {
                        self.files.quarantine_text(&text, "a line of the spill file is not a record")?;
                        self.counts.accepted();
                        self.counts.quarantined();
                    }
                }
            }
            self.take_in_hand();
            self.ship_hands().await;
        }
    }

    fn take_in_hand(&mut self) {
        if !self.batch.is_empty() {
            self.hands.push_back(std::mem::take(&mut self.batch));
        }
    }

    /// Ships until nothing is in hand.
    async fn ship_hands(&mut self) {
        while let Some(batch) = self.hands.front() {
            let appending = AssertUnwindSafe(self.store.append(batch)).catch_unwind();
            let answer = timeout(APPEND_DEADLINE, appending).await;
            let failure = match answer {
                Ok(Ok(Ok(appended))) => {
                    self.settle(appended);
                    continue;
                }
                Ok(Ok(Err(error))) => Failure { away: error.is_unavailable(), text: error.full() },
                Ok(Err(_panic)) => Failure { away: false, text: "the store panicked".into() },
                Err(_elapsed) => Failure { away: true, text: "the store did not answer in time".into() },
            };
            if let Some(pause) = self.fail(&failure) {
                sleep(pause).await;
            }
        }
    }

    /// The store has answered for the first batch: each of its records is stored or can never be.
    fn settle(&mut self, appended: Appended) {
        if std::mem::take(&mut self.away) {
            tracing::info!("the store takes access-log records again");
        }
        self.attempts = Attempts::default();
        let Some(batch) = self.hands.pop_front() else { return };
        let reasons: BTreeMap<usize, String> =
            appended.rejected.into_iter().map(|one| (one.index, one.reason)).collect();
        let poison: Vec<_> =
            reasons.iter().filter_map(|(at, reason)| Some((batch.get(*at)?, reason.as_str()))).collect();
        self.counts.stored(batch.len() - poison.len());
        self.keep_aside(&poison);
        self.counts.give_back(batch.len());
    }

    /// The first batch has failed: how long to pause before it is tried again; none if it was cut or kept aside.
    fn fail(&mut self, failure: &Failure) -> Option<Duration> {
        if !std::mem::replace(&mut self.away, true) {
            tracing::warn!(error = failure.text, "cannot store access-log records, trying on");
        }
        self.attempts.all += 1;
        self.attempts.odd += u32::from(!failure.away);
        if self.attempts.odd < PATIENCE {
            let doubled = FIRST_PAUSE.saturating_mul(1 << (self.attempts.all - 1).min(10));
            return Some(doubled.min(LONGEST_PAUSE));
        }
        let mut batch = self.hands.pop_front()?;
        self.attempts = Attempts::default();
        if let [record] = batch.as_slice() {
            self.keep_aside(&[(record, &failure.text)]);
            self.counts.give_back(1);
        } else {
            let second = batch.split_off(batch.len() / 2);
            self.hands.push_front(second);
            self.hands.push_front(batch);
            // Patience has been shown: the next half is cut at its first failure.
            self.attempts.odd = PATIENCE - 1;
        }
        None
    }

    /// Poison is rare: the disk is waited for, once for all of it.
    fn keep_aside(&self, poison: &[(&Record, &str)]) {
        if poison.is_empty() {
            return;
        }
        let kept = self.files.quarantine(poison);
        let file = self.files.quarantine_path();
        for (record, reason) in poison {
            let id = record.id;
            match &kept {
                Ok(()) => {
                    tracing::error!(%id, reason, file = %file.display(), "an access-log record can never be stored and is kept in the quarantine file");
                }
                Err(error) => {
                    tracing::error!(%error, reason, record = line(record), "an access-log record can never be stored nor kept aside: it is only here");
                }
            }
            self.counts.quarantined();
        }
    }
}

/// Why a batch was not stored.
struct Failure {
    /// The same batch may be taken later.
    away: bool,
    text: String,
}
