//! vLLM's error answers. Its `type`s are not uniform; they are as recorded.

use crate::http1::Answer;
use crate::json::{Json, Problem};

/// An error that the server answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ApiError {
    pub(crate) status: u16,
    pub(crate) kind: &'static str,
    pub(crate) message: String,
    pub(crate) param: Option<String>,
    /// The framework's own `{"detail":…}`, without vLLM's envelope.
    detail: bool,
}

/// What the engine says when it has died (s03).
pub(crate) const ENGINE_DIED: &str =
    "EngineCore encountered an issue. See stack trace (above) for the root cause.";

impl ApiError {
    pub(crate) fn new(status: u16, kind: &'static str, message: impl Into<String>) -> Self {
        Self { status, kind, message: message.into(), param: None, detail: false }
    }

    /// What `/v1/responses` says of its own parameters.
    pub(crate) fn invalid_request(param: &str, message: &str) -> Self {
        Self { param: Some(param.to_owned()), ..Self::new(400, "invalid_request_error", message) }
    }

    /// Something about the request makes no sense.
    pub(crate) fn bad(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequestError", message)
    }

    /// A parameter makes no sense; the message ends as vLLM's do.
    pub(crate) fn parameter(param: &str, message: &str, value: Option<&str>) -> Self {
        let value = value.map_or(String::new(), |value| format!(", value={value}"));
        Self { param: Some(param.to_owned()), ..Self::bad(format!("{message} (parameter={param}{value})")) }
    }

    /// The body does not have the right shape.
    pub(crate) fn invalid(problems: &[Problem]) -> Self {
        let lines: Vec<_> = problems.iter().map(Problem::line).collect();
        let plural = if problems.len() == 1 { "" } else { "s" };
        let message = format!("{} validation error{plural}:\n{}", problems.len(), lines.join("\n"));
        let param = problems.first().map(|problem| problem.place.clone());
        Self { param, ..Self::new(400, "Bad Request", message) }
    }

    /// The content type is not JSON.
    pub(crate) fn media_type() -> Self {
        let message = "1 validation error:\n  Unsupported Media Type: Only 'application/json' is allowed";
        Self::new(400, "Bad Request", message)
    }

    /// The body is not even text.
    pub(crate) fn unreadable() -> Self {
        Self { detail: true, ..Self::new(400, "", "There was an error parsing the body") }
    }

    /// No model of this name; `aliases` are the ones there are.
    pub(crate) fn unknown_model(name: &str, aliases: Option<&[String]>) -> Self {
        let aliases = aliases.map_or(String::new(), |names| format!(" Valid aliases: {}.", names.join(", ")));
        let message = format!("The model `{name}` does not exist.{aliases}");
        let param = (!aliases.is_empty()).then(|| "model".to_owned());
        Self { param, ..Self::new(404, "NotFoundError", message) }
    }

    /// No stored response of this id.
    pub(crate) fn unknown_response(id: &str) -> Self {
        let message = format!("Response with id '{id}' not found.");
        Self { param: Some("response_id".to_owned()), ..Self::new(404, "invalid_request_error", message) }
    }

    /// A switch of the server is off.
    pub(crate) fn scale_out_disabled() -> Self {
        let message =
            "Scale-out endpoints are disabled. Restart vllm serve with --enable-scale-out to enable them.";
        Self::new(403, "PermissionDeniedError", message)
    }

    /// The queue is full (b16).
    pub(crate) fn busy() -> Self {
        let message = "The engine is currently busy and cannot accept new requests. Please try again later or on a different instance.";
        Self::new(503, "Service Unavailable", message)
    }

    /// Something inside failed.
    pub(crate) fn internal(message: impl Into<String>) -> Self {
        Self::new(500, "InternalServerError", message)
    }

    /// An answer that no recording shows; better said than made up.
    pub(crate) fn not_simulated(what: &str) -> Self {
        Self::new(501, "NotImplementedError", format!("the simulator does not know how vLLM answers {what}"))
    }

    /// A scripted status.
    pub(crate) fn scripted(status: u16) -> Self {
        match status {
            503 => Self::busy(),
            500 => Self::internal(ENGINE_DIED),
            404 => Self::new(404, "NotFoundError", "scripted by the simulator"),
            status if status < 500 => Self::new(status, "BadRequestError", "scripted by the simulator"),
            status => Self::new(status, "InternalServerError", "scripted by the simulator"),
        }
    }

    /// The answer, in OpenAI's shape.
    pub(crate) fn answer(&self) -> Answer {
        if self.detail {
            return Answer::detail(self.status, &self.message);
        }
        let body = Json::new()
            .raw(r#"{"error":{"message":"#)
            .text(&self.message)
            .raw(r#","type":"#)
            .text(self.kind)
            .raw(r#","param":"#)
            .maybe(self.param.as_deref())
            .raw(r#","code":"#)
            .number(usize::from(self.status))
            .raw("}}");
        Answer::json(self.status, body.into_bytes())
    }

    /// The answer in Anthropic's shape. What the framework finds wrong keeps OpenAI's (a18e, a18f).
    pub(crate) fn answer_anthropic(&self) -> Answer {
        if self.detail || self.kind == "Bad Request" {
            return self.answer();
        }
        let body = Json::new()
            .raw(r#"{"type":"error","error":{"type":"#)
            .text(self.kind)
            .raw(r#","message":"#)
            .text(&self.message)
            .raw("}}");
        Answer::json(self.status, body.into_bytes())
    }
}
