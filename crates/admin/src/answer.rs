//! Answers that went well.

use salvo::http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue, LOCATION};
use salvo::http::{Response, StatusCode};
use salvo::oapi::{Components, EndpointOutRegister, Operation};
use salvo::writing::Scribe;
use serde::Serialize;

use crate::problem::Problem;

/// What an endpoint answers.
pub(crate) struct Answer {
    status: StatusCode,
    headers: Vec<(HeaderName, String)>,
    body: String,
}

impl Answer {
    /// 200 with JSON.
    pub(crate) fn json(value: &impl Serialize) -> Result<Self, Problem> {
        let body = serde_json::to_string(value).map_err(|error| {
            tracing::error!(%error, "an answer of the admin side cannot be written as JSON");
            Problem::internal()
        })?;
        Ok(Self::text("application/json", body))
    }

    /// 201 with JSON and where the new thing is.
    pub(crate) fn created(location: String, value: &impl Serialize) -> Result<Self, Problem> {
        let mut answer = Self::json(value)?;
        answer.status = StatusCode::CREATED;
        answer.headers.push((LOCATION, location));
        Ok(answer)
    }

    /// 204.
    pub(crate) fn empty() -> Self {
        Self { status: StatusCode::NO_CONTENT, headers: Vec::new(), body: String::new() }
    }

    /// 200 with text of this type.
    pub(crate) fn text(content_type: &str, body: impl Into<String>) -> Self {
        let headers = vec![(CONTENT_TYPE, content_type.to_owned())];
        Self { status: StatusCode::OK, headers, body: body.into() }
    }

    /// With this header.
    pub(crate) fn with(mut self, name: HeaderName, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }
}

impl Scribe for Answer {
    fn render(self, res: &mut Response) {
        res.status_code(self.status);
        res.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        for (name, value) in self.headers {
            if let Ok(value) = HeaderValue::from_str(&value) {
                res.headers_mut().insert(name, value);
            }
        }
        if self.status != StatusCode::NO_CONTENT {
            res.replace_body(self.body.into());
        }
    }
}

/// The endpoints say themselves what they answer.
impl EndpointOutRegister for Answer {
    fn register(_components: &mut Components, _operation: &mut Operation) {}
}
