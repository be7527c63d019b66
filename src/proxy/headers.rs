//! Which headers pass. Both ways it is a list of what may, never of what may not.

use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{ACCEPT_ENCODING, ALLOW, AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER, USER_AGENT},
};

/// What vLLM reads of a request and a client may say (the recordings' index lists what vLLM reads).
const REQUEST: [HeaderName; 6] = [
    CONTENT_TYPE,
    HeaderName::from_static("traceparent"),
    HeaderName::from_static("tracestate"),
    HeaderName::from_static("anthropic-version"),
    HeaderName::from_static("x-session-id"),
    HeaderName::from_static("x-vllm-priority"),
];

/// What vLLM says in headers and a client may see. `metadata` describes embeddings that are sent as bytes.
const RESPONSE: [HeaderName; 5] = [
    CONTENT_TYPE,
    RETRY_AFTER,
    ALLOW,
    HeaderName::from_static("metadata"),
    HeaderName::from_static("endpoint-load-metrics"),
];

pub(crate) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The headers of an attempt.
pub(super) fn to_upstream(
    client: &HeaderMap,
    request_id: &str,
    authorization: Option<&HeaderValue>,
) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(8);
    for name in &REQUEST {
        if let Some(value) = client.get(name) {
            headers.insert(name, value.clone());
        }
    }
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    headers.insert(USER_AGENT, HeaderValue::from_static(concat!("vllm-gateway/", env!("CARGO_PKG_VERSION"))));
    if let Ok(id) = HeaderValue::from_str(request_id) {
        headers.insert(X_REQUEST_ID, id);
    }
    if let Some(authorization) = authorization {
        headers.insert(AUTHORIZATION, authorization.clone());
    }
    headers
}

/// The headers of the response, without those that say how it is framed.
pub(super) fn to_client(mut upstream: HeaderMap) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(6);
    for name in RESPONSE {
        if let Some(value) = upstream.remove(&name) {
            headers.insert(name, value);
        }
    }
    headers
}
