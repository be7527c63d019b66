//! Sends each request to the upstream that serves the model it names.

mod options;

use std::{collections::HashMap, sync::Arc};

use vllm_gateway_sdk::{
    BuildCx, BuildError, Error, Exchange, Fact, Fallback, Filter, Flow, ModelOffer, ModelPlace, Plugin,
    Target, async_trait,
};

use options::Options;

struct ModelRoute {
    /// By the name that clients use, compared byte by byte.
    targets: HashMap<Arc<str>, Target>,
    default: Option<Default>,
}

/// What serves requests that name no model.
struct Default {
    model: String,
    target: Target,
}

impl Plugin for ModelRoute {
    const NAME: &'static str = "model-route";
    const SUMMARY: &'static str = "sends a request to the upstream that serves its model";
    const PROVIDES: &'static [Fact] = &[Fact::Target];
    const READS_BODY: bool = true;
    const REJECTS: &'static [u16] = &[400, 403, 404, 408, 413, 415, 503];
    const EXAMPLE: &'static str =
        r#"models = { "Qwen3-32B" = "qwen3-32b", "fast" = { upstream = "qwen3-32b", model = "Qwen3-32B" } }"#;
    type Options = Options;

    fn build(options: Options, cx: &BuildCx<'_>) -> Result<Self, BuildError> {
        options.check(cx);
        let mut targets: HashMap<Arc<str>, Target> = HashMap::with_capacity(options.models.len());
        for (name, entry) in &options.models {
            let upstream = match cx.upstream(&entry.upstream) {
                Ok(upstream) => upstream,
                Err(error) => {
                    cx.fault(error.at(["models", name, "upstream"]));
                    continue;
                }
            };
            let target = Target { upstream, model: entry.model.as_deref().map(Arc::from), fallbacks: None };
            targets.insert(name.as_str().into(), target);
        }
        let targets = with_fallbacks(&options, &targets);
        let default = options.default_model.and_then(|model| {
            let mut target = targets.get(model.as_str())?.clone();
            // Named to the upstream too, which would otherwise serve a model of its own choice.
            target.model.get_or_insert_with(|| model.as_str().into());
            Some(Default { model, target })
        });
        Ok(Self { targets, default })
    }
}

#[async_trait]
impl Filter for ModelRoute {
    async fn on_request(&self, ex: &mut Exchange) -> Result<Flow, Error> {
        if ex.route().model == ModelPlace::None {
            return Ok(Flow::Continue);
        }
        let target = match ex.model().await? {
            Some(model) => self.targets.get(model).ok_or_else(Error::model_not_found)?,
            None => {
                let default = self.default.as_ref().ok_or_else(no_model)?;
                ex.set_model(&default.model);
                &default.target
            }
        };
        ex.route_to(target.clone())?;
        Ok(Flow::Continue)
    }

    fn models(&self) -> Vec<ModelOffer> {
        let mut offers: Vec<_> = self
            .targets
            .iter()
            .map(|(name, target)| ModelOffer { name: Arc::clone(name), target: target.clone() })
            .collect();
        offers.sort_by(|one, other| one.name.cmp(&other.name));
        offers
    }
}

/// Gives each target those of its fallbacks.
fn with_fallbacks(options: &Options, targets: &HashMap<Arc<str>, Target>) -> HashMap<Arc<str>, Target> {
    let of = |fallback: &String| {
        let (model, target) = targets.get_key_value(fallback.as_str())?;
        Some(Fallback { model: Arc::clone(model), target: target.clone() })
    };
    let with = |(name, target): (&Arc<str>, &Target)| {
        let names =
            options.models.get(&**name).map(|entry| &entry.fallbacks).filter(|names| !names.is_empty());
        let fallbacks = names.map(|names| names.iter().filter_map(of).collect());
        (Arc::clone(name), Target { fallbacks, ..target.clone() })
    };
    targets.iter().map(with).collect()
}

fn no_model() -> Error {
    Error::invalid("the request names no model: set `model` to one of GET /v1/models").param("model")
}

vllm_gateway_sdk::register!(ModelRoute);
