//! What fuzzing asks of this crate's readers: any bytes go in, and a promise that breaks is a panic.

use bytes::BytesMut;
use http::header::CONTENT_TYPE;

use crate::{error::Malformed, framing::Framing, head};

/// A head is the same wherever it is cut, and no larger than it may be.
pub fn answer_head(data: &[u8]) {
    let mut whole = BytesMut::from(data);
    let at_once = head::take(&mut whole, &[CONTENT_TYPE]);
    let cut = data.first().map_or(0, |byte| usize::from(*byte)) % (data.len() + 1);
    let (first, second) = data.split_at(cut);
    let mut parts = BytesMut::from(first);
    let mut in_parts = head::take(&mut parts, &[CONTENT_TYPE]);
    if matches!(in_parts, Ok(None)) {
        parts.extend_from_slice(second);
        in_parts = head::take(&mut parts, &[CONTENT_TYPE]);
    } else {
        parts.extend_from_slice(second);
    }
    match (at_once, in_parts) {
        (Ok(Some(one)), Ok(Some(other))) => {
            assert_eq!((one.status, &one.headers), (other.status, &other.headers));
            assert_eq!((&one.framing, one.keeps), (&other.framing, other.keeps));
            assert_eq!(whole, parts, "what follows the head is the body's");
        }
        (Ok(None), Ok(None)) | (Err(_), Err(_)) => {}
        (one, other) => panic!("cut at {cut}: {one:?} and {other:?}"),
    }
}

/// A body in chunks is the same wherever it is cut, never more than came, and ends at the same byte.
pub fn chunks(data: &[u8]) {
    let size = data.first().map_or(1, |byte| usize::from(byte % 32) + 1);
    let at_once = read(data, data.len().max(1));
    let in_parts = read(data, size);
    match (at_once, in_parts) {
        ((Ok(()), one, rest), (Ok(()), other, remains)) => {
            assert_eq!((one, rest), (other, remains), "in pieces of {size}");
        }
        ((Err(_), one, _), (Err(_), other, _)) => {
            // What came before the fault may have been handed on or not.
            assert!(other.starts_with(&one), "in pieces of {size}");
        }
        (one, other) => panic!("in pieces of {size}: {one:?} and {other:?}"),
    }
}

/// What a body gives whose bytes come in pieces of this size, and what is behind its end.
fn read(data: &[u8], size: usize) -> (Result<(), Malformed>, Vec<u8>, Vec<u8>) {
    let (mut framing, mut buffer, mut out) = (Framing::chunked(), BytesMut::new(), Vec::new());
    for piece in data.chunks(size) {
        buffer.extend_from_slice(piece);
        match framing.take(&mut buffer) {
            Ok(data) => out.extend_from_slice(&data),
            Err(error) => return (Err(error), out, buffer.to_vec()),
        }
    }
    (Ok(()), out, buffer.to_vec())
}
