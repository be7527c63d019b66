//! Calls an upstream: one attempt after another until an endpoint takes the request, then the answer's way back.

use std::{
    pin::{Pin, pin},
    sync::Arc,
    time::{Duration, Instant},
};

use http::{
    HeaderValue, StatusCode,
    header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE},
};
use http_body::Body as _;
use vllm_gateway_client::{Request, Response, SendError, send};
use vllm_gateway_sdk::{
    AnswerReader, Deadlines, Error, Exchange, Head, Outcome, Reply, RequestBody, ResponseBody,
};
use vllm_gateway_wire::sse::Hide;

use super::{
    body::Leased,
    headers::{self, RESPONSE},
    plan::Plan,
};
use crate::{
    descriptors,
    telemetry::metrics,
    upstream::{Endpoint, Lease, Upstream},
};

/// An answer on its way to the client.
pub(crate) enum Answered {
    /// The gateway's own.
    Reply(Reply),
    /// The upstream's.
    Response(Head, Box<ResponseBody<Leased>>),
}

/// Sends the request of this exchange to the upstream. `heartbeat` is the silence after which a stream carries a comment.
pub(crate) async fn dispatch(
    mut ex: Box<Exchange>,
    upstream: &Upstream,
    heartbeat: Option<Duration>,
) -> Answered {
    let started = Instant::now();
    let taken = match body_of(&mut ex).await {
        Ok(body) => attempts(&mut ex, upstream, body).await,
        Err(error) => Err(error),
    };
    ex.answered(started.elapsed());
    match taken {
        Ok(taken) => respond(ex, upstream, taken, started, heartbeat),
        Err(error) => Answered::Reply(ex.refuse(&error)),
    }
}

/// A pipeline may route without looking at the body; it is still read to its end before vLLM is called.
async fn body_of(ex: &mut Exchange) -> Result<RequestBody, Error> {
    if let Some(body) = ex.take_body() {
        return Ok(body);
    }
    ex.body().await?;
    ex.take_body().ok_or_else(Error::internal)
}

/// An endpoint's head, and what is needed to read on.
struct Taken {
    response: Response,
    endpoint: Arc<Endpoint>,
    lease: Lease,
    hide: Hide,
    choices: vllm_gateway_sdk::Choices,
}

async fn attempts(ex: &mut Exchange, upstream: &Upstream, body: RequestBody) -> Result<Taken, Error> {
    ex.before_upstream()?;
    let plan = Plan::new(ex, &body, upstream.forces_usage)?;
    let deadline = Instant::now() + upstream.first_byte_timeout;
    let mut refused = false;
    for endpoint in upstream.candidates() {
        let lease = endpoint.lease().ok_or_else(overloaded)?;
        ex.attempt(&endpoint.url);
        let request = request(ex, upstream, endpoint, &plan);
        let call = pin!(send(&upstream.connector, &endpoint.origin, request, &RESPONSE));
        match head_by(deadline, ex, call).await? {
            Some(Ok(response)) => {
                endpoint.reached();
                metrics::attempt(upstream, endpoint, response.status.as_u16());
                usable(&response)?;
                let endpoint = Arc::clone(endpoint);
                return Ok(Taken { response, endpoint, lease, hide: plan.hide, choices: plan.choices });
            }
            // Nothing is known of the endpoint: it is this process that has no descriptor for the connection.
            Some(Err(error)) if lacks_descriptors(&error) => return Err(overloaded()),
            Some(Err(error)) if error.is_connect() => {
                // Nothing was sent, so nothing can have been generated: the next one may have it.
                tracing::warn!(
                    upstream = &*upstream.name,
                    endpoint = &*endpoint.url,
                    %error,
                    "an endpoint is passed over"
                );
                metrics::attempt(upstream, endpoint, 0);
                endpoint.failed();
                refused = true;
            }
            Some(Err(error)) => {
                tracing::warn!(
                    upstream = &*upstream.name,
                    endpoint = &*endpoint.url,
                    %error,
                    "the upstream failed"
                );
                metrics::attempt(upstream, endpoint, 0);
                endpoint.failed();
                return Err(Error::upstream("the upstream closed the connection before it answered"));
            }
            None => {
                metrics::attempt(upstream, endpoint, 0);
                return Err(Error::upstream_timeout("the upstream did not begin its answer in time"));
            }
        }
    }
    let outcome = if refused { Outcome::UpstreamError } else { Outcome::Replied };
    let message = "no server for this model can be reached at the moment";
    Err(Error::unavailable("no_healthy_endpoint", message).retry_after(5).outcome(outcome))
}

