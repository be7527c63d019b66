//! Reading a request's head: the line, the headers, and how long the body is.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use memchr::memmem;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::Inbox;

/// vLLM took a header of 5 MB; this is only here so that a mistake cannot fill the memory.
const MAX_HEAD: usize = 64 * 1024 * 1024;
/// Until here a head without its blank line is parsed anyway, so that what is not HTTP is refused at once.
const EARLY_CHECK: usize = 16 * 1024;

/// How the request's body is delimited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    /// There is no body.
    Empty,
    /// `content-length`.
    Length(u64),
    /// `transfer-encoding: chunked`.
    Chunked,
}

/// The head of one request.
#[derive(Debug, Clone)]
pub(crate) struct RequestHead {
    pub(crate) method: Method,
    /// As sent: path and query.
    pub(crate) target: String,
    /// The path, percent-decoded, as vLLM routes it.
    pub(crate) path: String,
    pub(crate) query: String,
    /// 0 or 1.
    pub(crate) minor_version: u8,
    pub(crate) headers: HeaderMap,
    pub(crate) raw: Bytes,
    pub(crate) framing: Framing,
}

impl RequestHead {
    /// A header's value when it is text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// Whether the connection ends with this exchange.
    pub(crate) fn wants_close(&self) -> bool {
        let close = |value: &HeaderValue| {
            value
                .to_str()
                .is_ok_and(|text| text.split(',').any(|part| part.trim().eq_ignore_ascii_case("close")))
        };
        self.minor_version == 0 || self.headers.get_all(header::CONNECTION).iter().any(close)
    }

    /// Whether the client waits for `100 Continue` before it sends the body.
    pub(crate) fn expects_continue(&self) -> bool {
        self.framing != Framing::Empty
            && self.header("expect").is_some_and(|value| value.eq_ignore_ascii_case("100-continue"))
    }
}

/// Why there is no head.
pub(crate) enum HeadError {
    /// The client closed, left in the middle, or was idle for too long.
    Closed,
    /// These bytes are not an HTTP/1.x request.
    Invalid,
}

/// Reads the next request's head. `idle` bounds the wait for its first byte.
pub(crate) async fn read_head(
    inbox: &mut Inbox,
    socket: &TcpStream,
    idle: Option<Duration>,
) -> Result<RequestHead, HeadError> {
    let mut searched: usize = 0;
    loop {
        if let Some(end) = memmem::find(&inbox.bytes[searched.min(inbox.bytes.len())..], b"\r\n\r\n") {
            let raw = inbox.bytes.split_to(searched + end + 4).freeze();
            return parse(&raw)?.ok_or(HeadError::Invalid);
        }
        if inbox.bytes.len() > MAX_HEAD {
            return Err(HeadError::Invalid);
        }
        if !inbox.bytes.is_empty() && inbox.bytes.len() < EARLY_CHECK {
            parse(&Bytes::copy_from_slice(&inbox.bytes))?;
        }
        searched = inbox.bytes.len().saturating_sub(3);
        let filled = match idle.filter(|_| inbox.bytes.is_empty()) {
            Some(limit) => timeout(limit, inbox.fill(socket))
                .await
                .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())),
            None => inbox.fill(socket).await,
        };
        match filled {
            Ok(0) | Err(_) => return Err(HeadError::Closed),
            Ok(_) => {}
        }
    }
}

fn parse(raw: &Bytes) -> Result<Option<RequestHead>, HeadError> {
    let mut room = 64;
    loop {
        let mut slots = vec![httparse::EMPTY_HEADER; room];
        let mut request = httparse::Request::new(&mut slots);
        match request.parse(raw) {
            Ok(httparse::Status::Complete(_)) => return understand(&request, raw.clone()).map(Some),
            Ok(httparse::Status::Partial) => return Ok(None),
            Err(httparse::Error::TooManyHeaders) if room < 64 * 1024 => room *= 8,
            Err(_) => return Err(HeadError::Invalid),
        }
    }
}

fn understand(request: &httparse::Request<'_, '_>, raw: Bytes) -> Result<RequestHead, HeadError> {
    let invalid = || HeadError::Invalid;
    let method =
        Method::from_bytes(request.method.ok_or_else(invalid)?.as_bytes()).map_err(|_| HeadError::Invalid)?;
    let target = request.path.ok_or_else(invalid)?.to_owned();
    let mut headers = HeaderMap::with_capacity(request.headers.len());
    for line in request.headers.iter() {
        let name = HeaderName::from_bytes(line.name.as_bytes()).map_err(|_| HeadError::Invalid)?;
        let value = HeaderValue::from_bytes(line.value).map_err(|_| HeadError::Invalid)?;
        headers.append(name, value);
    }
    let framing = framing(&headers)?;
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let (path, query) = (percent_decoded(path), query.to_owned());
    Ok(RequestHead {
        method,
        path,
        query,
        minor_version: request.version.unwrap_or(1),
        headers,
        raw,
        framing,
        target,
    })
}

fn framing(headers: &HeaderMap) -> Result<Framing, HeadError> {
    let mut lengths = headers.get_all(header::CONTENT_LENGTH).iter();
    let length = lengths.next();
    let coding = headers.get(header::TRANSFER_ENCODING);
    match (length, coding) {
        (None, None) => Ok(Framing::Empty),
        (None, Some(coding)) if coding.as_bytes().eq_ignore_ascii_case(b"chunked") => Ok(Framing::Chunked),
        // An unknown coding; or both at once, which is how requests are smuggled: refused, as recorded (r14).
        (_, Some(_)) => Err(HeadError::Invalid),
        (Some(length), None) => {
            let digits = length.to_str().ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
            let length = digits.and_then(|text| text.parse().ok()).filter(|_| lengths.next().is_none());
            match length.ok_or(HeadError::Invalid)? {
                0 => Ok(Framing::Empty),
                length => Ok(Framing::Length(length)),
            }
        }
    }
}

fn percent_decoded(path: &str) -> String {
    let bytes = path.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let code = (byte == b'%')
            .then(|| path.get(at + 1..at + 3))
            .flatten()
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        decoded.push(code.unwrap_or(byte));
        at += if code.is_some() { 3 } else { 1 };
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn head(text: &str) -> Option<RequestHead> {
        parse(&Bytes::copy_from_slice(text.as_bytes())).ok().flatten()
    }

    #[test]
    fn a_percent_encoded_slash_reaches_the_route() {
        let head = head("POST /v1/chat%2Fcompletions?a=b HTTP/1.1\r\n\r\n").unwrap();
        assert_eq!((head.path.as_str(), head.query.as_str()), ("/v1/chat/completions", "a=b"));
        assert_eq!(head.target, "/v1/chat%2Fcompletions?a=b");
    }

    #[test]
    fn a_broken_percent_sign_stays_as_it_is() {
        assert_eq!(percent_decoded("/a%2/%zz%"), "/a%2/%zz%");
    }

    #[test]
    fn both_lengths_are_refused_and_four_hundred_headers_are_not() {
        assert!(head("POST / HTTP/1.1\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n").is_none());
        let mut many = String::from("GET /version HTTP/1.1\r\n");
        (0..400).for_each(|n| many.extend(["X-H", &n.to_string(), ": v\r\n"]));
        assert_eq!(head(&(many + "\r\n")).unwrap().headers.len(), 400);
    }

    #[test]
    fn a_signed_or_doubled_length_is_refused() {
        assert!(head("POST / HTTP/1.1\r\ncontent-length: +5\r\n\r\n").is_none());
        assert!(head("POST / HTTP/1.1\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\n").is_none());
    }
}
