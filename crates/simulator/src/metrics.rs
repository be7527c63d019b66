//! `/metrics`: the gauges and counters of vLLM that people watch.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::UNIX_EPOCH;

use crate::shared::Shared;

const REASONS: [&str; 5] = ["stop", "length", "abort", "error", "repetition"];

/// What is counted.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    /// Requests running or waiting.
    pub(crate) active: AtomicUsize,
    pub(crate) running: AtomicUsize,
    pub(crate) waiting: AtomicUsize,
    pub(crate) rejected: AtomicUsize,
    pub(crate) prompt_tokens: AtomicUsize,
    pub(crate) prefix_hits: AtomicUsize,
    pub(crate) generation_tokens: AtomicUsize,
    /// Tokens in the KV cache now.
    pub(crate) cached_tokens: AtomicUsize,
    /// HTTP requests being answered, for `/load`.
    pub(crate) load: AtomicUsize,
    succeeded: [AtomicUsize; REASONS.len()],
    http: Mutex<BTreeMap<(String, String, u16), usize>>,
}

impl Metrics {
    /// A generation ended; without a reason it did not succeed. (An abort by the client is counted nowhere: r04.)
    pub(crate) fn ended(&self, reason: Option<&str>) {
        let name = if reason == Some("tool_calls") { Some("stop") } else { reason };
        if let Some(index) = REASONS.iter().position(|reason| Some(*reason) == name) {
            self.succeeded[index].fetch_add(1, Relaxed);
        }
    }

    /// An HTTP request was answered.
    pub(crate) fn answered(&self, handler: &str, method: &str, status: u16) {
        let key = (handler.to_owned(), method.to_owned(), status / 100);
        *self.http.lock().unwrap_or_else(PoisonError::into_inner).entry(key).or_default() += 1;
    }
}

/// The page.
pub(crate) fn page(shared: &Shared) -> String {
    let metrics = &shared.metrics;
    let model = shared.options.models.first().map_or("", String::as_str);
    let created = shared.started.duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64());
    let mut page =
        Page { text: String::new(), labels: format!("engine=\"0\",model_name=\"{model}\""), created };
    let control = *shared.control.borrow();

    page.gauge("num_requests_running", "Number of requests in model execution batches.");
    page.sample("num_requests_running", "", metrics.running.load(Relaxed));
    page.gauge("num_requests_waiting", "Number of requests waiting to be processed.");
    page.sample("num_requests_waiting", "", metrics.waiting.load(Relaxed));
    page.gauge("num_requests_waiting_by_reason", "Number of waiting requests by reason.");
    page.sample("num_requests_waiting_by_reason", ",reason=\"capacity\"", metrics.waiting.load(Relaxed));
    page.sample("num_requests_waiting_by_reason", ",reason=\"deferred\"", 0);
    page.gauge("engine_sleep_state", "Engine sleep state; awake = 0 means engine is sleeping.");
    for (state, on) in
        [("awake", !control.asleep), ("weights_offloaded", control.asleep), ("discard_all", false)]
    {
        page.sample("engine_sleep_state", &format!(",sleep_state=\"{state}\""), usize::from(on));
    }
    page.gauge("kv_cache_usage_perc", "KV-cache usage. 1 means 100 percent usage.");
    page.value("kv_cache_usage_perc", "", &format!("{:?}", kv_usage(shared)));
    page.counter("prefix_cache_queries", "Prefix cache queries, in terms of number of queried tokens.");
    page.total("prefix_cache_queries", "", metrics.prompt_tokens.load(Relaxed));
    page.counter("prefix_cache_hits", "Prefix cache hits, in terms of number of cached tokens.");
    page.total("prefix_cache_hits", "", metrics.prefix_hits.load(Relaxed));
    page.counter("prompt_tokens", "Number of prefill tokens processed.");
    page.total("prompt_tokens", "", metrics.prompt_tokens.load(Relaxed));
    page.counter("generation_tokens", "Number of generation tokens processed.");
    page.total("generation_tokens", "", metrics.generation_tokens.load(Relaxed));
    page.counter("request_success", "Count of successfully processed requests.");
    for (reason, count) in REASONS.into_iter().zip(&metrics.succeeded) {
        page.total("request_success", &format!(",finished_reason=\"{reason}\""), count.load(Relaxed));
    }
    page.counter("admission_rejections", "Number of requests rejected by admission control.");
    let rejected = metrics.rejected.load(Relaxed);
    page.labels = format!("model_name=\"{model}\"");
    page.total("admission_rejections", ",reason=\"max_num_queued_reqs\"", rejected);

    page.text
        .push_str("# HELP http_requests_total Total number of requests by method, status and handler.\n");
    page.text.push_str("# TYPE http_requests_total counter\n");
    for ((handler, method, class), count) in
        metrics.http.lock().unwrap_or_else(PoisonError::into_inner).iter()
    {
        let labels = format!("handler=\"{handler}\",method=\"{method}\",status=\"{class}xx\"");
        page.text.extend([format!("http_requests_total{{{labels}}} {count}.0\n")]);
    }
    page.text
}

/// Which part of the KV cache is in use; where nobody said how large it is, as large as every seat with a full context.
pub(crate) fn kv_usage(shared: &Shared) -> f64 {
    if let (Some(_), Some(cache)) = (shared.options.num_gpu_blocks, &shared.prefix_cache) {
        return cache.usage();
    }
    let part = |number: usize| f64::from(u32::try_from(number).unwrap_or(u32::MAX));
    let room = part(shared.options.max_num_seqs) * part(shared.options.max_model_len);
    (part(shared.metrics.cached_tokens.load(Relaxed)) / room.max(1.0)).min(1.0)
}

struct Page {
    text: String,
    labels: String,
    created: f64,
}

impl Page {
    fn gauge(&mut self, name: &str, help: &str) {
        self.text.extend([format!("# HELP vllm:{name} {help}\n# TYPE vllm:{name} gauge\n")]);
    }

    fn counter(&mut self, name: &str, help: &str) {
        self.text.extend([format!("# HELP vllm:{name}_total {help}\n# TYPE vllm:{name}_total counter\n")]);
    }

    fn total(&mut self, name: &str, more: &str, count: usize) {
        self.sample(&format!("{name}_total"), more, count);
        let created = format!("{:e}", self.created);
        self.value(&format!("{name}_created"), more, &created);
    }

    fn sample(&mut self, name: &str, more: &str, count: usize) {
        self.value(name, more, &format!("{count}.0"));
    }

    fn value(&mut self, name: &str, more: &str, value: &str) {
        let labels = format!("{}{more}", self.labels);
        self.text.extend([format!("vllm:{name}{{{labels}}} {value}\n")]);
    }
}
