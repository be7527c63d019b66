//! The suite against SQLite, and what only a file can do.

#![allow(clippy::unwrap_used)]

mod suite;

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;

use jiff::SignedDuration;
use suite::fixture::{Fixture, all, app, bare_record, millis, record, sums, time};
use tempfile::tempdir;
use vllm_gateway_store::{
    AppStore as _, ChangeMark, LogQuery, LogStore as _, Record, Store as _, StoreError, StoreKind,
    open_sqlite, open_sqlite_later,
};

async fn open(_test: &str) -> Fixture {
    let folder = tempdir().unwrap();
    let path = folder.path().join("gateway.db");
    let store = Arc::new(open_sqlite(&path).await.unwrap());
    let other = Arc::new(open_sqlite(&path).await.unwrap());
    Fixture { store, other, keep: Box::new(folder) }
}

store_suite!(open);

#[tokio::test]
async fn a_database_keeps_everything_when_it_is_opened_again() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("gateway.db");
    let store = open_sqlite(&path).await.unwrap();
    assert_eq!(store.kind(), StoreKind::Sqlite);
    let stored = app("Acme");
    store.insert(&stored).await.unwrap();
    let record = record("2026-03-02T12:00:00.123456Z");
    store.append(std::slice::from_ref(&record)).await.unwrap();
    let mark = store.changes(&ChangeMark::start()).await.unwrap().mark;
    store.close().await;
    assert!(!path.with_extension("db-wal").exists(), "closing folds the log into the file");
    let again: Arc<dyn vllm_gateway_store::Store> = Arc::new(open_sqlite(&path).await.unwrap());
    assert_eq!(again.get(&stored.app.id).await.unwrap(), Some(stored));
    // Microseconds are kept.
    assert_eq!(again.page(&all(), 1, 10).await.unwrap().items, [record]);
    assert_eq!(sums(&again).await, (1, 5));
    let since = again.changes(&mark).await.unwrap();
    assert!(!since.complete && since.upserts.is_empty(), "the mark is still good");
}

#[tokio::test]
async fn the_folder_and_the_files_are_made_for_their_owner_only() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("new/deep/gateway.db");
    let store = open_sqlite(&path).await.unwrap();
    store.append(&[record("2026-03-02T12:00:00Z")]).await.unwrap();
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(path.parent().unwrap()), 0o700);
    for file in [path.clone(), path.with_extension("db-wal"), path.with_extension("db-shm")] {
        assert_eq!(mode(&file), 0o600, "{}", file.display());
    }
}

#[tokio::test]
async fn a_newer_schema_is_refused_with_the_path_and_what_to_do() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("gateway.db");
    open_sqlite(&path).await.unwrap().close().await;
    rusqlite::Connection::open(&path).unwrap().pragma_update(None, "user_version", 99).unwrap();
    let error = refusal(&path).await;
    assert!(matches!(error, StoreError::Invalid { .. }), "{error:?}");
    for part in ["gateway.db", "schema 99", "newer"] {
        assert!(error.to_string().contains(part), "{error}");
    }
}

#[tokio::test]
async fn what_is_not_our_database_is_refused_and_left_alone() {
    let folder = tempdir().unwrap();
    let text = folder.path().join("notes.txt");
    std::fs::write(&text, "not a database, though long enough to look like one ".repeat(100)).unwrap();
    assert!(matches!(refusal(&text).await, StoreError::Invalid { .. }));
    let foreign = folder.path().join("foreign.db");
    rusqlite::Connection::open(&foreign).unwrap().execute_batch("CREATE TABLE theirs (id INTEGER)").unwrap();
    assert!(refusal(&foreign).await.to_string().contains("another program"));
    let blocked = text.join("gateway.db");
    assert!(refusal(&blocked).await.to_string().contains("folder"));
}

async fn refusal(path: &Path) -> StoreError {
    open_sqlite(path).await.err().unwrap()
}

#[tokio::test]
async fn a_writer_waits_for_another_process_and_then_says_so() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("gateway.db");
    let store = open_sqlite(&path).await.unwrap();
    let holder = rusqlite::Connection::open(&path).unwrap();
    holder.execute_batch("BEGIN IMMEDIATE").unwrap();
    let error = store.append(&[record("2026-03-02T12:00:00Z")]).await.unwrap_err();
    assert!(error.is_unavailable() && error.to_string().contains("another process"), "{error:?}");
    // Readers do not mind.
    assert_eq!(store.page(&all(), 1, 10).await.unwrap().total, 0);
    holder.execute_batch("ROLLBACK").unwrap();
    assert_eq!(store.append(&[record("2026-03-02T12:00:00Z")]).await.unwrap().stored, 1);
}

