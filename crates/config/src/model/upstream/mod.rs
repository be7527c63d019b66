//! `[upstreams.NAME]`: a pool of vLLM servers that serve the same models.

mod balance;
mod health;
mod queue;

use std::{
    num::NonZeroU32,
    path::{Path, PathBuf},
};

use http::HeaderName;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use vllm_gateway_sdk::{DurationText, SecretRef};

use super::at_least_one;
use crate::EndpointUrl;

pub use balance::{Balance, SessionBy};
pub use health::{EjectionOptions, HealthOptions, RetryOn, WhenAsleep};
pub use queue::QueueOptions;

/// A pool of vLLM servers that serve the same models.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(extend("anyOf" = [{"required": ["endpoints"]}, {"required": ["endpoints_file"]}]))]
pub struct UpstreamOptions {
    /// The vLLM servers. They can also be in a file of their own: `endpoints_file`.
    pub endpoints: Vec<EndpointOptions>,
    /// TOML file with (further) `endpoints`, written as here. It is read again when it changes, without a reload.
    pub endpoints_file: Option<PathBuf>,
    /// Sent to vLLM instead of the client's key, as a bearer token; without it, none is sent.
    pub api_key: Option<SecretRef>,
    /// How requests are spread over the endpoints. What each does, and what was measured: docs/balancing.md.
    pub balance: Balance,
    /// Whose session a request belongs to, for `balance = "session"`: of these, the first that it has.
    pub session_by: Vec<SessionBy>,
    /// The most requests that may run at this upstream at the same time, of this gateway; further ones wait.
    #[schemars(range(min = 1))]
    pub max_concurrent: Option<NonZeroU32>,
    /// The most requests that may run at each endpoint.
    #[schemars(range(min = 1))]
    pub max_concurrent_per_endpoint: Option<NonZeroU32>,
    /// The line in which requests wait while all endpoints are busy.
    pub queue: QueueOptions,
    /// How endpoints are looked at, apart from requests.
    pub health: HealthOptions,
    /// What is done about a server in vLLM's sleep mode, which the looks of `health` find out.
    pub when_asleep: WhenAsleep,
    /// When requests that fail keep further ones away.
    pub ejection: EjectionOptions,
    /// What makes another endpoint be tried, besides a connection that does not come about, which always does.
    pub retry_on: Vec<RetryOn>,
    /// How many of the requests that run may be second tries, in percent; three always may. It keeps servers that fail
    /// from being asked even more.
    #[schemars(range(max = 100))]
    pub retry_budget: u32,
    /// How long a connection may take to come about. Then the next endpoint is tried.
    pub connect_timeout: DurationText,
    /// How long the first byte of an answer may take: queueing and, unless streamed, the whole generation.
    pub first_byte_timeout: DurationText,
    /// How long an answer may be silent once it has begun.
    pub gap_timeout: DurationText,
    /// How long a request may take as a whole.
    pub total_timeout: DurationText,
    /// The servers run with `--enable-force-include-usage`: clients see the usage that they did not ask for, as
    /// they would see it from vLLM.
    pub force_include_usage: bool,
    /// PEM file with the certificate authorities that `https` endpoints are checked by, instead of the system's.
    pub ca: Option<PathBuf>,
    /// How many unused connections to each endpoint are kept open.
    pub max_idle_per_endpoint: usize,
}

impl Default for UpstreamOptions {
    fn default() -> Self {
        Self {
            endpoints: Vec::new(),
            endpoints_file: None,
            api_key: None,
            balance: Balance::Prefix,
            session_by: default_session(),
            max_concurrent: None,
            max_concurrent_per_endpoint: None,
            queue: QueueOptions::default(),
            health: HealthOptions::default(),
            when_asleep: WhenAsleep::Avoid,
            ejection: EjectionOptions::default(),
            retry_on: vec![RetryOn::Busy, RetryOn::Draining],
            retry_budget: 20,
            connect_timeout: DurationText::seconds(3),
            first_byte_timeout: DurationText::seconds(600),
            gap_timeout: DurationText::seconds(120),
            total_timeout: DurationText::seconds(3600),
            force_include_usage: false,
            ca: None,
            max_idle_per_endpoint: 256,
        }
    }
}

/// One vLLM server.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EndpointOptions {
    /// Its base URL; the gateway puts the route behind it.
    pub url: EndpointUrl,
    /// Its share of the requests, compared with the weights of the others.
    #[serde(default = "one", deserialize_with = "at_least_one")]
    #[schemars(range(min = 1))]
    pub weight: u32,
    /// Its host is a name with several addresses, as of a headless service: each is an endpoint of its own. The name is
    /// looked up again every ten seconds. Only for `http`.
    #[serde(default)]
    pub resolve: bool,
}

/// A file of endpoints.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EndpointsFile {
    /// The vLLM servers.
    pub endpoints: Vec<EndpointOptions>,
}

impl EndpointsFile {
    /// Reads the file; what is wrong with it comes with its line.
    pub fn read(path: &Path) -> Result<Self, String> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| format!("cannot read `{}`: {error}", path.display()))?;
        toml::from_str(&text).map_err(|error| {
            let line = error
                .span()
                .and_then(|span| text.get(..span.start))
                .map_or(1, |before| before.lines().count());
            format!("`{}`, line {}: {}", path.display(), line.max(1), error.message())
        })
    }
}

fn one() -> u32 {
    1
}

fn default_session() -> Vec<SessionBy> {
    vec![SessionBy::Header(HeaderName::from_static("x-session-id")), SessionBy::User, SessionBy::App]
}
