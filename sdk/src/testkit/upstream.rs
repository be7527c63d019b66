//! What the upstream does, as a test scripts it.

use std::io;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::{StatusCode, header::CONTENT_TYPE};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody, combinators::UnsyncBoxBody};
use serde_json::{Value, json};

use crate::Reply;

/// What the upstream does when it is called.
#[derive(Clone, Debug)]
pub struct Upstream {
    pub(super) reachable: bool,
    pub(super) head: crate::Head,
    pub(super) frames: Vec<Bytes>,
    /// The length that the head declares.
    pub(super) length: Option<usize>,
    end: End,
}

#[derive(Clone, Copy, Debug)]
enum End {
    Whole,
    Breaks,
    Stalls,
}

/// Streams this text, piece by piece, as vLLM streams a chat completion: an event with the role, one for each
/// piece, one with the reason of the end, and `[DONE]`.
#[must_use]
pub fn sse<const N: usize>(pieces: [&str; N]) -> Upstream {
    let mut frames = vec![event(&chunk(&json!({"role": "assistant", "content": ""}), &Value::Null))];
    frames.extend(pieces.map(|piece| event(&chunk(&json!({"content": piece}), &Value::Null))));
    frames.push(event(&chunk(&json!({}), &json!("stop"))));
    frames.push(Bytes::from_static(b"data: [DONE]\n\n"));
    streaming("text/event-stream; charset=utf-8", frames)
}

/// Streams these pieces as they are, with this content type.
#[must_use]
pub fn raw<const N: usize>(content_type: &'static str, pieces: [&str; N]) -> Upstream {
    streaming(content_type, pieces.map(|piece| Bytes::from(piece.to_owned())).to_vec())
}

/// Answers with this JSON text, in one piece of declared length.
#[must_use]
pub fn json(status: u16, body: &str) -> Upstream {
    let status = StatusCode::from_u16(status).expect("a status, written in a test");
    let reply = Reply::json(status, body.to_owned());
    let length = Some(reply.body.len());
    Upstream { reachable: true, head: reply.head, frames: vec![reply.body], length, end: End::Whole }
}

/// Cannot be connected to.
#[must_use]
pub fn unreachable() -> Upstream {
    Upstream { reachable: false, ..json(200, "") }
}

impl Upstream {
    /// Reports usage before `[DONE]`, as vLLM does when it is asked to: tokens of the prompt, tokens generated.
    #[must_use]
    pub fn usage(mut self, prompt: u64, completion: u64) -> Self {
        let usage = json!({
            "prompt_tokens": prompt, "total_tokens": prompt + completion, "completion_tokens": completion,
        });
        let said = json!({
            "id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "Qwen3-32B",
            "choices": [], "usage": usage,
        });
        self.frames.insert(self.frames.len().saturating_sub(1), event(&said));
        self
    }

    /// The connection breaks after that many pieces.
    #[must_use]
    pub fn upstream_breaks_after(mut self, pieces: usize) -> Self {
        self.frames.truncate(pieces);
        Self { end: End::Breaks, ..self }
    }

    /// Nothing more comes after that many pieces, until a deadline passes.
    #[must_use]
    pub fn upstream_stalls_after(mut self, pieces: usize) -> Self {
        self.frames.truncate(pieces);
        Self { end: End::Stalls, ..self }
    }

    /// Ends after that many pieces, without the event that says so.
    #[must_use]
    pub fn upstream_ends_after(mut self, pieces: usize) -> Self {
        self.frames.truncate(pieces);
        self
    }

    pub(super) fn body(&self) -> UnsyncBoxBody<Bytes, io::Error> {
        let frames = stream::iter(self.frames.clone()).map(|piece| Ok(Frame::data(piece)));
        let broken = || Err(io::Error::other("the connection to the test's upstream broke"));
        match self.end {
            End::Whole => BodyExt::boxed_unsync(StreamBody::new(frames)),
            End::Breaks => BodyExt::boxed_unsync(StreamBody::new(frames.chain(stream::iter([broken()])))),
            End::Stalls => BodyExt::boxed_unsync(StreamBody::new(frames.chain(stream::pending()))),
        }
    }
}

fn streaming(content_type: &'static str, frames: Vec<Bytes>) -> Upstream {
    let mut head = Reply::text(StatusCode::OK, "").head;
    head.headers.insert(CONTENT_TYPE, http::HeaderValue::from_static(content_type));
    Upstream { reachable: true, head, frames, length: None, end: End::Whole }
}

/// An event's data as vLLM spells it; only its choice differs from event to event.
fn chunk(delta: &Value, finish_reason: &Value) -> Value {
    json!({
        "id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "Qwen3-32B",
        "choices": [{"index": 0, "delta": delta, "logprobs": null, "finish_reason": finish_reason}],
    })
}

fn event(data: &Value) -> Bytes {
    format!("data: {data}\n\n").into()
}
