//! Ships batches from the journal to the store until it has them: the task behind the writer.

use std::collections::{BTreeMap, VecDeque};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use serde_json::Value;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use vllm_gateway_record::{Gathered, Records};
use vllm_gateway_store::{Appended, Courtesy, LogStore, Pace};

use super::counts::Counts;
use super::files::{self, Files};
use crate::journal::Journal;
use crate::place::Place;

/// Records of one batch.
const MOST: usize = 1_000;
/// How long a batch waits for others to come with it.
const GATHER: Duration = Duration::from_millis(200);
/// One record in so many that the journal has room for: while fewer wait, storing them gives way to other work.
const MANY: u64 = 8;
/// How long it works before it gives way: on a machine with nothing to spare, a request is held up for so long.
const GO: Duration = Duration::from_micros(50);
/// The same while it goes behind everything else, and rests in between.
const GO_BEHIND: Duration = Duration::from_micros(20);
/// For how long it does.
const REST: Duration = Duration::from_micros(50);
/// What schedulers give everybody in one go, about.
const LONGEST_GO: Duration = Duration::from_millis(4);
/// So long it may lag behind, and goes behind everything else. For each second beyond, it works twice as long before it
/// gives way: a record can be found within ten seconds.
const LAG: Duration = Duration::from_secs(3);
/// What takes so long to be stored lags behind, however little it is.
const SLOW: Duration = Duration::from_millis(500);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// A store that hangs without keeping its own deadlines. Appending again is harmless.
const APPEND_DEADLINE: Duration = Duration::from_mins(1);
/// After so many errors that do not mean "away", a batch is cut in two, to find the record at fault.
const PATIENCE: u32 = 5;

/// Wakes the shipper when there is something to ship. Costs the ringer nothing while it is awake.
#[derive(Default)]
pub(super) struct Bell {
    asleep: AtomicBool,
    notify: Notify,
}

impl Bell {
    pub(super) fn ring(&self) {
        if self.asleep.load(Ordering::SeqCst) && self.asleep.swap(false, Ordering::SeqCst) {
            self.notify.notify_one();
        }
    }

    /// Whoever goes to sleep says so first, then looks once more, then waits.
    fn doze(&self) {
        self.asleep.store(true, Ordering::SeqCst);
    }

    async fn rung(&self) {
        self.notify.notified().await;
    }
}

/// The wish to have everything stored by a deadline.
pub(super) struct Flush {
    pub(super) deadline: Instant,
    pub(super) done: oneshot::Sender<()>,
}

/// Records on their way, and where they are until the store has them.
struct Batch {
    places: Vec<Place>,
    records: Records,
}

/// The task's state. Every await in it may be dropped when a flush comes: whatever is in hand is in the journal, too.
pub(super) struct Shipper {
    store: Arc<dyn LogStore>,
    journal: Arc<Journal>,
    counts: Arc<Counts>,
    files: Files,
    bell: Arc<Bell>,
    /// The next one first. More than one only after one was cut in two.
    hands: VecDeque<Batch>,
    attempts: Attempts,
    away: bool,
    /// Since when there have been enough records in the journal for a batch, whenever it was looked at.
    behind_since: Option<Instant>,
    /// Somebody waits until everything is stored.
    flushing: bool,
}

/// Failed attempts at the first batch.
#[derive(Clone, Copy, Default)]
struct Attempts {
    all: u32,
    /// Those of them that do not mean "away".
    odd: u32,
}

impl Shipper {
    pub(super) fn new(
        store: Arc<dyn LogStore>,
        journal: Arc<Journal>,
        counts: Arc<Counts>,
        files: Files,
        bell: Arc<Bell>,
    ) -> Self {
        let (hands, attempts) = Default::default();
        Self {
            store,
            journal,
            counts,
            files,
            bell,
            hands,
            attempts,
            away: false,
            behind_since: None,
            flushing: false,
        }
    }

    /// Ships until the writer is gone.
    pub(super) async fn run(mut self, mut flushes: UnboundedReceiver<Flush>) {
        loop {
            tokio::select! {
                biased;
                asked = flushes.recv() => {
                    let Some(flush) = asked else { return };
                    self.flush(flush.deadline).await;
                    // Whoever asked may have left.
                    let _ = flush.done.send(());
                }
                () = self.work() => {}
            }
        }
    }

    async fn work(&mut self) {
        let few = !self.hands.is_empty() && self.behind_since.is_none();
        let begun = Instant::now();
        self.ship_hands().await;
        let is_slow = begun.elapsed() >= SLOW;
        if few && !is_slow {
            // So many at once cost the store much less than each for itself: those that come now wait for one another.
            sleep(GATHER).await;
        }
        let mut found = self.take_up();
        if found == 0 {
            self.bell.doze();
            found = self.take_up();
            if found == 0 {
                self.bell.rung().await;
                sleep(GATHER).await;
            }
        }
        self.behind_since =
            (found >= MOST || is_slow).then(|| self.behind_since.unwrap_or_else(Instant::now));
    }

    /// Whether storing gives way now: not while somebody waits for it, nor when there could soon be no room for what is to
    /// come.
    fn pace(&self) -> Pace {
        let crowded = self.counts.read().pending > self.journal.most() / MANY;
        if self.flushing || crowded {
            return Pace::STEADY;
        }
        pace_after(self.behind_since.map_or(Duration::ZERO, |since| since.elapsed()))
    }

