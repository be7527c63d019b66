//! `GET /v1/models`: the models that this app may use, with what vLLM says of them.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

use futures_util::future::{join, join_all};
use http::StatusCode;
use serde_json::{Value, json};
use vllm_gateway_sdk::{Consumer, Error, Exchange, ModelOffer, Pipeline, Reply};

use crate::{gateway::Runtime, upstream::Entry};

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
    let with_adapters: Vec<_> = offers.iter().filter(|offer| offer.with_adapters).cloned().collect();
    offers.sort_by(|a, b| a.name.cmp(&b.name));
    offers.dedup_by(|a, b| a.name == b.name);
    let names: HashSet<Arc<str>> = offers.iter().map(|offer| Arc::clone(&offer.name)).collect();
    let may_use = |model: &str| asked.consumer.as_ref().is_none_or(|consumer| consumer.may_use(model));
    offers.retain(|offer| may_use(&offer.name));
    // A model of the file hides an adapter of its name.
    let adapters = async || {
        let mut adapters = adapters(runtime, &with_adapters).await;
        adapters.retain(|id, _| !names.contains(id.as_str()) && may_use(id));
        adapters
    };
    let Some(id) = asked.id else {
        let (mut entries, adapters) =
            join(join_all(offers.iter().map(|offer| entry(runtime, offer))), adapters()).await;
        entries.extend(adapters.into_values());
        return Ok(Reply::json(StatusCode::OK, json!({ "object": "list", "data": entries }).to_string()));
    };
    let entry = match offers.iter().find(|offer| *offer.name == *id) {
        Some(offer) => entry(runtime, offer).await,
        None => adapters().await.remove(&id).ok_or_else(Error::model_not_found)?,
    };
    Ok(Reply::json(StatusCode::OK, Value::Object(entry).to_string()))
}

/// The LoRA adapters of these models by their names; of two of one name, that of the first model.
async fn adapters(runtime: &Runtime, offers: &[ModelOffer]) -> BTreeMap<String, Entry> {
    let of = async |offer: &ModelOffer| match runtime.upstream(&offer.target.upstream) {
        Some(upstream) => upstream.adapters(offer.served_as()).await,
        None => Vec::new(),
    };
    let found = join_all(offers.iter().map(of)).await;
    let mut adapters = BTreeMap::new();
    for (offer, known) in offers.iter().zip(found).rev() {
        for mut entry in known {
            let Some(id) = entry.get("id").and_then(Value::as_str).map(str::to_owned) else { continue };
            // By the name that clients know.
            entry.insert("parent".into(), offer.name.as_ref().into());
            adapters.insert(id, entry);
        }
    }
    adapters
}

async fn entry(runtime: &Runtime, offer: &ModelOffer) -> Entry {
    let known = match runtime.upstream(&offer.target.upstream) {
        Some(upstream) => upstream.describe(offer.served_as()).await,
        None => None,
    };
    let mut entry = Entry::new();
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
