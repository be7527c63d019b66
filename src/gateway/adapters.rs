//! The adapters that the servers of the configuration in force tell of, for the filters.

use std::sync::{Arc, OnceLock, Weak};

use futures_util::future::join_all;
use vllm_gateway_sdk::{Adapters, ModelOffer, async_trait};

use super::Current;

/// Those of the configuration in force. Filters are lent it before there is one.
#[derive(Default)]
pub(crate) struct LiveAdapters(OnceLock<Weak<Current>>);

impl LiveAdapters {
    /// From now on, those of this one are known.
    pub(super) fn begin(&self, current: &Arc<Current>) {
        let _ = self.0.set(Arc::downgrade(current));
    }
}

#[async_trait]
impl Adapters for LiveAdapters {
    async fn find(&self, among: &[ModelOffer], adapter: &str) -> Option<usize> {
        let runtime = self.0.get()?.upgrade()?.load();
        let has = async |offer: &ModelOffer| match runtime.upstream(&offer.target.upstream) {
            Some(upstream) => upstream.has_adapter(offer.served_as(), adapter).await,
            None => false,
        };
        join_all(among.iter().map(has)).await.into_iter().position(|has| has)
    }
}