#[tokio::test]
async fn a_mark_from_before_forgotten_deletions_gives_everything() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("gateway.db");
    let store = open_sqlite(&path).await.unwrap();
    let (gone, stays) = (app("gone"), app("stays"));
    store.insert(&gone).await.unwrap();
    let early = store.changes(&ChangeMark::start()).await.unwrap().mark;
    store.delete(&gone.app.id).await.unwrap();
    store.insert(&stays).await.unwrap();
    let late = store.changes(&early).await.unwrap().mark;
    store.roll_up().await.unwrap();
    assert_eq!(store.changes(&early).await.unwrap().deleted, [gone.app.id], "told for a day");
    // Two days pass.
    let meddler = rusqlite::Connection::open(&path).unwrap();
    meddler.execute("UPDATE deleted_apps SET time = time - 172800000000", []).unwrap();
    store.roll_up().await.unwrap();
    let changes = store.changes(&early).await.unwrap();
    assert!(changes.complete && changes.deleted.is_empty());
    assert_eq!(changes.upserts, [stays]);
    assert!(!store.changes(&late).await.unwrap().complete, "a later mark knows of the deletion");
}

#[tokio::test]
async fn purged_ids_are_forgotten_after_a_day() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("gateway.db");
    let store = open_sqlite(&path).await.unwrap();
    let records: Vec<_> = (0..1_200).map(|_| record("2026-03-02T12:00:00Z")).collect();
    store.append(&records).await.unwrap();
    assert_eq!(store.purge("2027-01-01T00:00:00Z".parse().unwrap(), 5_000).await.unwrap(), 1_200);
    let meddler = rusqlite::Connection::open(&path).unwrap();
    let known =
        || meddler.query_row("SELECT count(*) FROM purged_records", [], |row| row.get::<_, i64>(0)).unwrap();
    store.roll_up().await.unwrap();
    assert_eq!(known(), 1_200);
    meddler.execute("UPDATE purged_records SET time = time - 90000000000", []).unwrap();
    store.roll_up().await.unwrap();
    assert_eq!(known(), 0);
}

#[tokio::test]
async fn a_database_that_is_locked_is_opened_later_and_says_so_meanwhile() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("gateway.db");
    let stored = app("Acme");
    let before = open_sqlite(&path).await.unwrap();
    before.insert(&stored).await.unwrap();
    before.close().await;
    let other = rusqlite::Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let store = open_sqlite_later(&path).await.unwrap();
    let error = store.get(&stored.app.id).await.unwrap_err();
    assert!(error.is_unavailable() && error.to_string().contains("not open yet"), "{error:?}");
    other.execute_batch("COMMIT").unwrap();
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    loop {
        match store.get(&stored.app.id).await {
            Ok(found) => break assert_eq!(found, Some(stored)),
            Err(error) => {
                assert!(error.is_unavailable() && std::time::Instant::now() < deadline, "{error:?}");
            }
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    store.close().await;
    assert!(store.ping().await.is_err());
}

#[tokio::test]
async fn a_damaged_database_is_opened_when_it_was_mended_and_one_of_another_program_never() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("gateway.db");
    open_sqlite(&path).await.unwrap().close().await;
    let good = std::fs::read(&path).unwrap();
    let mut bad = good.clone();
    bad[100..].fill(0x5a);
    std::fs::write(&path, bad).unwrap();
    let store = open_sqlite_later(&path).await.unwrap();
    assert!(store.ping().await.unwrap_err().is_unavailable());
    std::fs::write(&path, good).unwrap();
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while let Err(error) = store.ping().await {
        assert!(std::time::Instant::now() < deadline, "{error:?}");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    store.close().await;
    let theirs = folder.path().join("theirs.db");
    rusqlite::Connection::open(&theirs).unwrap().execute_batch("CREATE TABLE theirs (id INTEGER)").unwrap();
    assert!(matches!(open_sqlite_later(&theirs).await, Err(StoreError::Invalid { .. })));
}

/// A database as schema 1 left it, with these records, and one that was purged.
fn of_schema_1(path: &Path, records: &[Record], purged: &Record) {
    let old = rusqlite::Connection::open(path).unwrap();
    old.execute_batch(include_str!("../src/sqlite/schema/001.sql")).unwrap();
    old.pragma_update(None, "application_id", 0x7667_7731).unwrap();
    old.pragma_update(None, "user_version", 1).unwrap();
    let mut insert = old
        .prepare(
            "INSERT INTO records VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17,
                 ?18, ?19, ?20, ?21, ?22, ?23, ?24, ?25, ?26, ?27, ?28, ?29, ?30)",
        )
        .unwrap();
    for record in records {
        let number = |number: u64| i64::try_from(number).unwrap();
        let inserted = insert.execute(rusqlite::params![
            record.id.as_bytes(),
            record.request_id,
            record.time.as_microsecond(),
            record.app_id,
            record.org_name,
            record.key_prefix,
            record.method,
            record.path,
            record.pipeline,
            record.model,
            record.upstream,
            record.endpoint,
            record.upstream_model,
            record.stream,
            record.status,
            record.outcome.as_str(),
            record.error_code,
            record.prompt_tokens.map(number),
            record.completion_tokens.map(number),
            record.total_tokens.map(number),
            record.cached_tokens.map(number),
            record.reasoning_tokens.map(number),
            record.token_source.as_str(),
            number(record.duration_ms),
            record.ttft_ms.map(number),
            record.attempts,
            number(record.request_bytes),
            number(record.response_bytes),
            record.client_ip,
            record.user_agent,
        ]);
        assert_eq!(inserted.unwrap(), 1);
    }
    let hour = records[0].time.as_second() / 3_600;
    let usage = "INSERT INTO usage_hours VALUES (?1, 'app-a', 'Acme', 'Qwen3-32B', ?2, 0, 3, 2, 5)";
    old.execute(usage, rusqlite::params![hour, i64::try_from(records.len()).unwrap()]).unwrap();
    let now = jiff::Timestamp::now().as_microsecond();
    old.execute("INSERT INTO purged_records VALUES (?1, ?2)", rusqlite::params![purged.id.as_bytes(), now])
        .unwrap();
}

