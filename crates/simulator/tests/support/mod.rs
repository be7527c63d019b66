//! A client of bare sockets, so that the tests see what is on the wire and not what a library makes of it.
#![allow(dead_code, clippy::unwrap_used, missing_docs, unreachable_pub)] // Each test file uses its own part of it.

pub mod shape;

use std::path::PathBuf;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use vllm_gateway_simulator::Simulator;

/// No test waits longer than this for anything.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// The folder of the recordings.
pub fn recordings() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/recordings")
}

/// A connection and what has come on it.
pub struct Client {
    pub socket: TcpStream,
    pub bytes: Vec<u8>,
}

/// One answer.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub chunks: Vec<Vec<u8>>,
    pub raw: Vec<u8>,
}

impl Answer {
    pub fn body(&self) -> Vec<u8> {
        self.chunks.concat()
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body()).into_owned()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body()).unwrap()
    }

    /// The data of each event.
    pub fn events(&self) -> Vec<String> {
        let text = self.text();
        let data =
            |event: &str| event.lines().find_map(|line| line.strip_prefix("data: ")).map(str::to_owned);
        text.split("\n\n").filter_map(data).collect()
    }
}

/// How an answer failed to come.
#[derive(Debug, PartialEq, Eq)]
pub enum Broken {
    /// The connection ended first; this had come.
    Closed(Vec<u8>),
    Reset,
}

impl Client {
    pub async fn connect(simulator: &Simulator) -> Self {
        Self { socket: TcpStream::connect(simulator.addr).await.unwrap(), bytes: Vec::new() }
    }

    pub async fn send(&mut self, bytes: &[u8]) {
        self.socket.write_all(bytes).await.unwrap();
    }

    pub async fn post(&mut self, path: &str, body: &str) {
        self.send(&post(path, body)).await;
    }

    /// Reads more; false at the end.
    pub async fn more(&mut self) -> Result<bool, Broken> {
        self.bytes.reserve(64 * 1024);
        match timeout(PATIENCE, self.socket.read_buf(&mut self.bytes)).await.expect("nothing came in time") {
            Ok(read) => Ok(read > 0),
            Err(_) => Err(Broken::Reset),
        }
    }

    /// Reads until `needle` has come.
    pub async fn until(&mut self, needle: &str) -> Result<(), Broken> {
        while !self.bytes.windows(needle.len()).any(|window| window == needle.as_bytes()) {
            if !self.more().await? {
                return Err(Broken::Closed(self.bytes.clone()));
            }
        }
        Ok(())
    }

    /// Reads until so many events have come.
    pub async fn until_events(&mut self, events: usize) -> Result<(), Broken> {
        while self.bytes.windows(8).filter(|window| *window == b"\r\ndata: ").count() < events {
            if !self.more().await? {
                return Err(Broken::Closed(self.bytes.clone()));
            }
        }
        Ok(())
    }

    /// Reads to the end of the connection.
    pub async fn rest(&mut self) -> Result<Vec<u8>, Broken> {
        while self.more().await? {}
        Ok(std::mem::take(&mut self.bytes))
    }

    /// Reads one answer; a `100 Continue` before it is skipped.
    pub async fn answer(&mut self) -> Result<Answer, Broken> {
        self.answer_to("POST").await
    }

    pub async fn answer_to(&mut self, method: &str) -> Result<Answer, Broken> {
        loop {
            if self.bytes.starts_with(b"HTTP/1.1 100 ")
                && self.bytes.windows(4).any(|window| window == b"\r\n\r\n")
            {
                let end = self.bytes.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
                self.bytes.drain(..end);
            }
            if let Some((answer, used)) = whole(&self.bytes, method) {
                self.bytes.drain(..used);
                return Ok(answer);
            }
            if !self.more().await? {
                return Err(Broken::Closed(std::mem::take(&mut self.bytes)));
            }
        }
    }
}

/// A whole answer at the start of the bytes, and how long it is.
fn whole(bytes: &[u8], method: &str) -> Option<(Answer, usize)> {
    let head_end = bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let head = String::from_utf8_lossy(&bytes[..head_end]).into_owned();
    let mut lines = head.lines();
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let headers: Vec<_> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let find = |wanted: &str| headers.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.clone());
    let mut chunks = Vec::new();
    let mut at = head_end;
    if method == "HEAD" {
    } else if find("transfer-encoding").is_some() {
        loop {
            let line = at + bytes[at..].windows(2).position(|window| window == b"\r\n")?;
            let size = usize::from_str_radix(std::str::from_utf8(&bytes[at..line]).unwrap(), 16).unwrap();
            let end = line + 2 + size;
            let chunk = bytes.get(line + 2..end)?.to_vec();
            bytes.get(end..end + 2)?;
            at = end + 2;
            if size == 0 {
                break;
            }
            chunks.push(chunk);
        }
    } else {
        let length: usize = find("content-length")?.parse().unwrap();
        chunks.push(bytes.get(at..at + length)?.to_vec());
        at += length;
    }
    Some((Answer { status, headers, chunks, raw: bytes[..at].to_vec() }, at))
}

/// A POST of JSON.
pub fn post(path: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("POST {path} HTTP/1.1\r\nHost: sim\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}")
        .into_bytes()
}

/// A chat request; `more` is what stands after the messages.
pub fn chat(more: &str) -> String {
    format!(r#"{{"model":"Qwen3-32B","messages":[{{"role":"user","content":"Say hello"}}]{more}}}"#)
}

/// Sends a request on a connection of its own and reads the answer.
pub async fn ask(simulator: &Simulator, request: &[u8]) -> Result<Answer, Broken> {
    let mut client = Client::connect(simulator).await;
    client.send(request).await;
    client.answer().await
}

/// A GET on a connection of its own.
pub async fn get(simulator: &Simulator, path: &str) -> Answer {
    ask(simulator, format!("GET {path} HTTP/1.1\r\nHost: sim\r\n\r\n").as_bytes()).await.unwrap()
}

/// A POST of JSON on a connection of its own.
pub async fn ask_json(simulator: &Simulator, path: &str, body: &str) -> Answer {
    ask(simulator, &post(path, body)).await.unwrap()
}
