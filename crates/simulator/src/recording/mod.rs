//! The recordings of a real vLLM server: reading their files.

mod load;
mod parse;

use bytes::Bytes;

pub use load::{Loaded, Skipped, load};
pub use parse::{RecordingError, parse};

/// One exchange with a real server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recording {
    /// The file's name without its ending, as `a02-chat`.
    pub name: String,
    /// What was asked.
    pub request: RecordedRequest,
    /// What was answered.
    pub response: RecordedResponse,
}

/// The request of a recording.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordedRequest {
    /// The method.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// The headers in their order, spelled as sent.
    pub headers: Vec<(String, String)>,
    /// The body. Of forms the recordings hold a description only; see [`form`](Self::form).
    pub body: Bytes,
}

/// The response of a recording.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordedResponse {
    /// The status.
    pub status: u16,
    /// The headers in their order, spelled as sent.
    pub headers: Vec<(String, String)>,
    /// The body's chunks; a body with a length is one chunk.
    pub chunks: Vec<Bytes>,
    /// Every byte of it, `100 Continue` left out.
    pub raw: Bytes,
    /// How many of the raw bytes are the head.
    pub head_length: usize,
}

impl RecordedRequest {
    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        value(&self.headers, name)
    }

    /// The fields of a form that curl made, files as `@name`; `None` if the body is there as it was sent.
    pub fn form(&self) -> Option<Vec<(String, String)>> {
        let text = std::str::from_utf8(&self.body).ok()?;
        let fields = text.strip_prefix("(multipart form, made by curl: ")?.trim_end().strip_suffix(')')?;
        let pair =
            |field: &str| field.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
        fields.split(' ').map(pair).collect()
    }
}

impl RecordedResponse {
    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        value(&self.headers, name)
    }

    /// The whole body.
    pub fn body(&self) -> Bytes {
        match &self.chunks[..] {
            [one] => one.clone(),
            chunks => chunks.concat().into(),
        }
    }

    /// Whether the body came in chunks.
    pub fn is_chunked(&self) -> bool {
        self.header("transfer-encoding").is_some()
    }
}

fn value<'h>(headers: &'h [(String, String)], name: &str) -> Option<&'h str> {
    headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
}
