//! Appending with a thread that goes behind everything else on the machine.

use std::pin::pin;
use std::sync::atomic::{
    AtomicBool,
    Ordering::{AcqRel, Relaxed},
};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use rusqlite::Connection;
use tokio::time::timeout;
use vllm_gateway_record::Records;

use super::worker::Caller;
use super::{SqliteStore, log};
use crate::{Appended, Pace, StoreError};

/// Within what time the thread must come to its work, and how long it may be at it in one go.
const CALM: Duration = Duration::from_millis(100);

impl SqliteStore {
    /// Appends where nobody else wants the processor, or as much of it as there is time for; none, where there is none.
    ///
    /// Whoever needs the connection meanwhile waits for a thread that goes behind everything else, and on a machine with
    /// nothing to spare that could be for seconds. So it must come to its work soon or not at all, and then end it soon: also
    /// where somebody waits for the connection, or the caller leaves, who would else wait for it when the store is closed.
    pub(super) async fn append_calmly(
        &self,
        batch: Records,
        start: usize,
        pace: Pace,
    ) -> Result<Option<(usize, Appended)>, StoreError> {
        let (written, gone) = (Weak::clone(&self.written), Arc::new(AtomicBool::new(false)));
        let _caller = Caller(Arc::clone(&gone));
        // Set by whoever is first: the thread that begins, or the one who has waited for that.
        let decided = Arc::new(AtomicBool::new(false));
        let may_begin = {
            let decided = Arc::clone(&decided);
            move || !decided.swap(true, AcqRel)
        };
        let append = move |connection: &mut Connection| {
            let begun = Instant::now();
            let is_wanted = || {
                gone.load(Relaxed)
                    || begun.elapsed() >= CALM
                    || written.upgrade().is_some_and(|shared| shared.is_wanted())
            };
            log::append(connection, &batch, start, pace, is_wanted)
        };
        let mut appending = pin!(self.calm.write_if(may_begin, append));
        match timeout(CALM, &mut appending).await {
            Ok(appended) => appended,
            Err(_elapsed) if !decided.swap(true, AcqRel) => Ok(None),
            Err(_elapsed) => appending.await,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::sync::mpsc;

    use futures_util::poll;
    use jiff::Timestamp;
    use uuid::Uuid;
    use vllm_gateway_record::{Outcome, Record};

    use super::*;
    use crate::sqlite::open_sqlite;
    use crate::{LogQuery, LogStore as _, Store as _};

    #[tokio::test]
    async fn a_thread_that_does_not_come_to_its_work_holds_nobody_up_and_stores_nothing_twice() {
        let folder = tempfile::tempdir().unwrap();
        let store = open_sqlite(folder.path().join("gateway.db")).await.unwrap();
        // The thread stands still as one does that gets no processor: outside of the connection.
        let (go_on, stands) = mpsc::channel::<()>();
        let stand = move || stands.recv().is_ok_and(|()| false);
        let mut standing = pin!(store.calm.write_if(stand, |_| Ok(())));
        assert!(poll!(&mut standing).is_pending());

        let record = |number: u128| {
            let id = Uuid::from_u128(number + 1);
            Record::bare(id, format!("request-{number}"), Timestamp::UNIX_EPOCH, Outcome::Finished)
        };
        let records: Vec<Record> = (0..10).map(record).collect();
        let pace = Pace::by(Duration::from_micros(50)).behind_all_others();
        let begun = Instant::now();
        let appended = store.append_records(&Records::from(&records[..]), pace).await.unwrap();
        assert_eq!(appended.stored, 10);
        assert!(begun.elapsed() < Duration::from_secs(5), "the usual thread has stored them");
        store.ping().await.unwrap();

        go_on.send(()).unwrap();
        assert_eq!(standing.await.unwrap(), None);
        store.close().await;
        let store = open_sqlite(folder.path().join("gateway.db")).await.unwrap();
        assert_eq!(store.page(&LogQuery::default(), 1, 20).await.unwrap().total, 10);
    }
}
