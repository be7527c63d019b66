#![allow(clippy::unwrap_used)]
use std::path::Path;

use jiff::SignedDuration;
use jiff::Timestamp;
use tempfile::TempDir;
use tokio::time::timeout;
use uuid::Uuid;
use vllm_gateway_sdk::{Outcome, TokenSource};
use vllm_gateway_store::{LogQuery, Store, open_sqlite};

use super::*;

fn record(id: u128) -> Record {
    Record {
        id: Uuid::from_u128(id + 1),
        request_id: format!("r-{id}"),
        time: Timestamp::now(),
        app_id: None,
        org_name: None,
        key_prefix: None,
        method: "POST".into(),
        path: "/v1/chat/completions".into(),
        pipeline: Some("default".into()),
        model: None,
        upstream: None,
        endpoint: None,
        upstream_model: None,
        stream: false,
        status: 200,
        outcome: Outcome::Finished,
        error_code: None,
        prompt_tokens: None,
        completion_tokens: None,
        total_tokens: None,
        cached_tokens: None,
        reasoning_tokens: None,
        token_source: TokenSource::None,
        duration_ms: 1,
        ttft_ms: None,
        attempts: 1,
        request_bytes: 0,
        response_bytes: 0,
        client_ip: "127.0.0.1".into(),
        user_agent: None,
    }
}

fn poison(id: u128) -> Record {
    Record { prompt_tokens: Some(u64::MAX), ..record(id) }
}

struct Place {
    folder: TempDir,
    store: Arc<dyn Store>,
}

impl Place {
    async fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let store = Arc::new(open_sqlite(folder.path().join("gateway.db")).await.unwrap());
        Self { folder, store }
    }

    fn writer(&self, capacity: usize) -> Arc<RecordWriter> {
        let store = Arc::clone(&self.store) as Arc<dyn LogStore>;
        RecordWriter::start(store, WriterOptions { capacity, folder: self.folder.path().join("log") })
    }

    fn quarantine(&self) -> String {
        read(&self.folder.path().join("log/quarantine.jsonl"))
    }

    /// Makes the store unavailable until what is returned is dropped: another process holds the database.
    fn hold(&self) -> rusqlite::Connection {
        let other = rusqlite::Connection::open(self.folder.path().join("gateway.db")).unwrap();
        other.busy_timeout(Duration::from_secs(5)).unwrap();
        other.execute_batch("BEGIN IMMEDIATE").unwrap();
        other
    }

    async fn stored(&self) -> u64 {
        self.store.page(&LogQuery::default(), 1, 200).await.unwrap().total
    }
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

fn submit(writer: &RecordWriter, record: Record) {
    assert!(writer.admit());
    writer.submit(record);
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(30)
}

const CLEAN: Flushed = Flushed { spilled: 0, left: 0 };

