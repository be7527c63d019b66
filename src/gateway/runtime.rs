//! One configuration, built and ready to serve.

use std::{collections::HashMap, net::IpAddr, sync::Arc};

use arc_swap::ArcSwap;
use http::HeaderMap;
use jiff::Timestamp;
use vllm_gateway_config::{Config, Network};
use vllm_gateway_sdk::{BodyLimits, Ending, Pipeline, Route, Services, Step};

use super::Copies;
use crate::{
    telemetry::metrics::metrics,
    upstream::{ClientError, Known, Upstream, Upstreams},
};

/// One configuration, built and ready to serve.
pub(crate) struct Runtime {
    pub(crate) config: Config,
    pub(crate) pipelines: Vec<Arc<Pipeline>>,
    by_route: HashMap<&'static str, usize>,
    /// As they were built with this configuration.
    own: Arc<Upstreams>,
    /// Those in force, shared with every configuration before and after: swapped as a whole where the members of one change.
    latest: Arc<ArcSwap<Upstreams>>,
    /// Whether any pipeline keeps records; then what is refused before a pipeline has one too.
    pub(crate) keeps_records: bool,
    pub(crate) limits: Arc<BodyLimits>,
    /// What runs for mirrors.
    pub(crate) copies: Arc<Copies>,
    /// When it was built.
    pub(crate) built: Timestamp,
}

impl Runtime {
    /// Builds what serves this configuration. What is known of upstreams and endpoints is kept from `old`.
    pub(crate) fn build(config: Config, old: Option<&Self>) -> Result<Self, (String, ClientError)> {
        let before = old.map(Self::upstreams);
        let mut upstreams = Upstreams::new();
        for (name, options) in &config.upstreams {
            let known = Known { before: before.as_deref(), built: &upstreams };
            let upstream = Upstream::build(name, options, &config.base, &known)
                .map_err(|error| (name.clone(), error))?;
            upstreams.insert(Arc::clone(&upstream.name), Arc::new(upstream));
        }
        let own = Arc::new(upstreams);
        let steps = |steps: &[vllm_gateway_config::Step]| {
            steps
                .iter()
                .map(|step| Step {
                    name: step.name.as_str().into(),
                    filter: Arc::clone(&step.filter),
                    meter: Some(metrics().filter(&step.name)),
                })
                .collect()
        };
        let pipelines = config.pipelines.iter().map(|pipeline| {
            Arc::new(Pipeline { name: pipeline.name.as_str().into(), steps: steps(&pipeline.steps) })
        });
        let server = &config.server;
        let limits = BodyLimits::new(
            server.max_body_size.bytes(),
            server.body_timeout.get(),
            server.body_memory.bytes(),
            // The end of a gateway is one, whatever is reloaded meanwhile.
            old.map_or_else(
                || Arc::new(Ending::new(server.shutdown_grace.get())),
                |old| Arc::clone(&old.limits.ending),
            ),
        );
        Ok(Self {
            pipelines: pipelines.collect(),
            by_route: config.route_map(),
            latest: old
                .map_or_else(|| Arc::new(ArcSwap::from(Arc::clone(&own))), |old| Arc::clone(&old.latest)),
            own,
            keeps_records: config
                .pipelines
                .iter()
                .any(|p| p.steps.iter().any(|step| step.plugin == "access-log")),
            limits: match old {
                // Bodies of requests that still run are counted on.
                Some(old) => Arc::new(BodyLimits { budget: Arc::clone(&old.limits.budget), ..limits }),
                None => Arc::new(limits),
            },
            copies: old.map_or_else(
                || Arc::new(Copies::new(server.body_memory.bytes())),
                |old| Arc::clone(&old.copies),
            ),
            built: Timestamp::now(),
            config,
        })
    }

    /// Tells the filters that they are in force, and begins to look at the endpoints.
    pub(crate) fn start(&self, services: &Services) {
        self.own.values().for_each(Upstream::watch);
        let before = self.latest.swap(Arc::clone(&self.own));
        before.values().filter(|upstream| !self.holds(upstream)).for_each(|upstream| upstream.retire());
        for step in self.pipelines.iter().flat_map(|pipeline| &pipeline.steps) {
            step.filter.on_start(services);
        }
    }

    /// The pipeline that serves this route.
    pub(crate) fn pipeline_of(&self, route: &Route) -> Option<&Arc<Pipeline>> {
        self.pipelines.get(*self.by_route.get(route.path)?)
    }

    /// All upstreams, as they stand now.
    pub(crate) fn upstreams(&self) -> Arc<Upstreams> {
        self.latest.load_full()
    }

    /// The upstream of this name, as it stands now; as it was, if a later configuration has none of this name.
    pub(crate) fn upstream(&self, name: &str) -> Option<Arc<Upstream>> {
        self.latest.load().get(name).or_else(|| self.own.get(name)).cloned()
    }

    fn holds(&self, upstream: &Arc<Upstream>) -> bool {
        self.own.get(&upstream.name).is_some_and(|own| Arc::ptr_eq(own, upstream))
    }

    /// Puts an upstream in the place of the one of the same name. Requests that run keep the one that they have. Not to
    /// be called twice at the same time.
    pub(crate) fn replace(&self, upstream: Upstream) {
        let upstream = Arc::new(upstream);
        upstream.watch();
        let mut all = Upstreams::clone(&self.upstreams());
        let before = all.insert(Arc::clone(&upstream.name), upstream);
        self.latest.store(Arc::new(all));
        before.iter().for_each(|before| before.retire());
    }

    /// The client's address, by what this configuration trusts.
    pub(crate) fn client_ip(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        client_ip(&self.config.server.trusted_proxies, peer, headers)
    }
}

/// The client's address: the peer's, unless that is a trusted proxy, which says whose request it forwards.
///
/// Of `x-forwarded-for` the last address counts that is not a trusted proxy's: what stands before it,
/// anybody may have written.
pub(crate) fn client_ip(proxies: &[Network], peer: IpAddr, headers: &HeaderMap) -> IpAddr {
    let trusted = |ip: IpAddr| proxies.iter().any(|net| net.contains(&ip));
    if !trusted(peer) {
        return peer;
    }
    let mut client = peer;
    for value in headers.get_all("x-forwarded-for").iter().rev() {
        let Ok(list) = value.to_str() else { return client };
        for hop in list.rsplit(',') {
            let Ok(ip) = hop.trim().parse::<IpAddr>() else { return client };
            client = ip.to_canonical();
            if !trusted(client) {
                return client;
            }
        }
    }
    client
}
