//! A duration that may be none.

use std::{borrow::Cow, time::Duration};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use vllm_gateway_sdk::DurationText;

/// A duration, or `"never"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct DurationOrNever(Option<DurationText>);

impl DurationOrNever {
    /// How often; `None` is never.
    #[must_use]
    pub fn get(self) -> Option<Duration> {
        self.0.map(DurationText::get)
    }
}

impl From<DurationText> for DurationOrNever {
    fn from(every: DurationText) -> Self {
        Self(Some(every))
    }
}

impl TryFrom<String> for DurationOrNever {
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

impl From<DurationOrNever> for String {
    fn from(every: DurationOrNever) -> Self {
        every.0.map_or_else(|| "never".to_owned(), String::from)
    }
}

impl JsonSchema for DurationOrNever {
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
