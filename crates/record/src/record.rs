//! The record itself, with texts of its own or borrowed ones.

use std::borrow::Cow;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{Outcome, TokenSource};

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
    /// The app that the request acted for; `null` of a copy for a mirror, which acts for nobody.
    pub app_id: Option<S>,
    /// The app's name at that time.
    pub org_name: Option<S>,
    /// First 16 characters of the key that was used.
    pub key_prefix: Option<S>,
    /// Request method.
    pub method: S,
    /// Request path, without the query.
    pub path: S,
    /// The pipeline that served it; of a copy for a mirror, `mirror of` that one. `null` when refused before one was chosen.
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

/// A record whose texts are borrowed from where they stand.
pub type RecordView<'a> = Record<Cow<'a, str>>;

impl<S> Record<S> {
    /// The same record, with something else in place of each of its texts.
    #[must_use]
    pub fn each<'a, T>(&'a self, mut change: impl FnMut(&'a S) -> T) -> Record<T> {
        Record {
            id: self.id,
            request_id: change(&self.request_id),
            time: self.time,
            app_id: self.app_id.as_ref().map(&mut change),
            org_name: self.org_name.as_ref().map(&mut change),
            key_prefix: self.key_prefix.as_ref().map(&mut change),
            method: change(&self.method),
            path: change(&self.path),
            pipeline: self.pipeline.as_ref().map(&mut change),
            model: self.model.as_ref().map(&mut change),
            upstream: self.upstream.as_ref().map(&mut change),
            endpoint: self.endpoint.as_ref().map(&mut change),
            upstream_model: self.upstream_model.as_ref().map(&mut change),
            stream: self.stream,
            status: self.status,
            outcome: self.outcome,
            error_code: self.error_code.as_ref().map(&mut change),
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
            client_ip: change(&self.client_ip),
            user_agent: self.user_agent.as_ref().map(&mut change),
        }
    }
}

impl<S: AsRef<str>> Record<S> {
    /// The same record with its texts borrowed.
    #[must_use]
    pub fn borrowed(&self) -> Record<&str> {
        self.each(AsRef::as_ref)
    }
}

impl<S: AsRef<str>> From<&Record<S>> for Record {
    fn from(record: &Record<S>) -> Self {
        record.each(|text| text.as_ref().to_owned())
    }
}

impl From<RecordView<'_>> for Record {
    fn from(view: RecordView<'_>) -> Self {
        Self::from(&view)
    }
}

impl Record {
    /// A record of which nothing is known but its names, its time and how it ended.
    #[must_use]
    pub fn bare(id: Uuid, request_id: String, time: Timestamp, outcome: Outcome) -> Self {
        Self {
            id,
            request_id,
            time,
            app_id: None,
            org_name: None,
            key_prefix: None,
            method: String::new(),
            path: String::new(),
            pipeline: None,
            model: None,
            upstream: None,
            endpoint: None,
            upstream_model: None,
            stream: false,
            status: 0,
            outcome,
            error_code: None,
            prompt_tokens: None,
            completion_tokens: None,
            total_tokens: None,
            cached_tokens: None,
            reasoning_tokens: None,
            token_source: TokenSource::None,
            duration_ms: 0,
            ttft_ms: None,
            attempts: 0,
            request_bytes: 0,
            response_bytes: 0,
            client_ip: String::new(),
            user_agent: None,
        }
    }

    /// The same record as a view, of a copy of its texts.
    #[must_use]
    pub fn view(&self) -> RecordView<'static> {
        self.each(|text| Cow::Owned(text.clone()))
    }
}
