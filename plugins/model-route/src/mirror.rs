//! The option `mirror`: who gets copies of a model's requests, and of how many.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::Deserialize;
use vllm_gateway_sdk::{BuildCx, Mirror};

use crate::options::Share;

/// Who gets copies of requests.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct MirrorOptions {
    /// The upstream that gets the copies, by its name in `[upstreams]`.
    pub(crate) upstream: String,
    /// The model name to send there; without it, the client's.
    pub(crate) model: Option<String>,
    /// Of how many requests in a hundred it gets a copy, by chance: `10`, or `0.5` for one in two hundred; 0 is none.
    #[schemars(range(min = 0.0, max = 100.0))]
    pub(crate) percent: f64,
}

impl MirrorOptions {
    /// The rules for the mirror of this share of a model. Every mistake is told, each at its place.
    pub(crate) fn check(&self, name: &str, share: &Share, way: &[&str], cx: &BuildCx<'_>) {
        let at = |key| way.iter().copied().chain([key]).collect::<Vec<_>>();
        if let Err(error) = cx.upstream(&self.upstream) {
            cx.fault(error.at(at("upstream")));
        }
        if self.model.as_deref() == Some("") {
            cx.fault(cx.at(at("model"), "the model to send must have a name"));
        }
        // Not a number is in no range.
        if !(0.0..=100.0).contains(&self.percent) {
            cx.fault(cx.at(at("percent"), "a share of the requests is from 0 to 100 percent"));
        }
        let named = |model: &Option<String>| model.as_deref().unwrap_or(name).to_owned();
        if self.upstream == share.upstream && named(&self.model) == named(&share.model) {
            let message =
                "the mirror is what serves this model already: name another upstream or another model";
            cx.fault(cx.at(way, message));
        }
    }

    /// The mirror as the gateway knows it, if its upstream is known.
    pub(crate) fn mirror(&self, cx: &BuildCx<'_>) -> Option<Arc<Mirror>> {
        let upstream = cx.upstream(&self.upstream).ok()?;
        Some(Arc::new(Mirror { upstream, model: self.model.as_deref().map(Arc::from) }))
    }
}
