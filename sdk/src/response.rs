//! The response's body on its way to the client. It owns the exchange: dropping it ends the exchange.
//!
//! No channel and no task stands between upstream and client, so the client's pace is the upstream's pace.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::Stream;
use http_body::Body;
use tokio::time::Sleep;

use crate::{Answer, AnswerReader, Api, Error, Exchange, Outcome};

/// How long a response may take, once its head is there.
#[derive(Clone, Copy, Debug)]
pub struct Deadlines {
    /// The longest silence between two chunks.
    pub gap: Duration,
    /// When it must have ended.
    pub total: Instant,
    /// After which silence towards the client a stream carries a comment; none without it.
    pub heartbeat: Option<Duration>,
}

/// What a silent stream carries: a comment, which every reader of events skips.
const HEARTBEAT: &[u8] = b": heartbeat\n\n";

/// A response's body: the upstream's, read on the way, and the exchange that it ends.
pub struct ResponseBody<B> {
    upstream: Option<B>,
    reader: AnswerReader,
    /// Bytes that the upstream still owes, where it said how many there are.
    left: Option<u64>,
    deadlines: Deadlines,
    timer: Option<Pin<Box<Sleep>>>,
    heard: Instant,
    /// When it is to look next whether the gateway ends.
    looks: Instant,
    /// When the client was last sent anything.
    spoken: Instant,
    state: State,
    ends_in_line: bool,
    ex: Box<Exchange>,
}

/// What the timer was set for.
enum Due {
    Heartbeat,
    Deadline,
    Cut,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Streaming,
    /// Its last words, if there are any, must reach the client before the connection breaks.
    Told,
    /// The connection ends without the end of the body.
    Broken,
    Done,
}

/// Why a response breaks off.
struct Break {
    outcome: Outcome,
    code: &'static str,
    message: &'static str,
}

impl Break {
    const BROKE: Self = Self {
        outcome: Outcome::UpstreamBroke,
        code: "upstream_error",
        message: "the upstream broke off its answer",
    };
    const EARLY: Self = Self { message: "the upstream ended its answer too early", ..Self::BROKE };
    const SLOW: Self =
        Self { outcome: Outcome::Timeout, code: "upstream_timeout", message: "the upstream took too long" };
    const CUT: Self = Self {
        outcome: Outcome::Interrupted,
        code: "shutting_down",
        message: "the gateway is shutting down",
    };
}

/// The body of an upstream's answer.
pub trait UpstreamBody: Body<Data = Bytes> + Unpin {
    /// Told once, if the upstream had its say: whether the answer came to a proper end. Not told if it is left midway.
    fn judged(&mut self, well: bool);

    /// Told before, if the answer came to its end because the server is about to end, too.
    fn aborted(&mut self) {}
}

/// Of a body that stands for no server nobody keeps the score.
impl<E> UpstreamBody for http_body_util::combinators::UnsyncBoxBody<Bytes, E> {
    fn judged(&mut self, _well: bool) {}
}

/// The response broke off. Its connection is closed, so that no client takes it for whole.
#[derive(Debug, thiserror::Error)]
#[error("the response broke off")]
pub struct BrokenOff;

