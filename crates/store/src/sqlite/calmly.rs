//! How an append goes on: behind everything else on the machine, or as its pace says.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::usher::Usher;
use crate::{Courtesy, Pace};

/// Within what time a processor must have nothing else to do.
const CALM: Duration = Duration::from_millis(100);
/// For how long an append may wait for that again and again.
const LONGEST: Duration = Duration::from_secs(2);
/// How long it goes on before it asks anew. Meanwhile it gives way as its pace says: to ask is two turns of the scheduler.
const GO: Duration = Duration::from_micros(500);
/// Records that are stored together meanwhile: what comes at their end is done in one go.
pub(super) const FEW: usize = 250;

/// The steps of one append, from its first batch to its last.
pub(super) struct Gait {
    pace: Pace,
    courtesy: Courtesy,
    /// Who is asked, and until when; none where there is no time for it.
    calm: Option<(Arc<Usher>, Instant)>,
    /// When it last went on.
    since: Option<Instant>,
}

impl Gait {
    /// Of an append that begins now.
    pub(super) fn new(pace: Pace, usher: &Arc<Usher>) -> Self {
        let calm = pace.is_last().then(|| (Arc::clone(usher), Instant::now() + LONGEST));
        Self { pace, courtesy: Courtesy::new(pace), calm, since: None }
    }

    /// Whether everything else goes first, so far.
    pub(super) fn is_calm(&self) -> bool {
        self.calm.is_some()
    }

    /// A batch begins.
    pub(super) fn begin(&mut self, hurries: &dyn Fn() -> bool) {
        self.since = None;
        self.courtesy = Courtesy::new(self.pace);
        self.give_way(hurries);
    }

    /// Lets others go first, if it is time to. To be called every few microseconds.
    pub(super) fn give_way(&mut self, hurries: &dyn Fn() -> bool) {
        self.courtesy.give_way();
        let Some((usher, until)) = &self.calm else { return };
        if self.since.is_some_and(|since| since.elapsed() < GO) {
            return;
        }
        let left = until.saturating_duration_since(Instant::now());
        // Whoever ends because of somebody else may be calm again behind that.
        if !left.is_zero() && (usher.nods_within(left.min(CALM), hurries) || hurries()) {
            self.since = Some(Instant::now());
        } else {
            self.calm = None;
            self.courtesy = Courtesy::new(self.pace);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::pin::pin;
    use std::sync::mpsc;

    use futures_util::future::{Either, select};
    use jiff::Timestamp;
    use uuid::Uuid;
    use vllm_gateway_record::{Outcome, Record, Records};

    use super::*;
    use crate::sqlite::{SqliteStore, open_sqlite};
    use crate::{LogQuery, LogStore as _, Store as _};

    /// No processor ever has time, as on a machine where others want all of them.
    async fn without_time(folder: &std::path::Path) -> (SqliteStore, mpsc::Sender<()>) {
        let (go_on, stands) = mpsc::channel();
        let stand = move || {
            let _ = stands.recv();
        };
        let mut store = open_sqlite(folder.join("gateway.db")).await.unwrap();
        store.usher = Arc::new(Usher::start_behind(stand).unwrap());
        (store, go_on)
    }

    fn records(count: u128) -> Records {
        let record = |number| {
            let id = Uuid::from_u128(number + 1);
            Record::bare(id, format!("request-{number}"), Timestamp::UNIX_EPOCH, Outcome::Finished)
        };
        (&(0..count).map(record).collect::<Vec<_>>()[..]).into()
    }

    const PACE: Pace = Pace::by(Duration::from_micros(50)).behind_all_others();

    #[tokio::test]
    async fn where_no_processor_ever_has_time_records_are_stored_all_the_same_and_soon() {
        let folder = tempfile::tempdir().unwrap();
        let (store, _go_on) = without_time(folder.path()).await;
        let begun = Instant::now();
        let appended = store.append_records(&records(1_000), PACE).await.unwrap();
        assert_eq!(appended.stored, 1_000);
        assert!(begun.elapsed() < Duration::from_secs(5));
        assert_eq!(store.page(&LogQuery::default(), 1, 20).await.unwrap().total, 1_000);
    }

    #[test]
    fn who_is_not_nodded_at_does_not_wait_a_second_time() {
        let (_go_on, stands) = mpsc::channel::<()>();
        let stand = move || {
            let _ = stands.recv();
        };
        let mut gait = Gait::new(PACE, &Arc::new(Usher::start_behind(stand).unwrap()));
        gait.begin(&|| true);
        assert!(gait.is_calm(), "who ends because of somebody else asks anew behind that");
        gait.begin(&|| false);
        assert!(!gait.is_calm());
    }

    #[tokio::test]
    async fn who_writes_behind_what_can_wait_does_not_wait_for_it() {
        let folder = tempfile::tempdir().unwrap();
        let (store, _go_on) = without_time(folder.path()).await;
        let all = records(1_000);
        let mut appending = pin!(store.append_records(&all, PACE));
        match select(&mut appending, pin!(store.ping())).await {
            Either::Right((written, _)) => written.unwrap(),
            Either::Left(_) => panic!("it waited for all of them"),
        }
        let stored = store.page(&LogQuery::default(), 1, 1).await.unwrap().total;
        assert_eq!(stored, 1, "what was being appended ended behind its next record");
        assert_eq!(appending.await.unwrap().stored, 1_000);
    }
}
