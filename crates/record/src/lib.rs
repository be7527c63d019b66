//! The access-log record: what is kept of every request, and nothing that was said in it.

use std::borrow::Cow;

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

/// One request as the access log keeps it. Prompts, answers and keys are never in it.
///
/// Its texts are its own, or borrowed: a [`RecordView`] is made without copying any.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Record")]
pub struct Record<S = String> {
    /// Minted by the gateway (UUID version 7, so it sorts by time); the key of the record in every store.
    #[schemars(with = "String")]
    pub id: Uuid,
    /// `x-request-id` as the client got it.
    pub request_id: S,
    /// When the request's head had been read.
    #[schemars(with = "String")]
    pub time: Timestamp,
    /// The app that the request acted for.
    pub app_id: Option<S>,
    /// The app's name at that time.
    pub org_name: Option<S>,
    /// First 16 characters of the key that was used.
    pub key_prefix: Option<S>,
    /// Request method.
    pub method: S,
    /// Request path, without the query.
    pub path: S,
    /// The pipeline that served it; `null` when refused before one was chosen.
    pub pipeline: Option<S>,
    /// The model that the client asked for.
    pub model: Option<S>,
    /// The upstream that was chosen.
    pub upstream: Option<S>,
    /// The endpoint of the last attempt.
    pub endpoint: Option<S>,
    /// The model name sent to the upstream.
    pub upstream_model: Option<S>,
    /// Whether the answer was asked for as a stream.
    pub stream: bool,
    /// The status that the client was sent; 499 if it left before one.
    pub status: u16,
    /// How it ended.
    pub outcome: Outcome,
    /// The gateway's own error code, when it refused or failed.
    pub error_code: Option<S>,
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
    pub client_ip: S,
    /// The client's `user-agent`.
    pub user_agent: Option<S>,
}

/// The part of a record that changes until its end.
#[derive(Clone, Copy, Debug)]
pub struct Progress<'a> {
    /// As in [`Record`].
    pub endpoint: Option<&'a str>,
    /// As in [`Record`].
    pub status: u16,
    /// As in [`Record`].
    pub outcome: Outcome,
    /// As in [`Record`].
    pub error_code: Option<&'a str>,
    /// As in [`Record`].
    pub prompt_tokens: Option<u64>,
    /// As in [`Record`].
    pub completion_tokens: Option<u64>,
    /// As in [`Record`].
    pub total_tokens: Option<u64>,
    /// As in [`Record`].
    pub cached_tokens: Option<u64>,
    /// As in [`Record`].
    pub reasoning_tokens: Option<u64>,
    /// As in [`Record`].
    pub token_source: TokenSource,
    /// As in [`Record`].
    pub duration_ms: u64,
    /// As in [`Record`].
    pub ttft_ms: Option<u64>,
    /// As in [`Record`].
    pub attempts: u32,
    /// As in [`Record`].
    pub request_bytes: u64,
    /// As in [`Record`].
    pub response_bytes: u64,
}

impl<S: AsRef<str>> Record<S> {
    /// What of it changes until its end.
    #[must_use]
    pub fn progress(&self) -> Progress<'_> {
        Progress {
            endpoint: self.endpoint.as_ref().map(AsRef::as_ref),
            status: self.status,
            outcome: self.outcome,
            error_code: self.error_code.as_ref().map(AsRef::as_ref),
            prompt_tokens: self.prompt_tokens,
            completion_tokens: self.completion_tokens,
            total_tokens: self.total_tokens,
            cached_tokens: self.cached_tokens,
            reasoning_tokens: self.reasoning_tokens,
            token_source: self.token_source,
            duration_ms: self.duration_ms,
            ttft_ms: self.ttft_ms,
            attempts: self.attempts,
            request_bytes: self.request_bytes,
            response_bytes: self.response_bytes,
        }
    }
}

/// A record whose texts are borrowed from where they stand.
pub type RecordView<'a> = Record<Cow<'a, str>>;

impl From<RecordView<'_>> for Record {
    fn from(view: RecordView<'_>) -> Self {
        let owned = |text: Option<Cow<'_, str>>| text.map(Cow::into_owned);
        Self {
            id: view.id,
            request_id: view.request_id.into_owned(),
            time: view.time,
            app_id: owned(view.app_id),
            org_name: owned(view.org_name),
            key_prefix: owned(view.key_prefix),
            method: view.method.into_owned(),
            path: view.path.into_owned(),
            pipeline: owned(view.pipeline),
            model: owned(view.model),
            upstream: owned(view.upstream),
            endpoint: owned(view.endpoint),
            upstream_model: owned(view.upstream_model),
            stream: view.stream,
            status: view.status,
            outcome: view.outcome,
            error_code: owned(view.error_code),
            prompt_tokens: view.prompt_tokens,
            completion_tokens: view.completion_tokens,
            total_tokens: view.total_tokens,
            cached_tokens: view.cached_tokens,
            reasoning_tokens: view.reasoning_tokens,
            token_source: view.token_source,
            duration_ms: view.duration_ms,
            ttft_ms: view.ttft_ms,
            attempts: view.attempts,
            request_bytes: view.request_bytes,
            response_bytes: view.response_bytes,
            client_ip: view.client_ip.into_owned(),
            user_agent: owned(view.user_agent),
        }
    }
}

impl Record {
    /// The same record, its texts borrowed.
    #[must_use]
    pub fn view(&self) -> RecordView<'_> {
        fn text(text: Option<&String>) -> Option<Cow<'_, str>> {
            text.map(|text| Cow::Borrowed(text.as_str()))
        }
        RecordView {
            id: self.id,
            request_id: self.request_id.as_str().into(),
            time: self.time,
            app_id: text(self.app_id.as_ref()),
            org_name: text(self.org_name.as_ref()),
            key_prefix: text(self.key_prefix.as_ref()),
            method: self.method.as_str().into(),
            path: self.path.as_str().into(),
            pipeline: text(self.pipeline.as_ref()),
            model: text(self.model.as_ref()),
            upstream: text(self.upstream.as_ref()),
            endpoint: text(self.endpoint.as_ref()),
            upstream_model: text(self.upstream_model.as_ref()),
            stream: self.stream,
            status: self.status,
            outcome: self.outcome,
            error_code: text(self.error_code.as_ref()),
            prompt_tokens: self.prompt_tokens,
            completion_tokens: self.completion_tokens,
            total_tokens: self.total_tokens,
            cached_tokens: self.cached_tokens,
            reasoning_tokens: self.reasoning_tokens,
            token_source: self.token_source,
            duration_ms: self.duration_ms,
            ttft_ms: self.ttft_ms,
            attempts: self.attempts,
            request_bytes: self.request_bytes,
            response_bytes: self.response_bytes,
            client_ip: self.client_ip.as_str().into(),
            user_agent: text(self.user_agent.as_ref()),
        }
    }
}
