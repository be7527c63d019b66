//! What the mock is asked for.

use std::io;

use tokio::{io::AsyncReadExt, net::TcpStream};

use crate::answer::header;

/// Which answer a request gets: every workload has another number of tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    pub(crate) tokens: u32,
    pub(crate) stream: bool,
    pub(crate) usage: Usage,
}

/// Where a stream tells how many tokens it has taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Usage {
    No,
    AtTheEnd,
    /// In every chunk, as the gateway asks for it.
    Running,
}

/// What somebody wants of it.
pub(crate) enum Asked {
    Answer(Key),
    /// What is behind a path.
    Page(Vec<u8>),
}

/// Reads a request to its end and says what it asks for; `None` where there is no further one.
pub(crate) async fn read_request(socket: &mut TcpStream, buffer: &mut [u8]) -> io::Result<Option<Asked>> {
    let mut filled = 0;
    let (head, length): (usize, usize) = loop {
        let read = socket.read(&mut buffer[filled..]).await?;
        if read == 0 {
            return Ok(None);
        }
        filled += read;
        if let Some(end) = buffer[..filled].windows(4).position(|window| window == b"\r\n\r\n") {
            if let Some(path) = buffer.strip_prefix(b"GET ") {
                let end = path.iter().position(|byte| *byte == b' ').unwrap_or_default();
                return Ok(Some(Asked::Page(path[..end].to_vec())));
            }
            let length = header(&buffer[..end], "content-length").and_then(|length| length.parse().ok());
            break (end + 4, length.ok_or_else(|| io::Error::other("a request without a length"))?);
        }
    };
    // What is looked for stands in the beginning of the body, or, where the gateway has added it, in its end.
    while filled < buffer.len() && filled < head + length {
        let read = socket.read(&mut buffer[filled..]).await?;
        if read == 0 {
            return Ok(None);
        }
        filled += read;
    }
    let key = key_of(&buffer[head..filled]);
    let mut left = (head + length).saturating_sub(filled);
    while left > 0 {
        let room = left.min(buffer.len());
        let read = socket.read(&mut buffer[..room]).await?;
        if read == 0 {
            return Ok(None);
        }
        left -= read;
    }
    Ok(Some(Asked::Answer(key)))
}

fn key_of(body: &[u8]) -> Key {
    let after = |name: &[u8]| {
        let found = body.windows(name.len()).position(|window| window == name);
        found.map(|found| body[found + name.len()..].trim_ascii_start())
    };
    let is_true = |name: &[u8]| after(name).is_some_and(|value| value.starts_with(b"true"));
    // Some write it with the newer name.
    let tokens = after(b"\"max_tokens\":").or_else(|| after(b"\"max_completion_tokens\":"));
    let digits = tokens.unwrap_or_default().iter().take_while(|digit| digit.is_ascii_digit());
    let usage = match (is_true(b"\"continuous_usage_stats\":"), is_true(b"\"include_usage\":")) {
        (true, _) => Usage::Running,
        (false, true) => Usage::AtTheEnd,
        (false, false) => Usage::No,
    };
    Key {
        tokens: digits.fold(0, |number, digit| number * 10 + u32::from(digit - b'0')),
        stream: is_true(b"\"stream\":"),
        usage,
    }
}
