//! What the admin REST may see and do of the running gateway.

use std::sync::Arc;

use salvo::async_trait;
use serde_json::{Value, json};
use vllm_gateway_admin::{AdminCall, ChangeRefused, Control, EndpointChange, ReloadDone};
use vllm_gateway_fleet::Moment;
use vllm_gateway_journal::RecordWriter;
use vllm_gateway_sdk::plugins;

use crate::{
    gateway::{Current, Membership, Reloader},
    telemetry::metrics::{Snapshot, metrics},
    upstream::Upstream,
};

/// The admin REST's hold on the gateway.
pub(crate) struct GatewayControl {
    current: Arc<Current>,
    reloader: Arc<Reloader>,
    membership: Arc<Membership>,
    writer: Arc<RecordWriter>,
}

impl GatewayControl {
    pub(crate) fn new(
        current: Arc<Current>,
        reloader: Arc<Reloader>,
        membership: Arc<Membership>,
        writer: Arc<RecordWriter>,
    ) -> Self {
        Self { current, reloader, membership, writer }
    }
}

/// An upstream and its endpoints, as they stand.
fn shown(upstream: &Upstream) -> Value {
    let endpoints = upstream.states().map(|(endpoint, member, state)| {
        let reported = endpoint.server.report.latest(Moment::now());
        let reported = reported.map(|reported| {
            json!({"running": reported.running, "waiting": reported.waiting, "cache": reported.cache})
        });
        json!({
            "url": &*endpoint.url, "weight": member.weight, "health": state.as_str(),
            "inFlight": endpoint.server.in_flight(), "reported": reported,
        })
    });
    json!({
        "name": &*upstream.name, "balance": upstream.balance(), "waiting": upstream.line.waiting(),
        "endpoints": endpoints.collect::<Vec<_>>(),
    })
}

#[async_trait]
impl Control for GatewayControl {
    fn pipelines(&self) -> Value {
        let runtime = self.current.load();
        let pipelines = runtime.config.pipelines.iter().map(|pipeline| {
            let filters = pipeline
                .steps
                .iter()
                .map(|step| json!({"name": step.name, "plugin": step.plugin, "options": step.options}));
            json!({
                "name": pipeline.name, "routes": pipeline.patterns, "public": pipeline.public,
                "filters": filters.collect::<Vec<_>>(),
            })
        });
        json!({"items": pipelines.collect::<Vec<_>>()})
    }

    fn upstreams(&self) -> Value {
        let runtime = self.current.load();
        let upstreams = runtime.config.upstreams.keys().filter_map(|name| runtime.upstream(name));
        json!({"items": upstreams.map(|upstream| shown(&upstream)).collect::<Vec<_>>()})
    }

    async fn change_endpoint(&self, upstream: &str, change: EndpointChange) -> Result<Value, ChangeRefused> {
        self.membership.change(upstream, change).await.map(|upstream| shown(&upstream))
    }

    fn plugins(&self) -> Value {
        let items = plugins().into_iter().map(|plugin| {
            let schema = (plugin.schema)(&mut schemars::SchemaGenerator::default());
            json!({"name": plugin.name, "summary": plugin.summary, "options": schema})
        });
        json!({"items": items.collect::<Vec<_>>()})
    }

    async fn reload(&self) -> Result<ReloadDone, Vec<Value>> {
        match self.reloader.reload().await {
            Ok(done) => Ok(ReloadDone { changed: done.changed, needs_restart: done.needs_restart }),
            Err(problems) => {
                Err(problems.iter().filter_map(|problem| serde_json::to_value(problem).ok()).collect())
            }
        }
    }

    fn metrics(&self) -> String {
        let counts = self.writer.counts();
        let upstreams = self.current.load().upstreams();
        metrics().render(&Snapshot {
            accepted: counts.accepted,
            stored: counts.stored,
            quarantined: counts.quarantined,
            pending: counts.pending,
            journal: self.writer.journal_size(),
            upstreams: &upstreams,
        })
    }

    fn called(&self, call: &AdminCall<'_>) {
        metrics().admin_call(call.status.as_u16());
    }
}
