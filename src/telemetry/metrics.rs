//! Metrics for Prometheus.

use std::{
    sync::{Arc, LazyLock},
    time::Duration,
};

use prometheus::{
    Encoder, HistogramOpts, HistogramVec, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder,
};
use vllm_gateway_sdk::{Error, Facts, Outcome, ResponseFilter};

use crate::{
    gateway::{Drain, Running},
    upstream::{Endpoint, Upstream},
};

/// All metrics of the process.
pub(crate) struct Metrics {
    registry: Registry,
    requests: IntCounterVec,
    duration: HistogramVec,
    overhead: HistogramVec,
    first_token: HistogramVec,
    per_token: HistogramVec,
    tokens: IntCounterVec,
    in_flight: IntGaugeVec,
    attempts: IntCounterVec,
    up: IntGaugeVec,
    reloads: IntCounterVec,
    records: IntGaugeVec,
    records_pending: IntGauge,
    admin: IntCounterVec,
}

static METRICS: LazyLock<Metrics> = LazyLock::new(Metrics::new);

/// The metrics of this process.
pub(crate) fn metrics() -> &'static Metrics {
    &METRICS
}

const SECONDS: [f64; 14] =
    [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0, 120.0, 600.0];
const OVERHEAD: [f64; 10] = [0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.05, 0.25];

impl Metrics {
    fn new() -> Self {
        let registry = Registry::new();
        let counter = |name: &str, help: &str, labels: &[&str]| {
            let metric = IntCounterVec::new(Opts::new(format!("vllm_gateway_{name}"), help), labels)
                .expect("a valid name");
            registry.register(Box::new(metric.clone())).expect("registered once");
            metric
        };
        let gauge = |name: &str, help: &str, labels: &[&str]| {
            let metric = IntGaugeVec::new(Opts::new(format!("vllm_gateway_{name}"), help), labels)
                .expect("a valid name");
            registry.register(Box::new(metric.clone())).expect("registered once");
            metric
        };
        let histogram = |name: &str, help: &str, labels: &[&str], buckets: &[f64]| {
            let opts = HistogramOpts::new(format!("vllm_gateway_{name}"), help).buckets(buckets.to_vec());
            let metric = HistogramVec::new(opts, labels).expect("a valid name");
            registry.register(Box::new(metric.clone())).expect("registered once");
            metric
        };
        let pending =
            gauge("access_log_records_pending", "Records that the store has not acknowledged yet.", &[]);
        let built = gauge("build_info", "Always 1; what is running.", &["version", "commit"]);
        built.with_label_values(&[env!("CARGO_PKG_VERSION"), crate::COMMIT]).set(1);
        #[cfg(target_os = "linux")]
        let _ = registry.register(Box::new(prometheus::process_collector::ProcessCollector::for_self()));
        Self {
            requests: counter(
                "requests_total",
                "Requests that ended.",
                &["pipeline", "model", "outcome", "status"],
            ),
            duration: histogram(
                "request_duration_seconds",
                "From head to end.",
                &["pipeline", "model"],
                &SECONDS,
            ),
            overhead: histogram(
                "overhead_seconds",
                "The gateway's own time before the response's head.",
                &["pipeline"],
                &OVERHEAD,
            ),
            first_token: histogram(
                "time_to_first_token_seconds",
                "From the request's head to the first body byte.",
                &["model"],
                &SECONDS,
            ),
            per_token: histogram(
                "time_per_output_token_seconds",
                "Between tokens, on the average of one stream.",
                &["model"],
                &SECONDS,
            ),
            tokens: counter("tokens_total", "Tokens counted.", &["model", "type"]),
            in_flight: gauge("inflight_requests", "Requests at an upstream now.", &["model"]),
            attempts: counter(
                "upstream_requests_total",
                "Attempts by status; 0 is none.",
                &["upstream", "endpoint", "code"],
            ),
            up: gauge("endpoint_up", "Whether the latest attempt reached it.", &["upstream", "endpoint"]),
            reloads: counter("config_reloads_total", "Reloads by result.", &["result"]),
            records: gauge("access_log_records_total", "Records by what became of them.", &["state"]),
            records_pending: pending.with_label_values(&[] as &[&str]),
            admin: counter("admin_requests_total", "Calls of the admin REST by status.", &["status"]),
            registry,
        }
    }

