//! Heads and bodies, however they are cut.

use bytes::{Bytes, BytesMut};
use http::header::CONTENT_TYPE;
use proptest::prelude::*;

use crate::{framing::Framing, head};

/// Everything that a body gives whose bytes come in pieces of this size; whether it is over, and what is behind it.
fn read(data: &[u8], size: usize) -> Result<(Vec<u8>, bool, Vec<u8>), &'static str> {
    let (mut framing, mut buffer, mut out) = (Framing::chunked(), BytesMut::new(), Vec::new());
    for piece in data.chunks(size) {
        buffer.extend_from_slice(piece);
        let data: Bytes = framing.take(&mut buffer).map_err(|error| error.0)?;
        out.extend_from_slice(&data);
    }
    Ok((out, framing.is_over(), buffer.to_vec()))
}

#[test]
fn chunks_with_extensions_and_trailers_are_read_and_what_follows_stays() {
    let text = b"4;name=\"a;b\"\r\nabcd\r\n00B \t\r\nefghijklmno\r\n0\r\nTrailer: x\r\n\r\nHTTP/1.1";
    for size in 1..text.len() {
        let (data, over, rest) = read(text, size).unwrap();
        assert_eq!(data, b"abcdefghijklmno", "in pieces of {size}");
        assert!(over);
        assert!(b"HTTP/1.1".starts_with(&rest[..rest.len().min(8)]) || size > 1, "{rest:?}");
    }
    assert_eq!(read(text, text.len()).unwrap().2, b"HTTP/1.1");
}

#[test]
fn chunks_that_came_together_leave_together() {
    let mut framing = Framing::chunked();
    let mut buffer = BytesMut::from(&b"3\r\nabc\r\n2\r\nde\r\n4\r\nfg"[..]);
    assert_eq!(framing.take(&mut buffer).unwrap(), "abcdefg");
    buffer.extend_from_slice(b"hi\r\n0\r\n\r\n");
    assert_eq!(framing.take(&mut buffer).unwrap(), "hi");
    assert!(framing.is_over() && buffer.is_empty());
}

#[test]
fn what_is_no_chunk_is_an_error() {
    let long = format!("1;{}\r\na", "x".repeat(20_000));
    let many = format!("0\r\n{}\r\n", "a: b\r\n".repeat(5_000));
    for text in [
        "\r\n",
        "x\r\n",
        "-1\r\n",
        "1\na",
        "1\r\nab",
        "1\r\na\n",
        "1;a\nb",
        "1 \n",
        "0\r\n\n",
        "0\r\na: b\n",
        "1000000000000000\r\n",
        "fffffffffffffffff\r\n",
        &long,
        &many,
        " 1\r\n",
        "+1\r\n",
        "0x1\r\n",
    ] {
        for size in [1, 3, text.len()] {
            assert!(read(text.as_bytes(), size).is_err(), "{text:.20?} in pieces of {size}");
        }
    }
}

fn head_of(text: &str) -> Result<Option<head::Head>, &'static str> {
    head::take(&mut BytesMut::from(text), &[CONTENT_TYPE]).map_err(|error| error.0)
}

#[test]
fn a_head_says_how_its_body_is_framed_and_whether_the_connection_stays() {
    let of = |text: &str| {
        let head = head_of(&format!("{text}\r\n\r\n")).unwrap().unwrap();
        (head.framing, head.keeps)
    };
    for (text, framing, keeps) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 5", Framing::Length(5), true),
        ("HTTP/1.1 200 OK\r\ncontent-length: 5\r\nContent-Length: 5", Framing::Length(5), true),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked", Framing::chunked(), true),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 5", Framing::chunked(), false),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: Upgrade, Close", Framing::Length(5), false),
        ("HTTP/1.0 200 OK\r\nContent-Length: 5", Framing::Length(5), false),
        ("HTTP/1.1 200 OK", Framing::Close, false),
        ("HTTP/1.1 204 No Content\r\nContent-Length: 5", Framing::None, true),
        ("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0", Framing::Length(0), true),
        ("HTTP/1.1 101 Switching Protocols", Framing::None, true),
    ] {
        assert_eq!(of(text), (framing, keeps), "{text}");
    }
}

#[test]
fn a_head_that_could_be_read_in_two_ways_is_refused() {
    for text in [
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6",
        "HTTP/1.1 200 OK\r\nContent-Length: 5, 5",
        "HTTP/1.1 200 OK\r\nContent-Length: +5",
        "HTTP/1.1 200 OK\r\nContent-Length:",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "HTTP/1.1 99 Low",
        "HTTP/2 200 OK",
        "ICY 200 OK",
        "HTTP/1.1 200 OK\r\nBad Header: x",
    ] {
        assert!(head_of(&format!("{text}\r\n\r\n")).is_err(), "{text}");
    }
    assert!(head_of(&format!("HTTP/1.1 200 OK\r\n{}", "a: b\r\n".repeat(97))).is_err());
    assert!(head_of(&format!("HTTP/1.1 200 OK\r\na: {}", "x".repeat(65 * 1024))).is_err());
}

#[test]
fn only_the_headers_that_are_wanted_are_kept() {
    let text =
        "HTTP/1.1 200 OK\r\nServer: uvicorn\r\ncontent-TYPE: a\r\nSet-Cookie: b\r\nContent-Length: 0\r\n\r\n";
    let head = head_of(text).unwrap().unwrap();
    assert_eq!(head.headers.len(), 1);
    assert_eq!(head.headers[CONTENT_TYPE], "a");
}

proptest! {
    #[test]
    fn what_is_put_into_chunks_comes_out_of_them_however_it_is_cut(
        parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..300), 0..20), size in 1_usize..400,
    ) {
        let mut text = Vec::new();
        for part in &parts {
            text.extend_from_slice(format!("{:X}\r\n", part.len()).as_bytes());
            text.extend_from_slice(part);
            text.extend_from_slice(b"\r\n");
        }
        text.extend_from_slice(b"0\r\n\r\n");
        prop_assert_eq!(read(&text, size).unwrap(), (parts.concat(), true, Vec::new()));
    }

    #[test]
    fn any_bytes_are_read_the_same_however_they_are_cut(bytes in "([0-9a-f]{1,2}|\r\n|[ -~]|\n|0\r\n\r\n){0,60}", size in 1_usize..20) {
        let (whole, parts) = (read(bytes.as_bytes(), usize::MAX), read(bytes.as_bytes(), size));
        prop_assert_eq!(whole.is_ok(), parts.is_ok());
        if let (Ok(whole), Ok(parts)) = (whole, parts) {
            prop_assert_eq!(whole, parts);
        }
    }

    #[test]
    fn no_bytes_at_all_make_a_head_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = head::take(&mut BytesMut::from(&bytes[..]), &[CONTENT_TYPE]);
    }
}
