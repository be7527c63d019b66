//! The suite against MongoDB, standalone, and what only a server can do.

#![allow(clippy::unwrap_used)]

mod suite;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use mongodb::bson::{Document, doc};
use mongodb::{Client, IndexModel};
use suite::changes::Replica;
use suite::fixture::{Fixture, all, app, key, record, sums, time};
use vllm_gateway_store::{
    AppChange, AppStatus, AppStore as _, ChangeMark, Store, StoreError, StoreKind, connect_mongodb, testing,
};

async fn open(test: &str) -> Fixture {
    let server = testing::mongodb();
    let database = server.database(test);
    let store = Arc::new(connect_mongodb(&server.uri, &database).await.unwrap());
    let other = Arc::new(connect_mongodb(&server.uri, &database).await.unwrap());
    Fixture { store, other, keep: Box::new(()) }
}

store_suite!(open);

#[tokio::test]
async fn a_standalone_server_cannot_tell_of_changes_and_says_so_at_once() {
    let server = testing::mongodb();
    let store = connect_mongodb(&server.uri, &server.database("cannot_tell")).await.unwrap();
    let said = AtomicUsize::new(0);
    let count = || {
        said.fetch_add(1, Ordering::Relaxed);
    };
    tokio::time::timeout(Duration::from_secs(5), store.watch(&count)).await.unwrap().unwrap();
    assert_eq!(said.into_inner(), 0);
    store.close().await;
}

#[tokio::test]
async fn an_app_that_was_written_before_versions_were_counted_is_read_and_counted_on() {
    let database = testing::mongodb().database("no_version");
    let store = connect_mongodb(&testing::mongodb().uri, &database).await.unwrap();
    let stored = app("old");
    store.insert(&stored).await.unwrap();
    let apps = meddler(&database).await.collection::<Document>("apps");
    apps.update_one(doc! {}, doc! { "$unset": { "version": "" } }).await.unwrap();
    assert_eq!(store.get(&stored.app.id).await.unwrap().unwrap().version, 0);
    let change = AppChange::Status(AppStatus::Disabled);
    assert_eq!(store.update(&stored.app.id, change).await.unwrap().unwrap().version, 1);
    store.close().await;
}

async fn meddler(database: &str) -> mongodb::Database {
    Client::with_uri_str(&testing::mongodb().uri).await.unwrap().database(database)
}

#[tokio::test]
async fn an_address_that_cannot_be_is_refused_and_not_quoted() {
    for (uri, database) in [
        ("http://user:secret@127.0.0.1", "gateway"),
        ("mongodb://us/er:sec@ret@127.0.0.1", "gateway"),
        ("mongodb://user:secret@127.0.0.1", "a.b"),
        ("mongodb://user:secret@127.0.0.1", ""),
    ] {
        let error = connect_mongodb(uri, database).await.unwrap_err();
        assert!(matches!(error, StoreError::Invalid { .. }), "{error:?}");
        assert!(!format!("{error:?} {}", error.full()).contains("sec"), "{error:?}");
    }
}

#[tokio::test]
async fn a_password_is_in_no_error_and_no_debug() {
    let with_login = testing::mongodb().uri.replace("mongodb://", "mongodb://gate%2Fway:pass%2Fword@");
    let store = connect_mongodb(&with_login, "gateway").await.unwrap();
    assert_eq!(store.kind(), StoreKind::Mongodb);
    let error = store.ping().await.unwrap_err();
    assert!(error.is_unavailable() && error.to_string().contains("credentials"), "{error:?}");
    let shown = format!("{store:?} {error:?} {}", error.full());
    assert!(!shown.contains("pass") && !shown.contains("gate%2F") && !shown.contains("gate/way"), "{shown}");
}

#[tokio::test]
async fn a_newer_schema_is_refused() {
    let database = testing::mongodb().database("newer_schema");
    let meta = meddler(&database).await.collection::<Document>("meta");
    meta.insert_one(doc! { "_id": "schema", "version": 99 }).await.unwrap();
    let store = connect_mongodb(&testing::mongodb().uri, &database).await.unwrap();
    let error = store.insert(&app("Acme")).await.unwrap_err();
    assert!(
        matches!(error, StoreError::Invalid { .. }) && error.to_string().contains("schema 99"),
        "{error:?}"
    );
}