#[tokio::test]
async fn what_is_submitted_is_stored_without_being_flushed() {
    let place = Place::new().await;
    let writer = place.writer(10_000);
    for id in 0..1_234 {
        submit(&writer, record(id));
    }
    timeout(Duration::from_secs(30), async {
        while writer.counts().stored < 1_234 {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
    assert_eq!(writer.counts(), RecordCounts { accepted: 1_234, stored: 1_234, quarantined: 0, pending: 0 });
    assert_eq!(place.stored().await, 1_234);
}

#[tokio::test]
async fn beyond_the_bound_nothing_is_admitted_until_room_is_given_back() {
    let place = Place::new().await;
    let writer = place.writer(2);
    assert!(writer.admit() && writer.admit());
    assert!(!writer.admit());
    writer.release();
    assert!(writer.admit());
    writer.submit(record(1));
    writer.submit(record(2));
    assert_eq!(writer.flush(soon()).await, CLEAN);
    assert!(writer.admit() && writer.admit() && !writer.admit());
}

#[tokio::test]
async fn a_record_that_can_never_be_stored_is_kept_aside_and_the_others_are_stored() {
    let place = Place::new().await;
    let writer = place.writer(10);
    submit(&writer, record(1));
    submit(&writer, poison(2));
    submit(&writer, record(3));
    assert_eq!(writer.flush(soon()).await, CLEAN);
    assert_eq!(writer.counts(), RecordCounts { accepted: 3, stored: 2, quarantined: 1, pending: 0 });
    let line: serde_json::Value = serde_json::from_str(place.quarantine().trim()).unwrap();
    assert_eq!(line["record"]["requestId"], "r-2");
    assert!(line["reason"].as_str().unwrap().contains("promptTokens"), "{line}");
    for _ in 0..10 {
        assert!(writer.admit(), "the room of all three was given back");
    }
}

#[tokio::test]
async fn records_outlast_a_store_that_is_away_and_are_stored_once_when_it_is_back() {
    let place = Place::new().await;
    let writer = place.writer(10);
    let held = place.hold();
    for id in 0..5 {
        submit(&writer, record(id));
    }
    assert_eq!(writer.counts().pending, 5);
    let flushing = tokio::spawn({
        let writer = Arc::clone(&writer);
        async move { writer.flush(Instant::now() + Duration::from_mins(1)).await }
    });
    drop(held);
    assert_eq!(flushing.await.unwrap(), CLEAN);
    assert_eq!((writer.counts().stored, place.stored().await), (5, 5));
}

#[tokio::test]
async fn what_the_store_did_not_take_before_the_end_is_shipped_by_the_next_start() {
    let place = Place::new().await;
    let spill = place.folder.path().join("log/spill.jsonl");
    let held = place.hold();
    let first = place.writer(100);
    for id in 0..7 {
        submit(&first, record(id));
    }
    let flushed = first.flush(Instant::now() + Duration::from_millis(50)).await;
    assert_eq!(flushed, Flushed { spilled: 7, left: 0 });
    assert_eq!(first.counts(), RecordCounts { accepted: 7, stored: 0, quarantined: 0, pending: 7 });
    drop(first);
    drop(held);
    // A line that a crash has cut is kept aside, not lost and not in the way.
    std::fs::write(&spill, format!("{}{{\"id\":\"cut", read(&spill))).unwrap();

    let second = place.writer(100);
    timeout(Duration::from_secs(30), async {
        while second.counts().pending > 0 || second.counts().accepted < 8 {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
    assert_eq!(second.counts(), RecordCounts { accepted: 8, stored: 7, quarantined: 1, pending: 0 });
    assert_eq!(place.stored().await, 7);
    assert!(!spill.exists());
    assert!(place.quarantine().contains("cut"));
}

#[tokio::test]
async fn retention_removes_what_is_too_old_in_slices_and_keeps_the_rest() {
    let place = Place::new().await;
    let old = Timestamp::now() - SignedDuration::from_hours(48);
    let records: Vec<_> = (0..2_500).map(|id| Record { time: old, ..record(id) }).collect();
    for batch in records.chunks(500) {
        place.store.append(batch).await.unwrap();
    }
    place.store.append(&[record(9_999)]).await.unwrap();
    let now = Timestamp::now();
    let once = async |keep| housekeeping::once(&*place.store, keep, now).await.unwrap();
    assert_eq!(once(None).await, 0);
    assert_eq!(once(Some(Duration::MAX)).await, 0);
    assert_eq!(once(Some(Duration::from_hours(24))).await, 2_500);
    assert_eq!(place.stored().await, 1);
}

#[cfg(unix)]
#[tokio::test]
async fn the_files_are_for_their_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let place = Place::new().await;
    let writer = place.writer(1);
    submit(&writer, poison(1));
    writer.flush(soon()).await;
    let file = std::fs::metadata(place.folder.path().join("log/quarantine.jsonl")).unwrap();
    assert_eq!(file.permissions().mode() & 0o777, 0o600);
}

#[tokio::test]
async fn a_record_that_breaks_every_batch_it_is_in_is_found_and_kept_aside() {
    let place = Place::new().await;
    let other = rusqlite::Connection::open(place.folder.path().join("gateway.db")).unwrap();
    let trigger =
        "CREATE TRIGGER no BEFORE INSERT ON records WHEN NEW.request_id = 'r-2' BEGIN SELECT json('{'); END";
    other.execute_batch(trigger).unwrap();
    let writer = place.writer(10);
    for id in 0..6 {
        submit(&writer, record(id));
    }
    assert_eq!(writer.flush(soon() + Duration::from_secs(60)).await, CLEAN);
    assert_eq!(writer.counts(), RecordCounts { accepted: 6, stored: 5, quarantined: 1, pending: 0 });
    assert_eq!(place.stored().await, 5);
    let line: serde_json::Value = serde_json::from_str(place.quarantine().trim()).unwrap();
    assert_eq!(line["record"]["requestId"], "r-2");
    let reason = line["reason"].as_str().unwrap();
    assert!(reason.contains("refused a query"), "the store could not name it: {reason}");
}
