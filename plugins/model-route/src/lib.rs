//! Sends each request to the upstream that serves the model it names.

mod mirror;
mod options;
mod targets;

use std::{collections::HashMap, sync::Arc};

use vllm_gateway_sdk::{
    Adapters, BuildCx, BuildError, Error, Exchange, Fact, Fallback, Filter, Flow, ModelOffer, ModelPlace,
    Plugin, Target, async_trait,
};

use options::Options;
use targets::Targets;

struct ModelRoute {
    /// By the name that clients use, compared byte by byte.
    routes: HashMap<Arc<str>, Targets>,
    default: Option<Default>,
    /// All models in the order of their names, as they are offered.
    offers: Vec<ModelOffer>,
    adapters: Option<Arc<dyn Adapters>>,
}

/// What serves requests that name no model.
struct Default {
    model: String,
    targets: Targets,
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
        let mut routes = HashMap::with_capacity(options.models.len());
        for (name, entry) in &options.models {
            let mut targets = Targets::default();
            for (index, share) in entry.shares.iter().enumerate() {
                match cx.upstream(&share.upstream) {
                    Ok(upstream) => {
                        let model = share.model.as_deref().map(Arc::from);
                        let mirror = share.mirror.as_ref().and_then(|mirror| mirror.mirror(cx));
                        let percent = share.mirror.as_ref().map_or(0.0, |mirror| mirror.percent);
                        targets.add(
                            share.weight,
                            percent,
                            Target { upstream, model, fallbacks: None, mirror, is_adapter: false },
                        );
                    }
                    Err(error) => cx.fault(error.at(entry.way(name, &index.to_string(), "upstream"))),
                }
            }
            routes.insert(Arc::<str>::from(name.as_str()), targets);
        }
        let routes = with_fallbacks(&options, &routes);
        let default = options.default_model.and_then(|model| {
            let mut targets = routes.get(model.as_str())?.clone();
            // Named to the upstream too, which would otherwise serve a model of its own choice.
            targets.name(&model);
            Some(Default { model, targets })
        });
        let offers = offers(&routes, options.adapters);
        Ok(Self { routes, default, offers, adapters: options.adapters.then(|| cx.adapters()) })
    }
}

#[async_trait]
impl Filter for ModelRoute {
    async fn on_request(&self, ex: &mut Exchange) -> Result<Flow, Error> {
        if ex.route().model == ModelPlace::None {
            return Ok(Flow::Continue);
        }
        let targets = match ex.model().await? {
            Some(model) => match self.routes.get(model) {
                Some(targets) => targets,
                None => {
                    let target = self.adapter(model).await.ok_or_else(Error::model_not_found)?;
                    ex.route_to(target)?;
                    return Ok(Flow::Continue);
                }
            },
            None => {
                let default = self.default.as_ref().ok_or_else(no_model)?;
                ex.set_model(&default.model);
                &default.targets
            }
        };
        let target = targets.pick().ok_or_else(Error::model_not_found)?;
        ex.route_to(target)?;
        Ok(Flow::Continue)
    }

    fn models(&self) -> Vec<ModelOffer> {
        self.offers.clone()
    }
}

impl ModelRoute {
    /// Where an adapter of this name is served: with the model that it belongs to.
    async fn adapter(&self, name: &str) -> Option<Target> {
        let at = self.adapters.as_ref()?.find(&self.offers, name).await?;
        Some(Target {
            is_adapter: true,
            ..Target::upstream(Arc::clone(&self.offers.get(at)?.target.upstream))
        })
    }
}

fn offers(routes: &HashMap<Arc<str>, Targets>, with_adapters: bool) -> Vec<ModelOffer> {
    let offer = |name: &Arc<str>, target: &Target| ModelOffer {
        with_adapters,
        ..ModelOffer::new(Arc::clone(name), target.clone())
    };
    let all = routes.iter().flat_map(|(name, targets)| targets.all().map(move |target| offer(name, target)));
    let mut offers: Vec<_> = all.collect();
    offers.sort_by(|one, other| one.name.cmp(&other.name));
    offers
}

/// Gives each target those of its fallbacks.
fn with_fallbacks(options: &Options, routes: &HashMap<Arc<str>, Targets>) -> HashMap<Arc<str>, Targets> {
    let of = |fallback: &String| {
        let (model, targets) = routes.get_key_value(fallback.as_str())?;
        let target = Target { mirror: None, ..targets.first()?.clone() };
        Some(Fallback { model: Arc::clone(model), target })
    };
    let with = |(name, targets): (&Arc<str>, &Targets)| {
        let mut targets = targets.clone();
        let shares = options.models.get(&**name).map(|entry| entry.shares.as_slice()).unwrap_or_default();
        for (target, share) in targets.all_mut().zip(shares).filter(|(_, share)| !share.fallbacks.is_empty())
        {
            target.fallbacks = Some(share.fallbacks.iter().filter_map(of).collect());
        }
        (Arc::clone(name), targets)
    };
    routes.iter().map(with).collect()
}

fn no_model() -> Error {
    Error::invalid("the request names no model: set `model` to one of GET /v1/models").param("model")
}

vllm_gateway_sdk::register!(ModelRoute);