/// The head, or that it did not come in time. An error if the gateway ends meanwhile: then there is still somebody to be
/// told so.
async fn head_by<F: Future>(
    deadline: Instant,
    ex: &mut Exchange,
    mut call: Pin<&mut F>,
) -> Result<Option<F::Output>, Error> {
    loop {
        let look = deadline.min(Instant::now() + ex.ending().look());
        match tokio::time::timeout_at(look.into(), call.as_mut()).await {
            Ok(answer) => return Ok(Some(answer)),
            Err(_elapsed) if ex.ending().is_cut() => {
                let error =
                    Error::unavailable("shutting_down", "the gateway is shutting down: ask another one");
                return Err(error.outcome(Outcome::Interrupted));
            }
            Err(_elapsed) if look == deadline => return Ok(None),
            Err(_elapsed) => {}
        }
    }
}

/// Refuses what no client could use: an upgrade or redirect that leads nowhere here, a body that was encoded unasked.
fn usable(response: &Response) -> Result<(), Error> {
    if !matches!(response.status.as_u16(), 200..=299 | 400..=599) {
        return Err(Error::upstream("the upstream answered with a status that makes no sense here"));
    }
    let mut encodings = response.headers.get_all(CONTENT_ENCODING).iter();
    if encodings.any(|encoding| !encoding.as_bytes().eq_ignore_ascii_case(b"identity")) {
        return Err(Error::upstream("the upstream compressed its answer, which it was not asked to"));
    }
    Ok(())
}

fn request(ex: &Exchange, upstream: &Upstream, endpoint: &Endpoint, plan: &Plan) -> Request {
    let mut request = Request::post(&endpoint.origin, ex.route().path);
    let id = ex.facts().request_id();
    headers::to_upstream(&mut request, &ex.request().headers, id, upstream.authorization.as_ref());
    request.body(&plan.segments)
}

fn respond(
    mut ex: Box<Exchange>,
    upstream: &Upstream,
    taken: Taken,
    started: Instant,
    heartbeat: Option<Duration>,
) -> Answered {
    let Taken { response, endpoint, lease, hide, choices } = taken;
    let Response { status, mut headers, body } = response;
    headers.remove(CONTENT_ENCODING);
    // Not what the head declares, but what it comes to: `Transfer-Encoding` overrides a length beside it, and where a
    // status has no body there are no bytes to come, whatever is declared.
    let framed = body.size_hint().exact();
    let bodiless = status == StatusCode::NO_CONTENT;
    let metadata = headers.get("metadata").cloned();
    let mut head = Head { status, headers };
    let streams = head.headers.get(CONTENT_TYPE).is_some_and(is_event_stream);
    let reader = if streams {
        AnswerReader::stream(ex.route().answer, hide, choices, Arc::clone(&endpoint.fingerprint))
    } else {
        AnswerReader::whole(ex.route().answer, metadata.as_ref().map(HeaderValue::as_bytes))
    };
    let length = if streams && hide != Hide::Nothing && !bodiless { None } else { framed };
    if let Err(error) = ex.respond(&mut head) {
        return Answered::Reply(ex.refuse_unseen(&error));
    }
    if let Some(length) = length.filter(|_| !bodiless) {
        head.headers.insert(CONTENT_LENGTH, length.into());
    }
    let total = started + upstream.total_timeout;
    let deadlines = Deadlines { gap: upstream.gap_timeout, total, heartbeat };
    let body = ResponseBody::new(ex, Leased::new(body, lease), reader, length, deadlines);
    Answered::Response(head, Box::new(body))
}

fn is_event_stream(kind: &HeaderValue) -> bool {
    kind.as_bytes().get(..17).is_some_and(|kind| kind.eq_ignore_ascii_case(b"text/event-stream"))
}

fn overloaded() -> Error {
    Error::unavailable("overloaded", "the gateway has as many connections as it may: try again in a moment")
}

fn lacks_descriptors(error: &SendError) -> bool {
    error.io().is_some_and(descriptors::are_used_up)
}
