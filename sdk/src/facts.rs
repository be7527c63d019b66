//! What is known of an exchange so far, for filters to read and for the record.

mod mirrored;

use std::{
    borrow::Cow,
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use http::{HeaderValue, StatusCode, header::USER_AGENT, request::Parts};
use jiff::Timestamp;
use uuid::Uuid;
use vllm_gateway_wire::usage::Usage;

use crate::{
    Consumer, Outcome, Progress, Record, RecordView, Target, TokenSource,
    mask::{masked, masked_wholly},
};

/// What is known of an exchange so far.
#[derive(Debug)]
pub struct Facts {
    pub(crate) id: Uuid,
    pub(crate) request_id: String,
    pub(crate) time: Timestamp,
    pub(crate) started: Instant,
    method: http::Method,
    uri: http::Uri,
    user_agent: Option<HeaderValue>,
    pub(crate) pipeline: Option<Arc<str>>,
    client_ip: IpAddr,
    /// Whether it is a copy, for a mirror.
    mirrored: bool,
    pub(crate) consumer: Option<Arc<Consumer>>,
    pub(crate) model: Option<String>,
    pub(crate) target: Option<Target>,
    pub(crate) endpoint: Option<Arc<str>>,
    pub(crate) stream: bool,
    pub(crate) status: Option<StatusCode>,
    pub(crate) error_code: Option<Cow<'static, str>>,
    pub(crate) tokens: Tokens,
    pub(crate) attempts: u32,
    pub(crate) fallbacks: u32,
    pub(crate) request_bytes: u64,
    pub(crate) response_bytes: u64,
    pub(crate) first_byte: Option<Instant>,
    pub(crate) body_wait: Duration,
    pub(crate) upstream_wait: Duration,
}

/// Tokens counted, as far as they are known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tokens {
    /// The counts.
    pub usage: Usage,
    /// Where they come from.
    pub source: TokenSource,
}

impl Facts {
    /// The facts of a request that has just arrived.
    #[must_use]
    pub fn new(head: &Parts, id: RequestId, client_ip: IpAddr, pipeline: Option<Arc<str>>) -> Self {
        let RequestId { text: request_id, record: id, time } = id;
        Self {
            id,
            request_id,
            time,
            started: Instant::now(),
            method: head.method.clone(),
            uri: head.uri.clone(),
            user_agent: head.headers.get(USER_AGENT).cloned(),
            pipeline,
            client_ip,
            mirrored: false,
            consumer: None,
            model: None,
            target: None,
            endpoint: None,
            stream: false,
            status: None,
            error_code: None,
            tokens: Tokens::default(),
            attempts: 0,
            fallbacks: 0,
            request_bytes: 0,
            response_bytes: 0,
            first_byte: None,
            body_wait: Duration::ZERO,
            upstream_wait: Duration::ZERO,
        }
    }

    /// The record's id, minted by the gateway.
    #[must_use]
    pub fn id(&self) -> Uuid {
        self.id
    }

    /// `x-request-id`, as it goes to the client and to vLLM.
    #[must_use]
    pub fn request_id(&self) -> &str {
        &self.request_id
    }

    /// When the request's head had been read.
    #[must_use]
    pub fn time(&self) -> Timestamp {
        self.time
    }

    /// How long ago that was.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// The pipeline, by its name in `gateway.toml`.
    #[must_use]
    pub fn pipeline(&self) -> Option<&str> {
        self.pipeline.as_deref()
    }

    /// The client's address.
    #[must_use]
    pub fn client_ip(&self) -> IpAddr {
        self.client_ip
    }

    /// Whether this is a copy of a request, whose answer nobody gets: it was sent to a [`Mirror`](crate::Mirror).
    #[must_use]
    pub fn is_mirrored(&self) -> bool {
        self.mirrored
    }

    /// Who the request acts for, once a filter has said so.
    #[must_use]
    pub fn consumer(&self) -> Option<&Arc<Consumer>> {
        self.consumer.as_ref()
    }

    /// The model that the client asked for, once somebody has looked.
    #[must_use]
    pub fn model(&self) -> Option<&str> {
        self.model.as_deref()
    }

