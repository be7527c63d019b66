//! A whole answer, and the spelling of heads: names in lower case, in uvicorn's order.

use std::time::SystemTime;

use bytes::Bytes;
use http::StatusCode;

use super::date::http_date;
use crate::json::Json;

/// What an exchange adds to whatever answer it gets.
#[derive(Debug, Default, Clone)]
pub(crate) struct Common {
    pub(crate) allow_origin: Option<String>,
    pub(crate) request_id: Option<String>,
    pub(crate) close: bool,
}

/// An answer that is known as a whole.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Headers that come before `content-length`.
    pub(crate) before: Vec<(&'static str, String)>,
    /// Headers that come after `content-length`.
    pub(crate) after: Vec<(&'static str, String)>,
    pub(crate) content_type: Option<&'static str>,
    pub(crate) body: Bytes,
    /// The CORS layer's `vary: Origin`; the 401s are made outside of it.
    pub(crate) vary: bool,
    /// In one chunk instead of with a length, as vLLM sends streaming responses of bytes.
    pub(crate) chunked: bool,
}

impl Answer {
    /// An answer without a body.
    pub(crate) fn empty(status: u16) -> Self {
        Self {
            status,
            before: Vec::new(),
            after: Vec::new(),
            content_type: None,
            body: Bytes::new(),
            vary: true,
            chunked: false,
        }
    }

    /// A JSON answer from text that is JSON.
    pub(crate) fn json(status: u16, body: impl Into<Bytes>) -> Self {
        Self { content_type: Some("application/json"), body: body.into(), ..Self::empty(status) }
    }

    /// Plain text.
    pub(crate) fn text(status: u16, body: impl Into<Bytes>) -> Self {
        Self { content_type: Some("text/plain; charset=utf-8"), body: body.into(), ..Self::empty(status) }
    }

    /// What the framework says itself: `{"detail":"Not Found"}`.
    pub(crate) fn detail(status: u16, detail: &str) -> Self {
        Self::json(status, Json::new().raw(r#"{"detail":"#).text(detail).raw("}").into_bytes())
    }

    /// The bytes of the head. `promised` is the length it claims.
    pub(crate) fn head(&self, common: &Common, promised: u64) -> Vec<u8> {
        let mut head = start(self.status);
        self.before.iter().for_each(|(name, value)| line(&mut head, name, value));
        if !self.chunked {
            line(&mut head, "content-length", &promised.to_string());
        }
        self.after.iter().for_each(|(name, value)| line(&mut head, name, value));
        if let Some(content_type) = self.content_type {
            line(&mut head, "content-type", content_type);
        }
        finish(head, common, self.vary, self.chunked)
    }
}

/// The head of a stream of events.
pub(crate) fn event_stream_head(common: &Common) -> Vec<u8> {
    let mut head = start(200);
    line(&mut head, "content-type", "text/event-stream; charset=utf-8");
    finish(head, common, true, true)
}

fn start(status: u16) -> Vec<u8> {
    let reason =
        StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason()).unwrap_or("Unknown");
    let mut head = format!("HTTP/1.1 {status} {reason}\r\n").into_bytes();
    line(&mut head, "date", &http_date(SystemTime::now()));
    line(&mut head, "server", "uvicorn");
    head
}

fn finish(mut head: Vec<u8>, common: &Common, vary: bool, chunked: bool) -> Vec<u8> {
    if let Some(origin) = common.allow_origin.as_ref().filter(|_| vary) {
        line(&mut head, "access-control-allow-origin", origin);
    }
    if vary {
        line(&mut head, "vary", "Origin");
    }
    if let Some(id) = &common.request_id {
        line(&mut head, "x-request-id", id);
    }
    if common.close {
        line(&mut head, "connection", "close");
    }
    if chunked {
        line(&mut head, "transfer-encoding", "chunked");
    }
    head.extend_from_slice(b"\r\n");
    head
}

fn line(head: &mut Vec<u8>, name: &str, value: &str) {
    for part in [name, ": ", value, "\r\n"] {
        head.extend_from_slice(part.as_bytes());
    }
}
