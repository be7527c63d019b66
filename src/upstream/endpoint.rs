//! One vLLM server: its addresses, what runs on it, and what was learned of it.

use std::sync::Arc;

use tokio::sync::Notify;
use vllm_gateway_client::{BadUrl, Origin};
use vllm_gateway_fleet::Server;
use vllm_gateway_sdk::Fingerprint;

/// One vLLM server. It outlives reloads, with everything that is known of it.
pub(crate) struct Endpoint {
    /// Its base URL, as in `gateway.toml`.
    pub(crate) url: Arc<str>,
    /// Where that is, and the connections to it.
    pub(crate) origin: Arc<Origin>,
    /// What balancing knows of it.
    pub(crate) server: Arc<Server>,
    /// What its streams carry as `system_fingerprint`.
    pub(crate) fingerprint: Arc<Fingerprint>,
    /// That it should be looked at now.
    pub(super) suspicion: Notify,
}

impl Endpoint {
    pub(crate) fn new(url: &str) -> Result<Self, BadUrl> {
        Ok(Self {
            url: url.into(),
            origin: Arc::new(Origin::new(url)?),
            server: Arc::new(Server::new(url)),
            fingerprint: Arc::default(),
            suspicion: Notify::new(),
        })
    }
}