    /// Where the request goes, once a filter has said so.
    #[must_use]
    pub fn target(&self) -> Option<&Target> {
        self.target.as_ref()
    }

    /// The endpoint of the latest attempt.
    #[must_use]
    pub fn endpoint(&self) -> Option<&str> {
        self.endpoint.as_deref()
    }

    /// Whether the answer was asked for as a stream.
    #[must_use]
    pub fn stream(&self) -> bool {
        self.stream
    }

    /// The status that the client is sent, once it is known.
    #[must_use]
    pub fn status(&self) -> Option<StatusCode> {
        self.status
    }

    /// The gateway's own error code, if it refused or failed.
    #[must_use]
    pub fn error_code(&self) -> Option<&str> {
        self.error_code.as_deref()
    }

    /// Tokens counted so far: of a stream what vLLM has told by now, final in `on_last` and `on_complete`.
    #[must_use]
    pub fn tokens(&self) -> Tokens {
        self.tokens
    }

    /// How many times an endpoint was tried.
    #[must_use]
    pub fn attempts(&self) -> u32 {
        self.attempts
    }

    /// How many times it went to another target than the one before.
    #[must_use]
    pub fn fallbacks(&self) -> u32 {
        self.fallbacks
    }

    /// Bytes of the request body that were read.
    #[must_use]
    pub fn request_bytes(&self) -> u64 {
        self.request_bytes
    }

    /// Bytes of the response body so far.
    #[must_use]
    pub fn response_bytes(&self) -> u64 {
        self.response_bytes
    }

    /// From the request's head to the first byte of the response's body.
    #[must_use]
    pub fn time_to_first_byte(&self) -> Option<Duration> {
        Some(self.first_byte?.duration_since(self.started))
    }

    /// How long it took to read the request's body, which the client may send at its leisure.
    #[must_use]
    pub fn body_wait(&self) -> Duration {
        self.body_wait
    }

    /// How long the request side of the upstream call took: connecting, sending, and waiting for the head.
    #[must_use]
    pub fn upstream_wait(&self) -> Duration {
        self.upstream_wait
    }

    /// Says that the gateway refused the request with this status and code, for a record outside of pipelines.
    pub fn refused(&mut self, error: &crate::Error) {
        self.status = Some(error.status());
        self.error_code = error.code().cloned();
    }

    /// The record of this exchange, if it ended now and like this.
    #[must_use]
    pub fn record(&self, outcome: Outcome) -> Record {
        self.view(outcome).into()
    }

