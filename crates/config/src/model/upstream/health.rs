//! When an endpoint is asked no longer, and when again; what is tried twice.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use vllm_gateway_sdk::DurationText;

use crate::{DurationOrNever, model::at_least_one};

/// How endpoints are looked at, apart from requests.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct HealthOptions {
    /// What is asked for; it costs vLLM no tokens.
    pub path: String,
    /// How often, unless the endpoint has generated something meanwhile; `"never"` leaves it to the requests to find out. An
    /// endpoint that is down is asked every second. A gateway of more than 250 endpoints asks those that are well less often,
    /// fifty in a second: a request that fails has its endpoint looked at at once.
    pub interval: DurationOrNever,
    /// How long the answer may take.
    pub timeout: DurationText,
    /// After so many looks in a row that failed, the endpoint is down. One that succeeds brings it back.
    #[serde(deserialize_with = "at_least_one")]
    #[schemars(range(min = 1))]
    pub failures: u32,
}

impl Default for HealthOptions {
    fn default() -> Self {
        Self {
            path: "/health".to_owned(),
            interval: DurationText::seconds(5).into(),
            timeout: DurationText::seconds(2),
            failures: 2,
        }
    }
}

/// What is done about a server in vLLM's sleep mode. Only a server in development mode (`VLLM_SERVER_DEV_MODE=1`) says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum WhenAsleep {
    /// It is not asked whether it sleeps, and gets requests all the same.
    Ignore,
    /// Requests go to others; if all sleep, they are refused with 503.
    Avoid,
    /// Requests go to others; if none of them can be asked, one that sleeps is woken, and requests wait in the line.
    Wake,
}

/// When requests that fail keep further ones away.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct EjectionOptions {
    /// After so many failures in a row (no connection, one that broke, a status of 500 or more, an answer that did not
    /// begin in time or broke off), requests go to other endpoints. No more than half of the endpoints are ejected, and
    /// never the last.
    #[serde(deserialize_with = "at_least_one")]
    #[schemars(range(min = 1))]
    pub failures: u32,
    /// For how long at first; twice as long each time that it happens again soon.
    pub base: DurationText,
    /// The longest that this becomes.
    pub max: DurationText,
    /// How long it takes an endpoint that comes back to get its whole share of the requests again.
    pub return_over: DurationText,
}

impl Default for EjectionOptions {
    fn default() -> Self {
        Self {
            failures: 5,
            base: DurationText::seconds(5),
            max: DurationText::seconds(300),
            return_over: DurationText::seconds(10),
        }
    }
}

/// What makes another endpoint be tried, besides a connection that does not come about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RetryOn {
    /// vLLM refuses with 503, since its queue is full: nothing was generated.
    Busy,
    /// vLLM refuses with 500, since it is shutting down: nothing was generated.
    Draining,
    /// The connection broke before the answer began. vLLM may have generated the answer already.
    Broken,
}
