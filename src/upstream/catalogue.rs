//! What an upstream says of its models: asked now and then, never on the way of a request that generates.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use arc_swap::ArcSwapOption;
use serde_json::{Map, Value};

use super::Upstream;

/// How long an answer is good for.
const FRESH: Duration = Duration::from_secs(10);
/// How long one endpoint may take. A server that is down must not hold up the list.
const PATIENCE: Duration = Duration::from_secs(2);
/// The largest answer that is read, in bytes.
const LIMIT: usize = 4 << 20;

/// The latest answer of an upstream to `GET /v1/models`.
#[derive(Default)]
pub(crate) struct Catalogue(ArcSwapOption<Listing>);

struct Listing {
    asked: Instant,
    models: Vec<Map<String, Value>>,
}

impl Upstream {
    /// What the upstream says of the model of this name there; of its first model, if it serves one only.
    pub(crate) async fn describe(&self, model: &str) -> Option<Map<String, Value>> {
        let listing = self.listing().await?;
        let named = |entry: &&Map<String, Value>| entry.get("id").and_then(Value::as_str) == Some(model);
        listing
            .models
            .iter()
            .find(named)
            .or(listing.models.first().filter(|_| listing.models.len() == 1))
            .cloned()
    }

    async fn listing(&self) -> Option<Arc<Listing>> {
        let known = self.catalogue.0.load_full();
        if known.as_ref().is_some_and(|listing| listing.asked.elapsed() < FRESH) {
            return known;
        }
        let asked = Instant::now();
        let Some(models) = self.ask().await else { return known };
        let listing = Arc::new(Listing { asked, models });
        self.catalogue.0.store(Some(Arc::clone(&listing)));
        Some(listing)
    }

    /// Asks the endpoints one after another until one answers, all within the patience for one.
    async fn ask(&self) -> Option<Vec<Map<String, Value>>> {
        let answers = async {
            // Those that are well first: one that is down takes its time.
            let mut endpoints: Vec<_> = self.endpoints.iter().collect();
            endpoints.sort_by_key(|endpoint| endpoint.server.health.is_down());
            for endpoint in endpoints {
                if let Some(models) = self.ask_endpoint(&endpoint.url).await {
                    return Some(models);
                }
            }
            None
        };
        tokio::time::timeout(PATIENCE, answers).await.ok().flatten()
    }

    async fn ask_endpoint(&self, base: &str) -> Option<Vec<Map<String, Value>>> {
        let mut request =
            self.client.get(format!("{}/v1/models", base.trim_end_matches('/'))).timeout(PATIENCE / 2);
        if let Some(authorization) = &self.authorization {
            request = request.header(http::header::AUTHORIZATION, authorization);
        }
        let mut answer = request.send().await.ok()?.error_for_status().ok()?;
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.ok()? {
            body.extend_from_slice(&chunk);
            if body.len() > LIMIT {
                return None;
            }
        }
        let mut list: Map<String, Value> = serde_json::from_slice(&body).ok()?;
        let Value::Array(entries) = list.remove("data")? else { return None };
        Some(
            entries
                .into_iter()
                .filter_map(|entry| if let Value::Object(entry) = entry { Some(entry) } else { None })
                .collect(),
        )
    }
}
