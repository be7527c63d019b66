//! What is counted of pipelines, models, endpoints and filters: one row each, found once for a request and then held.

use std::time::Duration;

use vllm_gateway_sdk::{Meter, Outcome};

use super::{
    instruments::{Counter, Gauge, Histogram},
    table::Named,
    tally::Tally,
};

/// Bounds for what a model takes, in microseconds.
const GENERATION: &[u64] = &[
    1_000,
    5_000,
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    10_000_000,
    30_000_000,
    120_000_000,
    600_000_000,
];
/// Bounds for what the gateway itself takes, in microseconds.
const OWN: &[u64] = &[50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 50_000, 250_000];
/// Bounds for what a filter takes: from looking something up to waiting for a large body.
const FILTER: &[u64] = &[1, 5, 25, 100, 500, 2_500, 10_000, 100_000, 1_000_000, 10_000_000];

/// Requests of one pipeline for one model.
pub(super) struct Series {
    pub(super) pipeline: &'static PipelineSeries,
    pub(super) model: &'static ModelSeries,
    pub(super) requests: Tally<(Outcome, u16)>,
    pub(super) duration: Histogram,
}

impl Series {
    pub(super) fn new(pipeline: &'static PipelineSeries, model: &'static ModelSeries) -> Self {
        Self { pipeline, model, requests: Tally::default(), duration: Histogram::new(GENERATION) }
    }
}

impl Named for Series {
    fn name(&self) -> (&str, &str) {
        (&self.pipeline.name, &self.model.name)
    }
}

/// One pipeline.
pub(super) struct PipelineSeries {
    pub(super) name: Box<str>,
    pub(super) overhead: Histogram,
}

impl PipelineSeries {
    pub(super) fn new(name: &str) -> Self {
        Self { name: name.into(), overhead: Histogram::new(OWN) }
    }
}

impl Named for PipelineSeries {
    fn name(&self) -> (&str, &str) {
        (&self.name, "")
    }
}

/// One model, in whatever pipeline.
pub(super) struct ModelSeries {
    pub(super) name: Box<str>,
    pub(super) in_flight: Gauge,
    pub(super) first_token: Histogram,
    pub(super) per_token: Histogram,
    pub(super) prompt_tokens: Counter,
    pub(super) completion_tokens: Counter,
}

impl ModelSeries {
    pub(super) fn new(name: &str) -> Self {
        Self {
            name: name.into(),
            in_flight: Gauge::default(),
            first_token: Histogram::new(GENERATION),
            per_token: Histogram::new(GENERATION),
            prompt_tokens: Counter::default(),
            completion_tokens: Counter::default(),
        }
    }
}

impl Named for ModelSeries {
    fn name(&self) -> (&str, &str) {
        (&self.name, "")
    }
}

/// Attempts at one endpoint of one upstream, by status.
pub(super) struct Attempts {
    pub(super) upstream: Box<str>,
    pub(super) endpoint: Box<str>,
    pub(super) codes: Tally<u16>,
    pub(super) ejections: Counter,
}

impl Attempts {
    pub(super) fn new(upstream: &str, endpoint: &str) -> Self {
        Self {
            upstream: upstream.into(),
            endpoint: endpoint.into(),
            codes: Tally::default(),
            ejections: Counter::default(),
        }
    }
}

impl Named for Attempts {
    fn name(&self) -> (&str, &str) {
        (&self.upstream, &self.endpoint)
    }
}

/// What became of requests of one upstream that its endpoints did not take at once.
pub(super) struct Detours {
    pub(super) upstream: Box<str>,
    pub(super) retries: Tally<&'static str>,
    pub(super) fallbacks: Counter,
    pub(super) turned_away: Tally<&'static str>,
    /// Copies for which it is the mirror.
    pub(super) mirrored: Tally<&'static str>,
}

impl Detours {
    pub(super) fn new(upstream: &str) -> Self {
        Self {
            upstream: upstream.into(),
            retries: Tally::default(),
            fallbacks: Counter::default(),
            turned_away: Tally::default(),
            mirrored: Tally::default(),
        }
    }
}

impl Named for Detours {
    fn name(&self) -> (&str, &str) {
        (&self.upstream, "")
    }
}

/// One filter, by the name of its instance.
pub(super) struct FilterSeries {
    pub(super) name: Box<str>,
    pub(super) duration: Histogram,
}

impl FilterSeries {
    pub(super) fn new(name: &str) -> Self {
        Self { name: name.into(), duration: Histogram::new(FILTER) }
    }
}

impl Named for FilterSeries {
    fn name(&self) -> (&str, &str) {
        (&self.name, "")
    }
}

impl Meter for &'static FilterSeries {
    fn took(&self, time: Duration) {
        self.duration.observe(time);
    }
}
