//! How an exchange ended, and where its counts come from.

use serde::{Deserialize, Serialize};

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
    /// All sources, in the order of the documentation.
    pub const ALL: [Self; 4] = [Self::Usage, Self::Partial, Self::Estimated, Self::None];

    /// The source of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|source| source.as_str() == name)
    }

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
