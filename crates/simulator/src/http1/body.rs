//! Reading a request's body, whole: by its length or chunk by chunk.

use std::io;

use bytes::{Buf, Bytes, BytesMut};
use memchr::memchr;
use tokio::net::TcpStream;

use super::{Framing, Inbox};

/// A chunk-size line longer than this is not one.
const MAX_SIZE_LINE: usize = 4096;

/// Reads the whole body. There is no limit of time or size, as with vLLM (r13, a24b).
pub(crate) async fn read_body(inbox: &mut Inbox, socket: &TcpStream, framing: Framing) -> io::Result<Bytes> {
    match framing {
        Framing::Empty => Ok(Bytes::new()),
        Framing::Length(length) => {
            let length = usize::try_from(length).map_err(|_| io::ErrorKind::InvalidData)?;
            need(inbox, socket, length).await?;
            Ok(inbox.bytes.split_to(length).freeze())
        }
        Framing::Chunked => {
            let mut body = BytesMut::new();
            while let Some(chunk) = next_chunk(inbox, socket).await? {
                body.extend_from_slice(&chunk);
            }
            Ok(body.freeze())
        }
    }
}

/// Reads what is left of a body that nobody wanted, so that the next request can be found.
pub(crate) async fn drain(inbox: &mut Inbox, socket: &TcpStream, framing: Framing) -> io::Result<()> {
    match framing {
        Framing::Empty => {}
        Framing::Length(mut left) => {
            while left > 0 {
                need(inbox, socket, 1).await?;
                let step = usize::try_from(left).unwrap_or(usize::MAX).min(inbox.bytes.len());
                inbox.bytes.advance(step);
                left -= u64::try_from(step).unwrap_or(left);
            }
        }
        Framing::Chunked => while next_chunk(inbox, socket).await?.is_some() {},
    }
    Ok(())
}

async fn need(inbox: &mut Inbox, socket: &TcpStream, length: usize) -> io::Result<()> {
    while inbox.bytes.len() < length {
        if inbox.fill(socket).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(())
}

/// The next chunk's bytes; `None` after the last one and its trailers.
async fn next_chunk(inbox: &mut Inbox, socket: &TcpStream) -> io::Result<Option<Bytes>> {
    let line = line(inbox, socket).await?;
    let digits = line.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    let size = std::str::from_utf8(digits).ok().and_then(|digits| usize::from_str_radix(digits, 16).ok());
    let size = size.ok_or(io::ErrorKind::InvalidData)?;
    if size == 0 {
        while !self::line(inbox, socket).await?.is_empty() {}
        return Ok(None);
    }
    need(inbox, socket, size.checked_add(2).ok_or(io::ErrorKind::InvalidData)?).await?;
    let chunk = inbox.bytes.split_to(size).freeze();
    if inbox.bytes.split_to(2).as_ref() != b"\r\n" {
        return Err(io::ErrorKind::InvalidData.into());
    }
    Ok(Some(chunk))
}

async fn line(inbox: &mut Inbox, socket: &TcpStream) -> io::Result<Bytes> {
    loop {
        if let Some(end) = memchr(b'\n', &inbox.bytes) {
            let line = inbox.bytes.split_to(end + 1).freeze();
            let text = line.strip_suffix(b"\r\n").or_else(|| line.strip_suffix(b"\n"));
            return Ok(line.slice(..text.map_or(0, <[u8]>::len)));
        }
        if inbox.bytes.len() > MAX_SIZE_LINE {
            return Err(io::ErrorKind::InvalidData.into());
        }
        need(inbox, socket, inbox.bytes.len() + 1).await?;
    }
}
