//! Calls an upstream, and sets its answer on its way back.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use http::{
    HeaderValue, StatusCode,
    header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE},
};
use vllm_gateway_sdk::{
    Answer, AnswerReader, Deadlines, Error, Exchange, Head, Reply, RequestBody, ResponseBody,
};
use vllm_gateway_wire::sse::Hide;

use super::{
    answer::{Taken, is_event_stream},
    attempts,
    body::{Leased, Says},
    bound, continued,
    early::{self, EarlyBody, Teller},
};
use crate::{gateway::Runtime, responses::Responses, upstream::Upstream};

/// An answer on its way to the client.
pub(crate) enum Answered {
    /// The gateway's own.
    Reply(Reply),
    /// The upstream's.
    Response(Head, Box<ResponseBody<Leased>>),
    /// The beginning of a stream that waits.
    Early(Head, Box<EarlyBody>),
}

/// Sends the request of this exchange to this upstream, which its target names; `runtime` has those of its fallbacks.
/// `responses` is touched by those of `/v1/responses` only.
/// `heartbeat` is the silence after which a stream carries a comment.
pub(crate) async fn dispatch(
    ex: Box<Exchange>,
    upstream: &Arc<Upstream>,
    runtime: &Arc<Runtime>,
    responses: &Arc<Responses>,
    heartbeat: Option<Duration>,
) -> Answered {
    match upstream.queue.tell_place {
        Some(every) if ex.facts().stream() => {
            early::begin(ex, upstream, runtime, responses, heartbeat, every.get()).await
        }
        _ => at_once(ex, upstream, runtime, responses, heartbeat, None).await,
    }
}

/// The same, to the answer. `teller` tells the client its place, if it has to wait.
pub(super) async fn at_once(
    mut ex: Box<Exchange>,
    upstream: &Arc<Upstream>,
    runtime: &Runtime,
    responses: &Arc<Responses>,
    heartbeat: Option<Duration>,
    teller: Option<&Teller>,
) -> Answered {
    let started = Instant::now();
    let taken = match body_of(&mut ex).await {
        Ok(body) if ex.route().answer == Answer::Responses => {
            // Boxed, so that no other route carries it along.
            Box::pin(continued::take(&mut ex, upstream, runtime, responses, &body, teller)).await
        }
        Ok(body) => attempts::take(&mut ex, upstream, runtime, &body, teller).await,
        Err(error) => Err(error),
    };
    match taken {
        Ok(taken) if ex.has_begun_early() && !taken.is_stream() => {
            ex.answered(started.elapsed());
            Answered::Reply(early::in_stream(&mut ex, taken).await)
        }
        taken => answered(ex, taken, started, heartbeat),
    }
}

/// Asks the endpoint that keeps it for the response that the path names. The request's body, if it has any, is not read.
pub(crate) async fn dispatch_stored(
    mut ex: Box<Exchange>,
    runtime: &Runtime,
    responses: &Responses,
    heartbeat: Option<Duration>,
) -> Answered {
    let started = Instant::now();
    let taken = bound::ask(&mut ex, runtime, responses).await;
    answered(ex, taken, started, heartbeat)
}

fn answered(
    mut ex: Box<Exchange>,
    taken: Result<Taken, Error>,
    started: Instant,
    heartbeat: Option<Duration>,
) -> Answered {
    ex.answered(started.elapsed());
    match taken {
        Ok(taken) => respond(ex, taken, started, heartbeat),
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

pub(super) fn respond(
    mut ex: Box<Exchange>,
    taken: Taken,
    started: Instant,
    heartbeat: Option<Duration>,
) -> Answered {
    let Taken { status, mut headers, body, lease, hide, choices, gap, total } = taken;
    headers.remove(CONTENT_ENCODING);
    // Not what the head declares, but what it comes to: `Transfer-Encoding` overrides a length beside it, and where a
    // status has no body there are no bytes to come, whatever is declared.
    let framed = body.size_hint().exact();
    let bodiless = status == StatusCode::NO_CONTENT;
    let metadata = headers.get("metadata").cloned();
    let mut head = Head { status, headers };
    let streams = head.headers.get(CONTENT_TYPE).is_some_and(is_event_stream);
    let reader = if streams {
        let fingerprint = lease.as_ref().map(|lease| Arc::clone(&lease.endpoint().fingerprint));
        AnswerReader::stream(ex.route().answer, hide, choices, fingerprint.unwrap_or_default())
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
    let says = match ex.route().answer {
        _ if status.is_server_error() => Says::Nothing,
        Answer::Uncounted | Answer::Stored | Answer::Models => Says::Serves,
        _ if !status.is_success() => Says::Serves,
        _ => Says::Generates,
    };
    let deadlines = Deadlines { gap, total: started + total, heartbeat };
    let body = ResponseBody::new(ex, Leased::new(body, lease, says, streams), reader, length, deadlines);
    Answered::Response(head, Box::new(body))
}
