//! What vLLM means when it refuses a request that another server may take.

use std::{
    pin::{Pin, pin},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{StatusCode, header::RETRY_AFTER};
use http_body_util::{BodyExt, Collected};
use vllm_gateway_client::{Body, Response};
use vllm_gateway_config::RetryOn;
use vllm_gateway_sdk::{Error, Exchange};

use super::wait::until;

/// What a server that is shutting down answers (recording s02).
const DRAINING: &str = "cannot schedule new futures after shutdown";
/// The longest refusal that is read, in bytes. vLLM's own have about 200.
const LONGEST: u64 = 4096;

/// Why a server refused, if nothing was generated for that reason.
pub(super) fn of(status: StatusCode, body: &[u8]) -> Option<RetryOn> {
    match status {
        // Its queue is full (recording b16), or what stands before it says that it is not there.
        StatusCode::SERVICE_UNAVAILABLE => Some(RetryOn::Busy),
        StatusCode::INTERNAL_SERVER_ERROR => is_draining(body).then_some(RetryOn::Draining),
        _ => None,
    }
}

/// Whether these are the words of a server that is shutting down, and nothing else: an error may quote what a client wrote.
fn is_draining(body: &[u8]) -> bool {
    let body: Option<serde_json::Value> = serde_json::from_slice(body).ok();
    body.is_some_and(|body| body["error"]["message"] == DRAINING)
}

/// Whether the answer may be such a refusal and is short enough to be looked into.
pub(super) fn may_be(response: &Response) -> bool {
    use http_body::Body as _;
    matches!(response.status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::INTERNAL_SERVER_ERROR)
        && response.body.size_hint().exact().is_some_and(|length| length <= LONGEST)
}

/// The whole body of a short answer; none if it broke off or did not come in time.
pub(super) async fn read(ex: &mut Exchange, body: Body, deadline: Instant) -> Result<Option<Bytes>, Error> {
    let collected: Pin<&mut _> = pin!(body.collect());
    Ok(until(deadline, ex, collected).await?.and_then(Result::ok).map(Collected::to_bytes))
}

/// When to come back, as a server says it in seconds.
pub(super) fn retry_after(response: &Response) -> Option<Duration> {
    let seconds = response.headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_refusals_before_anything_was_generated_are_known_as_such() {
        let draining = br#"{"error":{"message":"cannot schedule new futures after shutdown"}}"#;
        assert_eq!(of(StatusCode::INTERNAL_SERVER_ERROR, draining), Some(RetryOn::Draining));
        assert_eq!(of(StatusCode::INTERNAL_SERVER_ERROR, b"EngineCore died"), None);
        let quoted = br#"{"error":{"message":"no grammar: cannot schedule new futures after shutdown"}}"#;
        assert_eq!(of(StatusCode::INTERNAL_SERVER_ERROR, quoted), None, "a client's own words");
        assert_eq!(of(StatusCode::SERVICE_UNAVAILABLE, b""), Some(RetryOn::Busy));
        assert_eq!(of(StatusCode::BAD_GATEWAY, draining), None);
    }
}
