//! Everything at once, and callers that leave.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;
use vllm_gateway_store::{Record, Store};

use super::fixture::{Fixture, millis, record, sums, time};
use super::usage::assert_exact;

fn batch(number: i64) -> Vec<Record> {
    // Three hours, so that many writers meet in one.
    let start = time("2026-03-02T12:00:00Z") + millis(number * 97_000 % 10_800_000);
    (0..20).map(|at| Record { time: start + millis(at * 7), ..record("2026-03-02T12:00:00Z") }).collect()
}

pub async fn usage_is_exact_while_everything_happens_at_once(fixture: &Fixture) {
    let (begun, stored) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let done = Arc::new(AtomicBool::new(false));
    let mut writers = JoinSet::new();
    for writer in 0..3 {
        let store = if writer % 2 == 0 { fixture.store.clone() } else { fixture.other.clone() };
        let (begun, stored) = (begun.clone(), stored.clone());
        writers.spawn(async move {
            let mut mine = Vec::new();
            for round in 0..25 {
                let batch = batch(writer * 1_000 + round);
                begun.fetch_add(20, Ordering::SeqCst);
                store.append(&batch).await.unwrap();
                stored.fetch_add(20, Ordering::SeqCst);
                store.append(&batch[..5]).await.unwrap();
                mine.extend(batch);
            }
            mine
        });
    }
    let mut helpers = JoinSet::new();
    for (number, store) in [fixture.store.clone(), fixture.other.clone()].into_iter().enumerate() {
        let done = done.clone();
        helpers.spawn(async move {
            while !done.load(Ordering::SeqCst) {
                store.roll_up().await.unwrap();
                let before = time("2026-03-02T12:40:00Z") + millis(600_000 * i64::try_from(number).unwrap());
                tolerate_contention(&store.purge(before, 60).await);
            }
        });
    }
    let reader = tokio::spawn({
        let (store, done, begun, stored) =
            (fixture.other.clone(), done.clone(), begun.clone(), stored.clone());
        async move {
            let mut reads = 0;
            while !done.load(Ordering::SeqCst) {
                let least = stored.load(Ordering::SeqCst);
                let (requests, tokens) = sums(&store).await;
                let most = begun.load(Ordering::SeqCst);
                assert!((least..=most).contains(&requests), "{requests} is not within {least} and {most}");
                assert_eq!(tokens, requests * 5);
                reads += 1;
            }
            reads
        }
    });
    let all: Vec<Record> = writers.join_all().await.into_iter().flatten().collect();
    done.store(true, Ordering::SeqCst);
    helpers.join_all().await;
    assert!(reader.await.unwrap() > 3);
    assert_exact(&fixture.store, &all, "in the end").await;
    fixture.store.roll_up().await.unwrap();
    assert_exact(&fixture.store, &all, "rolled up").await;
}

/// Two that purge the same hour may give up for this time; what they have done is right all the same.
fn tolerate_contention(purged: &Result<u64, vllm_gateway_store::StoreError>) {
    assert!(purged.as_ref().err().is_none_or(vllm_gateway_store::StoreError::is_unavailable), "{purged:?}");
}

pub async fn appends_that_were_dropped_can_be_repeated(fixture: &Fixture) {
    let mut all = Vec::new();
    for round in 0_u64..30 {
        let batch = batch(i64::try_from(round).unwrap());
        // Dropped wherever it is by then; shipped again, as after a restart.
        let _ = tokio::time::timeout(Duration::from_micros(round * 150), fixture.store.append(&batch)).await;
        let other: &Arc<dyn Store> = if round % 2 == 0 { &fixture.store } else { &fixture.other };
        assert_eq!(other.append(&batch).await.unwrap().stored, batch.len());
        all.extend(batch);
    }
    assert_exact(&fixture.store, &all, "repeated").await;
    fixture.store.roll_up().await.unwrap();
    assert_exact(&fixture.store, &all, "repeated and rolled up").await;
}
