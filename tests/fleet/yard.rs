//! A gateway with several simulated servers behind it.

use std::{
    ops::Deref,
    time::{Duration, Instant},
};

use reqwest::Response;
use serde_json::{Value, json};
use vllm_gateway_simulator::{Options, Simulator};

use crate::support::{PATIENCE, PIPELINE, Setup, Stage, fast};

/// A stage whose upstream `main` has these servers.
pub(crate) struct Yard {
    pub(crate) stage: Stage,
    pub(crate) vllms: Vec<Simulator>,
}

impl Deref for Yard {
    type Target = Stage;

    fn deref(&self) -> &Stage {
        &self.stage
    }
}

/// So many quick servers, with these options of their upstream.
pub(crate) async fn yard(count: usize, upstream: &str) -> Yard {
    yard_of((0..count).map(|_| fast()).collect(), upstream).await
}

/// These servers, with these options of their upstream.
pub(crate) async fn yard_of(servers: Vec<Options>, upstream: &str) -> Yard {
    let mut vllms = Vec::new();
    for server in servers {
        vllms.push(Simulator::start(server).await.unwrap());
    }
    let rest = PIPELINE.replace("endpoints = [{ url = \"{vllm}\" }]", &endpoints(&vllms)) + upstream + "\n";
    let stage = Setup::rest(&rest).start().await;
    Yard { stage, vllms }
}

/// These servers as `endpoints`.
pub(crate) fn endpoints(vllms: &[Simulator]) -> String {
    let each = vllms.iter().map(|vllm| format!("{{ url = \"{}\" }}", vllm.url()));
    format!("endpoints = [{}]", each.collect::<Vec<_>>().join(", "))
}

impl Yard {
    /// How many requests each server has seen.
    pub(crate) fn shares(&self) -> Vec<usize> {
        self.vllms
            .iter()
            .map(|vllm| vllm.requests().iter().filter(|seen| seen.method == "POST").count())
            .collect()
    }

    /// What the admin side says of the upstream.
    pub(crate) async fn told(&self) -> Value {
        self.admin_get("/api/upstreams").await["items"][0].clone()
    }

    /// What the admin side says that each endpoint is in.
    pub(crate) async fn states(&self) -> Vec<String> {
        let told = self.told().await;
        told["endpoints"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| one["health"].as_str().unwrap().to_owned())
            .collect()
    }

    /// Waits until this is what the endpoints are in.
    pub(crate) async fn are(&self, wanted: &[&str]) {
        let begun = Instant::now();
        loop {
            let states = self.states().await;
            if states == wanted {
                return;
            }
            assert!(begun.elapsed() < PATIENCE, "{states:?}, not {wanted:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Waits until so many requests stand in the line.
    pub(crate) async fn waiting(&self, count: u64) {
        let begun = Instant::now();
        while self.told().await["waiting"] != count {
            assert!(begun.elapsed() < PATIENCE, "{}", self.told().await);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Sends so many requests, one after another, which must all be served.
    pub(crate) async fn served(&self, count: usize) {
        for n in 0..count {
            let answer = self.chat(json!({})).await;
            assert_eq!(answer.status(), 200, "{n}: {}", answer.text().await.unwrap());
            answer.bytes().await.unwrap();
        }
    }

    /// The record of the request that was answered so.
    pub(crate) async fn record_of(&self, answer: &Response) -> Value {
        self.record(answer.headers()["x-request-id"].to_str().unwrap()).await
    }

    /// A sample of the metrics.
    pub(crate) async fn metric(&self, sample: &str) -> Option<String> {
        let page = self.admin(reqwest::Method::GET, "/metrics").send().await.unwrap().text().await.unwrap();
        let line = page.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
        line.map(str::to_owned)
    }
}
