//! How requests are spread over endpoints.

use std::{borrow::Cow, fmt};

use http::HeaderName;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// How requests are spread over the endpoints of an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Balance {
    /// One after the other, as often as their weights say.
    RoundRobin,
    /// To the endpoint with the fewest requests.
    LeastRequests,
    /// Two random choices: to the one with fewer requests.
    P2c,
    /// To the endpoint that is least busy by vLLM's own metrics.
    VllmLoad,
    /// To where the beginning of the prompt is cached, unless that endpoint is too busy.
    Prefix,
    /// All requests of a session to the same endpoint.
    Session,
}

/// What tells whose session a request belongs to.
#[derive(Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub enum SessionBy {
    /// A header of the request.
    Header(HeaderName),
    /// The member `user` of the body.
    User,
    /// The app whose key it has.
    App,
}

impl TryFrom<String> for SessionBy {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.as_str() {
            "user" => Ok(Self::User),
            "app" => Ok(Self::App),
            _ => {
                text.strip_prefix("header:").and_then(|name| name.parse().ok()).map(Self::Header).ok_or_else(
                    || {
                        let wanted = "write \"app\", \"user\", or a header like \"header:x-session-id\"";
                        format!("`{}` tells no session; {wanted}", text.escape_debug())
                    },
                )
            }
        }
    }
}

impl From<SessionBy> for String {
    fn from(by: SessionBy) -> Self {
        by.to_string()
    }
}

impl fmt::Display for SessionBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header(name) => write!(f, "header:{name}"),
            Self::User => f.write_str("user"),
            Self::App => f.write_str("app"),
        }
    }
}

impl fmt::Debug for SessionBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl JsonSchema for SessionBy {
    fn schema_name() -> Cow<'static, str> {
        "session".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string", "title": "\"app\", \"user\" or \"header:NAME\"",
            "examples": ["header:x-session-id", "user", "app"],
        })
    }
}