impl<B> ResponseBody<B>
where
    B: UpstreamBody,
    B::Error: std::fmt::Display,
{
    /// A body whose head has just come. `length` is how long it will be, where that is known: 0 if its status has none.
    pub fn new(
        ex: Box<Exchange>,
        upstream: B,
        reader: AnswerReader,
        length: Option<u64>,
        deadlines: Deadlines,
    ) -> Self {
        // Nothing may be added to an answer that is no stream, or whose length the client was told.
        let beats = reader.is_stream() && length.is_none();
        let now = Instant::now();
        let mut body = Self {
            upstream: Some(upstream),
            reader,
            left: length,
            deadlines: Deadlines { heartbeat: deadlines.heartbeat.filter(|_| beats), ..deadlines },
            timer: None,
            heard: now,
            looks: now + ex.ending().look(),
            spoken: now,
            state: State::Streaming,
            ends_in_line: false,
            ex,
        };
        if body.left == Some(0) {
            body.complete();
        }
        body
    }

    /// The exchange, for the gateway's own use.
    pub fn exchange(&self) -> &Exchange {
        &self.ex
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BrokenOff>>> {
        loop {
            let upstream = match (self.state, &mut self.upstream) {
                (State::Streaming, Some(upstream)) => upstream,
                (State::Told, _) => return self.flush(cx),
                (State::Broken, _) => {
                    self.state = State::Done;
                    return Poll::Ready(Some(Err(BrokenOff)));
                }
                (State::Done, _) | (_, None) => return Poll::Ready(None),
            };
            match Pin::new(upstream).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    // Trailers are of one hop and end here.
                    let Ok(chunk) = frame.into_data() else { continue };
                    self.heard = Instant::now();
                    if let Some(reason) = self.overdue() {
                        return self.break_off(&reason, cx);
                    }
                    if let Some(out) = self.take(&chunk) {
                        return Poll::Ready(Some(Ok(out)));
                    }
                }
                Poll::Ready(None) => return self.upstream_ended(cx),
                Poll::Ready(Some(Err(error))) => {
                    tracing::debug!(request_id = self.ex.facts().request_id(), %error, "the upstream broke");
                    return self.break_off(&Break::BROKE, cx);
                }
                Poll::Pending => {
                    return match self.poll_timer(cx) {
                        Poll::Pending => Poll::Pending,
                        Poll::Ready(Due::Heartbeat) => Poll::Ready(Some(Ok(Bytes::from_static(HEARTBEAT)))),
                        Poll::Ready(Due::Deadline) => self.break_off(&Break::SLOW, cx),
                        Poll::Ready(Due::Cut) => self.break_off(&Break::CUT, cx),
                    };
                }
            }
        }
    }

    /// Why no more of an unfinished answer may go out, though there is more of it.
    ///
    /// The timer alone does not say so: a client that takes its bytes slowly keeps the upstream always ready.
    fn overdue(&self) -> Option<Break> {
        match () {
            () if self.ex.has_ended() => None,
            () if self.ex.ending().is_cut() => Some(Break::CUT),
            () if self.heard >= self.deadlines.total => Some(Break::SLOW),
            () => None,
        }
    }

    /// Takes a chunk of the upstream; gives what goes to the client now, if anything does.
    fn take(&mut self, chunk: &Bytes) -> Option<Bytes> {
        self.left = self.left.map(|left| left.saturating_sub(chunk.len() as u64));
        let mut out = self.reader.push(chunk);
        if !out.is_empty() {
            if self.ex.is_followed()
                && !self.ex.has_ended()
                && let Some(tokens) = self.reader.running()
            {
                self.ex.count(tokens);
            }
            self.ex.chunk(&mut out);
            if let Some(last) = out.last() {
                self.ends_in_line = *last != b'\n';
                self.spoken = self.heard;
            }
        }
        // The server may never ask again once the declared length is out, and clients hang up after the last event.
        if self.left == Some(0) || self.reader.saw_terminator() {
            self.complete();
        }
        (!out.is_empty()).then_some(out)
    }

    fn upstream_ended(&mut self, cx: &Context<'_>) -> Poll<Option<Result<Bytes, BrokenOff>>> {
        let mut held = self.reader.finish();
        let owes = self.left.is_some_and(|left| left > 0);
        if owes || self.reader.needs_terminator() && !self.reader.saw_terminator() {
            return self.break_off(&Break::EARLY, cx);
        }
        if !held.is_empty() {
            self.ex.chunk(&mut held);
        }
        self.complete();
        self.close();
        Poll::Ready((!held.is_empty()).then_some(Ok(held)))
    }

    /// The answer is whole: its record can be closed before the last bytes go out.
    fn complete(&mut self) {
        if self.ex.has_ended() {
            return;
        }
        self.deadlines.heartbeat = None;
        self.ex.count(self.reader.tokens());
        let broke = self.reader.saw_error();
        self.judge(!broke);
        self.ex.last(if broke { Outcome::UpstreamBroke } else { Outcome::Finished });
    }

    fn judge(&mut self, well: bool) {
        if let Some(upstream) = &mut self.upstream {
            if self.reader.was_aborted() {
                upstream.aborted();
            }
            upstream.judged(well);
        }
    }

    /// Ends a body that cannot be whole: a stream is told by an event, then the connection breaks.
    ///
    /// What was held of an event that never ended is let go. Where the beginning of one is out already, nothing
    /// may follow it: an end of line could make it look whole, and be it `[DONE]`, the stream finished. Nor may anything
    /// follow where the client was told the length: the event could fill it up.
    fn break_off(&mut self, reason: &Break, cx: &Context<'_>) -> Poll<Option<Result<Bytes, BrokenOff>>> {
        if !self.ex.has_ended() && reason.outcome != Outcome::Interrupted {
            self.judge(false);
        }
        self.close();
        if self.ex.has_ended() {
            // The terminator was out already: what came after it matters to nobody.
            return Poll::Ready(None);
        }
        self.ex.failed_with(reason.code);
        self.ex.count(self.reader.tokens());
        if self.left.is_some() || !self.is_between_events() {
            self.ex.last(reason.outcome);
            return self.flush(cx);
        }
        self.state = State::Told;
        let error = Error::new(http::StatusCode::BAD_GATEWAY, reason.code, reason.message);
        let mut out = Bytes::from(error_event(&error, self.ex.route().api, self.ex.route().answer));
        self.ex.chunk(&mut out);
        self.ex.last(reason.outcome);
        Poll::Ready(Some(Ok(out)))
    }

    /// Waits once: the server gives up what it has not flushed when a body fails, and it flushes when one waits.
    fn flush(&mut self, cx: &Context<'_>) -> Poll<Option<Result<Bytes, BrokenOff>>> {
        self.state = State::Broken;
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Whether an event may go out now. What a filter made of the last one counts, too.
    fn is_between_events(&self) -> bool {
        self.reader.is_between_events() && !self.ends_in_line
    }

    /// Lets the upstream go: if it still runs, vLLM sees the connection close and ends the generation.
    fn close(&mut self) {
        self.upstream = None;
        self.timer = None;
        self.state = State::Done;
    }

    /// Ready when a deadline has passed, when the client should hear something, or when the gateway cuts off what runs.
    /// The timer is moved only when it fires, not with every chunk.
    fn poll_timer(&mut self, cx: &mut Context<'_>) -> Poll<Due> {
        loop {
            let deadline = (self.heard + self.deadlines.gap).min(self.deadlines.total);
            let heartbeat = self.deadlines.heartbeat.map(|every| self.spoken + every);
            let due = heartbeat.map_or(deadline, |heartbeat| heartbeat.min(deadline)).min(self.looks);
            let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(due.into())));
            if timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            let now = Instant::now();
            if now < due {
                timer.as_mut().reset(due.into());
                continue;
            }
            if now >= deadline {
                return Poll::Ready(Due::Deadline);
            }
            if self.ex.ending().is_cut() {
                return Poll::Ready(Due::Cut);
            }
            if now >= self.looks {
                self.looks = now + self.ex.ending().look();
                continue;
            }
            // Inside an event nothing may be said; the next silence is waited for.
            self.spoken = now;
            if self.is_between_events() {
                return Poll::Ready(Due::Heartbeat);
            }
        }
    }
}

