//! `GET /v1/models`: the models that this app may use, with what vLLM says of them.

use std::sync::Arc;

use futures_util::future::join_all;
use http::StatusCode;
use serde_json::{Map, Value, json};
use vllm_gateway_sdk::{Consumer, Error, Exchange, ModelOffer, Pipeline, Reply};

use crate::gateway::Runtime;

/// What is asked for. Taken out of the exchange, which no task may share while it waits.
pub(super) struct Asked {
    consumer: Option<Arc<Consumer>>,
    /// The id of a single model.
    id: Option<String>,
}

impl Asked {
    pub(super) fn of(ex: &Exchange) -> Self {
        let path = ex.request().uri.path();
        let id = path.strip_prefix("/v1/models/").map(|id| id.replace("%2F", "/").replace("%2f", "/"));
        Self { consumer: ex.facts().consumer().cloned(), id }
    }
}

/// Answers for the list and for a single model.
pub(super) async fn list(runtime: &Runtime, pipeline: &Pipeline, asked: Asked) -> Result<Reply, Error> {
    let mut offers: Vec<ModelOffer> = pipeline.steps.iter().flat_map(|step| step.filter.models()).collect();
    offers.retain(|offer| asked.consumer.as_ref().is_none_or(|consumer| consumer.may_use(&offer.name)));
    offers.sort_by(|a, b| a.name.cmp(&b.name));
    offers.dedup_by(|a, b| a.name == b.name);
    let Some(id) = asked.id else {
        let entries = join_all(offers.iter().map(|offer| entry(runtime, offer))).await;
        return Ok(Reply::json(StatusCode::OK, json!({ "object": "list", "data": entries }).to_string()));
    };
    let offer = offers.iter().find(|offer| *offer.name == *id).ok_or_else(Error::model_not_found)?;
    Ok(Reply::json(StatusCode::OK, Value::Object(entry(runtime, offer).await).to_string()))
}

async fn entry(runtime: &Runtime, offer: &ModelOffer) -> Map<String, Value> {
    let at_vllm = offer.target.model.as_deref().unwrap_or(&offer.name);
    let known = match runtime.upstream(&offer.target.upstream) {
        Some(upstream) => upstream.describe(at_vllm).await,
        None => None,
    };
    let mut entry = Map::new();
    entry.insert("id".into(), offer.name.as_ref().into());
    for (key, value) in [
        ("object", "model".into()),
        ("created", runtime.built.as_second().into()),
        ("owned_by", "vllm".into()),
    ] {
        entry.insert(key.into(), value);
    }
    for (key, value) in known.into_iter().flatten().filter(|(key, _)| key != "id") {
        entry.insert(key, value);
    }
    entry
}
