//! How many records a store takes a second; not a test of anything, so it runs only when asked for:
//! `cargo test -p vllm-gateway-store --test rates -- --ignored --nocapture`.

#![allow(clippy::unwrap_used, clippy::print_stderr, clippy::cast_precision_loss)]

mod suite;

use std::sync::Arc;
use std::time::Instant;

use suite::fixture::{app, millis, record, time, usage_query};
use vllm_gateway_store::{Interval, Record, Store, connect_mongodb, open_sqlite, testing};

const BATCHES: i64 = 200;

async fn measure(name: &str, store: Arc<dyn Store>) {
    store.insert(&app("makes the indexes")).await.unwrap();
    let start = time("2026-03-02T00:00:00Z");
    let batch = |number: i64| -> Vec<Record> {
        let at = |place| start + millis((number * 500 + place) * 500);
        (0..500).map(|place| Record { time: at(place), ..record("2026-03-02T00:00:00Z") }).collect()
    };
    let batches: Vec<_> = (0..BATCHES).map(batch).collect();
    let total = (BATCHES * 500) as f64;
    let begun = Instant::now();
    for batch in &batches {
        store.append(batch).await.unwrap();
    }
    eprintln!("{name}: append {:.0} records/s in batches of 500", total / begun.elapsed().as_secs_f64());
    let begun = Instant::now();
    store.usage(&usage_query(Some(Interval::Hour), true, true)).await.unwrap();
    eprintln!("{name}: usage of {total} records, not rolled up, in {:?}", begun.elapsed());
    let begun = Instant::now();
    store.roll_up().await.unwrap();
    eprintln!("{name}: roll-up {:.0} records/s", total / begun.elapsed().as_secs_f64());
    let begun = Instant::now();
    store.usage(&usage_query(Some(Interval::Hour), true, true)).await.unwrap();
    eprintln!("{name}: usage, rolled up, in {:?}", begun.elapsed());
    let mark = store.changes(&vllm_gateway_store::ChangeMark::start()).await.unwrap().mark;
    let begun = Instant::now();
    for _ in 0..100 {
        store.changes(&mark).await.unwrap();
    }
    eprintln!("{name}: one poll for changes in {:?}", begun.elapsed() / 100);
    let begun = Instant::now();
    let purged = store.purge(time("2027-01-01T00:00:00Z"), 20_000).await.unwrap();
    eprintln!("{name}: purge {:.0} records/s", purged as f64 / begun.elapsed().as_secs_f64());
    store.close().await;
}

#[tokio::test]
#[ignore = "measures, and takes a while"]
async fn sqlite() {
    let folder = tempfile::tempdir().unwrap();
    measure("sqlite", Arc::new(open_sqlite(folder.path().join("gateway.db")).await.unwrap())).await;
}

#[tokio::test]
#[ignore = "measures, and takes a while"]
async fn mongodb() {
    let server = testing::mongodb();
    measure("mongodb", Arc::new(connect_mongodb(&server.uri, &server.database("rates")).await.unwrap()))
        .await;
}
