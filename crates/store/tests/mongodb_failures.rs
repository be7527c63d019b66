//! MongoDB that fails: away, stalled, breaking off, and carrying out later what was given up.

#![allow(clippy::unwrap_used)]

mod suite;

use std::sync::Arc;
use std::time::{Duration, Instant};

use mongodb::Client;
use mongodb::bson::{Document, doc};
use suite::changes::Replica;
use suite::fixture::{all, app, key, record, sums, time, usage_query};
use suite::usage::{assert_exact, records};
use vllm_gateway_store::testing::{MongoOptions, MongoServer};
use vllm_gateway_store::{AppChange, AppStatus, ChangeMark, Record, Store, StoreError, connect_mongodb};

/// The deadline of an operation and some time for a busy machine.
const PROMPTLY: Duration = Duration::from_secs(7);

fn server() -> MongoServer {
    MongoServer::start_own(MongoOptions::default())
}

async fn connect(server: &MongoServer) -> Arc<dyn Store> {
    Arc::new(connect_mongodb(&server.uri, "gateway").await.unwrap())
}

/// Makes the server fail commands; `mode` and `how` as its `failCommand` takes them.
async fn fail(server: &MongoServer, mode: Document, commands: &[&str], how: Document) -> Document {
    let mut data = doc! { "failCommands": commands };
    data.extend(how);
    configure(server, doc! { "configureFailPoint": "failCommand", "mode": mode, "data": data }).await
}

async fn fail_no_more(server: &MongoServer) {
    configure(server, doc! { "configureFailPoint": "failCommand", "mode": "off" }).await;
}

async fn configure(server: &MongoServer, command: Document) -> Document {
    let client = Client::with_uri_str(&server.uri).await.unwrap();
    client.database("admin").run_command(command).await.unwrap()
}

async fn assert_prompt<T: std::fmt::Debug>(what: &str, answer: impl Future<Output = Result<T, StoreError>>) {
    let asked = Instant::now();
    let error = answer.await.unwrap_err();
    assert!(error.is_unavailable(), "{what}: {error:?}");
    assert!(asked.elapsed() < PROMPTLY, "{what} took {:?}", asked.elapsed());
}

/// Repeats an operation as the gateway does, until it succeeds; whatever fails meanwhile must be worth
/// repeating.
async fn until_done<T, F: Future<Output = Result<T, StoreError>>>(
    what: &str,
    operation: impl Fn() -> F,
) -> T {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        match operation().await {
            Ok(done) => return done,
            Err(error) => assert!(error.is_unavailable() && Instant::now() < deadline, "{what}: {error:?}"),
        }
    }
}

#[tokio::test]
async fn a_server_that_is_away_is_unavailable_within_the_deadlines() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let store: Arc<dyn Store> =
        Arc::new(connect_mongodb(&format!("mongodb://{free}"), "gateway").await.unwrap());
    assert_prompt("ping", store.ping()).await;
    assert_prompt("append", store.append(&[record("2026-03-02T12:00:00Z")])).await;
    assert_prompt("insert", store.insert(&app("Acme"))).await;
    assert_prompt("changes", store.changes(&ChangeMark::start())).await;
    assert_prompt("usage", store.usage(&usage_query(None, false, false))).await;
    store.close().await;
}

#[tokio::test]
async fn a_server_that_was_killed_has_kept_everything_and_is_found_again() {
    let mut server = server();
    let store = connect(&server).await;
    let stored = app("Acme");
    store.insert(&stored).await.unwrap();
    let mut replica = Replica::default();
    replica.poll(&store).await;
    let records = records();
    store.append(&records[..200]).await.unwrap();
    server.kill();
    assert_prompt("append", store.append(&records[200..])).await;
    assert_prompt("changes", store.changes(&ChangeMark::start())).await;
    server.restart();
    until_done("append", || store.append(&records[200..])).await;
    assert_exact(&store, &records, "after the restart").await;
    let quiet = replica.poll(&store).await;
    assert!(!quiet.complete && quiet.upserts.is_empty(), "the mark is still good");
    assert_eq!(store.get(&stored.app.id).await.unwrap(), Some(stored));
    store.close().await;
}

