//! Where a request should go, as a routing filter says it.

use std::sync::Arc;

/// What a routing filter chose for a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The upstream, by its name in `gateway.toml`.
    pub upstream: Arc<str>,
    /// The model name to send instead of the client's.
    pub model: Option<Arc<str>>,
    /// Where it goes if this upstream cannot take it, in this order.
    pub fallbacks: Option<Arc<[Fallback]>>,
    /// Who gets a copy of it. Of a share of the requests only some have one: the lot is drawn by the filter.
    pub mirror: Option<Arc<Mirror>>,
    /// The model is a LoRA adapter, which not every endpoint of the upstream may have.
    pub is_adapter: bool,
}

/// Who gets a copy of a request. Its answer is dropped, and its cost is recorded apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mirror {
    /// The upstream, by its name in `gateway.toml`.
    pub upstream: Arc<str>,
    /// The model name to send instead of the client's.
    pub model: Option<Arc<str>>,
}

/// What answers in the place of the model that was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fallback {
    /// The model, as clients name it: an app must be allowed to use it.
    pub model: Arc<str>,
    /// Where it is served. Its own fallbacks do not count, nor does its mirror.
    pub target: Target,
}

impl Target {
    /// A target that leaves the model's name as the client wrote it.
    #[must_use]
    pub fn upstream(name: impl Into<Arc<str>>) -> Self {
        Self { upstream: name.into(), model: None, fallbacks: None, mirror: None, is_adapter: false }
    }
}

/// A model that a routing filter can route, for `/v1/models`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelOffer {
    /// The name that clients use.
    pub name: Arc<str>,
    /// Where it is served.
    pub target: Target,
    /// Whether its LoRA adapters are routed, too, by the names that servers tell.
    pub with_adapters: bool,
}

impl ModelOffer {
    /// A model that is served there, without its adapters.
    #[must_use]
    pub fn new(name: impl Into<Arc<str>>, target: Target) -> Self {
        Self { name: name.into(), target, with_adapters: false }
    }

    /// The name that it has at its upstream.
    #[must_use]
    pub fn served_as(&self) -> &str {
        self.target.model.as_deref().unwrap_or(&self.name)
    }
}