impl<B> Stream for ResponseBody<B>
where
    B: UpstreamBody,
    B::Error: std::fmt::Display,
{
    type Item = Result<Bytes, BrokenOff>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let body = self.get_mut();
        catch_unwind(AssertUnwindSafe(|| body.poll(cx))).unwrap_or_else(|_panic| {
            tracing::error!(request_id = body.ex.facts().request_id(), "a filter panicked on a response");
            body.ex.failed_with("internal_error");
            body.ex.end(Outcome::GatewayError);
            body.upstream = None;
            body.state = State::Done;
            Poll::Ready(Some(Err(BrokenOff)))
        })
    }
}

impl<B> Drop for ResponseBody<B> {
    fn drop(&mut self) {
        // The upstream goes first: the generation ends even if telling the filters takes a moment.
        self.upstream = None;
        if !self.ex.has_ended() {
            self.ex.count(self.reader.tokens());
        }
    }
}

/// The event that tells the client of a break, in the shape of its API.
pub(crate) fn error_event(error: &Error, api: Api, answer: Answer) -> String {
    match (api, answer) {
        (Api::Anthropic, _) => format!("event: error\ndata: {}\n\n", error.body(api)),
        (Api::OpenAi, Answer::Responses | Answer::Stored) => {
            let event = serde_json::json!({
                "type": "error", "code": error.code(), "message": error.message(), "param": null,
            });
            format!("event: error\ndata: {event}\n\n")
        }
        (Api::OpenAi, _) => format!("data: {}\n\n", error.body(api)),
    }
}

#[cfg(test)]
mod tests;
