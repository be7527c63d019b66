//! How quickly questions of the log are answered with a million records; prints figures, so it runs only when asked for:
//! `cargo test --release -p vllm-gateway-store --test pages -- --ignored --nocapture`. `RECORDS` says how many.

#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::cast_precision_loss)]

mod suite;

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use suite::fixture::{all, record};
use uuid::{NoContext, Uuid};
use vllm_gateway_store::{LogQuery, Outcome, Record, Store, open_sqlite};

/// Six days of 200 apps, of which one comes rarely and one twice in all; three models; a few errors.
fn made(number: u64, of: u64, end: Timestamp) -> Record {
    let back = (of - number) * (6 * 86_400_000 / of) + number * 104_729 % 20_000;
    let time = end - SignedDuration::from_millis(i64::try_from(back).unwrap());
    let (seconds, nanoseconds) = (time.as_second().unsigned_abs(), time.subsec_nanosecond().unsigned_abs());
    let app = match number {
        _ if number % (of / 2) == 17 => 1_000,
        _ if number % 5_000 == 18 => 999,
        _ => number * 7_919 % 200,
    };
    let failed = number.is_multiple_of(101);
    Record {
        id: Uuid::new_v7(uuid::Timestamp::from_unix(NoContext, seconds, nanoseconds)),
        request_id: format!(
            "{:032x}",
            u128::from(number) << 64 | u128::from(number.wrapping_mul(0x9E37_79B9_7F4A_7C15))
        ),
        time,
        app_id: Some(format!("0198c5a2-1111-7222-8333-94444555{app:04}")),
        org_name: Some(format!("acme {app}")),
        model: Some(
            ["Qwen3-32B", "Llama-3.3-70B-Instruct", "embedder"][usize::try_from(number % 3).unwrap()].into(),
        ),
        status: if failed { 503 } else { 200 },
        outcome: if failed { Outcome::UpstreamError } else { Outcome::Finished },
        error_code: None,
        ..record("2026-03-02T12:00:00Z")
    }
}

async fn ask(store: &Arc<dyn Store>, what: &str, query: &LogQuery, page: u64) {
    let mut best = Duration::MAX;
    let mut total = 0;
    for _ in 0..3 {
        let begun = Instant::now();
        match store.page(query, page, 20).await {
            Ok(found) => total = found.total,
            Err(error) => return println!("{what:<52} {error}"),
        }
        best = best.min(begun.elapsed());
    }
    println!("{what:<52} {:>9.2} ms  of {total}", best.as_secs_f64() * 1e3);
}

#[tokio::test]
#[ignore = "prints figures, and takes a while"]
async fn pages_of_a_million_records() {
    let records: u64 = std::env::var("RECORDS").map_or(1_000_000, |text| text.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gateway.db");
    let store: Arc<dyn Store> = Arc::new(open_sqlite(&path).await.unwrap());
    let end = Timestamp::now();
    let begun = Instant::now();
    for batch in 0..records / 500 {
        let batch: Vec<_> = (0..500).map(|at| made(batch * 500 + at, records, end)).collect();
        store.append(&batch).await.unwrap();
    }
    println!("{records} records in {:.1} s", begun.elapsed().as_secs_f64());
    let week = LogQuery { from: Some(end - SignedDuration::from_hours(7 * 24)), ..all() };
    let part = LogQuery {
        from: Some(end - SignedDuration::from_hours(70)),
        to: Some(end - SignedDuration::from_hours(30)),
        ..all()
    };
    let app = |number: u64| Some(format!("0198c5a2-1111-7222-8333-94444555{number:04}"));
    let model = Some("Qwen3-32B".to_owned());
    let deep = records / 20 - 1;
    ask(&store, "the first page", &week, 1).await;
    ask(&store, "the last page", &week, deep).await;
    ask(&store, "40 hours of it, a page in the middle", &part, deep / 8).await;
    ask(&store, "a model (a third)", &LogQuery { model: model.clone(), ..week.clone() }, 1).await;
    ask(&store, "a model, its last page", &LogQuery { model: model.clone(), ..week.clone() }, deep / 3 - 1)
        .await;
    ask(&store, "an app (1 of 200)", &LogQuery { app_id: app(7), ..week.clone() }, 1).await;
    ask(&store, "an app (1 of 200), its page 100", &LogQuery { app_id: app(7), ..week.clone() }, 100).await;
    ask(&store, "a rare app (1 in 5,000)", &LogQuery { app_id: app(999), ..week.clone() }, 1).await;
    ask(&store, "an app with two records", &LogQuery { app_id: app(1_000), ..week.clone() }, 1).await;
    ask(&store, "an app with none", &LogQuery { app_id: app(5_555), ..week.clone() }, 1).await;
    ask(&store, "a status (1 in 101)", &LogQuery { status: Some(503), ..week.clone() }, 1).await;
    ask(&store, "finished", &LogQuery { outcome: Some(Outcome::Finished), ..week.clone() }, 1).await;
    let app_503 = LogQuery { app_id: app(7), status: Some(503), ..week.clone() };
    ask(&store, "an app and a status", &app_503, 1).await;
    let two = LogQuery { model, outcome: Some(Outcome::Finished), ..week.clone() };
    ask(&store, "a model and finished (a third)", &two, 1).await;
    let number = records * 2 / 3;
    let request_id = Some(made(number, records, end).request_id);
    ask(&store, "a request id", &LogQuery { request_id, ..week.clone() }, 1).await;
    ask(&store, "a request id that is none", &LogQuery { request_id: Some("r".into()), ..week }, 1).await;
    let begun = Instant::now();
    let purged = store.purge(end - SignedDuration::from_hours(5 * 24), 100_000).await.unwrap();
    println!(
        "{purged} records purged, {:.1} µs each",
        begun.elapsed().as_secs_f64() * 1e6 / purged.max(1) as f64
    );
    store.close().await;
    println!("{} bytes a record on the disk", path.metadata().unwrap().len() / records);
}
