//! The mock that stands behind what is measured: replays the simulated vLLM's answers, at next to no cost.
//!
//! The simulated vLLM takes more of a core than nginx does, so on two cores it would be what is measured. It is asked
//! once for each answer, and what it said is sent again byte by byte: one event to a chunk, one write to an event.

use std::{
    collections::HashMap,
    io,
    net::{SocketAddr, TcpListener as Listening},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread::JoinHandle,
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{Semaphore, oneshot},
    time::{Instant, sleep_until},
};

use crate::answer::header;

/// Which answer a request gets: every workload has another number of tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    pub(crate) tokens: u32,
    pub(crate) stream: bool,
    /// Whether the request asks for usage in every chunk, as the gateway does.
    pub(crate) running_usage: bool,
}

/// When the next event of a stream is sent.
#[derive(Clone)]
pub(crate) enum Pace {
    /// At once.
    Free,
    /// So long after the one before.
    Every(Duration),
    /// When there is a permit for it.
    Turns(Arc<Semaphore>),
}

/// What is sent for it.
pub(crate) struct Replay {
    pub(crate) head: Vec<u8>,
    /// The body with its framing, in the pieces in which it is written.
    pub(crate) pieces: Vec<Vec<u8>>,
    /// What lies between two of them.
    pub(crate) pace: Pace,
}

pub(crate) type Replays = HashMap<Key, Arc<Replay>>;

/// A running mock; it ends when this is dropped.
pub(crate) struct Mock {
    /// Bytes of bodies that it has sent, framing included.
    sent: Arc<AtomicU64>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Mock {
    /// Serves on these addresses, on a thread of its own.
    pub(crate) fn start(addresses: &[SocketAddr], replays: Replays) -> io::Result<Self> {
        let listeners = addresses.iter().map(Listening::bind).collect::<io::Result<Vec<_>>>()?;
        let (stop, stopped) = oneshot::channel();
        let sent = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&sent);
        let thread = std::thread::Builder::new().name("mock".into()).spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let replays = Arc::new(replays);
                for listener in listeners {
                    // A crowd that connects at once is not to wait for a lost packet to be sent again.
                    rustix::net::listen(&listener, 4_096).unwrap();
                    listener.set_nonblocking(true).unwrap();
                    let listener = TcpListener::from_std(listener).unwrap();
                    tokio::spawn(accept(listener, Arc::clone(&replays), Arc::clone(&counted)));
                }
                let _ = stopped.await;
            });
        })?;
        Ok(Self { sent, stop: Some(stop), thread: Some(thread) })
    }

    pub(crate) fn sent(&self) -> u64 {
        self.sent.load(Relaxed)
    }
}

impl Drop for Mock {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn accept(listener: TcpListener, replays: Arc<Replays>, sent: Arc<AtomicU64>) {
    loop {
        let (socket, _) = listener.accept().await.unwrap();
        socket.set_nodelay(true).unwrap();
        let (replays, sent) = (Arc::clone(&replays), Arc::clone(&sent));
        tokio::spawn(async move {
            // The one who asked may leave at any time.
            let _ = serve(socket, &replays, &sent).await;
        });
    }
}

async fn serve(mut socket: TcpStream, replays: &Replays, sent: &AtomicU64) -> io::Result<()> {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let Some(key) = read_request(&mut socket, &mut buffer).await? else { return Ok(()) };
        let Some(replay) = replays.get(&key) else {
            let text = format!("the mock has no answer to {key:?}");
            let head =
                format!("HTTP/1.1 500 Internal Server Error\r\nContent-Length: {}\r\n\r\n", text.len());
            return socket.write_all((head + &text).as_bytes()).await;
        };
        if !key.stream {
            let whole = replay.pieces.iter().flatten();
            let whole: Vec<u8> = replay.head.iter().chain(whole).copied().collect();
            socket.write_all(&whole).await?;
            continue;
        }
        socket.write_all(&replay.head).await?;
        let mut due = Instant::now();
        for (number, piece) in replay.pieces.iter().enumerate() {
            match &replay.pace {
                _ if number == 0 => {}
                // As vLLM does it: one step of the engine gives each stream its token.
                Pace::Free => tokio::task::yield_now().await,
                Pace::Every(time) => {
                    due += *time;
                    sleep_until(due).await;
                }
                Pace::Turns(turns) => turns.acquire().await.map_err(io::Error::other)?.forget(),
            }
            socket.write_all(piece).await?;
            sent.fetch_add(piece.len() as u64, Relaxed);
        }
    }
}

/// Reads a request to its end and says what it asks for; `None` where there is no further one.
async fn read_request(socket: &mut TcpStream, buffer: &mut [u8]) -> io::Result<Option<Key>> {
    let mut filled = 0;
    let (head, length): (usize, usize) = loop {
        let read = socket.read(&mut buffer[filled..]).await?;
        if read == 0 {
            return Ok(None);
        }
        filled += read;
        if let Some(end) = buffer[..filled].windows(4).position(|window| window == b"\r\n\r\n") {
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
    Ok(Some(key))
}

fn key_of(body: &[u8]) -> Key {
    let after = |name: &[u8]| {
        let found = body.windows(name.len()).position(|window| window == name);
        found.map_or(&[][..], |found| &body[found + name.len()..])
    };
    let digits = after(b"\"max_tokens\":").iter().take_while(|digit| digit.is_ascii_digit());
    Key {
        tokens: digits.fold(0, |number, digit| number * 10 + u32::from(digit - b'0')),
        stream: after(b"\"stream\":").starts_with(b"true"),
        running_usage: after(b"\"continuous_usage_stats\":").starts_with(b"true"),
    }
}