#[tokio::test]
async fn an_index_that_differs_is_named() {
    let database = testing::mongodb().database("other_index");
    let apps = meddler(&database).await.collection::<Document>("apps");
    let mut index = IndexModel::builder().keys(doc! { "orgName": 1 }).build();
    index.options = Some(mongodb::options::IndexOptions::builder().name("digest".to_owned()).build());
    apps.create_index(index).await.unwrap();
    let store = connect_mongodb(&testing::mongodb().uri, &database).await.unwrap();
    let error = store.insert(&app("Acme")).await.unwrap_err();
    assert!(
        error.to_string().contains("collection apps") && error.full().contains("digest"),
        "{}",
        error.full()
    );
}

#[tokio::test]
async fn the_indexes_are_made_without_being_asked_for() {
    let database = testing::mongodb().database("indexes");
    let _store = connect_mongodb(&testing::mongodb().uri, &database).await.unwrap();
    let database = meddler(&database).await;
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    loop {
        let records = database.collection::<Document>("records").list_index_names().await.unwrap_or_default();
        if records.len() == 9
            && database.collection::<Document>("app_feed").count_documents(doc! {}).await.unwrap() == 1
        {
            break;
        }
        assert!(std::time::Instant::now() < deadline, "{records:?}");
    }
}

#[tokio::test]
async fn every_filter_of_the_log_is_answered_from_an_index_that_also_gives_the_order() {
    let fixture = open("plans").await;
    fixture.store.insert(&app("makes the indexes")).await.unwrap();
    fixture.store.append(&[record("2026-03-02T12:00:00Z")]).await.unwrap();
    let database = meddler_of(&fixture).await;
    for filter in [
        doc! {},
        doc! { "appId": "a" },
        doc! { "model": "m" },
        doc! { "outcome": "o" },
        doc! { "status": 1 },
        doc! { "requestId": "r" },
    ] {
        let mut filter = filter;
        filter.insert("time", doc! { "$gte": mongodb::bson::DateTime::from_millis(0) });
        let find =
            doc! { "find": "records", "filter": &filter, "sort": { "time": -1, "_id": -1 }, "limit": 5 };
        let plan = database.run_command(doc! { "explain": find, "verbosity": "queryPlanner" }).await.unwrap();
        let plan =
            plan.get_document("queryPlanner").unwrap().get_document("winningPlan").unwrap().to_string();
        assert!(plan.contains("IXSCAN") && !plan.contains("SORT"), "{filter}: {plan}");
    }
    fixture.close().await;
}

/// The database of a fixture, found by the app that only it holds.
async fn meddler_of(fixture: &Fixture) -> mongodb::Database {
    let client = Client::with_uri_str(&testing::mongodb().uri).await.unwrap();
    let mine =
        fixture.store.list(&vllm_gateway_store::AppQuery::default(), 1, 1).await.unwrap().items.remove(0).id;
    for name in client.list_database_names().await.unwrap() {
        let database = client.database(&name);
        if database.collection::<Document>("apps").find_one(doc! { "_id": &mine }).await.unwrap().is_some() {
            return database;
        }
    }
    panic!("the fixture's database is not there");
}

#[tokio::test]
async fn a_change_that_was_not_announced_is_told_and_announced_later() {
    let fixture = open("leftover").await;
    let (changed, gone) = (app("changed"), app("gone"));
    fixture.store.insert(&changed).await.unwrap();
    fixture.store.insert(&gone).await.unwrap();
    let mut replica = Replica::default();
    replica.poll(&fixture.other).await;
    // What a gateway leaves that died between the change and its announcement.
    let database = meddler_of(&fixture).await;
    let apps = database.collection::<Document>("apps");
    let change = doc! { "$set": { "status": "disabled", "change": "x", "pending": "x" } };
    apps.update_one(doc! { "_id": &changed.app.id }, change).await.unwrap();
    let bare = doc! { "deleted": true, "change": "y", "pending": "y" };
    apps.replace_one(doc! { "_id": &gone.app.id }, bare).await.unwrap();
    for round in 0..2 {
        let told = replica.poll(&fixture.other).await;
        assert_eq!(told.upserts.len(), 1, "round {round}");
        assert_eq!(told.upserts[0].app.status, AppStatus::Disabled);
        assert_eq!(told.deleted, std::slice::from_ref(&gone.app.id));
    }
    fixture.store.roll_up().await.unwrap();
    assert_eq!(replica.poll(&fixture.other).await.upserts.len(), 1, "announced");
    let quiet = replica.poll(&fixture.other).await;
    assert!(quiet.upserts.is_empty() && quiet.deleted.is_empty() && !quiet.complete);
    assert_eq!(apps.count_documents(doc! {}).await.unwrap(), 1, "nothing is left of the deleted app");
    fixture.close().await;
}

