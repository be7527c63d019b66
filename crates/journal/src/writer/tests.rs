#![allow(clippy::unwrap_used)]
use std::path::Path;

use std::sync::atomic::Ordering;

use jiff::SignedDuration;
use jiff::Timestamp;
use tempfile::TempDir;
use tokio::time::timeout;
use vllm_gateway_sdk::{Outcome, Record};
use vllm_gateway_store::{LogQuery, Store, open_sqlite};

use super::{Place as Spot, *};
use crate::tests::record as finished;

fn record(id: u128) -> Record {
    Record { time: Timestamp::now(), ..finished(id) }
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

    fn writer(&self) -> Arc<RecordWriter> {
        let store = Arc::clone(&self.store) as Arc<dyn LogStore>;
        let options =
            WriterOptions { max_size: 4 << 20, ..WriterOptions::in_folder(self.folder.path().join("log")) };
        RecordWriter::start(store, options).unwrap()
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

/// Takes a record through its whole life at once.
fn submit(writer: &RecordWriter, record: &Record) {
    let place = writer.journal.admit().unwrap();
    writer.counts.accepted(1);
    writer.journal.write(place, &record.view());
    writer.bell.ring();
}

fn submit_in(writer: &RecordWriter, room: &Room, record: &Record) {
    writer.counts.accepted(1);
    writer.journal.write(Spot::from_bits(room.0), &record.view());
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(30)
}

const CLEAN: Flushed = Flushed { left: 0 };

#[tokio::test]
async fn what_is_submitted_is_stored_without_being_flushed() {
    let place = Place::new().await;
    let writer = place.writer();
    for id in 0..1_234 {
        submit(&writer, &record(id));
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
async fn who_finds_no_room_waits_for_a_file_that_is_being_made_and_for_nothing_else() {
    let place = Place::new().await;
    let _held = place.hold();
    let disk = crate::tests::MemoryDisk::new();
    let options = WriterOptions { max_size: 8 << 20, ..WriterOptions::in_folder(place.folder.path()) };
    let store = Arc::clone(&place.store) as Arc<dyn LogStore>;
    let writer = RecordWriter::start_on(Box::new(Arc::clone(&disk)), None, store, options).unwrap();
    // A slow disk.
    disk.holds_files.store(true, Ordering::SeqCst);
    let mut rooms: Vec<_> = std::iter::from_fn(|| writer.admit()).collect();
    let sink: Arc<dyn RecordSink> = Arc::clone(&writer) as Arc<dyn RecordSink>;
    let mut waiting = Box::pin(sink.ticket());
    assert!(timeout(Duration::ZERO, &mut waiting).await.is_err(), "a file is being made");
    disk.holds_files.store(false, Ordering::SeqCst);
    let ticket = timeout(Duration::from_secs(4), waiting).await.unwrap().unwrap();
    // The quota: nobody makes room, so nobody waits for it.
    drop(ticket);
    while let Some(more) = writer.more_room() {
        rooms.extend(std::iter::from_fn(|| writer.admit()));
        timeout(Duration::from_secs(4), more).await.unwrap();
    }
    rooms.extend(std::iter::from_fn(|| writer.admit()));
    assert_eq!(rooms.len(), 2 * 4_096);
    assert!(timeout(Duration::ZERO, sink.ticket()).await.unwrap().is_err(), "refused at once");
}

#[tokio::test]
async fn beyond_the_quota_nothing_is_admitted_until_records_reach_the_store() {
    let place = Place::new().await;
    let held = place.hold();
    let writer = place.writer();
    let mut admitted = 0;
    while let Some(room) = writer.admit() {
        submit_in(&writer, &room, &record(admitted));
        admitted += 1;
    }
    assert_eq!(admitted, 4_096);
    drop(held);
    assert_eq!(writer.flush(soon()).await, CLEAN);
    assert_eq!(place.stored().await, 4_096);
    assert!(writer.admit().is_some());
}

#[tokio::test]
async fn a_record_that_can_never_be_stored_is_kept_aside_and_the_others_are_stored() {
    let place = Place::new().await;
    let writer = place.writer();
    submit(&writer, &record(1));
    submit(&writer, &poison(2));
    submit(&writer, &record(3));
    assert_eq!(writer.flush(soon()).await, CLEAN);
    assert_eq!(writer.counts(), RecordCounts { accepted: 3, stored: 2, quarantined: 1, pending: 0 });
    let line: serde_json::Value = serde_json::from_str(place.quarantine().trim()).unwrap();
    assert_eq!(line["record"]["requestId"], "r-2");
    assert!(line["reason"].as_str().unwrap().contains("promptTokens"), "{line}");
    let rooms: Vec<_> = std::iter::from_fn(|| writer.admit()).collect();
    assert_eq!(rooms.len(), 4_096, "the room of all three was given back");
}

#[tokio::test]
async fn records_outlast_a_store_that_is_away_and_are_stored_once_when_it_is_back() {
    let place = Place::new().await;
    let writer = place.writer();
    let held = place.hold();
    for id in 0..5 {
        submit(&writer, &record(id));
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
    let held = place.hold();
    let first = place.writer();
    for id in 0..7 {
        submit(&first, &record(id));
    }
    let flushed = first.flush(Instant::now() + Duration::from_millis(50)).await;
    assert_eq!(flushed, Flushed { left: 7 });
    assert_eq!(first.counts(), RecordCounts { accepted: 7, stored: 0, quarantined: 0, pending: 7 });
    drop(first);
    drop(held);

    let second = place.writer();
    assert_eq!(second.counts().accepted, 7);
    assert_eq!(second.flush(soon()).await, CLEAN);
    assert_eq!(second.counts(), RecordCounts { accepted: 7, stored: 7, quarantined: 0, pending: 0 });
    assert_eq!(place.stored().await, 7);
}

#[tokio::test]
async fn what_was_running_when_the_process_died_is_stored_as_interrupted() {
    let place = Place::new().await;
    let first = place.writer();
    let whole = record(1);
    let mut room = first.journal.admit().unwrap();
    first.journal.open(&mut room, &whole.view());
    first.journal.checkpoint(&mut room, &Record { completion_tokens: Some(11), ..whole.clone() }.progress());
    drop(first);
    let second = place.writer();
    assert_eq!(second.flush(soon()).await, CLEAN);
    let page = place.store.page(&LogQuery::default(), 1, 10).await.unwrap();
    assert_eq!(page.items.len(), 1);
    assert_eq!((page.items[0].outcome, page.items[0].completion_tokens), (Outcome::Interrupted, Some(11)));
}

#[tokio::test]
async fn what_is_damaged_is_kept_aside_byte_for_byte_and_counted() {
    let place = Place::new().await;
    let held = place.hold();
    let first = place.writer();
    submit(&first, &record(1));
    submit(&first, &record(2));
    drop(first);
    drop(held);
    let file = place.folder.path().join("log/journal/00000.cells1");
    let mut bytes = std::fs::read(&file).unwrap();
    let at = bytes.windows(3).position(|window| window == b"r-1").unwrap();
    bytes[at] = b'x';
    std::fs::write(&file, bytes).unwrap();

    let second = place.writer();
    assert_eq!(second.flush(soon()).await, CLEAN);
    assert_eq!(second.counts(), RecordCounts { accepted: 2, stored: 1, quarantined: 1, pending: 0 });
    let line: serde_json::Value = serde_json::from_str(place.quarantine().trim()).unwrap();
    assert_eq!(line["reason"], "its head does not match its checksum");
    assert!(line["damaged"].as_str().unwrap().contains("782d31"), "{line}");
}

#[tokio::test]
async fn what_cannot_be_kept_aside_stays_in_the_journal_until_it_can() {
    let place = Place::new().await;
    let in_the_way = place.folder.path().join("log/quarantine.jsonl");
    let first = place.writer();
    std::fs::create_dir_all(&in_the_way).unwrap();
    submit(&first, &poison(1));
    submit(&first, &record(2));
    first.flush(soon()).await;
    assert_eq!(first.counts(), RecordCounts { accepted: 2, stored: 1, quarantined: 0, pending: 1 });
    drop(first);
    std::fs::remove_dir(&in_the_way).unwrap();
    let second = place.writer();
    assert_eq!(second.flush(soon()).await, CLEAN);
    assert_eq!(second.counts(), RecordCounts { accepted: 1, stored: 0, quarantined: 1, pending: 0 });
    assert!(place.quarantine().contains("\"r-1\""));
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
    let writer = place.writer();
    submit(&writer, &poison(1));
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
    let writer = place.writer();
    for id in 0..6 {
        submit(&writer, &record(id));
    }
    assert_eq!(writer.flush(soon() + Duration::from_secs(60)).await, CLEAN);
    assert_eq!(writer.counts(), RecordCounts { accepted: 6, stored: 5, quarantined: 1, pending: 0 });
    assert_eq!(place.stored().await, 5);
    let line: serde_json::Value = serde_json::from_str(place.quarantine().trim()).unwrap();
    assert_eq!(line["record"]["requestId"], "r-2");
    let reason = line["reason"].as_str().unwrap();
    assert!(reason.contains("refused a query"), "the store could not name it: {reason}");
}
