//! `[journal]`: the way of access-log records to the store.

use std::{borrow::Cow, time::Duration};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use vllm_gateway_sdk::{DurationText, SizeText};

/// Where access-log records wait for the store, so that neither a crash nor an outage loses one. A change of any of its
/// options needs a restart.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct JournalOptions {
    /// Its folder, on a local disk; each gateway has its own. Without it, `journal` beside the embedded store, or
    /// `data/journal` where the store is MongoDB.
    pub path: Option<String>,
    /// The most that it takes on the disk, at least 4 MiB; one record takes 1 KiB, a long one up to 8. While the store
    /// is away and this is used up, requests are refused with 503 `log_unavailable`.
    pub max_size: SizeText,
    /// How often records are synced, so that they outlive a loss of power, too; `"never"` leaves that to the system.
    /// A crash of the gateway loses none either way.
    pub sync_every: SyncEvery,
}

impl Default for JournalOptions {
    fn default() -> Self {
        Self {
            path: None,
            max_size: SizeText::mebibytes(1024),
            sync_every: SyncEvery(Some(DurationText::seconds(1))),
        }
    }
}

/// A duration, or `"never"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct SyncEvery(Option<DurationText>);

impl SyncEvery {
    /// How often; `None` is never.
    #[must_use]
    pub fn get(self) -> Option<Duration> {
        self.0.map(DurationText::get)
    }
}

impl TryFrom<String> for SyncEvery {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if text == "never" {
            return Ok(Self(None));
        }
        DurationText::try_from(text)
            .map(|every| Self(Some(every)))
            .map_err(|problem| format!("{problem}; or write \"never\""))
    }
}

impl From<SyncEvery> for String {
    fn from(every: SyncEvery) -> Self {
        every.0.map_or_else(|| "never".to_owned(), String::from)
    }
}

impl JsonSchema for SyncEvery {
    fn schema_name() -> Cow<'static, str> {
        "duration or \"never\"".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "title": "duration or \"never\"", "examples": ["1s", "never"] })
    }
}