#[tokio::test]
async fn a_reader_that_slept_too_long_gets_everything() {
    let fixture = open("slept").await;
    let stored = app("Acme");
    fixture.store.insert(&stored).await.unwrap();
    let mark = fixture.store.changes(&ChangeMark::start()).await.unwrap().mark;
    let feed = meddler_of(&fixture).await.collection::<Document>("app_feed");
    let many: Vec<_> = (0..1_024).map(|number| doc! { "id": number.to_string(), "app": "x" }).collect();
    let push = doc! { "$push": { "entries": { "$each": &many, "$slice": -1024 } } };
    feed.update_one(doc! { "_id": "feed" }, push).await.unwrap();
    let told = fixture.store.changes(&mark).await.unwrap();
    assert!(told.complete);
    assert_eq!(told.upserts, std::slice::from_ref(&stored));
    // A feed that is lost, or a database that was replaced, is the same.
    feed.drop().await.unwrap();
    let told = fixture.store.changes(&told.mark).await.unwrap();
    assert!(told.complete && told.upserts == [stored]);
    fixture.close().await;
}

#[tokio::test]
async fn an_app_that_cannot_be_read_hides_no_other() {
    let fixture = open("broken_app").await;
    let (broken, sound) = (app("broken"), app("sound"));
    fixture.store.insert(&broken).await.unwrap();
    fixture.store.insert(&sound).await.unwrap();
    let mut replica = Replica::default();
    replica.poll(&fixture.other).await;
    let apps = meddler_of(&fixture).await.collection::<Document>("apps");
    let change = doc! { "$set": { "status": "paused", "pending": "x" } };
    apps.update_one(doc! { "_id": &broken.app.id }, change).await.unwrap();
    fixture
        .store
        .update(&sound.app.id, AppChange::Rotate { new: key(), old_valid_until: None })
        .await
        .unwrap();
    let told = replica.poll(&fixture.other).await;
    assert_eq!(told.upserts.len(), 1);
    assert_eq!(told.deleted, [broken.app.id], "its keys stop to work");
    fixture.close().await;
}

#[tokio::test]
async fn what_is_left_of_purged_records_goes_by_itself() {
    let fixture = open("ttl").await;
    fixture.store.insert(&app("makes the indexes")).await.unwrap();
    fixture.store.append(&[record("2026-03-02T12:00:00Z"), record("2026-03-02T12:00:00Z")]).await.unwrap();
    assert_eq!(fixture.store.purge(time("2027-01-01T00:00:00Z"), 10).await.unwrap(), 2);
    let records = meddler_of(&fixture).await.collection::<Document>("records");
    let left = records.find_one(doc! {}).await.unwrap().unwrap();
    assert_eq!(left.keys().collect::<Vec<_>>(), ["_id", "purgedAt"]);
    assert_eq!(fixture.store.page(&all(), 1, 10).await.unwrap().total, 0);
    // A day passes.
    let earlier =
        mongodb::bson::DateTime::from_millis(mongodb::bson::DateTime::now().timestamp_millis() - 90_000_000);
    records.update_many(doc! {}, doc! { "$set": { "purgedAt": earlier } }).await.unwrap();
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(90);
    while records.count_documents(doc! {}).await.unwrap() > 0 {
        assert!(std::time::Instant::now() < deadline);
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert_eq!(sums(&fixture.store).await, (2, 10));
    fixture.close().await;
}