    /// A reload ended like this.
    pub(crate) fn reloaded(&self, result: &str) {
        self.reloads.with_label_values(&[result]).inc();
    }

    /// An admin call was answered with this status.
    pub(crate) fn admin_call(&self, status: u16) {
        self.admin.with_label_values(&[&status.to_string()]).inc();
    }

    /// How the record writer stands: accepted = stored + quarantined + pending.
    pub(crate) fn set_records(&self, accepted: u64, stored: u64, quarantined: u64, pending: u64) {
        let whole = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        for (state, count) in [("accepted", accepted), ("stored", stored), ("quarantined", quarantined)] {
            self.records.with_label_values(&[state]).set(whole(count));
        }
        self.records_pending.set(whole(pending));
    }

    /// Whether the latest attempt reached these endpoints.
    pub(crate) fn set_up<'a>(&self, upstreams: impl Iterator<Item = &'a Arc<Upstream>>) {
        self.up.reset();
        for upstream in upstreams {
            for endpoint in &upstream.endpoints {
                self.up
                    .with_label_values(&[&*upstream.name, &*endpoint.url])
                    .set(i64::from(endpoint.is_reachable()));
            }
        }
    }

    /// Everything, as text.
    pub(crate) fn render(&self) -> String {
        let mut text = Vec::new();
        if let Err(error) = TextEncoder::new().encode(&self.registry.gather(), &mut text) {
            tracing::error!(%error, "cannot write the metrics");
        }
        String::from_utf8(text).unwrap_or_default()
    }
}

/// Counts an attempt; `code` 0 means that there was no answer.
pub(crate) fn attempt(upstream: &Upstream, endpoint: &Endpoint, code: u16) {
    metrics().attempts.with_label_values(&[&*upstream.name, &*endpoint.url, &code.to_string()]).inc();
}

/// Measures one exchange. It stands outside of all filters and is told of the end last.
pub(crate) struct Measure {
    model: Option<IntGauge>,
    _running: Running,
}

impl Measure {
    pub(crate) fn new(drain: &Arc<Drain>) -> Self {
        Self { model: None, _running: drain.enter() }
    }
}

impl ResponseFilter for Measure {
    fn before_upstream(&mut self, facts: &Facts) -> Result<(), Error> {
        let gauge = metrics().in_flight.with_label_values(&[facts.model().unwrap_or_default()]);
        gauge.inc();
        self.model = Some(gauge);
        Ok(())
    }

    fn on_complete(self: Box<Self>, facts: &Facts, outcome: Outcome) {
        if let Some(gauge) = &self.model {
            gauge.dec();
        }
        let all = metrics();
        let pipeline = facts.pipeline().unwrap_or_default();
        // Only models that were routed are named: what a client makes up must not grow the metrics.
        let model = facts.target().and(facts.model()).unwrap_or_default();
        let status = facts.status().map_or(499, |status| status.as_u16());
        all.requests.with_label_values(&[pipeline, model, outcome.as_str(), &status.to_string()]).inc();
        let elapsed = facts.elapsed();
        all.duration.with_label_values(&[pipeline, model]).observe(elapsed.as_secs_f64());
        if facts.target().is_none() {
            return;
        }
        let usage = facts.tokens().usage;
        for (kind, count) in [("prompt", usage.prompt), ("completion", usage.completion)] {
            all.tokens.with_label_values(&[model, kind]).inc_by(count.unwrap_or_default());
        }
        let Some(first) = facts.time_to_first_byte() else { return };
        let own = first.saturating_sub(facts.upstream_wait());
        all.overhead.with_label_values(&[pipeline]).observe(own.as_secs_f64());
        if facts.stream() {
            all.first_token.with_label_values(&[model]).observe(first.as_secs_f64());
            if let Some(gap) = per_token(elapsed.saturating_sub(first), usage.completion) {
                all.per_token.with_label_values(&[model]).observe(gap.as_secs_f64());
            }
        }
    }
}

fn per_token(streaming: Duration, tokens: Option<u64>) -> Option<Duration> {
    let gaps = u32::try_from(tokens?.checked_sub(1)?).ok()?;
    streaming.checked_div(gaps)
}
