//! Runs a plugin in a real pipeline, with the real engine and without a network.
//!
//! ```ignore
//! #[tokio::test]
//! async fn a_disabled_app_is_refused_and_logged() {
//!     let gateway = testkit::pipeline(r#"filters = ["access-log", "auth"]"#).app("acme", |app| app.disabled());
//!     let run = gateway.send(testkit::chat("Qwen3-32B").key("acme")).await;
//!     assert_eq!((run.status(), run.error_code()), (403, "app_disabled"));
//!     assert_eq!(run.logged().len(), 1);
//!     assert_eq!(gateway.upstream_calls(), 0);
//! }
//! ```
//!
//! The text is what would stand in `gateway.toml`, without the outer names: `filters` in their order, then a
//! table for each that has options (`[hello]` for `[filters.hello]`). `upstreams` may list names of upstreams; there
//! is one named `vllm` otherwise. Where no filter says where a request goes, it goes to the first.
//!
//! This is for tests, so what is wrong in a test ends it with a panic that says so.

mod build;
mod drive;
mod request;
mod run;
mod services;
mod upstream;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

pub use request::{Request, chat, form, get, post};
pub use run::Run;
pub use services::AppSetup;
pub use upstream::{Upstream, json, raw, sse, unreachable};

use crate::{ModelOffer, NoAdapters, Pipeline, Record, Services};
use services::{TestApps, TestRecords};

/// A pipeline with everything around it that its filters are lent.
pub struct Gateway {
    pipeline: Pipeline,
    default_upstream: Arc<str>,
    apps: Arc<TestApps>,
    records: Arc<TestRecords>,
    upstream: Upstream,
    calls: AtomicU64,
}

/// Builds a pipeline from text, as the gateway would. Panics with every problem that the text has.
#[must_use]
pub fn pipeline(text: &str) -> Gateway {
    let apps = Arc::new(TestApps::default());
    let records = Arc::new(TestRecords::default());
    let services = Services { apps: apps.clone(), records: records.clone(), adapters: Arc::new(NoAdapters) };
    let plan = build::plan(text, &services).unwrap_or_else(|problems| panic!("{}", problems.join("\n")));
    for step in &plan.steps {
        step.filter.on_start(&services);
    }
    Gateway {
        pipeline: Pipeline { name: "test".into(), steps: plan.steps },
        default_upstream: plan.upstream,
        apps,
        records,
        upstream: sse(["Hel", "lo"]).usage(3, 2),
        calls: AtomicU64::new(0),
    }
}

/// What is wrong with a text, as `line:column: message (hint)`; nothing if it builds.
#[must_use]
pub fn problems(text: &str) -> Vec<String> {
    build::plan(text, &Services::inert()).err().unwrap_or_default()
}

impl Gateway {
    /// Adds an app of this name; [`Request::key`] with the same name shows its key.
    #[must_use]
    pub fn app(self, name: &str, setup: impl FnOnce(AppSetup) -> AppSetup) -> Self {
        self.apps.add(name, setup(AppSetup::default()));
        self
    }

    /// Says what the upstream answers; without this, a short stream with usage.
    #[must_use]
    pub fn upstream(mut self, upstream: Upstream) -> Self {
        self.upstream = upstream;
        self
    }

    /// From now on, keys of no app cannot be checked.
    #[must_use]
    pub fn store_is_down(self) -> Self {
        self.apps.go_down();
        self
    }

    /// From now on, the record writer has no room.
    #[must_use]
    pub fn log_is_full(self) -> Self {
        self.records.fill();
        self
    }

    /// Sends a request, and follows it to its end.
    pub async fn send(&self, request: Request) -> Run {
        drive::send(self, request).await
    }

    /// How often the upstream was called.
    #[must_use]
    pub fn upstream_calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }

    /// The models that the pipeline offers, in the order of its filters.
    #[must_use]
    pub fn models(&self) -> Vec<ModelOffer> {
        self.pipeline.steps.iter().flat_map(|step| step.filter.models()).collect()
    }

    /// All records of all runs, in the order of their ends.
    #[must_use]
    pub fn logged(&self) -> Vec<Record> {
        self.records.taken()
    }

    /// Records for which room was taken and that have not come: requests still open, or a leak.
    #[must_use]
    pub fn records_pending(&self) -> i64 {
        self.records.pending()
    }

    /// The records as they stood just before an upstream was called.
    #[must_use]
    pub fn records_opened(&self) -> Vec<Record> {
        self.records.opened()
    }

    /// The records as they stood whenever something was about to go out.
    #[must_use]
    pub fn records_on_the_way(&self) -> Vec<Record> {
        self.records.checkpoints()
    }

    /// For how long the filters asked to keep records, each time that one asked; `None` is for ever.
    #[must_use]
    pub fn retentions(&self) -> Vec<Option<Duration>> {
        self.records.retentions()
    }
}
