//! Answers: the head that filters may change, and a whole answer that a filter or the gateway gives itself.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header::CONTENT_TYPE};

/// Status and headers of a response on its way to the client.
#[derive(Clone, Debug)]
pub struct Head {
    /// The status.
    pub status: StatusCode,
    /// The headers; those of one hop (`connection`, `transfer-encoding`, …) are never here.
    pub headers: HeaderMap,
}

/// An answer that the gateway gives by itself.
#[derive(Clone, Debug)]
pub struct Reply {
    /// Status and headers.
    pub head: Head,
    /// The whole body.
    pub body: Bytes,
}

impl Reply {
    /// A JSON answer.
    #[must_use]
    pub fn json(status: StatusCode, body: impl Into<Bytes>) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        Self { head: Head { status, headers }, body: body.into() }
    }

    /// Events of a stream that is whole with them.
    #[must_use]
    pub fn events(events: impl Into<Bytes>) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream; charset=utf-8"));
        Self { head: Head { status: StatusCode::OK, headers }, body: events.into() }
    }

    /// A plain text answer.
    #[must_use]
    pub fn text(status: StatusCode, body: impl Into<Bytes>) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        Self { head: Head { status, headers }, body: body.into() }
    }
}
