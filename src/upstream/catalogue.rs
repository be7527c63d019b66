//! What an upstream says of its models: asked now and then, never on the way of a request for a model that is in the file.

use std::{
    collections::HashSet,
    sync::Arc,
    time::{Duration, Instant},
};

use arc_swap::ArcSwapOption;
use futures_util::future::join_all;
use serde_json::{Map, Value};
use tokio::{sync::Mutex, time::timeout};
use vllm_gateway_fleet::Tried;

use super::{Endpoint, Upstream, watch};

/// How long an answer is good for.
const FRESH: Duration = Duration::from_secs(10);
/// How long one endpoint may take. A server that is down must not hold up the list.
const PATIENCE: Duration = Duration::from_secs(1);
/// The largest answer that is read, in bytes.
const LIMIT: usize = 4 << 20;

/// What vLLM says of a model.
pub(crate) type Entry = Map<String, Value>;

/// The latest answers of an upstream's endpoints to `GET /v1/models`.
#[derive(Default)]
pub(crate) struct Catalogue {
    latest: ArcSwapOption<Listing>,
    /// One asks for all who would.
    asking: Mutex<()>,
}

struct Listing {
    asked: Instant,
    /// What any endpoint has, as the first says that does.
    models: Vec<Entry>,
    /// The names that each endpoint has; none of one that did not answer.
    names: Vec<Option<HashSet<String>>>,
}

impl Upstream {
    /// What the upstream says of the model of this name there; of its first model, if it serves one only.
    pub(crate) async fn describe(&self, model: &str) -> Option<Entry> {
        self.listing().await?.own(model).cloned()
    }

    /// What it says of the LoRA adapters of the model of this name there.
    pub(crate) async fn adapters(&self, of: &str) -> Vec<Entry> {
        let Some(listing) = self.listing().await else { return Vec::new() };
        listing.models.iter().filter(|entry| listing.is_adapter(entry, of)).cloned().collect()
    }

    /// Whether it has a LoRA adapter of this name that belongs to the model of that name there.
    pub(crate) async fn has_adapter(&self, of: &str, adapter: &str) -> bool {
        let Some(listing) = self.listing().await else { return false };
        listing.models.iter().any(|entry| name(entry) == Some(adapter) && listing.is_adapter(entry, of))
    }

    /// The endpoints that are known not to have this model.
    pub(crate) fn without(&self, model: &str) -> Tried {
        let mut without = Tried::default();
        if let Some(listing) = &*self.catalogue.latest.load() {
            let lack =
                |names: &Option<HashSet<String>>| names.as_ref().is_some_and(|all| !all.contains(model));
            let lacking = listing.names.iter().enumerate().filter(|(_, names)| lack(names));
            lacking.for_each(|(at, _)| without.add(at));
        }
        without
    }

    /// What is known and fresh, or else what they say now.
    async fn listing(&self) -> Option<Arc<Listing>> {
        let known = || self.catalogue.latest.load_full();
        let fresh = || known().filter(|listing| listing.asked.elapsed() < FRESH);
        if let Some(listing) = fresh() {
            return Some(listing);
        }
        let _asking = self.catalogue.asking.lock().await;
        // Somebody else has asked meanwhile.
        if let Some(listing) = fresh() {
            return Some(listing);
        }
        let answers = join_all(self.endpoints.iter().map(|endpoint| self.ask_for_models(endpoint))).await;
        let asked = Instant::now();
        let listing = if answers.iter().all(Option::is_none) {
            // Nor are they asked again at once if none of them says anything.
            let (models, names) =
                known().map(|known| (known.models.clone(), known.names.clone())).unwrap_or_default();
            Listing { asked, models, names }
        } else {
            Listing::of(asked, answers)
        };
        let listing = Arc::new(listing);
        self.catalogue.latest.store(Some(Arc::clone(&listing)));
        Some(listing)
    }

    async fn ask_for_models(&self, endpoint: &Endpoint) -> Option<Vec<Entry>> {
        if endpoint.server.health.is_down() {
            return None;
        }
        let answer = timeout(PATIENCE, async {
            let answer = self.get(endpoint, "/v1/models").send().await.ok()?.error_for_status().ok()?;
            watch::bounded(answer, LIMIT).await
        });
        let mut list: Entry = serde_json::from_slice(&answer.await.ok()??).ok()?;
        let Value::Array(entries) = list.remove("data")? else { return None };
        let entry = |entry| if let Value::Object(entry) = entry { Some(entry) } else { None };
        Some(entries.into_iter().filter_map(entry).collect())
    }
}

impl Listing {
    fn of(asked: Instant, answers: Vec<Option<Vec<Entry>>>) -> Self {
        let names_of = |entries: &Vec<Entry>| entries.iter().filter_map(name).map(str::to_owned).collect();
        let names = answers.iter().map(|answer| answer.as_ref().map(names_of)).collect();
        let mut seen = HashSet::new();
        let mut models: Vec<Entry> = answers.into_iter().flatten().flatten().collect();
        models.retain(|entry| name(entry).is_some_and(|name| seen.insert(name.to_owned())));
        Self { asked, models, names }
    }

    /// The entry of the model of this name; the only one, if there is one only.
    fn own(&self, model: &str) -> Option<&Entry> {
        let mut own = self.models.iter().filter(|entry| parent(entry).is_none());
        let only = own.clone().next().filter(|_| own.clone().count() == 1);
        own.find(|entry| name(entry) == Some(model)).or(only)
    }

    /// Whether it is an adapter of that model. vLLM names as its parent the first of a model's names, or what it was told
    /// when the adapter was loaded.
    fn is_adapter(&self, entry: &Entry, of: &str) -> bool {
        let Some(parent) = parent(entry) else { return false };
        let root = |name| self.own(name).and_then(|own| own.get("root"));
        parent == of || root(of).is_some_and(|own| root(parent).is_none_or(|other| own == other))
    }
}

fn name(entry: &Entry) -> Option<&str> {
    entry.get("id").and_then(Value::as_str)
}

/// The model that an adapter belongs to; a model of its own has none.
fn parent(entry: &Entry) -> Option<&str> {
    entry.get("parent").and_then(Value::as_str)
}
