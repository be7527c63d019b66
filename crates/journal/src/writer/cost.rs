//! What a record costs from the journal to a SQLite store, by how many come at once. Proves nothing, prints figures:
//! `cargo test --release -p vllm-gateway-journal a_record_to_sqlite -- --ignored --nocapture`.
//!
//! Under `valgrind --tool=callgrind`, the instructions of the two threads are those of `Shipper::run` and of
//! `log::append`, inclusive; `RECORDS`, `TOGETHER` and `APPS` say how many records there are, how many in a batch, and of
//! how many apps.
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::cast_precision_loss)]
use std::time::Instant as Clock;

use jiff::{SignedDuration, Timestamp};
use tempfile::TempDir;
use uuid::{NoContext, Uuid};
use vllm_gateway_sdk::{Outcome, Record};
use vllm_gateway_store::{Store as _, open_sqlite};

use super::*;

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

/// Records as a day brings them: 20 apps, three models, a few errors, every tenth a stream of some seconds.
fn record(number: u64, apps: u64, now: Timestamp) -> Record {
    let stream = number.is_multiple_of(10);
    let lasted = if stream { 500 + number * 7919 % 20_000 } else { 20 + number * 104_729 % 200 };
    let time = now - SignedDuration::from_millis(i64::try_from(lasted).unwrap());
    let failed = number.is_multiple_of(97);
    let (seconds, nanoseconds) = (time.as_second().unsigned_abs(), time.subsec_nanosecond().unsigned_abs());
    let app = number * 7_919 % apps;
    Record {
        id: Uuid::new_v7(uuid::Timestamp::from_unix(NoContext, seconds, nanoseconds)),
        request_id: Uuid::new_v4().simple().to_string(),
        time,
        app_id: Some(format!("0198c5a2-1111-7222-8333-9444{app:08}")),
        org_name: Some(format!("acme {app}")),
        model: Some(
            ["Qwen3-32B", "Llama-3.3-70B-Instruct", "embedder"][usize::try_from(number % 3).unwrap()].into(),
        ),
        stream,
        status: if failed { 503 } else { 200 },
        outcome: if failed { Outcome::UpstreamError } else { Outcome::Finished },
        duration_ms: lasted,
        ..crate::tests::record(1)
    }
}

#[tokio::test]
#[ignore = "prints figures, and proves nothing"]
async fn a_record_to_sqlite() {
    let (records, together, apps) = (number("RECORDS", 100_000), number("TOGETHER", 500), number("APPS", 20));
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("gateway.db");
    let store = Arc::new(open_sqlite(&file).await.unwrap());
    let options = WriterOptions { sync_every: None, ..WriterOptions::in_folder(folder.path().join("log")) };
    let writer = RecordWriter::start(Arc::clone(&store) as _, options).unwrap();
    let mut shipping = Duration::ZERO;
    // As if so many came every 200 ms.
    let mut now = Timestamp::now();
    for batch in 0..records / together {
        now += SignedDuration::from_millis(200);
        for at in 0..together {
            let place = writer.journal.admit().unwrap();
            writer.counts.accepted(1);
            writer.journal.write(place, &record(batch * together + at, apps, now).view());
        }
        let begun = Clock::now();
        assert_eq!(writer.flush(Instant::now() + Duration::from_mins(1)).await, Flushed { left: 0 });
        shipping += begun.elapsed();
    }
    let shipped = writer.counts().stored;
    drop(writer);
    store.close().await;
    let bytes = file.metadata().unwrap().len();
    println!(
        "{shipped} records, {together} at a time: {:.0} a second, {} bytes each on the disk",
        shipped as f64 / shipping.as_secs_f64(),
        bytes / shipped
    );
}
