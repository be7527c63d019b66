//! Metrics for Prometheus.
//!
//! A request finds its row once and then only adds to atomics: no lock is taken, and nothing is hashed. The page is
//! put together when it is asked for.

mod instruments;
mod measure;
mod page;
mod process;
mod series;
mod table;
mod tally;

use std::sync::{Arc, LazyLock};

use vllm_gateway_fleet::State;
use vllm_gateway_sdk::{Meter, Outcome};

use crate::upstream::{Endpoint, Upstream, Upstreams};
use instruments::{Count, Counter, Gauge, Histogram, Level};
use page::{Family, Page};
use series::{Attempts, Detours, FilterSeries, ModelSeries, PipelineSeries, Series};
use table::Table;
use tally::Tally;

pub(crate) use measure::Measure;

/// The most models that are named. Models are named once they are routed, so this bounds what a routing filter
/// does that takes any name; what comes after them counts as [`OTHER`].
const MOST_MODELS: usize = 1_000;
/// The model label of requests for models beyond [`MOST_MODELS`].
const OTHER: &str = "(other)";

/// All metrics of the process.
#[derive(Default)]
pub(crate) struct Metrics {
    series: Table<Series>,
    pipelines: Table<PipelineSeries>,
    models: Table<ModelSeries>,
    attempts: Table<Attempts>,
    detours: Table<Detours>,
    filters: Table<FilterSeries>,
    reloads: Reloads,
    admin: Tally<u16>,
    shed: Tally<(&'static str, &'static str)>,
}

#[derive(Default)]
struct Reloads {
    ok: Counter,
    failed: Counter,
}

/// What others count, as it stands when the page is asked for.
pub(crate) struct Snapshot<'a> {
    /// Records: accepted = stored + quarantined + pending.
    pub(crate) accepted: u64,
    pub(crate) stored: u64,
    pub(crate) quarantined: u64,
    pub(crate) pending: u64,
    /// Bytes of the journal on the disk, and the most there may be.
    pub(crate) journal: (u64, u64),
    pub(crate) upstreams: &'a Upstreams,
}

static METRICS: LazyLock<Metrics> = LazyLock::new(Metrics::default);

/// The metrics of this process.
pub(crate) fn metrics() -> &'static Metrics {
    &METRICS
}

/// Counts an attempt; `code` 0 means that there was no answer.
pub(crate) fn attempt(upstream: &Upstream, endpoint: &Endpoint, code: u16) {
    let (upstream, endpoint) = (&*upstream.name, &*endpoint.url);
    let make = || Attempts::new(upstream, endpoint);
    metrics().attempts.get(upstream, endpoint, make).codes.of(code).inc();
}

/// What endpoints do not take at once.
impl Metrics {
    /// An endpoint was ejected.
    pub(crate) fn ejected(&self, upstream: &str, endpoint: &str) {
        self.attempts.get(upstream, endpoint, || Attempts::new(upstream, endpoint)).ejections.inc();
    }

    /// A request was tried again for this reason, or was refused to be.
    pub(crate) fn retried(&self, upstream: &str, reason: &'static str) {
        self.detours(upstream).retries.of(reason).inc();
    }

    /// A request that was meant for this upstream went to a fallback.
    pub(crate) fn fell_back(&self, upstream: &str) {
        self.detours(upstream).fallbacks.inc();
    }

    /// The line let a request go that had not been served.
    pub(crate) fn turned_away(&self, upstream: &str, reason: &'static str) {
        self.detours(upstream).turned_away.of(reason).inc();
    }

    /// A copy was sent to this mirror, or not.
    pub(crate) fn mirrored(&self, upstream: &str, result: &'static str) {
        self.detours(upstream).mirrored.of(result).inc();
    }

    fn detours(&self, upstream: &str) -> &'static Detours {
        self.detours.get(upstream, "", || Detours::new(upstream))
    }
}

impl Metrics {
    /// A reload ended well, or not.
    pub(crate) fn reloaded(&self, ok: bool) {
        if ok { &self.reloads.ok } else { &self.reloads.failed }.inc();
    }

