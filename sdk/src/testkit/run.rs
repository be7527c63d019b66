//! What became of a request.

use http::HeaderMap;

use crate::Record;

/// What the client got, and what was kept of it.
#[derive(Debug)]
pub struct Run {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) chunks: Vec<String>,
    pub(super) broke: bool,
    pub(super) logged: Vec<Record>,
    pub(super) error_code: String,
}

impl Run {
    /// The status that the client got; 499 if it left before one.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The `code` of the error that the client got; empty if there was none.
    #[must_use]
    pub fn error_code(&self) -> &str {
        &self.error_code
    }

    /// A header that the client got; its first, if it came more than once.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// All headers that the client got.
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// The body that the client got.
    #[must_use]
    pub fn body(&self) -> String {
        self.chunks.concat()
    }

    /// The body as it was written, piece by piece.
    #[must_use]
    pub fn chunks(&self) -> &[String] {
        &self.chunks
    }

    /// Whether the connection was broken off, so that the client knows the body is not whole.
    #[must_use]
    pub fn broke_off(&self) -> bool {
        self.broke
    }

    /// The records of this request.
    #[must_use]
    pub fn logged(&self) -> &[Record] {
        &self.logged
    }
}
