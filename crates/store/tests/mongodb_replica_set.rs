//! The suite against a MongoDB replica set: retryable writes, majority reads, causally consistent sessions.

#![allow(clippy::unwrap_used)]

mod suite;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use mongodb::Client;
use mongodb::bson::doc;
use suite::fixture::{Fixture, app, key, now};
use tokio::sync::Notify;
use vllm_gateway_store::testing::{MongoOptions, MongoServer};
use vllm_gateway_store::{AppChange, AppStatus, Store, StoreError, connect_mongodb};

fn server() -> &'static MongoServer {
    static SERVER: OnceLock<MongoServer> = OnceLock::new();
    SERVER.get_or_init(own_server)
}

fn own_server() -> MongoServer {
    MongoServer::start_own(MongoOptions { replica_set: true, ..MongoOptions::default() })
}

async fn open(test: &str) -> Fixture {
    let server = server();
    let database = server.database(test);
    let store = Arc::new(connect_mongodb(&server.uri, &database).await.unwrap());
    let other = Arc::new(connect_mongodb(&server.uri, &database).await.unwrap());
    Fixture { store, other, keep: Box::new(()) }
}

store_suite!(open);

/// Longer than the server waits for news, so that silence says something.
const SILENCE: Duration = Duration::from_millis(2_500);
const SOON: Duration = Duration::from_millis(500);

/// A store that listens to itself, and what came of that.
struct Listener {
    heard: Arc<(Notify, AtomicUsize)>,
    listening: tokio::task::JoinHandle<Result<(), StoreError>>,
}

impl Listener {
    async fn start(store: Arc<dyn Store>) -> Self {
        let heard = Arc::new((Notify::new(), AtomicUsize::new(0)));
        let listening = tokio::spawn({
            let heard = Arc::clone(&heard);
            async move {
                let changed = || {
                    heard.1.fetch_add(1, Ordering::Relaxed);
                    heard.0.notify_one();
                };
                store.watch(&changed).await
            }
        });
        let listener = Self { heard, listening };
        assert!(listener.hears(Duration::from_secs(10)).await, "it says once that it has begun");
        listener
    }

    async fn hears(&self, most: Duration) -> bool {
        tokio::time::timeout(most, self.heard.0.notified()).await.is_ok()
    }

    /// What it failed with, and when.
    async fn fails(self) -> StoreError {
        tokio::time::timeout(Duration::from_secs(10), self.listening).await.unwrap().unwrap().unwrap_err()
    }
}

#[tokio::test]
async fn every_kind_of_change_is_heard_at_once_and_a_use_is_not() {
    let fixture = open("heard_at_once").await;
    fixture.store.insert(&app("before")).await.unwrap();
    let listener = Listener::start(Arc::clone(&fixture.other)).await;
    let stored = app("Acme");
    let id = stored.app.id.clone();
    fixture.store.insert(&stored).await.unwrap();
    assert!(listener.hears(SOON).await, "insert");
    for change in [
        AppChange::Status(AppStatus::Disabled),
        AppChange::Rotate { new: key(), old_valid_until: None },
        AppChange::Details { org_name: "B".into(), expire_time: None, remark: None, allowed_models: None },
    ] {
        fixture.store.update(&id, change.clone()).await.unwrap();
        assert!(listener.hears(SOON).await, "{change:?}");
    }
    fixture.store.touch(&[(id.clone(), now())]).await.unwrap();
    assert!(!listener.hears(SILENCE).await, "a use is no change");
    fixture.store.delete(&id).await.unwrap();
    assert!(listener.hears(SOON).await, "delete");
    listener.listening.abort();
    fixture.close().await;
}

#[tokio::test]
async fn listening_ends_with_an_error_when_the_server_stalls_or_is_killed() {
    let mut server = own_server();
    let store: Arc<dyn Store> = Arc::new(connect_mongodb(&server.uri, "gateway").await.unwrap());
    store.insert(&app("Acme")).await.unwrap();
    let listener = Listener::start(Arc::clone(&store)).await;
    server.stall();
    let stalled = Instant::now();
    assert!(listener.fails().await.is_unavailable());
    assert!(stalled.elapsed() < Duration::from_secs(8), "{:?}", stalled.elapsed());
    server.resume();
    let listener = Listener::start(Arc::clone(&store)).await;
    server.kill();
    assert!(listener.fails().await.is_unavailable());
}

#[tokio::test]
async fn a_stream_that_the_server_cannot_resume_ends_with_an_error_and_a_new_one_hears_again() {
    let server = own_server();
    let store: Arc<dyn Store> = Arc::new(connect_mongodb(&server.uri, "gateway").await.unwrap());
    let stored = app("Acme");
    store.insert(&stored).await.unwrap();
    let listener = Listener::start(Arc::clone(&store)).await;
    // ChangeStreamHistoryLost: the token is older than what the server keeps.
    let admin = Client::with_uri_str(&server.uri).await.unwrap().database("admin");
    let lost = doc! { "failCommands": ["getMore"], "errorCode": 286, "errorLabels": ["NonResumableChangeStreamError"] };
    admin
        .run_command(doc! { "configureFailPoint": "failCommand", "mode": { "times": 1 }, "data": lost })
        .await
        .unwrap();
    listener.fails().await;
    let listener = Listener::start(Arc::clone(&store)).await;
    store.update(&stored.app.id, AppChange::Status(AppStatus::Disabled)).await.unwrap();
    assert!(listener.hears(SOON).await);
}
