//! A request as it goes over the wire: a head that is written once, and a body in the pieces in which it came.

use std::{
    io::{self, IoSlice},
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{HeaderName, HeaderValue};

use crate::{Origin, connection::Connection};

/// Pieces that are handed to the system at once.
const PIECES: usize = 16;

/// A request to one server. Whatever is put into it is sent as it is; nothing is added but `Host` and, to a POST,
/// `Content-Length`.
#[derive(Debug)]
pub struct Request {
    /// The head, then the body.
    pieces: Vec<Bytes>,
    head: Vec<u8>,
    /// The first piece that was not sent whole, and how much of it was.
    at: usize,
    sent: usize,
}

impl Request {
    /// To this path, which begins with a slash and is not escaped any further: it holds nothing that anybody else wrote,
    /// or what was looked at letter by letter.
    #[must_use]
    pub fn post(origin: &Origin, path: &str) -> Self {
        Self::new("POST ", origin, path)
    }

    /// A GET of this path, of which the same is true; a query may follow it.
    #[must_use]
    pub fn get(origin: &Origin, path: &str) -> Self {
        Self::new("GET ", origin, path)
    }

    fn new(method: &str, origin: &Origin, path: &str) -> Self {
        let mut head = Vec::with_capacity(512);
        for part in [method, &*origin.prefix, path, " HTTP/1.1\r\nhost: ", &*origin.authority, "\r\n"] {
            head.extend_from_slice(part.as_bytes());
        }
        Self { pieces: Vec::new(), head, at: 0, sent: 0 }
    }

    /// One more header. Neither type can hold the end of a line.
    pub fn header(&mut self, name: &HeaderName, value: &HeaderValue) {
        self.head.extend_from_slice(name.as_str().as_bytes());
        self.head.extend_from_slice(b": ");
        self.head.extend_from_slice(value.as_bytes());
        self.head.extend_from_slice(b"\r\n");
    }

    /// The body, and with it the end of the head.
    #[must_use]
    pub fn body(mut self, segments: &[Bytes]) -> Self {
        let length: usize = segments.iter().map(Bytes::len).sum();
        self.head.extend_from_slice(b"content-length: ");
        self.head.extend_from_slice(itoa::Buffer::new().format(length).as_bytes());
        self.head.extend_from_slice(b"\r\n\r\n");
        self.pieces.reserve_exact(1 + segments.len());
        self.pieces.push(std::mem::take(&mut self.head).into());
        self.pieces.extend(segments.iter().filter(|segment| !segment.is_empty()).cloned());
        self
    }

    /// No body, nor a word of one: the end of the head of a GET.
    #[must_use]
    pub fn without_body(mut self) -> Self {
        self.head.extend_from_slice(b"\r\n");
        self.pieces.push(std::mem::take(&mut self.head).into());
        self
    }

    /// Sends on; ready when all is sent.
    pub(crate) fn poll_send(
        &mut self,
        connection: &mut Connection,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while self.at < self.pieces.len() {
            let mut slices = [IoSlice::new(&[]); PIECES];
            let mut count = 0;
            for (slice, piece) in slices.iter_mut().zip(self.pieces.iter().skip(self.at)) {
                let from = if count == 0 { self.sent } else { 0 };
                *slice = IoSlice::new(piece.get(from..).unwrap_or_default());
                count += 1;
            }
            let written = ready!(connection.poll_write(cx, slices.get(..count).unwrap_or_default()))?;
            self.advance(written);
        }
        connection.poll_flush(cx)
    }

    fn advance(&mut self, mut written: usize) {
        while let Some(piece) = self.pieces.get(self.at) {
            let left = piece.len() - self.sent;
            if written < left {
                self.sent += written;
                return;
            }
            written -= left;
            self.at += 1;
            self.sent = 0;
        }
    }
}
