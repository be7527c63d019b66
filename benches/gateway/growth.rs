//! `--requests N`: whether memory grows with the number of requests.

use std::{
    sync::{Arc, Mutex},
    time::Instant,
};

use crate::{load, process::Stage};

/// Clients that ask at the same time, each on a connection that it keeps.
const CLIENTS: usize = 64;

/// Sends so many requests and looks at the gateway's memory after each tenth of them.
pub(crate) async fn measure(program: &str, requests: u64) {
    let stage = Arc::new(Stage::start(program, &[], "0s").await);
    let samples = Arc::new(Mutex::new(Vec::new()));
    let (step, begun) = ((requests / 10).max(1), Instant::now());
    let note = {
        let (stage, samples) = (Arc::clone(&stage), Arc::clone(&samples));
        move |done: u64| {
            if done.is_multiple_of(step) {
                let (resident, anonymous) = stage.gateway.memory();
                println!(
                    "{done:>9} requests {:>5} s {resident:>8} KiB resident {anonymous:>8} KiB anonymous",
                    begun.elapsed().as_secs()
                );
                samples.lock().unwrap().push((done as f64, resident as f64, anonymous as f64));
            }
        }
    };
    load::mixed(stage.data, &stage.key, CLIENTS, requests, note).await;
    let samples = samples.lock().unwrap();
    // The first fifth fills pools and caches, once.
    let steady: Vec<_> = samples.iter().copied().skip(2).collect();
    let per_million = |of: fn(&(f64, f64, f64)) -> f64| {
        slope(&steady.iter().map(|sample| (sample.0, of(sample))).collect::<Vec<_>>()) * 1e6
    };
    println!(
        "slope after the first fifth: {:+.0} KiB resident, {:+.0} KiB anonymous per million requests",
        per_million(|sample| sample.1),
        per_million(|sample| sample.2)
    );
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