#[tokio::test]
async fn what_a_stalled_server_does_later_is_counted_once() {
    let server = server();
    let store = connect(&server).await;
    let (first, second) = (app("first"), app("second"));
    store.insert(&first).await.unwrap();
    let mut replica = Replica::default();
    replica.poll(&store).await;
    let records = records();
    store.append(&records[..100]).await.unwrap();
    server.stall();
    let change = AppChange::Status(AppStatus::Disabled);
    let everything = usage_query(None, false, false);
    tokio::join!(
        assert_prompt("append", store.append(&records[100..])),
        assert_prompt("usage", store.usage(&everything)),
        assert_prompt("insert", store.insert(&second)),
        assert_prompt("update", store.update(&first.app.id, change.clone())),
    );
    server.resume();
    until_done("append", || store.append(&records[100..])).await;
    assert_exact(&store, &records, "after the stall").await;
    until_done("roll_up", || store.roll_up()).await;
    assert_exact(&store, &records, "rolled up").await;
    // Whether or not the changes were carried out: what is there is told.
    until_done("update", || store.update(&first.app.id, change.clone())).await;
    replica.poll(&store).await;
    for id in [&first.app.id, &second.app.id] {
        assert_eq!(replica.apps.get(id), store.get(id).await.unwrap().as_ref());
    }
    store.close().await;
}

#[tokio::test]
async fn an_append_that_failed_in_any_way_can_be_repeated() {
    let server = server();
    let store = connect(&server).await;
    store.insert(&app("makes the indexes")).await.unwrap();
    let records = records();
    let concern =
        doc! { "code": 64, "codeName": "WriteConcernFailed", "errmsg": "waiting for replication timed out" };
    let ways = [
        // Never carried out: the connection breaks before.
        doc! { "closeConnection": true },
        doc! { "errorCode": 91 },
        doc! { "errorCode": 10_107, "errorLabels": ["RetryableWriteError"] },
        // Carried out, and yet an error.
        doc! { "writeConcernError": concern },
    ];
    for (number, how) in ways.into_iter().enumerate() {
        let batch = &records[number * 50..(number + 1) * 50];
        fail(&server, doc! { "times": 1 }, &["insert"], how.clone()).await;
        let error = store.append(batch).await.unwrap_err();
        assert!(error.is_unavailable(), "{how}: {error:?}");
        // After some errors the driver looks for the server anew, which takes it a while.
        assert_eq!(until_done("append", || store.append(batch)).await.stored, 50, "{how}");
        store.roll_up().await.unwrap();
        assert_exact(&store, &records[..(number + 1) * 50], &how.to_string()).await;
    }
    store.close().await;
}

#[tokio::test]
async fn an_insert_that_is_carried_out_after_it_was_given_up_is_counted_once() {
    let server = server();
    let store = connect(&server).await;
    store.insert(&app("makes the indexes")).await.unwrap();
    let records = records();
    store.append(&records[..200]).await.unwrap();
    fail(&server, doc! { "times": 1 }, &["insert"], doc! { "blockConnection": true, "blockTimeMS": 6_000 })
        .await;
    assert_prompt("append", store.append(&records[200..])).await;
    // Rolled up and purged before the server gets to it.
    store.roll_up().await.unwrap();
    assert_exact(&store, &records[..200], "before").await;
    store.purge(time("2027-01-01T00:00:00Z"), 10_000).await.unwrap();
    let deadline = Instant::now() + Duration::from_secs(5);
    while store.page(&all(), 1, 1).await.unwrap().total == 0 && Instant::now() < deadline {}
    store.roll_up().await.unwrap();
    assert_eq!(store.append(&records[200..]).await.unwrap().stored, 100);
    assert_exact(&store, &records, "after").await;
    store.roll_up().await.unwrap();
    assert_exact(&store, &records, "rolled up").await;
    store.close().await;
}

