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
    io::AsyncWriteExt,
    net::{TcpListener, TcpStream},
    sync::{Semaphore, oneshot},
    time::{Instant, sleep_until},
};

use super::asked::{Asked, Key, read_request};

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

impl Replay {
    /// The same, in one piece: what is not a stream is sent at once.
    pub(crate) fn whole(mut self) -> Self {
        self.head.extend(self.pieces.drain(..).flatten());
        self
    }
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
        let key = match read_request(&mut socket, &mut buffer).await? {
            Some(Asked::Answer(key)) => key,
            Some(Asked::Page(path)) => {
                // Those that look at their servers see that it is well, and no more than that.
                let status = if path == b"/health" { "200 OK" } else { "404 Not Found" };
                socket
                    .write_all(format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n").as_bytes())
                    .await?;
                continue;
            }
            None => return Ok(()),
        };
        let Some(replay) = replays.get(&key) else {
            let text = format!("the mock has no answer to {key:?}");
            let head =
                format!("HTTP/1.1 500 Internal Server Error\r\nContent-Length: {}\r\n\r\n", text.len());
            return socket.write_all((head + &text).as_bytes()).await;
        };
        if !key.stream {
            socket.write_all(&replay.head).await?;
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