    /// An admin call was answered with this status.
    pub(crate) fn admin_call(&self, status: u16) {
        self.admin.of(status).inc();
    }

    /// This listener let a connection go, because there was no room.
    pub(crate) fn connection_shed(&self, listener: &'static str, reason: &'static str) {
        self.shed.of((listener, reason)).inc();
    }

    /// A request was answered with this status before it reached a pipeline.
    pub(crate) fn refused(&self, status: u16) {
        self.series("", "").requests.of((Outcome::Replied, status)).inc();
    }

    /// What the filter of this name reports its times to.
    pub(crate) fn filter(&self, name: &str) -> Arc<dyn Meter> {
        Arc::new(self.filters.get(name, "", || FilterSeries::new(name)))
    }

    /// What requests of this pipeline for this model count for.
    fn series(&self, pipeline: &str, model: &str) -> &'static Series {
        self.series.find(pipeline, model).unwrap_or_else(|| {
            let known = self.models.find(model, "").is_some() || self.models.rows().len() < MOST_MODELS;
            let model = if known { model } else { OTHER };
            self.series.get(pipeline, model, || {
                let pipeline = self.pipelines.get(pipeline, "", || PipelineSeries::new(pipeline));
                Series::new(pipeline, self.models.get(model, "", || ModelSeries::new(model)))
            })
        })
    }

    /// Everything, as text.
    pub(crate) fn render(&self, snapshot: &Snapshot<'_>) -> String {
        let mut page = Page::default();
        self.put_requests(&mut page);
        self.put_models(&mut page);
        self.put_upstreams(&mut page, snapshot.upstreams);
        self.put_gateway(&mut page, snapshot);
        page.extend(process::families());
        page.text()
    }

    fn put_requests(&self, page: &mut Page) {
        let rows = self.series.rows();
        let mut requests = page.family("requests_total", "Requests that ended.");
        for row in rows.iter() {
            for ((outcome, status), counter) in row.requests.iter() {
                let labels = [
                    ("pipeline", &*row.pipeline.name),
                    ("model", &*row.model.name),
                    ("outcome", outcome.as_str()),
                    ("status", &status.to_string()),
                ];
                requests.put(&labels, counter);
            }
        }
        drop(requests);
        let mut duration = page.family("request_duration_seconds", "From the request's head to its end.");
        for row in rows.iter().filter(|row| !row.duration.is_empty()) {
            let labels = [("pipeline", &*row.pipeline.name), ("model", &*row.model.name)];
            duration.put(&labels, &row.duration);
        }
        drop(duration);
        let mut overhead: Family<'_, Histogram> = page.family(
            "overhead_seconds",
            "The gateway's own time before the response's head: without the client's body and the upstream.",
        );
        for row in self.pipelines.rows().iter().filter(|row| !row.overhead.is_empty()) {
            overhead.put(&[("pipeline", &row.name)], &row.overhead);
        }
        drop(overhead);
        let help = "Time in a filter on the request side, what it waited for included.";
        let mut filters = page.family("filter_duration_seconds", help);
        for row in self.filters.rows().iter() {
            filters.put(&[("filter", &row.name)], &row.duration);
        }
    }

    fn put_models(&self, page: &mut Page) {
        // Requests that were refused before they were routed have no model.
        let rows = self.models.rows();
        let rows = || rows.iter().filter(|row| !row.name.is_empty());
        let mut in_flight: Family<'_, Gauge> =
            page.family("inflight_requests", "Requests at an upstream now.");
        rows().for_each(|row| in_flight.put(&[("model", &row.name)], &row.in_flight));
        drop(in_flight);
        let help = "From a streaming request's head to the first byte of the answer's body.";
        let mut first = page.family("time_to_first_token_seconds", help);
        rows().for_each(|row| first.put(&[("model", &row.name)], &row.first_token));
        drop(first);
        let help = "Between tokens, on the average of one stream.";
        let mut per_token = page.family("time_per_output_token_seconds", help);
        rows().for_each(|row| per_token.put(&[("model", &row.name)], &row.per_token));
        drop(per_token);
        let mut tokens: Family<'_, Counter> = page.family("tokens_total", "Tokens counted.");
        for row in rows() {
            tokens.put(&[("model", &row.name), ("type", "prompt")], &row.prompt_tokens);
            tokens.put(&[("model", &row.name), ("type", "completion")], &row.completion_tokens);
        }
    }

    fn put_upstreams(&self, page: &mut Page, upstreams: &Upstreams) {
        let help = "Attempts by the status of the answer; 0 is none.";
        let mut attempts = page.family("upstream_requests_total", help);
        for row in self.attempts.rows().iter() {
            for (code, counter) in row.codes.iter() {
                let labels =
                    [("upstream", &*row.upstream), ("endpoint", &*row.endpoint), ("code", &code.to_string())];
                attempts.put(&labels, counter);
            }
        }
        drop(attempts);
        let help = "How often requests that failed there made it be left alone for a while.";
        let mut ejections = page.family("endpoint_ejections_total", help);
        for row in self.attempts.rows().iter() {
            ejections.put(&[("upstream", &row.upstream), ("endpoint", &row.endpoint)], &row.ejections);
        }
        drop(ejections);
        put_endpoints(page, upstreams);
        self.put_detours(page);
    }

    fn put_detours(&self, page: &mut Page) {
        let rows = self.detours.rows();
        let help = "Requests that were tried again, by the reason; `refused` are those for which there was no leave.";
        let mut retries = page.family("retries_total", help);
        for row in rows.iter() {
            for (reason, counter) in row.retries.iter() {
                retries.put(&[("upstream", &row.upstream), ("reason", reason)], counter);
            }
        }
        drop(retries);
        let mut fallbacks =
            page.family("fallbacks_total", "Requests that went to a fallback of this upstream.");
        rows.iter().for_each(|row| fallbacks.put(&[("upstream", &row.upstream)], &row.fallbacks));
        drop(fallbacks);
        let help = "Requests that waited for an endpoint in vain, or found no place to wait, by the reason.";
        let mut away = page.family("queue_turned_away_total", help);
        for row in rows.iter() {
            for (reason, counter) in row.turned_away.iter() {
                away.put(&[("upstream", &row.upstream), ("reason", reason)], counter);
            }
        }
        drop(away);
        let help =
            "Copies of requests for which this upstream is the mirror: sent, or skipped for want of room.";
        let mut mirrored = page.family("mirrored_requests_total", help);
        for row in rows.iter() {
            for (result, counter) in row.mirrored.iter() {
                mirrored.put(&[("upstream", &row.upstream), ("result", result)], counter);
            }
        }
    }

    fn put_gateway(&self, page: &mut Page, snapshot: &Snapshot<'_>) {
        let mut records = page.family("access_log_records_total", "Records by what became of them.");
        records.put(&[("state", "accepted")], &Count(snapshot.accepted));
        records.put(&[("state", "stored")], &Count(snapshot.stored));
        records.put(&[("state", "quarantined")], &Count(snapshot.quarantined));
        drop(records);
        let help = "Records that the store has not acknowledged yet.";
        #[allow(clippy::cast_precision_loss)]
        {
            page.family("access_log_records_pending", help).put(&[], &Level(snapshot.pending as f64));
            let (bytes, most) = snapshot.journal;
            let help = "Bytes that the journal of records takes on the disk.";
            page.family("journal_bytes", help).put(&[], &Level(bytes as f64));
            let help = "The most bytes that it may take: beyond it, requests are refused.";
            page.family("journal_max_bytes", help).put(&[], &Level(most as f64));
        }
        let mut reloads = page.family("config_reloads_total", "Reloads of the configuration by result.");
        reloads.put(&[("result", "ok")], &self.reloads.ok);
        reloads.put(&[("result", "failed")], &self.reloads.failed);
        drop(reloads);
        let mut admin = page.family("admin_requests_total", "Calls of the admin REST by status.");
        for (status, counter) in self.admin.iter() {
            admin.put(&[("status", &status.to_string())], counter);
        }
        drop(admin);
        let help = "Connections that were let go because there was no room, by the limit that was reached.";
        let mut shed = page.family("connections_shed_total", help);
        for ((listener, reason), counter) in self.shed.iter() {
            shed.put(&[("listener", listener), ("reason", reason)], counter);
        }
        drop(shed);
        let labels = [("version", env!("CARGO_PKG_VERSION")), ("commit", crate::COMMIT)];
        page.family("build_info", "Always 1; what is running.").put(&labels, &Level(1.0));
    }
}

