//! Upstreams: named pools of vLLM servers, and the choice of one of them for each attempt.

mod balance;
mod catalogue;
mod client;
mod endpoint;

use std::{sync::Arc, time::Duration};

use http::HeaderValue;
use vllm_gateway_client::Connector;
use vllm_gateway_config::UpstreamOptions;

pub(crate) use balance::{Balance, RoundRobin};
pub(crate) use catalogue::Catalogue;
pub(crate) use client::ClientError;
pub(crate) use endpoint::{Endpoint, Lease};

/// A named pool of endpoints that serve the same models.
pub(crate) struct Upstream {
    pub(crate) name: Arc<str>,
    pub(crate) endpoints: Vec<Arc<Endpoint>>,
    pub(crate) balance: Box<dyn Balance>,
    /// How requests reach it.
    pub(crate) connector: Connector,
    /// For what is asked of it now and then, beside the requests.
    pub(crate) client: reqwest::Client,
    /// Sent to vLLM instead of the client's key.
    pub(crate) authorization: Option<HeaderValue>,
    pub(crate) first_byte_timeout: Duration,
    pub(crate) gap_timeout: Duration,
    pub(crate) total_timeout: Duration,
    /// The server reports running usage in every stream, asked or not, so clients expect to see it.
    pub(crate) forces_usage: bool,
    pub(crate) catalogue: Catalogue,
}

impl Upstream {
    /// Builds the pool. Endpoints that `known` has already, by their URL, keep their state.
    pub(crate) fn build(
        name: &str,
        options: &UpstreamOptions,
        base: &std::path::Path,
        known: &dyn Fn(&str) -> Option<Arc<Endpoint>>,
    ) -> Result<Self, ClientError> {
        let endpoints: Vec<_> = options
            .endpoints
            .iter()
            .map(|endpoint| {
                let url = endpoint.url.as_str();
                known(url).map_or_else(|| Endpoint::new(url).map(Arc::new), Ok)
            })
            .collect::<Result<_, _>>()?;
        let weights: Vec<u32> = options.endpoints.iter().map(|endpoint| endpoint.weight).collect();
        Ok(Self {
            name: name.into(),
            balance: Box::new(RoundRobin::new(&weights)),
            endpoints,
            connector: client::connector(options, base)?,
            client: client::build(options, base)?,
            authorization: client::authorization(options, base)?,
            first_byte_timeout: options.first_byte_timeout.get(),
            gap_timeout: options.gap_timeout.get(),
            total_timeout: options.total_timeout.get(),
            forces_usage: options.force_include_usage,
            catalogue: Catalogue::default(),
        })
    }

    /// The endpoints to try, best first, each once.
    pub(crate) fn candidates(&self) -> impl Iterator<Item = &Arc<Endpoint>> {
        self.balance.order(self.endpoints.len()).filter_map(|index| self.endpoints.get(index))
    }

    /// Closes connections that have waited for too long.
    pub(crate) fn tidy(&self) {
        self.endpoints.iter().for_each(|endpoint| endpoint.origin.tidy());
    }
}
