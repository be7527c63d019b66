//! What happens to requests while all endpoints are busy.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use vllm_gateway_sdk::DurationText;

/// The line in which requests wait while all endpoints are busy. Apps take turns in it.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct QueueOptions {
    /// How many requests may wait; further ones are answered with 503. 0 lets none wait.
    pub size: usize,
    /// How long one may wait; then it is answered with 503.
    pub timeout: DurationText,
    /// How often a stream that waits is told its place, by a comment; without it, never. Its answer then begins with 200
    /// before a server has taken the request, and whatever fails after that is told by an event of the stream.
    pub tell_place: Option<DurationText>,
    /// Apps, by `orgName` or id, whose requests come before (or, below 0, after) those of others; all others have 0.
    pub priorities: BTreeMap<String, i32>,
}

impl Default for QueueOptions {
    fn default() -> Self {
        Self { size: 1000, timeout: DurationText::seconds(30), tell_place: None, priorities: BTreeMap::new() }
    }
}