    /// The same record, its texts borrowed from here where they can be.
    #[must_use]
    pub fn view(&self, outcome: Outcome) -> RecordView<'_> {
        fn text(text: Option<&str>) -> Option<Cow<'_, str>> {
            text.map(Cow::Borrowed)
        }
        let now = self.progress(outcome);
        let consumer = self.consumer.as_deref();
        RecordView {
            id: self.id,
            request_id: masked(&self.request_id, 128),
            time: self.time,
            app_id: text(consumer.map(|c| c.id.as_str())),
            org_name: text(consumer.map(|c| c.name.as_str())),
            key_prefix: text(consumer.map(|c| c.key_prefix.as_str())),
            method: masked(self.method.as_str(), 16),
            path: masked_wholly(self.uri.path(), 512),
            pipeline: text(self.pipeline.as_deref()),
            model: self.model.as_deref().map(|model| {
                // A name that was routed stands in `gateway.toml`; any other may be whatever was pasted.
                if self.target.is_some() { masked(model, 256) } else { masked_wholly(model, 256) }
            }),
            upstream: text(self.target.as_ref().map(|target| target.upstream.as_ref())),
            endpoint: text(now.endpoint),
            upstream_model: self.upstream_model().map(|model| masked(model, 256)),
            stream: self.stream,
            status: now.status,
            outcome,
            error_code: text(now.error_code),
            prompt_tokens: now.prompt_tokens,
            completion_tokens: now.completion_tokens,
            total_tokens: now.total_tokens,
            cached_tokens: now.cached_tokens,
            reasoning_tokens: now.reasoning_tokens,
            token_source: now.token_source,
            duration_ms: now.duration_ms,
            ttft_ms: now.ttft_ms,
            attempts: now.attempts,
            request_bytes: now.request_bytes,
            response_bytes: now.response_bytes,
            client_ip: text_of(self.client_ip).into(),
            user_agent: self.user_agent.as_ref().map(|agent| match agent.to_str() {
                Ok(agent) => masked_wholly(agent, 256),
                Err(_) => masked_wholly(&String::from_utf8_lossy(agent.as_bytes()), 256).into_owned().into(),
            }),
        }
    }

    /// What of the record changes until its end: cheap enough for every chunk.
    #[must_use]
    pub fn progress(&self, outcome: Outcome) -> Progress<'_> {
        let usage = self.tokens.usage;
        Progress {
            endpoint: self.endpoint.as_deref(),
            status: self.status.map_or(499, |status| status.as_u16()),
            outcome,
            error_code: self.error_code.as_deref(),
            prompt_tokens: usage.prompt,
            completion_tokens: usage.completion,
            total_tokens: usage.total,
            cached_tokens: usage.cached,
            reasoning_tokens: usage.reasoning,
            token_source: self.tokens.source,
            duration_ms: millis(self.started.elapsed()),
            ttft_ms: self.time_to_first_byte().map(millis),
            attempts: self.attempts,
            request_bytes: self.request_bytes,
            response_bytes: self.response_bytes,
        }
    }

    /// The model's name at the upstream: known once a target is.
    fn upstream_model(&self) -> Option<&str> {
        let target = self.target.as_ref()?;
        target.model.as_deref().or(self.model.as_deref())
    }
}

/// The ids of a request that has just arrived: the one that it has for everybody, and that of its record.
#[derive(Clone, Debug)]
pub struct RequestId {
    text: String,
    record: Uuid,
    time: Timestamp,
}

impl RequestId {
    /// Of a request that brought none: both are the same, so that a store keeps it once.
    #[must_use]
    pub fn new() -> Self {
        let time = Timestamp::now();
        let record = record_id(time);
        Self { text: record.simple().encode_lower(&mut Uuid::encode_buffer()).to_owned(), record, time }
    }

    /// Of a request that brought this one. Its record has another all the same: clients may repeat theirs.
    #[must_use]
    pub fn given(text: impl Into<String>) -> Self {
        let time = Timestamp::now();
        Self { text: text.into(), record: record_id(time), time }
    }

    /// The one that goes to vLLM and back to the client.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl Default for RequestId {
    fn default() -> Self {
        Self::new()
    }
}

/// A UUID of version 7 for this moment. Not `Uuid::now_v7`, which shares a lock between all threads.
fn record_id(time: Timestamp) -> Uuid {
    let seconds = u64::try_from(time.as_second()).unwrap_or_default();
    let nanoseconds = u32::try_from(time.subsec_nanosecond()).unwrap_or_default();
    Uuid::new_v7(uuid::Timestamp::from_unix(uuid::NoContext, seconds, nanoseconds))
}

/// The address as it displays itself, which costs a fiftieth of a request for each.
fn text_of(address: IpAddr) -> String {
    let IpAddr::V4(address) = address else { return address.to_string() };
    let mut text = String::with_capacity("255.255.255.255".len());
    for (at, octet) in address.octets().into_iter().enumerate() {
        if at > 0 {
            text.push('.');
        }
        text.push_str(itoa::Buffer::new().format(octet));
    }
    text
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_stands_in_a_record_as_it_displays_itself() {
        for text in ["0.0.0.0", "127.0.0.1", "9.10.99.100", "255.255.255.255", "::1", "2001:db8::a:b"] {
            assert_eq!(text.parse().map(text_of).as_deref(), Ok(text));
        }
    }

    #[test]
    fn a_new_id_is_that_of_the_record_without_dashes() {
        let id = RequestId::new();
        assert_eq!(id.as_str(), id.record.simple().to_string());
    }
}