#[tokio::test]
async fn a_change_that_cannot_be_announced_has_happened_and_is_told() {
    let server = server();
    let store = connect(&server).await;
    let stored = app("Acme");
    store.insert(&stored).await.unwrap();
    let mut replica = Replica::default();
    replica.poll(&store).await;
    // The change itself is a findAndModify, its announcement an update.
    fail(&server, doc! { "times": 1 }, &["update"], doc! { "closeConnection": true }).await;
    let new = key();
    let rotate = AppChange::Rotate { new: new.clone(), old_valid_until: None };
    let changed = store.update(&stored.app.id, rotate).await.unwrap().unwrap();
    assert_eq!(changed.keys, [new]);
    assert_eq!(replica.poll(&store).await.upserts, std::slice::from_ref(&changed));
    store.roll_up().await.unwrap();
    replica.poll(&store).await;
    assert!(replica.poll(&store).await.upserts.is_empty(), "announced by now");
    assert_eq!(replica.apps.get(&stored.app.id), Some(&changed));
    store.close().await;
}

#[tokio::test]
async fn usage_and_changes_are_exact_on_a_server_that_fails_one_command_in_ten() {
    let server = server();
    let (store, other) = (connect(&server).await, connect(&server).await);
    store.insert(&app("makes the indexes")).await.unwrap();
    let mut records = records();
    let mut replica = Replica::default();
    for (round, how) in [doc! { "closeConnection": true }, doc! { "errorCode": 262 }].into_iter().enumerate()
    {
        // The same records under new ids: late ones in hours that have been purged.
        let fresh: Vec<Record> = records[..300]
            .iter()
            .map(|old| Record { id: record("2026-03-01T00:00:00Z").id, ..old.clone() })
            .collect();
        let fresh = if round == 0 { records.clone() } else { fresh };
        let commands = ["insert", "update", "find", "aggregate", "distinct", "findAndModify", "delete"];
        fail(&server, doc! { "activationProbability": 0.1 }, &commands, how).await;
        for (number, batch) in fresh.chunks(20).enumerate() {
            let store = if number % 2 == 0 { &store } else { &other };
            until_done("append", || store.append(batch)).await;
            // Many commands each: they get as far as they get.
            let tidied = [store.roll_up().await, store.purge(time("2026-03-02T09:30:00Z"), 30).await];
            assert!(
                tidied.iter().filter_map(|done| done.as_ref().err()).all(StoreError::is_unavailable),
                "{tidied:?}"
            );
            let stored = app(&format!("app {round} {number}"));
            // A repeated insert may find itself.
            while let Err(error) = store.insert(&stored).await {
                if matches!(error, StoreError::Conflict { .. }) {
                    break;
                }
                assert!(error.is_unavailable(), "{error:?}");
            }
            if number % 3 == 0 {
                until_done("delete", || store.delete(&stored.app.id)).await;
            }
        }
        fail_no_more(&server).await;
        if round == 1 {
            records.extend(fresh);
        }
        // One may have died with a lease: the other waits for its end, or not; usage is exact all the same.
        assert_exact(&store, &records, "after the failures").await;
        store.roll_up().await.unwrap();
        assert_exact(&other, &records, "rolled up").await;
        replica.poll(&other).await;
        let truth = store.changes(&ChangeMark::start()).await.unwrap();
        assert_eq!(replica.apps.len(), truth.upserts.len());
        assert!(truth.upserts.iter().all(|stored| replica.apps.get(&stored.app.id) == Some(stored)));
    }
    assert_eq!(sums(&store).await.0, 600);
    store.close().await;
    other.close().await;
}

