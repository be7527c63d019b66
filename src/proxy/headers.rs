//! Which headers pass. Both ways it is a list of what may, never of what may not.

use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{
        ACCEPT_ENCODING, ALLOW, AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER, USER_AGENT,
    },
};
use vllm_gateway_client::Request;

/// What vLLM reads of a request and a client may say (the recordings' index lists what vLLM reads).
static REQUEST: [HeaderName; 6] = [
    CONTENT_TYPE,
    HeaderName::from_static("traceparent"),
    HeaderName::from_static("tracestate"),
    HeaderName::from_static("anthropic-version"),
    HeaderName::from_static("x-session-id"),
    HeaderName::from_static("x-vllm-priority"),
];

/// What vLLM says in headers and a client may see. `metadata` describes embeddings that are sent as bytes.
/// `Content-Encoding` is looked at here and goes no further.
pub(super) static RESPONSE: [HeaderName; 6] = [
    CONTENT_TYPE,
    RETRY_AFTER,
    ALLOW,
    HeaderName::from_static("metadata"),
    HeaderName::from_static("endpoint-load-metrics"),
    CONTENT_ENCODING,
];

pub(crate) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

static IDENTITY: HeaderValue = HeaderValue::from_static("identity");
static AGENT: HeaderValue = HeaderValue::from_static(concat!("vllm-gateway/", env!("CARGO_PKG_VERSION")));

/// Writes the headers of an attempt.
pub(super) fn to_upstream(
    request: &mut Request,
    client: &HeaderMap,
    request_id: &str,
    authorization: Option<&HeaderValue>,
) {
    // One look at each, and of several values the first.
    let mut passed = [false; REQUEST.len()];
    for (name, value) in client {
        if let Some(at) = REQUEST.iter().position(|may_pass| may_pass == name)
            && !std::mem::replace(&mut passed[at], true)
        {
            request.header(name, value);
        }
    }
    request.header(&ACCEPT_ENCODING, &IDENTITY);
    request.header(&USER_AGENT, &AGENT);
    if let Ok(id) = HeaderValue::from_str(request_id) {
        request.header(&X_REQUEST_ID, &id);
    }
    if let Some(authorization) = authorization {
        request.header(&AUTHORIZATION, authorization);
    }
}