/// What upstreams and their endpoints are in now.
#[allow(clippy::cast_precision_loss)]
fn put_endpoints(page: &mut Page, upstreams: &Upstreams) {
    let endpoints = || {
        upstreams.values().flat_map(|up| up.states().map(move |(endpoint, _, state)| (up, endpoint, state)))
    };
    let mut up = page.family("endpoint_up", "Whether requests are sent there.");
    for (upstream, endpoint, state) in endpoints() {
        let is_up = matches!(state, State::Up | State::Returning | State::Full);
        let labels = [("upstream", &*upstream.name), ("endpoint", &*endpoint.url)];
        up.put(&labels, &Level(if is_up { 1.0 } else { 0.0 }));
    }
    drop(up);
    let mut running = page.family("endpoint_inflight_requests", "Requests that run at an endpoint now.");
    for (upstream, endpoint, _) in endpoints() {
        let labels = [("upstream", &*upstream.name), ("endpoint", &*endpoint.url)];
        running.put(&labels, &Level(f64::from(endpoint.server.in_flight())));
    }
    drop(running);
    let mut waiting = page.family("queue_waiting_requests", "Requests that wait for an endpoint now.");
    for upstream in upstreams.values() {
        waiting.put(&[("upstream", &upstream.name)], &Level(upstream.line.waiting() as f64));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nothing() -> Snapshot<'static> {
        static NONE: LazyLock<Upstreams> = LazyLock::new(Upstreams::default);
        Snapshot { accepted: 0, stored: 0, quarantined: 0, pending: 0, journal: (0, 0), upstreams: &NONE }
    }

    #[test]
    fn a_filter_that_routes_any_name_does_not_grow_the_page_without_bound() {
        let all = Metrics::default();
        for n in 0..10_000 {
            all.series("default", &format!("model-{n}")).duration.observe(std::time::Duration::ZERO);
        }
        assert_eq!(all.models.rows().len(), MOST_MODELS + 1);
        assert_eq!(all.series.rows().len(), MOST_MODELS + 1);
        let page = all.render(&nothing());
        let count = |model: &str| {
            let sample = format!(
                "vllm_gateway_request_duration_seconds_count{{pipeline=\"default\",model=\"{model}\"}} "
            );
            page.lines().find_map(|line| line.strip_prefix(&sample)).map(str::to_owned)
        };
        assert_eq!(count("model-999").as_deref(), Some("1"));
        assert_eq!(count("model-1000"), None);
        assert_eq!(count(OTHER).as_deref(), Some("9000"));
    }

    #[test]
    fn the_bucket_of_all_is_written_as_prometheus_reads_it() {
        let all = Metrics::default();
        all.series("default", "one").duration.observe(std::time::Duration::from_hours(9));
        let page = all.render(&nothing());
        let bucket = |bound: &str| {
            let begin = "vllm_gateway_request_duration_seconds_bucket{pipeline=\"default\",model=\"one\"";
            page.contains(&format!("{begin},le=\"{bound}\"}} 1\n"))
        };
        assert!(bucket("+Inf") && !bucket("inf"), "{page}");
    }

    #[test]
    fn a_label_with_quotes_stays_one_label() {
        let all = Metrics::default();
        all.series("default", "a\"} 1\nb\\").requests.of((Outcome::Finished, 200)).inc();
        let page = all.render(&nothing());
        let sample = "vllm_gateway_requests_total{pipeline=\"default\",model=\"a\\\"} 1\\nb\\\\\",outcome=\"finished\",status=\"200\"} 1";
        assert!(page.lines().any(|line| line == sample), "{page}");
    }
}