#[tokio::test]
async fn a_purge_that_broke_off_anywhere_is_finished_by_the_next() {
    let server = server();
    let store = connect(&server).await;
    store.insert(&app("makes the indexes")).await.unwrap();
    let end = time("2027-01-01T00:00:00Z");
    // Makes the lease, so that from here on taking it is one update.
    assert_eq!(store.purge(end, 10).await.unwrap(), 0);
    let one = || record("2026-03-02T12:00:00Z");
    let mut records = Vec::new();
    // Updates of a purge: the lease, the sums to the base, the records, the ids struck from the hour.
    for (done, left) in [(0, 10), (1, 10), (2, 10), (3, 0)] {
        let batch: Vec<Record> = (0..10).map(|_| one()).collect();
        store.append(&batch).await.unwrap();
        records.extend(batch);
        store.roll_up().await.unwrap();
        fail(&server, doc! { "skip": done }, &["update"], doc! { "errorCode": 262 }).await;
        assert!(store.purge(end, 10_000).await.unwrap_err().is_unavailable());
        fail_no_more(&server).await;
        assert_eq!(store.page(&all(), 1, 1).await.unwrap().total, left, "{done} updates were done");
        assert_exact(&store, &records, "broken off").await;
        // A late record: the hour is counted from its records again.
        let late = one();
        store.append(std::slice::from_ref(&late)).await.unwrap();
        records.push(late);
        assert_exact(&store, &records, "broken off, with a late record").await;
        store.roll_up().await.unwrap();
        assert_exact(&store, &records, "broken off and rolled up").await;
        assert_eq!(store.purge(end, 10_000).await.unwrap(), left + 1);
        assert_exact(&store, &records, "finished").await;
    }
    store.close().await;
}

#[tokio::test]
async fn a_roll_up_that_was_overtaken_changes_nothing() {
    let server = server();
    let (slow, fast) = (connect(&server).await, connect(&server).await);
    slow.insert(&app("makes the indexes")).await.unwrap();
    let mut records: Vec<Record> = (0..10).map(|_| record("2026-03-02T12:00:00Z")).collect();
    slow.append(&records[..5]).await.unwrap();
    slow.roll_up().await.unwrap();
    slow.append(&records[5..]).await.unwrap();
    // Two updates wait: taking the lease, and writing the sums that have been counted by then.
    let how = doc! { "blockConnection": true, "blockTimeMS": 2_000 };
    let before = fail(&server, doc! { "times": 2 }, &["update"], how).await.get_i32("count").unwrap();
    let overtaken = tokio::spawn({
        let slow = slow.clone();
        async move { slow.roll_up().await }
    });
    let wait = doc! { "waitForFailPoint": "failCommand", "timesEntered": before + 2, "maxTimeMS": 10_000 };
    configure(&server, wait).await;
    let late = record("2026-03-02T12:30:00Z");
    fast.append(std::slice::from_ref(&late)).await.unwrap();
    records.push(late);
    // Rolls up what it purges.
    assert_eq!(fast.purge(time("2027-01-01T00:00:00Z"), 100).await.unwrap(), 11);
    assert!(!overtaken.is_finished());
    assert_exact(&fast, &records, "before the slow one writes").await;
    overtaken.await.unwrap().unwrap();
    assert_exact(&fast, &records, "after").await;
    slow.close().await;
    fast.close().await;
}

#[tokio::test]
async fn a_question_that_takes_too_long_is_told_from_a_server_that_is_away() {
    let server = server();
    let store = connect(&server).await;
    store.append(&[record("2026-03-02T12:00:00Z")]).await.unwrap();
    for counting_or_reading in ["aggregate", "find"] {
        fail(&server, doc! { "times": 1 }, &[counting_or_reading], doc! { "errorCode": 50 }).await;
        let error = store.page(&all(), 1, 10).await.unwrap_err();
        assert!(matches!(error, StoreError::TooSlow { .. }), "{counting_or_reading}: {error:?}");
        assert!(error.to_string().contains("ask for a shorter time"), "{error}");
    }
    assert_eq!(store.page(&all(), 1, 10).await.unwrap().total, 1);
    store.close().await;
}
