//! One vLLM server: its addresses, what runs on it, and what was learned of it.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use vllm_gateway_client::{BadUrl, Origin};
use vllm_gateway_sdk::Fingerprint;

use crate::descriptors::Descriptor;

/// One vLLM server.
pub(crate) struct Endpoint {
    /// Its base URL, as in `gateway.toml`.
    pub(crate) url: Arc<str>,
    /// Where that is, and the connections to it.
    pub(crate) origin: Arc<Origin>,
    in_flight: AtomicU64,
    /// Whether the latest attempt reached it.
    reachable: AtomicBool,
    /// What its streams carry as `system_fingerprint`.
    pub(crate) fingerprint: Arc<Fingerprint>,
}

impl Endpoint {
    pub(crate) fn new(url: &str) -> Result<Self, BadUrl> {
        Ok(Self {
            url: url.into(),
            origin: Arc::new(Origin::new(url)?),
            in_flight: AtomicU64::new(0),
            reachable: AtomicBool::new(true),
            fingerprint: Arc::default(),
        })
    }

    /// Requests that run there now.
    pub(crate) fn in_flight(&self) -> u64 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Whether the latest attempt reached it.
    pub(crate) fn is_reachable(&self) -> bool {
        self.reachable.load(Ordering::Relaxed)
    }

    /// The latest attempt reached it.
    pub(crate) fn reached(&self) {
        if !self.is_reachable() {
            self.reachable.store(true, Ordering::Relaxed);
        }
    }

    /// The latest attempt found nobody there: another server may answer at this address next time.
    pub(crate) fn failed(&self) {
        self.reachable.store(false, Ordering::Relaxed);
        self.fingerprint.forget();
    }

    /// Takes a slot for one request; none while the process has no descriptor to spare for its connection.
    pub(crate) fn lease(self: &Arc<Self>) -> Option<Lease> {
        let descriptor = Descriptor::for_upstream()?;
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        Some(Lease { endpoint: Arc::clone(self), _descriptor: descriptor })
    }
}

/// A slot of an endpoint, given back when dropped.
pub(crate) struct Lease {
    endpoint: Arc<Endpoint>,
    _descriptor: Descriptor,
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.endpoint.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}
