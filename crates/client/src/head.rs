//! The head of an answer: its status, the headers that are wanted, and how its body is framed (RFC 9112, section 6.3).

use std::mem::MaybeUninit;

use bytes::{Buf, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header::CONTENT_ENCODING};
use httparse::ParserConfig;

use crate::{error::Malformed, framing::Framing};

/// The most bytes of a head.
const MOST: usize = 64 * 1024;
/// The most headers.
const HEADERS: usize = 96;

/// The head of an answer.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) framing: Framing,
    /// Whether the connection may be used again after the body.
    pub(crate) keeps: bool,
}

/// Takes a head off the buffer, once it is whole. Interim answers are skipped, except for the one that changes the
/// protocol, after which nothing would make sense.
pub(crate) fn take(buffer: &mut BytesMut, keep: &[HeaderName]) -> Result<Option<Head>, Malformed> {
    loop {
        let Some((head, length)) = parse(buffer, keep)? else { return Ok(None) };
        buffer.advance(length);
        if head.status.is_informational() && head.status != StatusCode::SWITCHING_PROTOCOLS {
            continue;
        }
        return Ok(Some(head));
    }
}

fn parse(bytes: &[u8], keep: &[HeaderName]) -> Result<Option<(Head, usize)>, Malformed> {
    // Most reads that do not end a head end none of its lines either.
    if !bytes.ends_with(b"\n") && !bytes.contains(&b'\n') {
        return if bytes.len() > MOST { Err(TOO_LARGE) } else { Ok(None) };
    }
    let mut headers = [const { MaybeUninit::uninit() }; HEADERS];
    let mut response = httparse::Response::new(&mut []);
    let parsed =
        ParserConfig::default().parse_response_with_uninit_headers(&mut response, bytes, &mut headers);
    let length = match parsed {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) if bytes.len() > MOST => return Err(TOO_LARGE),
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(httparse::Error::TooManyHeaders) => return Err(Malformed("its head has too many headers")),
        Err(_) => return Err(Malformed("its head is no HTTP")),
    };
    let status = response.code.and_then(|code| StatusCode::from_u16(code).ok());
    let status = status.ok_or(Malformed("its status is none"))?;
    let mut facts = Facts::default();
    let mut kept = HeaderMap::with_capacity(4);
    for header in response.headers.iter() {
        facts.note(header.name, header.value)?;
        if let Some(name) = keep.iter().find(|name| name.as_str().eq_ignore_ascii_case(header.name)) {
            let value = HeaderValue::from_bytes(header.value);
            let value = value.map_err(|_| Malformed("a header has a value that is none"))?;
            if *name == CONTENT_ENCODING {
                // One upon another: each of them counts.
                kept.append(name, value);
            } else {
                // Of several the first, as a reader would take it who does not expect several.
                kept.entry(name).or_insert(value);
            }
        }
    }
    let bodiless = status.is_informational() || matches!(status.as_u16(), 204 | 304);
    let framing = if bodiless { Framing::None } else { facts.framing()? };
    let keeps = response.version == Some(1) && !facts.closes && framing != Framing::Close;
    Ok(Some((Head { status, headers: kept, framing, keeps }, length)))
}

const TOO_LARGE: Malformed = Malformed("its head is larger than 64 KiB");

/// What the headers say of the connection.
#[derive(Default)]
struct Facts {
    length: Option<u64>,
    encodings: usize,
    chunked: bool,
    closes: bool,
}

impl Facts {
    fn note(&mut self, name: &str, value: &[u8]) -> Result<(), Malformed> {
        if name.eq_ignore_ascii_case("content-length") {
            let length = digits(value).ok_or(Malformed("its Content-Length is no number"))?;
            if self.length.replace(length).is_some_and(|other| other != length) {
                return Err(Malformed("it has two lengths"));
            }
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            self.encodings += 1;
            self.chunked = value.trim_ascii().eq_ignore_ascii_case(b"chunked");
        } else if name.eq_ignore_ascii_case("connection") {
            let mut words = value.split(|byte| *byte == b',');
            self.closes |= words.any(|word| word.trim_ascii().eq_ignore_ascii_case(b"close"));
        }
        Ok(())
    }

    fn framing(&mut self) -> Result<Framing, Malformed> {
        if self.encodings > 0 {
            if self.encodings > 1 || !self.chunked {
                return Err(Malformed("its Transfer-Encoding is not `chunked`"));
            }
            // A length beside it does not count, and is a sign that somebody on the way is confused.
            self.closes |= self.length.is_some();
            return Ok(Framing::chunked());
        }
        Ok(self.length.map_or(Framing::Close, Framing::Length))
    }
}

fn digits(value: &[u8]) -> Option<u64> {
    let value = value.trim_ascii();
    let all = !value.is_empty() && value.len() <= 19 && value.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(value).ok().filter(|_| all)?.parse().ok()
}
