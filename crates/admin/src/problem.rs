//! Errors as RFC 9457 describes them, with the field at fault.

use salvo::http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE,
};
use salvo::http::{Response, StatusCode};
use salvo::oapi::{Components, EndpointOutRegister, Operation};
use salvo::writing::Scribe;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use vllm_gateway_store::StoreError;

/// Why a call was not answered as wished.
#[derive(Debug)]
pub(crate) struct Problem(Box<Details>);

/// Why a call was not answered as wished.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Problem")]
pub(crate) struct Details {
    /// Always `about:blank`: the title says what kind of problem it is.
    #[serde(rename = "type")]
    kind: &'static str,
    /// The name of the status.
    title: &'static str,
    /// The status of the answer.
    status: u16,
    /// What is wrong and what to do.
    detail: String,
    /// The field, parameter or header at fault, where one is.
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<String>,
    /// What `check` says of the configuration, when a reload was refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    diagnostics: Option<Vec<Value>>,
    #[serde(skip)]
    headers: Vec<(&'static str, String)>,
}

impl Problem {
    /// A problem of this status.
    pub(crate) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self(Box::new(Details {
            kind: "about:blank",
            title: status.canonical_reason().unwrap_or("Error"),
            status: status.as_u16(),
            detail: detail.into(),
            field: None,
            diagnostics: None,
            headers: Vec::new(),
        }))
    }

    /// 400, with the field, parameter or header at fault.
    pub(crate) fn invalid(field: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail).of_field(field)
    }

    /// 401.
    pub(crate) fn unauthenticated(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, detail)
            .header(WWW_AUTHENTICATE.as_str(), "Bearer realm=\"admin\"")
    }

    /// 404: no such app.
    pub(crate) fn no_such_app() -> Self {
        Self::new(StatusCode::NOT_FOUND, "there is no app of this id: see GET /api/apps").of_field("id")
    }

    /// 405, with the methods that the route takes.
    pub(crate) fn method_not_allowed(taken: &[&str]) -> Self {
        let detail = match taken {
            [] => "this route does not take this method".to_owned(),
            [one] => format!("this route takes {one} only"),
            [others @ .., last] => format!("this route takes {} and {last} only", others.join(", ")),
        };
        Self::new(StatusCode::METHOD_NOT_ALLOWED, detail).header(ALLOW.as_str(), taken.join(", "))
    }

    /// 413: more bytes than are taken.
    pub(crate) fn too_large(limit: usize) -> Self {
        Self::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("the body is larger than the limit of {limit} bytes"),
        )
    }

    /// 415.
    pub(crate) fn unsupported(header: &HeaderName, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail).of_field(header.as_str())
    }

    /// 422: the configuration has errors.
    pub(crate) fn refused_reload(diagnostics: Vec<Value>) -> Self {
        let detail = "the configuration has errors and nothing was changed: see the diagnostics";
        let mut problem = Self::new(StatusCode::UNPROCESSABLE_ENTITY, detail);
        problem.0.diagnostics = Some(diagnostics);
        problem
    }

    /// The store failed on a change, which it may have made before it was lost.
    pub(crate) fn of_change(error: StoreError) -> Self {
        let unknown = matches!(error, StoreError::Unavailable { .. });
        let mut problem = Self::from(error);
        if unknown {
            "the store cannot be reached: a change may or may not have been made, look before you repeat it"
                .clone_into(&mut problem.0.detail);
        }
        problem
    }

    /// 500: a bug of ours. The detail is in the log.
    pub(crate) fn internal() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "the gateway failed on this call: its log says why")
    }

    /// What stands for a status that nobody gave a body.
    pub(crate) fn of_status(status: StatusCode) -> Self {
        match status {
            StatusCode::NOT_FOUND => {
                Self::new(status, "there is no such route here: see GET /api/openapi.json")
            }
            _ => Self::new(status, "the request could not be served"),
        }
    }

    /// Names the field at fault.
    #[must_use]
    pub(crate) fn of_field(mut self, field: impl Into<String>) -> Self {
        self.0.field = Some(field.into());
        self
    }

    /// Status, detail and field.
    #[cfg(feature = "fuzzing")]
    pub(crate) fn parts(&self) -> (u16, &str, Option<&str>) {
        (self.0.status, &self.0.detail, self.0.field.as_deref())
    }

    fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.0.headers.push((name, value.into()));
        self
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match &error {
            StoreError::Unavailable { .. } => {
                tracing::warn!(error = error.full(), "the store did not serve an admin call");
                let detail = "the store does not answer: ask again when it does, the gateway's log says why";
                Self::new(StatusCode::SERVICE_UNAVAILABLE, detail).header(RETRY_AFTER.as_str(), "5")
            }
            // No `retry-after`: the same question would take as long again.
            StoreError::TooSlow { message, .. } => Self::new(StatusCode::SERVICE_UNAVAILABLE, message),
            StoreError::Conflict { message, .. } => Self::new(StatusCode::CONFLICT, message),
            StoreError::Invalid { message, .. } => Self::new(StatusCode::BAD_REQUEST, message),
            StoreError::Internal { .. } => {
                tracing::error!(error = error.full(), "the store failed on an admin call");
                Self::internal()
            }
        }
    }
}

impl Scribe for Problem {
    fn render(self, res: &mut Response) {
        let status = StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        res.headers_mut().clear();
        for (name, value) in &self.0.headers {
            if let Ok(value) = HeaderValue::from_str(value) {
                res.headers_mut().insert(*name, value);
            }
        }
        res.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        res.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        res.status_code(status);
        res.replace_body(serde_json::to_string(&self.0).unwrap_or_default().into());
    }
}

/// The document describes problems once for all operations: see `openapi`.
impl EndpointOutRegister for Problem {
    fn register(_components: &mut Components, _operation: &mut Operation) {}
}
