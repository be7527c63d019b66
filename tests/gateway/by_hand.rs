//! A client that speaks HTTP by hand: it sees every byte, keeps its connection, and leaves as it likes.

use std::net::SocketAddr;

use bytes::{Buf, Bytes, BytesMut};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    time::timeout,
};

use crate::support::{PATIENCE, Stage};

/// How a client leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leaving {
    /// It closes (FIN).
    Closes,
    /// It resets (RST).
    Resets,
    /// It closes its side only, and goes on reading.
    HalfCloses,
}

impl Leaving {
    pub(crate) const ALL: [Self; 3] = [Self::Closes, Self::Resets, Self::HalfCloses];
}

/// One connection.
pub(crate) struct ByHand {
    socket: TcpStream,
    ahead: BytesMut,
    left: Left,
}

/// What is still to come of the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Left {
    Nothing,
    Bytes(usize),
    Chunks,
}

/// The head of an answer.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) status: u16,
    pub(crate) text: String,
}

/// The connection ended, or what came is not HTTP, before the answer was whole.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Broke;

impl ByHand {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        Self::with(TcpSocket::new_v4().unwrap(), address).await
    }

    /// A client whose system holds few bytes for it.
    pub(crate) async fn connect_narrow(address: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        Self::with(socket, address).await
    }

    async fn with(socket: TcpSocket, address: SocketAddr) -> Self {
        let socket = timeout(PATIENCE, socket.connect(address)).await.unwrap().unwrap();
        socket.set_nodelay(true).unwrap();
        Self { socket, ahead: BytesMut::new(), left: Left::Nothing }
    }

    /// Sends these bytes; a connection that is gone shows when it is read.
    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        let _ = self.socket.write_all(bytes).await;
    }

    /// The next head. Whatever is left of the answer before is not read: ask for it first.
    pub(crate) async fn head(&mut self) -> Result<Head, Broke> {
        assert_eq!(self.left, Left::Nothing, "the answer before was not read to its end");
        let end = loop {
            if let Some(at) = find(&self.ahead, b"\r\n\r\n") {
                break at + 4;
            }
            self.fill().await?;
        };
        let text = String::from_utf8(self.ahead.split_to(end).to_vec()).map_err(|_| Broke)?;
        let status = text.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)).ok_or(Broke)?;
        let status = status.parse().map_err(|_| Broke)?;
        let header = |name: &str| {
            let lines = text.lines().filter_map(|line| line.split_once(": "));
            lines.filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value).next()
        };
        self.left = match (header("transfer-encoding"), header("content-length")) {
            (Some("chunked"), None) => Left::Chunks,
            (None, Some(length)) => Left::Bytes(length.parse().map_err(|_| Broke)?),
            _ => return Err(Broke),
        };
        Ok(Head { status, text })
    }

    /// The next piece of the body: a chunk, or what has come of a body with a length. `None` at its end.
    ///
    /// Dropped while it waits, it has lost nothing.
    pub(crate) async fn chunk(&mut self) -> Result<Option<Bytes>, Broke> {
        match self.left {
            Left::Nothing => Ok(None),
            Left::Bytes(0) => {
                self.left = Left::Nothing;
                Ok(None)
            }
            Left::Bytes(left) => {
                if self.ahead.is_empty() {
                    self.fill().await?;
                }
                let piece = self.ahead.split_to(left.min(self.ahead.len())).freeze();
                self.left = Left::Bytes(left - piece.len());
                Ok(Some(piece))
            }
            Left::Chunks => {
                let (line, size) = loop {
                    if let Some(at) = find(&self.ahead, b"\r\n") {
                        let size = std::str::from_utf8(&self.ahead[..at]).map_err(|_| Broke)?;
                        break (at + 2, usize::from_str_radix(size, 16).map_err(|_| Broke)?);
                    }
                    self.fill().await?;
                };
                while self.ahead.len() < line + size + 2 {
                    self.fill().await?;
                }
                self.ahead.advance(line);
                let chunk = self.ahead.split_to(size).freeze();
                if &self.ahead.split_to(2)[..] != b"\r\n" {
                    return Err(Broke);
                }
                if size > 0 {
                    return Ok(Some(chunk));
                }
                self.left = Left::Nothing;
                Ok(None)
            }
        }
    }

    /// The rest of the body, and whether it came to its end.
    pub(crate) async fn rest(&mut self) -> (String, Result<(), Broke>) {
        let mut body = Vec::new();
        let ended = loop {
            match self.chunk().await {
                Ok(Some(chunk)) => body.extend_from_slice(&chunk),
                Ok(None) => break Ok(()),
                Err(broke) => break Err(broke),
            }
        };
        (String::from_utf8_lossy(&body).into_owned(), ended)
    }

    /// Asserts that the server closes and sends nothing more; gives what had come before and was not read.
    pub(crate) async fn closed(mut self) -> String {
        while self.fill().await.is_ok() {}
        String::from_utf8_lossy(&self.ahead).into_owned()
    }

    /// Reads up to so many bytes, as they come: 0 is the end.
    pub(crate) async fn sip(&mut self, bytes: usize) -> usize {
        let mut sip = vec![0; bytes];
        timeout(PATIENCE, self.socket.read(&mut sip)).await.unwrap().unwrap_or(0)
    }

    /// Leaves. A client that half-closes gives its connection back.
    pub(crate) async fn leave(mut self, how: Leaving) -> Option<Self> {
        match how {
            Leaving::Closes => None,
            Leaving::Resets => {
                self.socket.set_zero_linger().unwrap();
                None
            }
            Leaving::HalfCloses => {
                let _ = self.socket.shutdown().await;
                Some(self)
            }
        }
    }

    async fn fill(&mut self) -> Result<(), Broke> {
        self.ahead.reserve(16 * 1024);
        match timeout(PATIENCE, self.socket.read_buf(&mut self.ahead))
            .await
            .expect("the gateway says nothing")
        {
            Ok(0) | Err(_) => Err(Broke),
            Ok(_) => Ok(()),
        }
    }
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

/// A request as it is written.
pub(crate) fn request(key: &str, path: &str, id: &str, body: &Value) -> Vec<u8> {
    let body = body.to_string();
    format!(
        "POST {path} HTTP/1.1\r\nhost: gateway\r\nauthorization: Bearer {key}\r\nx-request-id: {id}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

impl Stage {
    /// A connection to the gateway.
    pub(crate) async fn by_hand(&self) -> ByHand {
        ByHand::connect(self.gateway.data_address()).await
    }

    /// A connection on which this was asked with the app's key.
    pub(crate) async fn asked(&self, path: &str, id: &str, body: &Value) -> ByHand {
        let mut client = self.by_hand().await;
        client.send(&request(&self.key, path, id, body)).await;
        client
    }

    /// What the simulated vLLM itself answers to this.
    pub(crate) async fn asked_directly(&self, path: &str, id: &str, body: &Value) -> String {
        let mut client = ByHand::connect(self.vllm.addr).await;
        client.send(&request(&self.key, path, id, body)).await;
        client.head().await.unwrap();
        let (body, ended) = client.rest().await;
        ended.unwrap();
        body
    }
}

/// The same without the time of its making and the ids that vLLM draws, which differ from one asking to the next.
pub(crate) fn timeless(body: &str) -> String {
    let mut body = body.to_owned();
    for key in ["\"created\":", "\"created_at\":", "\"msg_"] {
        let mut parts = body.split(key);
        let mut kept = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            kept.push_str(key);
            kept.push_str(part.trim_start_matches(|c: char| c.is_ascii_hexdigit()));
        }
        body = kept;
    }
    body
}
