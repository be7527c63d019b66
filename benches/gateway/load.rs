//! The client: requests over connections that stay open, and what came back.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
};

pub(crate) fn chat(stream: bool, tokens: u32) -> String {
    let text = "word ".repeat(180);
    format!(
        r#"{{"model":"Qwen3-32B","messages":[{{"role":"user","content":"{text}"}}],"max_tokens":{tokens},"ignore_eos":true,"stream":{stream}}}"#
    )
}

pub(crate) fn request(key: &str, body: &str) -> Vec<u8> {
    request_with(key, "", body)
}

/// With more lines in its head, each with its end.
pub(crate) fn request_with(key: &str, headers: &str, body: &str) -> Vec<u8> {
    format!(
        "POST /v1/chat/completions HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {key}\r\nContent-Type: application/json\r\n{headers}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

pub(crate) struct Run {
    pub(crate) count: usize,
    pub(crate) elapsed: Duration,
    latencies: Vec<i64>,
}

impl Run {
    /// In microseconds.
    pub(crate) fn percentile(&self, percent: usize) -> i64 {
        self.latencies[(self.latencies.len() - 1) * percent / 100]
    }
}

/// That many clients, each with a connection of its own, ask one request after another.
pub(crate) async fn unary(address: SocketAddr, key: &str, clients: usize) -> Run {
    const EACH: Duration = Duration::from_secs(4);
    let begun = Instant::now();
    let mut tasks = Vec::new();
    for _ in 0..clients {
        let request = request(key, &chat(false, 4));
        tasks.push(tokio::spawn(async move {
            let mut socket = connect(address).await;
            let mut latencies = Vec::new();
            let mut buffer = vec![0; 16 * 1024];
            while begun.elapsed() < EACH {
                let sent = Instant::now();
                socket.write_all(&request).await.unwrap();
                read_answer(&mut socket, &mut buffer).await;
                latencies.push(i64::try_from(sent.elapsed().as_micros()).unwrap());
            }
            latencies
        }));
    }
    let mut latencies = Vec::new();
    for task in tasks {
        latencies.extend(task.await.unwrap());
    }
    let elapsed = begun.elapsed();
    latencies.sort_unstable();
    Run { count: latencies.len(), elapsed, latencies }
}

/// Sends so many requests over so many connections, every tenth of them a stream, and counts those that are done.
pub(crate) async fn mixed(
    address: SocketAddr,
    key: &str,
    clients: usize,
    requests: u64,
    done: &Arc<AtomicU64>,
) {
    let taken = Arc::new(AtomicU64::new(0));
    let (whole, stream) = (request(key, &chat(false, 4)), request(key, &chat(true, 4)));
    let mut tasks = JoinSet::new();
    for _ in 0..clients {
        let (taken, done) = (Arc::clone(&taken), Arc::clone(done));
        let (whole, stream) = (whole.clone(), stream.clone());
        tasks.spawn(async move {
            let mut socket = connect(address).await;
            let mut buffer = vec![0; 16 * 1024];
            loop {
                let number = taken.fetch_add(1, Ordering::Relaxed);
                if number >= requests {
                    return;
                }
                let request = if number % 10 == 9 { &stream } else { &whole };
                socket.write_all(request).await.unwrap();
                read_answer(&mut socket, &mut buffer).await;
                done.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended.unwrap();
    }
}

pub(crate) async fn connect(address: SocketAddr) -> TcpStream {
    let socket = TcpStream::connect(address).await.unwrap();
    socket.set_nodelay(true).unwrap();
    socket
}

/// Reads one answer to its end: by its length, or in chunks.
async fn read_answer(socket: &mut TcpStream, buffer: &mut [u8]) {
    let mut filled = 0;
    loop {
        let read = socket.read(&mut buffer[filled..]).await.unwrap();
        assert!(read > 0, "the connection was closed");
        filled += read;
        let text = &buffer[..filled];
        let Some(head) = text.windows(4).position(|window| window == b"\r\n\r\n") else { continue };
        let head_text = std::str::from_utf8(&text[..head]).unwrap().to_ascii_lowercase();
        assert!(head_text.starts_with("http/1.1 200"), "{}", String::from_utf8_lossy(text));
        let length = head_text
            .split("content-length: ")
            .nth(1)
            .map(|rest| rest.split("\r\n").next().unwrap().parse::<usize>().unwrap());
        let whole = match length {
            Some(length) => filled >= head + 4 + length,
            None => text.ends_with(b"\r\n0\r\n\r\n"),
        };
        if whole {
            return;
        }
    }
}

/// That many streams of that many tokens at once; gives the number of events that came.
pub(crate) async fn streams(address: SocketAddr, key: &str, streams: usize, tokens: u32) -> usize {
    let mut tasks = Vec::new();
    for _ in 0..streams {
        let request = request(key, &chat(true, tokens));
        tasks.push(tokio::spawn(async move {
            let mut socket = TcpStream::connect(address).await.unwrap();
            socket.write_all(&request).await.unwrap();
            let mut buffer = vec![0; 64 * 1024];
            let (mut events, mut tail) = (0, Vec::new());
            loop {
                let read = socket.read(&mut buffer).await.unwrap();
                assert!(read > 0, "the stream broke off");
                events += buffer[..read].windows(6).filter(|window| *window == b"data: ").count();
                tail.extend_from_slice(&buffer[..read]);
                if tail.windows(6).any(|window| window == b"[DONE]") {
                    return events;
                }
                let keep = tail.len().saturating_sub(16);
                tail.drain(..keep);
            }
        }));
    }
    let mut events = 0;
    for task in tasks {
        events += task.await.unwrap();
    }
    events
}
