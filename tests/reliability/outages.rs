//! The store goes away under load, hangs, fails over, refuses a record; the gateway serves on and loses nothing.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use mongodb::bson::doc;
use reqwest::Method;
use rusqlite::Connection;
use serde_json::{Value, json};

use crate::{
    clients::{Asked, Crowd, End, Target},
    ledgers::{Tally, reconcile},
    mongo::{self, Relay},
    random::Random,
    refusals::refused,
    site::{Gateway, MODEL, PATIENCE, Site, long, until},
};

/// Another process that holds the database: nobody can write to it until this is dropped.
pub(crate) struct Held(Connection);

impl Held {
    pub(crate) fn new(site: &Site) -> Self {
        let connection = Connection::open(site.path("data/gateway.db")).unwrap();
        connection.busy_timeout(PATIENCE).unwrap();
        connection.execute_batch("BEGIN IMMEDIATE").unwrap();
        Self(connection)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let _ = self.0.execute_batch("ROLLBACK");
    }
}

/// A gateway with clients who ask it all the while.
pub(crate) struct Busy {
    pub(crate) gateway: Gateway,
    pub(crate) crowd: Crowd,
    from: Timestamp,
}

impl Busy {
    pub(crate) async fn new(site: &Site) -> Self {
        Self::with(site, 16).await
    }

    async fn with(site: &Site, clients: usize) -> Self {
        let from = Timestamp::now();
        let gateway = site.start().await;
        let key = gateway.app().await;
        gateway.becomes_ready(200).await;
        let crowd = Crowd::new(clients, "busy", &mut Random::seeded("load"));
        crowd.turn_to(Target { data: gateway.data.clone(), key });
        Self { gateway, crowd, from }
    }

    /// Waits until that many more requests have been answered, each as if nothing were wrong.
    pub(crate) async fn serves(&self, more: usize) {
        let before = self.crowd.asked().len();
        until("requests are served", || async { self.crowd.asked().len() >= before + more }).await;
        as_if_nothing_were_wrong(&self.crowd.asked()[before..]);
    }

    /// Ends the load and compares the ledgers.
    pub(crate) async fn reconciled(self, site: &Site, others: Vec<Asked>) -> (Gateway, Tally) {
        let mut asked = self.crowd.end().await;
        asked.extend(others);
        until("the upstream is idle", || async { site.vllm.active() == 0 }).await;
        let counts = self.gateway.settled().await;
        let records = self.gateway.records(self.from).await;
        assert_eq!(counts.stored, records.len() as u64, "{counts:?}");
        let tally = reconcile(&asked, &site.vllm.ledger(), &records, false);
        (self.gateway, tally)
    }
}

