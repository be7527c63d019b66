//! `--requests N`: whether memory grows with the number of requests.

use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use crate::{load, process::Stage};

/// Clients that ask at the same time, each on a connection that it keeps.
const CLIENTS: usize = 64;

/// The gateway's memory after so many requests.
#[derive(Clone, Copy)]
struct Sample {
    requests: u64,
    resident: u64,
    anonymous: u64,
}

/// Sends so many requests and looks at the gateway's memory after each tenth of them.
pub(crate) async fn measure(program: &str, requests: u64) {
    let stage = Stage::start(program, &[], "0s").await;
    let (done, begun) = (Arc::new(AtomicU64::new(0)), Instant::now());
    let step = (requests / 10).max(1);
    let mut samples = Vec::new();
    let mut sending = pin!(load::mixed(stage.data, &stage.key, CLIENTS, requests, &done));
    loop {
        let ended = tokio::time::timeout(Duration::from_millis(20), &mut sending).await.is_ok();
        let requests = done.load(Ordering::Relaxed);
        if requests / step > samples.len() as u64 {
            samples.push(sample(&stage, requests, begun).await);
        }
        if ended {
            break;
        }
    }
    // The first fifth fills pools and caches, once.
    let per_million = |of: fn(&Sample) -> u64| {
        let points = samples.iter().skip(2).map(|sample| (sample.requests as f64, of(sample) as f64));
        slope(&points.collect::<Vec<_>>()) * 1e6
    };
    println!(
        "slope after the first fifth: {:+.0} KiB resident, {:+.0} KiB anonymous per million requests",
        per_million(|sample| sample.resident),
        per_million(|sample| sample.anonymous)
    );
    while stage.records_waiting().await > 0 {
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    // Journal files that nothing is in are removed within seconds.
    tokio::time::sleep(Duration::from_secs(5)).await;
    println!("when the store has every record:");
    sample(&stage, requests, begun).await;
}

async fn sample(stage: &Stage, requests: u64, begun: Instant) -> Sample {
    let (resident, anonymous) = stage.gateway.memory();
    println!(
        "{requests:>9} requests {:>5} s {resident:>8} KiB resident {anonymous:>8} KiB anonymous {:>8} records wait in the journal",
        begun.elapsed().as_secs(),
        stage.records_waiting().await
    );
    Sample { requests, resident, anonymous }
}

/// The least-squares slope through these points.
pub(crate) fn slope(points: &[(f64, f64)]) -> f64 {
    let count = points.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count;
    let (x, y) = (mean(|point| point.0), mean(|point| point.1));
    let rise: f64 = points.iter().map(|point| (point.0 - x) * (point.1 - y)).sum();
    let run: f64 = points.iter().map(|point| (point.0 - x).powi(2)).sum();
    rise / run
}