#[tokio::test]
async fn a_database_of_schema_1_is_taken_over_with_all_its_records() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("gateway.db");
    let at = |number: i64| time("2026-03-02T12:00:00.000001Z") + millis(number * 7);
    let mut records: Vec<Record> =
        (0..2_345).map(|number| Record { time: at(number), ..record("2026-03-02T12:00:00Z") }).collect();
    records[7] = Record { time: at(7), ..bare_record("2026-03-02T12:00:00Z") };
    let purged = record("2026-03-02T12:00:00Z");
    of_schema_1(&path, &records, &purged);
    let store: Arc<dyn vllm_gateway_store::Store> = Arc::new(open_sqlite(&path).await.unwrap());
    let (mut seen, mut cursor) = (Vec::new(), None::<String>);
    loop {
        let (items, next) = store.export(&all(), cursor.as_deref(), 1_000).await.unwrap();
        seen.extend(items);
        cursor = next;
        if cursor.is_none() {
            break;
        }
    }
    seen.reverse();
    assert_eq!(seen, records);
    let bare = LogQuery { status: Some(401), ..all() };
    assert_eq!(store.page(&bare, 1, 10).await.unwrap().items, records[7..8]);
    // Neither what is there nor what was purged is stored or counted again.
    let before = sums(&store).await;
    assert_eq!(store.append(&records).await.unwrap().stored, records.len());
    store.append(&[purged]).await.unwrap();
    assert_eq!(store.page(&all(), 1, 1).await.unwrap().total, records.len() as u64);
    assert_eq!(sums(&store).await, before);
    store.append(&[record("2026-03-02T12:00:00Z")]).await.unwrap();
    assert_eq!(sums(&store).await.0, before.0 + 1);
    store.close().await;
    let tables = rusqlite::Connection::open(&path).unwrap();
    let old = "SELECT count(*) FROM sqlite_schema WHERE name LIKE '%schema_1%'";
    assert_eq!(tables.query_row(old, [], |row| row.get::<_, i64>(0)).unwrap(), 0);
}

#[tokio::test]
async fn a_range_of_time_is_exact_to_the_microsecond() {
    let folder = tempdir().unwrap();
    let store = open_sqlite(folder.path().join("gateway.db")).await.unwrap();
    let at = |micros: i64| time("2026-03-02T11:59:59.999Z") + SignedDuration::from_micros(micros);
    let records: Vec<_> = (0..4)
        .map(|number| Record { time: at(number * 500 + 1), ..record("2026-03-02T12:00:00Z") })
        .collect();
    store.append(&records).await.unwrap();
    for (from, to, expected) in
        [(0, 2_000, 4), (1, 1_501, 3), (2, 1_502, 3), (501, 501, 0), (502, 1_001, 0), (501, 502, 1)]
    {
        let query = LogQuery { from: Some(at(from)), to: Some(at(to)), ..all() };
        let page = store.page(&query, 1, 10).await.unwrap();
        assert_eq!(
            (page.total, page.items.len()),
            (expected, usize::try_from(expected).unwrap()),
            "{from} to {to}"
        );
    }
    assert_eq!(store.purge(at(501), 10).await.unwrap(), 1);
    assert_eq!(store.page(&all(), 1, 10).await.unwrap().total, 3);
}
