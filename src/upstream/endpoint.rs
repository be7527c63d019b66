//! One vLLM server: its addresses, what runs on it, and what was learned of it.

use std::{
    net::IpAddr,
    sync::{Arc, atomic::AtomicBool},
};

use tokio::sync::Notify;
use vllm_gateway_client::{BadUrl, Origin};
use vllm_gateway_config::EndpointUrl;
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
    /// It has no sleep mode, it said. Forgotten when it comes back after it was down.
    pub(super) never_sleeps: AtomicBool,
}

impl Endpoint {
    /// The server with this URL; of several with one name, the one at this address.
    pub(crate) fn new(url: &str, resolved: Option<&(EndpointUrl, IpAddr)>) -> Result<Self, BadUrl> {
        let origin = match resolved {
            Some((name, address)) => Origin::new(name.as_str())?.at(*address),
            None => Origin::new(url)?,
        };
        Ok(Self {
            url: url.into(),
            origin: Arc::new(origin),
            server: Arc::new(Server::new(url)),
            fingerprint: Arc::default(),
            suspicion: Notify::new(),
            never_sleeps: AtomicBool::new(false),
        })
    }
}
