//! Streams that begin before an endpoint has taken them: a client that waits in the line is told its place by comments.
//!
//! The head has gone out by then, so whatever comes of it is told in the stream: an answer as it is, an error as an event.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::Stream;
use http::{HeaderMap, HeaderValue, StatusCode, header::CONTENT_TYPE};
use http_body_util::{BodyExt, Collected, Limited};
use serde_json::Value;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use vllm_gateway_sdk::{Api, BrokenOff, Error, Exchange, Head, Outcome, Reply, ResponseBody};

use super::{
    answer::Taken,
    body::{AnswerBody, Leased},
    dispatch::{Answered, at_once},
    wait::until,
};
use crate::{gateway::Runtime, responses::Responses, upstream::Upstream};

/// Tells a client that waits its place.
pub(super) struct Teller {
    pub(super) every: Duration,
    comments: UnboundedSender<Bytes>,
}

impl Teller {
    /// Says how many are before this one. From here on the answer has begun.
    pub(super) fn tell(&self, ex: &mut Exchange, ahead: usize) {
        let comment = Bytes::from(format!(": waiting, {ahead} before this one\n\n"));
        ex.begin_early(&comment);
        // Whoever would hear it may have left.
        let _ = self.comments.send(comment);
    }
}

type Answering = Pin<Box<dyn Future<Output = Answered> + Send>>;

/// An answer that has begun with comments.
pub(crate) struct EarlyBody {
    /// Polled for as long as no answer is there: the request waits, and is then sent on, in here.
    answering: Option<Answering>,
    comments: UnboundedReceiver<Bytes>,
    answer: Option<Box<ResponseBody<Leased>>>,
    last: Option<Bytes>,
}

/// Sends on a request for a stream. Gives its answer, or the beginning of one if it has waited for `every`.
pub(super) async fn begin(
    ex: Box<Exchange>,
    upstream: &Arc<Upstream>,
    runtime: &Arc<Runtime>,
    responses: &Arc<Responses>,
    heartbeat: Option<Duration>,
    every: Duration,
) -> Answered {
    let (sender, comments) = unbounded_channel();
    let (upstream, runtime, responses) = (Arc::clone(upstream), Arc::clone(runtime), Arc::clone(responses));
    let teller = Teller { every, comments: sender };
    let answering =
        Box::pin(async move { at_once(ex, &upstream, &runtime, &responses, heartbeat, Some(&teller)).await });
    let mut body = EarlyBody { answering: Some(answering), comments, answer: None, last: None };
    std::future::poll_fn(|cx| body.poll_answer(cx)).await.unwrap_or_else(|| {
        let kind = HeaderValue::from_static("text/event-stream; charset=utf-8");
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, kind)]);
        Answered::Early(Head { status: StatusCode::OK, headers }, Box::new(body))
    })
}

/// An answer that is no stream, at the end of a stream that has begun: as an event, in the upstream's own words.
pub(super) async fn in_stream(ex: &mut Exchange, taken: Taken) -> Reply {
    /// The most bytes of it: more than any error of vLLM has.
    const MOST: usize = 64 << 10;
    let (gap, lease) = (taken.gap, taken.lease);
    let words = match taken.body {
        AnswerBody::Read(words) => Some(words),
        AnswerBody::Coming(body) => {
            let body = Limited::new(body, MOST);
            match until(Instant::now() + gap, ex, pin!(body.collect())).await {
                Ok(read) => read.and_then(Result::ok).map(Collected::to_bytes),
                // The gateway is cut off meanwhile, which is not the upstream's fault.
                Err(error) => return ex.refuse(&error),
            }
        }
    };
    drop(lease);
    // An event's data must stay on one line.
    let words = words.and_then(|words| serde_json::from_slice::<Value>(&words).ok());
    let Some(words) = words else {
        return ex.refuse(&Error::upstream("the upstream refused the request"));
    };
    let name = if ex.route().api == Api::Anthropic { "event: error\n" } else { "" };
    ex.failed_with("upstream_refused");
    ex.reply(Reply::events(format!("{name}data: {words}\n\n")), Outcome::UpstreamError)
}

impl EarlyBody {
    /// Ready with an answer that came before anything was said; with none once something is to be said.
    fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<Option<Answered>> {
        let Some(answering) = &mut self.answering else { return Poll::Ready(None) };
        let answered = answering.as_mut().poll(cx);
        let has_begun = !self.comments.is_empty();
        match answered {
            Poll::Pending if has_begun => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
            Poll::Ready(answered) => {
                self.answering = None;
                if !has_begun {
                    return Poll::Ready(Some(answered));
                }
                self.take(answered);
                Poll::Ready(None)
            }
        }
    }

    fn take(&mut self, answered: Answered) {
        match answered {
            Answered::Reply(reply) => self.last = Some(reply.body),
            Answered::Response(_, body) => self.answer = Some(body),
            Answered::Early(..) => {}
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BrokenOff>>> {
        loop {
            if let Ok(comment) = self.comments.try_recv() {
                return Poll::Ready(Some(Ok(comment)));
            }
            if let Some(answer) = &mut self.answer {
                return Pin::new(&mut **answer).poll_next(cx);
            }
            let Some(answering) = &mut self.answering else {
                return Poll::Ready(self.last.take().map(Ok));
            };
            match answering.as_mut().poll(cx) {
                Poll::Ready(answered) => {
                    self.answering = None;
                    self.take(answered);
                }
                Poll::Pending if self.comments.is_empty() => return Poll::Pending,
                Poll::Pending => {}
            }
        }
    }
}

impl Stream for EarlyBody {
    type Item = Result<Bytes, BrokenOff>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let body = self.get_mut();
        catch_unwind(AssertUnwindSafe(|| body.poll(cx))).unwrap_or_else(|_panic| {
            tracing::error!("the gateway panicked while a request waited");
            body.answering = None;
            body.answer = None;
            Poll::Ready(Some(Err(BrokenOff)))
        })
    }
}
