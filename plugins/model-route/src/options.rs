//! The options of `model-route`, and the rules between them.

use std::{borrow::Cow, collections::BTreeMap, fmt};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{
    Deserialize, Deserializer,
    de::{self, MapAccess, Visitor, value::MapAccessDeserializer},
};
use vllm_gateway_sdk::{BuildCx, BuildError, decode::near_miss};

/// Options of `model-route`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Options {
    /// The model names that clients use, and what serves each: the name of an upstream, or a table with
    /// `upstream`, `model` (the name to send there instead) and `fallbacks` (models that answer in its place).
    #[serde(deserialize_with = "models")]
    pub(crate) models: BTreeMap<String, Entry>,
    /// The model meant by requests that name none. Without it they are refused with 400.
    pub(crate) default_model: Option<String>,
}

/// What serves a model.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) upstream: String,
    pub(crate) model: Option<String>,
    pub(crate) fallbacks: Vec<String>,
}

/// What serves a model, with more to say about it.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct EntryTable {
    /// The upstream, by its name in `[upstreams]`.
    upstream: String,
    /// The model name to send there; without it, the client's.
    model: Option<String>,
    /// Models of this map that answer, in this order, when no server of this one can take a request: all are down,
    /// or busy. An app must be allowed to use them.
    #[serde(default)]
    fallbacks: Vec<String>,
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
            if entry.model.as_deref() == Some("") {
                cx.fault(cx.at(["models", name, "model"], "the model to send must have a name"));
            }
            self.check_fallbacks(name, &entry.fallbacks, cx);
        }
        if let Some(Err(error)) = self.default_model.as_deref().map(|model| self.known(model)) {
            cx.fault(error.at(["default_model"]));
        }
    }

    fn check_fallbacks(&self, name: &str, fallbacks: &[String], cx: &BuildCx<'_>) {
        for (index, fallback) in fallbacks.iter().enumerate() {
            let at = ["models", name, "fallbacks", &index.to_string()];
            if let Err(error) = self.known(fallback) {
                cx.fault(error.at(at));
            } else if fallback == name {
                cx.fault(cx.at(at, "a model cannot be its own fallback"));
            } else if fallbacks.iter().take(index).any(|before| before == fallback) {
                cx.fault(cx.at(at, "this fallback is named twice"));
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
                f.write_str("the name of an upstream or a table with `upstream`")
            }

            fn visit_str<E: de::Error>(self, upstream: &str) -> Result<Entry, E> {
                Ok(Entry { upstream: upstream.to_owned(), model: None, fallbacks: Vec::new() })
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Entry, A::Error> {
                let EntryTable { upstream, model, fallbacks } =
                    EntryTable::deserialize(MapAccessDeserializer::new(map))?;
                Ok(Entry { upstream, model, fallbacks })
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
        let table = EntryTable::json_schema(generator);
        json_schema!({
            "title": "upstream or table",
            "anyOf": [{ "type": "string", "description": "The upstream, by its name in `[upstreams]`." }, table],
        })
    }
}
