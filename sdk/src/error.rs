//! Errors that a client sees, built by words and not by numbers.

use std::{borrow::Cow, fmt};

use http::{HeaderValue, StatusCode, header};
use serde_json::{Value, json};

use crate::{Outcome, Reply};

/// Whose API a route speaks, and so what its errors look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Api {
    /// `{"error":{"message","type","param","code"}}`
    OpenAi,
    /// `{"type":"error","error":{"type","message"}}`
    Anthropic,
}

/// A request that cannot be served, and why, in words for its sender.
#[derive(Clone, Debug)]
pub struct Error {
    status: StatusCode,
    kind: &'static str,
    code: Option<Cow<'static, str>>,
    param: Option<&'static str>,
    message: Cow<'static, str>,
    retry_after: Option<u32>,
    allow: Option<&'static str>,
    outcome: Outcome,
    /// Whether clients are told the status as its code, a number, as vLLM does.
    like_vllm: bool,
}

impl Error {
    /// An error of any status. Prefer one of the named ones.
    pub fn new(
        status: StatusCode,
        code: impl Into<Cow<'static, str>>,
        message: impl Into<Cow<'static, str>>,
    ) -> Self {
        let kind = match status.as_u16() {
            403 => "permission_error",
            429 => "rate_limit_error",
            400..=499 => "invalid_request_error",
            _ => "server_error",
        };
        Self {
            status,
            kind,
            code: Some(code.into()),
            param: None,
            message: message.into(),
            retry_after: None,
            allow: None,
            outcome: Outcome::Replied,
            like_vllm: false,
        }
    }

    /// 400: the request is not what its route takes.
    pub fn invalid(message: impl Into<Cow<'static, str>>) -> Self {
        Self { code: None, ..Self::new(StatusCode::BAD_REQUEST, "", message) }
    }

    /// 401: no key, or one that nobody has.
    pub fn unauthenticated(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "invalid_api_key", message)
    }

    /// 403 with this code.
    pub fn forbidden(code: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::FORBIDDEN, code, message)
    }

    /// 403: this app may not use this model.
    #[must_use]
    pub fn model_not_allowed() -> Self {
        Self::forbidden("model_not_allowed", "this key may not use the model that was asked for")
            .param("model")
    }

    /// 404: no upstream serves this model.
    #[must_use]
    pub fn model_not_found() -> Self {
        let message = "the model does not exist or is not served here: see GET /v1/models";
        Self::new(StatusCode::NOT_FOUND, "model_not_found", message).param("model")
    }

    /// 404: no such route.
    #[must_use]
    pub fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", "there is no such route here")
    }

    /// 404: this app has no such response. In vLLM's own shape: it says the same of one that it does not have, and whose
    /// response it is nobody else is told.
    #[must_use]
    pub fn response_not_found() -> Self {
        let message = "there is no response with this id";
        Self {
            like_vllm: true,
            ..Self::new(StatusCode::NOT_FOUND, "response_not_found", message).param("response_id")
        }
    }

    /// 405, with the methods that the route takes.
    #[must_use]
    pub fn method_not_allowed(allow: &'static str) -> Self {
        let message = format!("this route takes {allow} only");
        Self {
            allow: Some(allow),
            ..Self::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message)
        }
    }

    /// 408: the body did not arrive in time.
    #[must_use]
    pub fn body_timeout() -> Self {
        Self::new(StatusCode::REQUEST_TIMEOUT, "request_timeout", "the request body did not arrive in time")
    }

    /// 499: the client left before its request was complete. Nobody reads the answer; the record has its status.
    #[must_use]
    pub fn client_gone() -> Self {
        let status = StatusCode::from_u16(499).unwrap_or(StatusCode::BAD_REQUEST);
        let message = "the connection ended before the request body was complete";
        Self { code: None, outcome: Outcome::ClientGone, ..Self::new(status, "", message) }
    }

    /// 413: the body is over the limit, in bytes.
    #[must_use]
    pub fn too_large(limit: u64) -> Self {
        let message = format!("the request body is larger than the limit of {limit} bytes");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "request_too_large", message)
    }

    /// 415: another content type or encoding is needed.
    pub fn unsupported_media_type(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", message)
    }

    /// 429: too many requests; when to come back, in seconds.
    pub fn rate_limited(message: impl Into<Cow<'static, str>>, retry_after: u32) -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, "rate_limit_exceeded", message).retry_after(retry_after)
    }

    /// 500: a bug of ours. The message carries no detail; the log does.
    #[must_use]
    pub fn internal() -> Self {
        let message = "the gateway failed on this request: tell its operator the x-request-id";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal_error", message)
    }

    /// 502: the upstream could not be reached, or failed before its answer began.
    pub fn upstream(message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            outcome: Outcome::UpstreamError,
            ..Self::new(StatusCode::BAD_GATEWAY, "upstream_error", message)
        }
    }

    /// 504: the upstream's answer did not begin in time.
    pub fn upstream_timeout(message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            outcome: Outcome::Timeout,
            ..Self::new(StatusCode::GATEWAY_TIMEOUT, "upstream_timeout", message)
        }
    }

    /// 503 with this code.
    pub fn unavailable(code: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, code, message).retry_after(1)
    }

    /// Names the field at fault.
    #[must_use]
    pub fn param(mut self, param: &'static str) -> Self {
        self.param = Some(param);
        self
    }

    /// Says how this ends the exchange, where it is not a plain refusal.
    #[must_use]
    pub fn outcome(mut self, outcome: Outcome) -> Self {
        self.outcome = outcome;
        self
    }

    /// Tells the client when to come back, in seconds.
    #[must_use]
    pub fn retry_after(mut self, seconds: u32) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    /// The status that the client gets.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The machine-readable code, if it has one.
    #[must_use]
    pub fn code(&self) -> Option<&Cow<'static, str>> {
        self.code.as_ref()
    }

    /// How it ends the exchange.
    #[must_use]
    pub fn ends_as(&self) -> Outcome {
        self.outcome
    }

    /// The message.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The body in the shape of this API.
    #[must_use]
    pub fn body(&self, api: Api) -> String {
        match api {
            Api::OpenAi => json!({"error": {
                "message": self.message, "type": self.kind, "param": self.param, "code": self.told_code(),
            }}),
            Api::Anthropic => json!({"type": "error", "error": {
                "type": self.anthropic_kind(), "message": self.message,
            }}),
        }
        .to_string()
    }

    /// The whole answer in the shape of this API.
    #[must_use]
    pub fn reply(&self, api: Api) -> Reply {
        let mut reply = Reply::json(self.status, self.body(api));
        let headers = &mut reply.head.headers;
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        if let Some(allow) = self.allow {
            headers.insert(header::ALLOW, HeaderValue::from_static(allow));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        reply
    }

    fn told_code(&self) -> Value {
        if self.like_vllm { self.status.as_u16().into() } else { self.code.as_deref().into() }
    }

    /// The words that Anthropic's clients know.
    fn anthropic_kind(&self) -> &'static str {
        match self.status.as_u16() {
            401 => "authentication_error",
            403 => "permission_error",
            404 => "not_found_error",
            413 => "request_too_large",
            429 => "rate_limit_error",
            400..=499 => "invalid_request_error",
            503 => "overloaded_error",
            _ => "api_error",
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.status.as_u16(), self.message)
    }
}

impl std::error::Error for Error {}
