//! Requests that are refused, in great number: the quickest way to fill a journal.

use std::fmt::Write as _;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::clients::{Asked, End};

const CONNECTIONS: usize = 8;
/// Requests that are sent in one go.
const BURST: usize = 50;

/// One answer.
struct Answer {
    status: u16,
    retry_after: bool,
    body: String,
    length: usize,
}

/// Sends so many requests with a key that nobody has, and says how each was answered.
pub(crate) async fn refused(address: &str, prefix: &str, count: usize) -> Vec<Asked> {
    let bursts = count.div_ceil(BURST);
    let runs = (0..CONNECTIONS).map(|connection| {
        let (address, prefix) = (address.to_owned(), prefix.to_owned());
        tokio::spawn(async move {
            let mut socket = TcpStream::connect(&address).await.unwrap();
            let mut asked = Vec::new();
            for burst in (connection..bursts).step_by(CONNECTIONS) {
                let ids: Vec<String> = (0..BURST).map(|at| format!("{prefix}-{burst}-{at}")).collect();
                asked.extend(send(&mut socket, ids).await);
            }
            asked
        })
    });
    let mut all = Vec::new();
    for run in runs.collect::<Vec<_>>() {
        all.extend(run.await.unwrap());
    }
    all
}

async fn send(socket: &mut TcpStream, ids: Vec<String>) -> Vec<Asked> {
    let mut text = String::new();
    for id in &ids {
        let _ = write!(
            text,
            "GET /v1/models HTTP/1.1\r\nHost: gateway\r\nx-request-id: {id}\r\n\
             Authorization: Bearer sk-live-01234567-89ab-cdef-0011-223344556677\r\n\r\n"
        );
    }
    socket.write_all(text.as_bytes()).await.unwrap();
    let (mut bytes, mut asked) = (Vec::new(), Vec::new());
    for id in ids {
        let answer = loop {
            if let Some(answer) = parse(&bytes) {
                break answer;
            }
            let mut chunk = [0; 4096];
            let read = socket.read(&mut chunk).await.unwrap();
            assert!(read > 0, "the gateway hung up: {}", String::from_utf8_lossy(&bytes));
            bytes.extend_from_slice(&chunk[..read]);
        };
        bytes.drain(..answer.length);
        let full = answer.body.contains("log_unavailable");
        assert!(!full || answer.retry_after, "no Retry-After: {}", answer.body);
        asked.push(Asked {
            status: Some(answer.status),
            code: if full { "log_unavailable".into() } else { String::new() },
            known: false,
            ..Asked::new(id, End::Whole)
        });
    }
    asked
}

fn parse(bytes: &[u8]) -> Option<Answer> {
    let text = std::str::from_utf8(bytes).ok()?;
    let (head, rest) = text.split_once("\r\n\r\n")?;
    let head = head.to_ascii_lowercase();
    let length: usize = head.split_once("content-length: ")?.1.lines().next()?.parse().ok()?;
    let body = rest.get(..length)?.to_owned();
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some(Answer {
        status,
        retry_after: head.contains("\r\nretry-after: "),
        body,
        length: head.len() + 4 + length,
    })
}
