//! `GET /v1/models`: the models that this app may use, with what vLLM says of them.

use std::sync::Arc;

use futures_util::future::join_all;
use http::StatusCode;
use serde_json::{Map, Value, json};
use vllm_gateway_sdk::{Error, Exchange, ModelOffer, Pipeline, Reply};

use crate::gateway::Runtime;

/// Answers for the list and for a single model.
pub(super) async fn list(runtime: &Runtime, pipeline: &Arc<Pipeline>, ex: &Exchange) -> Result<Reply, Error> {
    let mut offers: Vec<ModelOffer> = pipeline.steps.iter().flat_map(|step| step.filter.models()).collect();
    offers.retain(|offer| ex.facts().consumer().is_none_or(|consumer| consumer.may_use(&offer.name)));
    offers.sort_by(|a, b| a.name.cmp(&b.name));
    offers.dedup_by(|a, b| a.name == b.name);
    if !ex.route().is_one_model() {
        let entries = join_all(offers.iter().map(|offer| entry(runtime, offer))).await;
        return Ok(Reply::json(StatusCode::OK, json!({ "object": "list", "data": entries }).to_string()));
    }
    let id = ex.request().uri.path().trim_start_matches("/v1/models/").replace("%2F", "/").replace("%2f", "/");
    let offer = offers.iter().find(|offer| *offer.name == *id).ok_or_else(Error::model_not_found)?;
    Ok(Reply::json(StatusCode::OK, Value::Object(entry(runtime, offer).await).to_string()))
}

async fn entry(runtime: &Runtime, offer: &ModelOffer) -> Map<String, Value> {
    let at_vllm = offer.target.model.as_deref().unwrap_or(&offer.name);
    let known = match runtime.upstreams.get(&offer.target.upstream) {
        Some(upstream) => upstream.describe(at_vllm).await,
        None => None,
    };
    let mut entry = Map::new();
    entry.insert("id".into(), offer.name.as_ref().into());
    for (key, value) in [("object", "model".into()), ("created", runtime.built.as_second().into()), ("owned_by", "vllm".into())] {
        entry.insert(key.into(), value);
    }
    for (key, value) in known.into_iter().flatten().filter(|(key, _)| key != "id") {
        entry.insert(key, value);
    }
    entry
}
