//! The options of `model-route`, and the rules between them.

use std::{borrow::Cow, collections::BTreeMap, fmt};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{
    Deserialize, Deserializer,
    de::{
        self, MapAccess, SeqAccess, Visitor,
        value::{MapAccessDeserializer, SeqAccessDeserializer},
    },
};
use vllm_gateway_sdk::{BuildCx, BuildError, decode::near_miss};

use crate::mirror::MirrorOptions;

/// Options of `model-route`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Options {
    /// The model names that clients use, and what serves each: the name of an upstream; a table with `upstream`,
    /// `model` (the name to send there instead), `fallbacks` (models that answer in its place) and `mirror` (who gets a
    /// copy of some requests); or a list of such tables with a `weight` each, between which requests are divided, as for
    /// a canary.
    #[serde(deserialize_with = "models")]
    pub(crate) models: BTreeMap<String, Entry>,
    /// The model meant by requests that name none. Without it they are refused with 400.
    pub(crate) default_model: Option<String>,
    /// Whether LoRA adapters of these models are served, too, by the names that the vLLM servers tell. An app whose models
    /// are listed needs an adapter's own name among them.
    #[serde(default = "yes")]
    pub(crate) adapters: bool,
}

fn yes() -> bool {
    true
}

/// What serves a model: one of these, by chance, as often as their weights say.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) shares: Vec<Share>,
    /// Whether they are written as a list.
    is_list: bool,
}

/// What serves a model, with more to say about it.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Share {
    /// The upstream, by its name in `[upstreams]`.
    pub(crate) upstream: String,
    /// The model name to send there; without it, the client's.
    pub(crate) model: Option<String>,
    /// Models of this map that answer, in this order, when no server of this one can take a request: all are down,
    /// or busy. An app must be allowed to use them.
    #[serde(default)]
    pub(crate) fallbacks: Vec<String>,
    /// Another upstream that gets a copy of a share of these requests, as to try a new model with what is really asked. Its
    /// answers are dropped, its cost is recorded apart, and clients notice nothing of it.
    pub(crate) mirror: Option<MirrorOptions>,
    /// In a list: its share of the requests, compared with the weights of the others; 0 is none.
    #[serde(default = "one")]
    pub(crate) weight: u32,
}

fn one() -> u32 {
    1
}

impl Entry {
    /// The way to a key of one of its shares.
    pub(crate) fn way<'a>(&self, name: &'a str, index: &'a str, key: &'a str) -> Vec<&'a str> {
        if self.is_list { vec!["models", name, index, key] } else { vec!["models", name, key] }
    }
}

impl Options {
    /// The rules that need no upstreams. Every mistake is told, each at its place.
    pub(crate) fn check(&self, cx: &BuildCx<'_>) {
        if self.models.is_empty() {
            let hint = Some("add one, as in `models = { \"Qwen3-32B\" = \"qwen3-32b\" }`".to_owned());
            let message = "no model is named here, so nothing can be routed";
            // That a default is not among them follows from it.
            return cx.fault(BuildError { hint, ..message.into() }.at(["models"]));
        }
        for (name, entry) in &self.models {
            if name.is_empty() {
                let message = "a model needs a name: clients that send none get `default_model`";
                cx.fault(cx.at(["models", ""], message));
            }
            if entry.shares.iter().all(|share| share.weight == 0) {
                let message = "nothing serves this model: give one of the list a `weight`";
                cx.fault(cx.at(["models", name], message));
            }
            for (index, share) in entry.shares.iter().enumerate() {
                let index = index.to_string();
                if share.model.as_deref() == Some("") {
                    cx.fault(cx.at(entry.way(name, &index, "model"), "the model to send must have a name"));
                }
                if let Some(mirror) = &share.mirror {
                    mirror.check(name, share, &entry.way(name, &index, "mirror"), cx);
                }
                self.check_fallbacks(name, &entry.way(name, &index, "fallbacks"), &share.fallbacks, cx);
            }
        }
        if let Some(Err(error)) = self.default_model.as_deref().map(|model| self.known(model)) {
            cx.fault(error.at(["default_model"]));
        }
    }

    fn check_fallbacks(&self, name: &str, way: &[&str], fallbacks: &[String], cx: &BuildCx<'_>) {
        for (index, fallback) in fallbacks.iter().enumerate() {
            let index_text = index.to_string();
            let at = || way.iter().copied().chain([index_text.as_str()]).collect::<Vec<_>>();
            if let Err(error) = self.known(fallback) {
                cx.fault(error.at(at()));
            } else if fallback == name {
                cx.fault(cx.at(at(), "a model cannot be its own fallback"));
            } else if fallbacks.iter().take(index).any(|before| before == fallback) {
                cx.fault(cx.at(at(), "this fallback is named twice"));
            }
        }
    }

    fn known(&self, model: &str) -> Result<(), BuildError> {
        if self.models.contains_key(model) {
            return Ok(());
        }
        let names = || self.models.keys().map(String::as_str);
        let hint = match near_miss(model, names()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!(
                "`models` has {}",
                names().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
            ),
        };
        Err(BuildError {
            hint: Some(hint),
            ..format!("no model named `{}` in `models`", model.escape_debug()).into()
        })
    }
}

/// Shows what the map looks like where something else stands in its place.
fn models<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, Entry>, D::Error> {
    struct Models;

    impl<'de> Visitor<'de> for Models {
        type Value = BTreeMap<String, Entry>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a table like `models = { \"Qwen3-32B\" = \"qwen3-32b\" }`")
        }

        fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
            BTreeMap::deserialize(MapAccessDeserializer::new(map))
        }
    }

    deserializer.deserialize_map(Models)
}

/// Written by hand: serde's `untagged` would lose the place of every error in it.
impl<'de> Deserialize<'de> for Entry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct EntryVisitor;

        impl<'de> Visitor<'de> for EntryVisitor {
            type Value = Entry;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the name of an upstream, a table with `upstream`, or a list of such tables")
            }

            fn visit_str<E: de::Error>(self, upstream: &str) -> Result<Entry, E> {
                let upstream = upstream.to_owned();
                let share = Share { upstream, model: None, fallbacks: Vec::new(), mirror: None, weight: 1 };
                Ok(Entry { shares: vec![share], is_list: false })
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Entry, A::Error> {
                let share = Share::deserialize(MapAccessDeserializer::new(map))?;
                Ok(Entry { shares: vec![share], is_list: false })
            }

            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Entry, A::Error> {
                let shares = Vec::deserialize(SeqAccessDeserializer::new(list))?;
                Ok(Entry { shares, is_list: true })
            }
        }

        deserializer.deserialize_any(EntryVisitor)
    }
}

impl JsonSchema for Entry {
    fn schema_name() -> Cow<'static, str> {
        "model entry".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let table = Share::json_schema(generator);
        json_schema!({
            "title": "upstream, table or list of tables",
            "anyOf": [
                { "type": "string", "description": "The upstream, by its name in `[upstreams]`." },
                table.clone(),
                { "type": "array", "items": table, "minItems": 1 },
            ],
        })
    }
}
