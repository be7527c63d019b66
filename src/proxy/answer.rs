//! An endpoint's answer, once its head is there.

use std::time::Duration;

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, StatusCode,
    header::{CONTENT_ENCODING, CONTENT_TYPE},
};
use vllm_gateway_client::Response;
use vllm_gateway_sdk::{Choices, Error};
use vllm_gateway_wire::sse::Hide;

use super::{body::AnswerBody, plan::Plan};
use crate::upstream::Lease;

/// An endpoint's answer, and what is needed to read on.
pub(super) struct Taken {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: AnswerBody,
    /// The slot of its endpoint; none where nothing is to come any more.
    pub(super) lease: Option<Lease>,
    pub(super) hide: Hide,
    pub(super) choices: Choices,
    /// How long it may be silent, and how long the request may take as a whole.
    pub(super) gap: Duration,
    pub(super) total: Duration,
}

impl Taken {
    /// An answer whose body is to come.
    pub(super) fn coming(response: Response, lease: Lease, plan: &Plan) -> Self {
        let Response { status, headers, body } = response;
        Self { lease: Some(lease), ..Self::of(status, headers, AnswerBody::Coming(body), plan) }
    }

    /// An answer whose body was read already.
    pub(super) fn read(status: StatusCode, headers: HeaderMap, body: Bytes, plan: &Plan) -> Self {
        Self::of(status, headers, AnswerBody::Read(body), plan)
    }

    /// Whether it is a stream of events that goes well so far.
    pub(super) fn is_stream(&self) -> bool {
        self.status == StatusCode::OK && self.headers.get(CONTENT_TYPE).is_some_and(is_event_stream)
    }

    fn of(status: StatusCode, headers: HeaderMap, body: AnswerBody, plan: &Plan) -> Self {
        let Plan { hide, choices, gap, total, .. } = *plan;
        Self { status, headers, body, lease: None, hide, choices, gap, total }
    }
}

/// Refuses what no client could use: an upgrade or redirect that leads nowhere here, a body that was encoded unasked.
pub(super) fn usable(response: &Response) -> Result<(), Error> {
    if !matches!(response.status.as_u16(), 200..=299 | 400..=599) {
        return Err(Error::upstream("the upstream answered with a status that makes no sense here"));
    }
    let mut encodings = response.headers.get_all(CONTENT_ENCODING).iter();
    if encodings.any(|encoding| !encoding.as_bytes().eq_ignore_ascii_case(b"identity")) {
        return Err(Error::upstream("the upstream compressed its answer, which it was not asked to"));
    }
    Ok(())
}

/// Whether this content type is that of a stream of events.
pub(crate) fn is_event_stream(kind: &HeaderValue) -> bool {
    kind.as_bytes().get(..17).is_some_and(|kind| kind.eq_ignore_ascii_case(b"text/event-stream"))
}