    /// For what this task does itself. What goes behind everything else rests in between: nobody waits for it.
    fn courtesy(&self) -> Courtesy {
        let pace = self.pace();
        let courtesy = Courtesy::new(pace);
        if pace.is_last() { courtesy.resting(REST) } else { courtesy }
    }

    async fn flush(&mut self, deadline: Instant) {
        self.flushing = true;
        self.flush_until(deadline).await;
        self.flushing = false;
    }

    async fn flush_until(&mut self, deadline: Instant) {
        loop {
            self.take_up();
            if self.hands.is_empty() {
                return;
            }
            // A store that has been away gets its chance now, whatever its pause was.
            if timeout_at(deadline, self.ship_hands()).await.is_err() {
                tracing::warn!("the store did not take the last records in time: the next start ships them");
                return;
            }
        }
    }

    /// Takes up to one batch out of the journal; how many records that were.
    fn take_up(&mut self) -> usize {
        let (mut places, mut records) = (Vec::new(), Gathered::default());
        let (mut aside, mut lines) = (Vec::new(), Vec::new());
        let mut courtesy = self.courtesy();
        let count = self.journal.take_out(MOST, |place, found| {
            courtesy.give_way();
            match found {
                Ok(record) => {
                    places.push(place);
                    records.push(record);
                }
                Err(damaged) => {
                    tracing::error!(reason = damaged.reason, "a record in the journal is damaged");
                    aside.push(place);
                    lines.push(files::damaged(&damaged));
                }
            }
        });
        self.keep_aside(&aside, &lines);
        if !places.is_empty() {
            self.hands.push_back(Batch { places, records: records.into() });
        }
        count
    }

    /// Ships until nothing is in hand.
    async fn ship_hands(&mut self) {
        while let Some(batch) = self.hands.front() {
            let appending =
                AssertUnwindSafe(self.store.append_records(&batch.records, self.pace())).catch_unwind();
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
        let (mut places, mut lines) = (Vec::new(), Vec::new());
        let mut stored = 0;
        let mut courtesy = self.courtesy();
        for (at, place) in batch.places.iter().enumerate() {
            courtesy.give_way();
            if let Some((reason, record)) =
                reasons.get(&at).and_then(|reason| Some((reason, batch.records.get(at)?)))
            {
                tracing::error!(id = %record.id, reason, "an access-log record can never be stored");
                places.push(*place);
                lines.push(files::poison(&record, reason));
            } else {
                self.journal.settle(*place);
                stored += 1;
            }
        }
        self.counts.stored(stored);
        self.keep_aside(&places, &lines);
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
        if let ([place], Some(record)) = (batch.places.as_slice(), batch.records.get(0)) {
            tracing::error!(id = %record.id, reason = failure.text, "an access-log record can never be stored");
            self.keep_aside(&[*place], &[files::poison(&record, &failure.text)]);
        } else {
            let half = batch.records.len() / 2;
            let second = Batch {
                places: batch.places.split_off(half),
                records: batch.records.part(half..batch.records.len()),
            };
            batch.records = batch.records.part(0..half);
            self.hands.push_front(second);
            self.hands.push_front(batch);
            // Patience has been shown: the next half is cut at its first failure.
            self.attempts.odd = PATIENCE - 1;
        }
        None
    }

    /// Moves records to the quarantine file. They are rare: the disk is waited for, once for all of them.
    fn keep_aside(&self, places: &[Place], lines: &[Value]) {
        if places.is_empty() {
            return;
        }
        let file = self.files.quarantine_path();
        match self.files.quarantine(lines) {
            Ok(()) => {
                let records = places.len();
                tracing::error!(records, file = %file.display(), "kept records aside in the quarantine file");
                places.iter().for_each(|place| self.journal.settle(*place));
                self.counts.quarantined(records);
            }
            Err(error) => {
                let message =
                    "cannot write the quarantine file: its records stay in the journal until the next start";
                tracing::error!(%error, records = places.len(), file = %file.display(), "{message}");
            }
        }
    }
}

/// How storing gives way once it has not caught up for so long. Answers come first; the longer it lags, the less it gives
/// way, so that on a machine with nothing to spare it gets what it needs and no more.
fn pace_after(behind: Duration) -> Pace {
    if behind < LAG {
        return Pace::by(GO_BEHIND).behind_all_others();
    }
    let doublings = u32::try_from(behind.saturating_sub(LAG).as_secs()).unwrap_or(u32::MAX);
    GO.checked_mul(1 << doublings.min(16)).filter(|go| *go <= LONGEST_GO).map_or(Pace::STEADY, Pace::by)
}

/// Why a batch was not stored.
struct Failure {
    /// The same batch may be taken later.
    away: bool,
    text: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longer_storing_lags_behind_the_less_it_gives_way() {
        let paces = [0, 3, 4, 5, 9, 10, 3600].map(|secs| pace_after(Duration::from_secs(secs)));
        let micros = |micros| Pace::by(Duration::from_micros(micros));
        let (steady, last) = (Pace::STEADY, micros(20).behind_all_others());
        assert_eq!(paces, [last, micros(50), micros(100), micros(200), micros(3200), steady, steady]);
    }
}
