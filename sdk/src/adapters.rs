//! LoRA adapters, which vLLM servers serve beside the model that they belong to. Servers tell them; no file does.

use async_trait::async_trait;

use crate::ModelOffer;

/// What servers serve beside the models that are routed to them.
#[async_trait]
pub trait Adapters: Send + Sync {
    /// The first of these models that has an adapter of this name. May ask servers, now and then.
    async fn find(&self, among: &[ModelOffer], adapter: &str) -> Option<usize>;
}

/// No adapters, for `check`, which builds pipelines without servers.
#[derive(Debug)]
pub struct NoAdapters;

#[async_trait]
impl Adapters for NoAdapters {
    async fn find(&self, _among: &[ModelOffer], _adapter: &str) -> Option<usize> {
        None
    }
}
