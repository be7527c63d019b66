//! The access-log record: what is kept of every request, and nothing that was said in it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// How an exchange ended, as it stands in the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Outcome {
    /// The upstream's answer reached its proper end, whatever its status.
    Finished,
    /// The gateway answered by itself: a refusal, `/v1/models`, a plugin's reply.
    Replied,
    /// The upstream failed before the first byte reached the client.
    UpstreamError,
    /// The upstream failed after the first byte had reached the client.
    UpstreamBroke,
    /// A deadline passed.
    Timeout,
    /// The client left before the end.
    ClientGone,
    /// A bug or panic of the gateway after the head had gone out.
    GatewayError,
    /// The gateway died, or cut the stream at the end of `shutdown_grace`.
    Interrupted,
}

impl Outcome {
    /// All outcomes, in the order of the documentation.
    pub const ALL: [Self; 8] = [
        Self::Finished,
        Self::Replied,
        Self::UpstreamError,
        Self::UpstreamBroke,
        Self::Timeout,
        Self::ClientGone,
        Self::GatewayError,
        Self::Interrupted,
    ];

    /// The name that stands in records, metrics and queries.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Finished => "finished",
            Self::Replied => "replied",
            Self::UpstreamError => "upstream_error",
            Self::UpstreamBroke => "upstream_broke",
            Self::Timeout => "timeout",
            Self::ClientGone => "client_gone",
            Self::GatewayError => "gateway_error",
            Self::Interrupted => "interrupted",
        }
    }

    /// The outcome of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|outcome| outcome.as_str() == name)
    }
}

/// Where the token counts of a record come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum TokenSource {
    /// vLLM's final word.
    Usage,
    /// The last running usage of a request that did not end.
    Partial,
    /// Counted from events, where vLLM offers no running usage.
    Estimated,
    /// Nothing was counted.
    #[default]
    None,
}

impl TokenSource {
    /// The name that stands in records.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Usage => "usage",
            Self::Partial => "partial",
            Self::Estimated => "estimated",
            Self::None => "none",
        }
    }
}

/// One request as the access log keeps it. Prompts, answers and keys are never in it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// Minted by the gateway (UUID version 7, so it sorts by time); the key of the record in every store.
    #[schemars(with = "String")]
    pub id: Uuid,
    /// `x-request-id` as the client got it.
    pub request_id: String,
    /// When the request's head had been read.
    #[schemars(with = "String")]
    pub time: Timestamp,
    /// The app that the request acted for.
    pub app_id: Option<String>,
    /// The app's name at that time.
    pub org_name: Option<String>,
    /// First 16 characters of the key that was used.
    pub key_prefix: Option<String>,
    /// Request method.
    pub method: String,
    /// Request path, without the query.
    pub path: String,
    /// The pipeline that served it; `null` when refused before one was chosen.
    pub pipeline: Option<String>,
    /// The model that the client asked for.
    pub model: Option<String>,
    /// The upstream that was chosen.
    pub upstream: Option<String>,
    /// The endpoint of the last attempt.
    pub endpoint: Option<String>,
    /// The model name sent to the upstream.
    pub upstream_model: Option<String>,
    /// Whether the answer was asked for as a stream.
    pub stream: bool,
    /// The status that the client was sent; 499 if it left before one.
    pub status: u16,
    /// How it ended.
    pub outcome: Outcome,
    /// The gateway's own error code, when it refused or failed.
    pub error_code: Option<String>,
    /// Tokens of the prompt.
    pub prompt_tokens: Option<u64>,
    /// Tokens generated.
    pub completion_tokens: Option<u64>,
    /// Both together.
    pub total_tokens: Option<u64>,
    /// Prompt tokens that came from vLLM's prefix cache.
    pub cached_tokens: Option<u64>,
    /// Generated tokens that were reasoning.
    pub reasoning_tokens: Option<u64>,
    /// Where the counts come from.
    pub token_source: TokenSource,
    /// From the request's head to the end, in milliseconds.
    pub duration_ms: u64,
    /// From the request's head to the first body byte for the client, in milliseconds.
    pub ttft_ms: Option<u64>,
    /// How many times an endpoint was tried.
    pub attempts: u32,
    /// Bytes of the request body.
    pub request_bytes: u64,
    /// Bytes of the response body that were handed to the client's connection.
    pub response_bytes: u64,
    /// The client's address; from a forwarded header only when a trusted proxy set it.
    pub client_ip: String,
    /// The client's `user-agent`.
    pub user_agent: Option<String>,
}