fn as_if_nothing_were_wrong(asked: &[Asked]) {
    for asked in asked {
        // Of a key that is not known nobody can say more while the store is away.
        let expected: &[u16] = if asked.known { &[200, 404] } else { &[401, 503] };
        assert!(asked.status.is_none_or(|status| expected.contains(&status)), "{asked:?}");
        assert!(asked.end != End::Broken && !asked.error, "{asked:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_database_is_locked_requests_are_served_and_memory_stays_bounded() {
    let site = Site::sqlite().await;
    let busy = Busy::new(&site).await;
    busy.serves(200).await;
    let held = Held::new(&site);
    let away = Instant::now();
    busy.serves(200).await;
    let memory = busy.gateway.memory();
    // Beyond what is kept in memory: in the long run, most of the quota of 1 GiB.
    let count = if long() { 250_000 } else { 24_000 };
    let others = refused(&busy.gateway.data, "locked", count).await;
    busy.serves(200).await;
    let waiting = busy.gateway.counts().await.pending;
    assert!(waiting >= count as u64, "{waiting} records wait");
    let journal = site.journal_bytes() / 1024;
    assert!(journal > count as u64, "{journal} KiB");
    // Regions that are full are let go of within a second or so.
    let bound = memory + 16 * 1024;
    until("memory is bounded", || async { busy.gateway.memory() < bound }).await;
    let grown = busy.gateway.memory().saturating_sub(memory);
    if long() {
        tokio::time::sleep(Duration::from_mins(2)).await;
        busy.serves(200).await;
    }
    let away = away.elapsed();
    drop(held);
    let begun = Instant::now();
    let (gateway, tally) = busy.reconciled(&site, others).await;
    eprintln!(
        "SQLite locked for {away:.0?}: {waiting} records in {journal} KiB of journal, {grown} KiB more memory; stored \
         after {:.1?}: {tally:?}",
        begun.elapsed()
    );
    // What was needed for the outage goes, too.
    until("the journal shrinks", || async { site.journal_bytes() <= 12 << 20 }).await;
    assert!(gateway.memory() < bound + 32 * 1024, "{} KiB", gateway.memory());
}

/// `OUTAGE_MINUTES=60 cargo test --test reliability -- --ignored an_hour`; the figures are in `docs/reliability.md`.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes an hour, or OUTAGE_MINUTES"]
async fn an_hour_without_the_store_costs_no_request_no_record_and_no_memory() {
    let minutes = std::env::var("OUTAGE_MINUTES").map_or(60, |minutes| minutes.parse().unwrap());
    let site = Site::sqlite().await;
    let busy = Busy::with(&site, 4).await;
    busy.serves(200).await;
    let held = Held::new(&site);
    let away = Instant::now();
    let (before, mut most) = (busy.gateway.memory(), 0);
    while away.elapsed() < Duration::from_mins(minutes) {
        tokio::time::sleep(Duration::from_secs(5)).await;
        most = most.max(busy.gateway.memory());
    }
    let counts = busy.gateway.counts().await;
    let journal = site.journal_bytes() >> 20;
    as_if_nothing_were_wrong(&busy.crowd.asked());
    eprintln!(
        "away for {:.0?}: {counts:?}, {journal} MiB of journal; {before} KiB before, {most} at most",
        away.elapsed()
    );
    assert!(most < before + 24 * 1024, "memory is bounded");
    let begun = Instant::now();
    drop(held);
    let (_, tally) = busy.reconciled(&site, Vec::new()).await;
    eprintln!("stored after {:.1?}: {tally:?}", begun.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mongod_that_hangs_and_then_dies_costs_no_record_and_no_request() {
    let mut site = Site::sqlite().await;
    let mut server = mongo::own().await;
    site.mongodb = Some((server.uri.clone(), "gateway".into()));
    let busy = Busy::new(&site).await;
    busy.serves(200).await;
    server.stall();
    let begun = Instant::now();
    // Longer than an operation may take: what was given up is carried out later, and again.
    while begun.elapsed() < Duration::from_secs(7) {
        busy.serves(100).await;
    }
    server.resume();
    until("records reach the store", || async { busy.gateway.counts().await.stored > 400 }).await;
    server.kill();
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(3) {
        busy.serves(100).await;
    }
    let server = tokio::task::spawn_blocking(move || {
        server.restart();
        server
    });
    let server = server.await.unwrap();
    busy.serves(100).await;
    let (_, tally) = busy.reconciled(&site, Vec::new()).await;
    eprintln!("mongod stalled for 7 s and killed for 3 s: {tally:?}");
    drop(server);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failover_after_the_write_and_a_slow_store_store_every_record_once() {
    let mut site = Site::sqlite().await;
    let server = mongo::own().await;
    let relay = Relay::new(&server).await;
    site.mongodb = Some((relay.uri.clone(), "gateway".into()));
    let busy = Busy::new(&site).await;
    busy.serves(100).await;
    // The answer is lost, with the connection.
    relay.lose(3);
    until("answers are lost", || async { relay.left() == 0 }).await;
    busy.serves(100).await;
    // Carried out, but not on most members.
    let concern = doc! { "code": 91, "codeName": "ShutdownInProgress", "errmsg": "the primary steps down" };
    mongo::fail_inserts(&server.uri, doc! { "times": 3 }, doc! { "writeConcernError": concern }).await;
    busy.serves(100).await;
    // Not carried out: the connection breaks before, or the server is no primary any more.
    mongo::fail_inserts(&server.uri, doc! { "times": 2 }, doc! { "closeConnection": true }).await;
    busy.serves(100).await;
    let slow = doc! { "blockConnection": true, "blockTimeMS": 700 };
    mongo::fail_inserts(&server.uri, doc! { "times": 5 }, slow).await;
    busy.serves(300).await;
    mongo::fail_no_more(&server.uri).await;
    let (_, tally) = busy.reconciled(&site, Vec::new()).await;
    assert!(tally.records > 700, "{tally:?}");
}

/// Requests of which one is poison; the others are stored, and the poison is counted and kept aside.
async fn a_poison_record_is_kept_aside(site: &Site, gateway: Gateway, key: &str) {
    for number in 0..20 {
        let agent = if number == 7 { "poison" } else { "client" };
        let body = json!({"model": MODEL, "messages": [{"role": "user", "content": "hi"}], "max_tokens": 3});
        let answer = gateway
            .client
            .request(Method::POST, format!("http://{}/v1/chat/completions", gateway.data))
            .bearer_auth(key)
            .header("user-agent", agent)
            .header("x-request-id", format!("poison-{number}"))
            .header("content-type", "application/json")
            .body(body.to_string())
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 200);
    }
    let counts = gateway.settled().await;
    assert_eq!((counts.accepted, counts.stored, counts.quarantined), (20, 19, 1));
    let kept = std::fs::read_to_string(site.path("data/quarantine.jsonl")).unwrap();
    let kept: Vec<Value> = kept.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(kept.len(), 1);
    assert_eq!(kept[0]["record"]["requestId"], "poison-7", "{kept:?}");
    assert!(!kept[0]["reason"].as_str().unwrap().is_empty());
    assert!(kept[0]["record"]["completionTokens"] == 3 && !kept[0].to_string().contains(&key[16..]));
    let said = gateway.said();
    assert!(said.contains("can never be stored") && said.contains("quarantine.jsonl"), "{said}");
    // It is not tried again by the next start.
    gateway.kill();
    let gateway = site.start().await;
    let counts = gateway.settled().await;
    assert!(counts.accepted <= 19 && counts.quarantined == 0, "{counts:?}");
    assert_eq!(gateway.get("/api/logs").await["total"], 19);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_sqlite_refuses_is_kept_aside_and_counted() {
    let site = Site::sqlite().await;
    let gateway = site.start().await;
    let key = gateway.app().await;
    let database = Connection::open(site.path("data/gateway.db")).unwrap();
    database.busy_timeout(PATIENCE).unwrap();
    database
        .execute_batch(
            "CREATE TRIGGER poison BEFORE INSERT ON records WHEN NEW.request_id = 'poison-7'
             BEGIN SELECT RAISE(ABORT, 'poison'); END",
        )
        .unwrap();
    drop(database);
    a_poison_record_is_kept_aside(&site, gateway, &key).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_mongodb_refuses_is_kept_aside_and_counted() {
    let mut site = Site::sqlite().await;
    let server = mongo::shared().await;
    let database = server.database("poison");
    site.mongodb = Some((server.uri.clone(), database.clone()));
    let gateway = site.start().await;
    let key = gateway.app().await;
    // The collection has to be there before it can be told what to refuse.
    let url = format!("http://{}/v1/models", gateway.data);
    gateway.client.get(url).header("x-request-id", "first").send().await.unwrap();
    assert_eq!(gateway.settled().await.stored, 1);
    let validator = doc! { "userAgent": { "$ne": "poison" } };
    mongo::run(&server.uri, &database, doc! { "collMod": "records", "validator": validator }).await;
    // The next start must know the key before it has asked the store.
    until("the local copy has the app", || async {
        std::fs::read_to_string(site.path("data/apps.json")).is_ok_and(|copy| copy.contains("acme"))
    })
    .await;
    gateway.kill();
    let all = site.store().await;
    all.purge("2100-01-01T00:00:00Z".parse().unwrap(), 10).await.unwrap();
    all.close().await;
    a_poison_record_is_kept_aside(&site, site.start().await, &key).await;
}
