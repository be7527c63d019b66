//! Requests as a test writes them.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use serde_json::json;

use super::services::key_of;

/// A request, and how long its client stays.
#[derive(Clone, Debug)]
pub struct Request {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    pub(super) stays: Stays,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stays {
    ToTheEnd,
    UntilCalled,
    ForChunks(usize),
    UntilCut(usize),
}

/// A streamed chat completion of this model.
#[must_use]
pub fn chat(model: &str) -> Request {
    let messages = json!([{"role": "user", "content": "Say hello"}]);
    post("/v1/chat/completions", &json!({"model": model, "messages": messages, "stream": true}).to_string())
}

/// A request with this JSON text as its body.
#[must_use]
pub fn post(path: &str, body: &str) -> Request {
    let mut request = get(path).body(body);
    request.method = Method::POST;
    request.header("content-type", "application/json")
}

/// A request with a multipart form of these fields as its body.
#[must_use]
pub fn form(path: &str, fields: &[(&str, &str)]) -> Request {
    const BOUNDARY: &str = "a-line-that-stands-in-no-field";
    let part = |(name, value): &(&str, &str)| {
        format!("--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
    };
    let parts: String = fields.iter().map(part).collect();
    let mut request = get(path).body(format!("{parts}--{BOUNDARY}--\r\n"));
    request.method = Method::POST;
    request.header("content-type", &format!("multipart/form-data; boundary={BOUNDARY}"))
}

/// A request without a body.
#[must_use]
pub fn get(path: &str) -> Request {
    Request {
        method: Method::GET,
        path: path.to_owned(),
        headers: HeaderMap::new(),
        body: Bytes::new(),
        stays: Stays::ToTheEnd,
    }
}

impl Request {
    /// With the key of the app of this name, whether there is such an app or not.
    #[must_use]
    pub fn key(self, app: &str) -> Self {
        self.header(header::AUTHORIZATION.as_str(), &format!("Bearer {}", key_of(app)))
    }

    /// With the key of the app of this name in `x-api-key`, as Anthropic's clients send it.
    #[must_use]
    pub fn x_api_key(self, app: &str) -> Self {
        self.header("x-api-key", &key_of(app))
    }

    /// With one more header. Panics if it is none.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        let name: HeaderName = name.parse().expect("a header name, written in a test");
        let value: HeaderValue = value.parse().expect("a header value, written in a test");
        self.headers.append(name, value);
        self
    }

    /// With another body.
    #[must_use]
    pub fn body(mut self, body: impl Into<String>) -> Self {
        self.body = Bytes::from(body.into());
        self
    }

    /// The client leaves while the upstream has not answered yet.
    #[must_use]
    pub fn client_leaves_before_head(self) -> Self {
        Self { stays: Stays::UntilCalled, ..self }
    }

    /// The client leaves after that many chunks of the body.
    #[must_use]
    pub fn client_leaves_after(self, chunks: usize) -> Self {
        Self { stays: Stays::ForChunks(chunks), ..self }
    }

    /// The gateway reaches the end of `shutdown_grace` after that many chunks of the body.
    #[must_use]
    pub fn gateway_cuts_after(self, chunks: usize) -> Self {
        Self { stays: Stays::UntilCut(chunks), ..self }
    }
}
