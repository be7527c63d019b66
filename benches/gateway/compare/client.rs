//! The clients: as many as are wanted, each on a connection that it keeps, each answer compared with what was to come.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Instant,
};

use tokio::{io::AsyncReadExt, io::AsyncWriteExt, net::TcpStream, task::JoinSet};

use super::{check::Reading, contender::Contender, recording::Workload};
use crate::{answer::Answer, load};

/// What the clients of a run have seen so far.
#[derive(Default)]
pub(crate) struct Tally {
    counted: AtomicBool,
    over: AtomicBool,
    /// Answers that ended, those of the warm-up included.
    pub(crate) answers: AtomicU64,
    pub(crate) events: AtomicU64,
    /// Clients that have seen the beginning of their first answer.
    pub(crate) begun: AtomicU64,
}

impl Tally {
    /// From now on, times are noted.
    pub(crate) fn count(&self) {
        self.counted.store(true, Relaxed);
    }

    /// Tells the clients to ask no more.
    pub(crate) fn end(&self) {
        self.counted.store(false, Relaxed);
        self.over.store(true, Relaxed);
    }

    fn is_counted(&self) -> bool {
        self.counted.load(Relaxed)
    }
}

/// Times in nanoseconds, of one client while it was counted.
#[derive(Default)]
pub(crate) struct Times {
    /// From the request to the end of its answer.
    pub(crate) whole: Vec<u64>,
    /// From the request to the first event.
    pub(crate) first: Vec<u64>,
    /// Between two arrivals of events.
    pub(crate) gaps: Vec<u64>,
}

/// Clients at work. What one gives is its times, or what was wrong with an answer.
pub(crate) type Crowd = JoinSet<Result<Times, String>>;

/// So many clients that ask for this until it is over.
pub(crate) fn crowd(
    clients: usize,
    contender: &Contender,
    workload: &Arc<Workload>,
    tally: &Arc<Tally>,
) -> Crowd {
    let mut tasks = JoinSet::new();
    for number in 0..clients {
        // With several models and apps, each client goes through all of them.
        let requests = contender.models.len().max(contender.keys.len());
        let requests = (0..requests).map(|step| {
            let at = number + step;
            let key = &contender.keys[at % contender.keys.len()];
            workload.request_with(key, &contender.models[at % contender.models.len()], &contender.headers, "")
        });
        let client = Client {
            requests: if number == 0 || contender.keys.len() == 1 {
                requests.collect()
            } else {
                requests.take(64).collect()
            },
            workload: Arc::clone(workload),
            tally: Arc::clone(tally),
            times: Times::default(),
            reading: Reading::new(contender.candidate.kind.check()),
        };
        tasks.spawn(client.run(contender.address));
    }
    tasks
}

struct Client {
    requests: Vec<Vec<u8>>,
    workload: Arc<Workload>,
    tally: Arc<Tally>,
    times: Times,
    reading: Reading,
}

impl Client {
    async fn run(mut self, address: SocketAddr) -> Result<Times, String> {
        let mut socket = load::connect(address).await;
        let (mut answer, mut buffer) = (Answer::new(), vec![0; 16 * 1024]);
        let mut turn = 0;
        while !self.tally.over.load(Relaxed) {
            self.ask(turn, &mut socket, &mut answer, &mut buffer).await?;
            turn += 1;
        }
        Ok(self.times)
    }

    /// Sends a request and reads its answer to the end.
    async fn ask(
        &mut self,
        turn: usize,
        socket: &mut TcpStream,
        answer: &mut Answer,
        buffer: &mut [u8],
    ) -> Result<(), String> {
        let Self { requests, workload, tally, times, reading } = self;
        answer.restart();
        reading.restart();
        let sent = Instant::now();
        socket.write_all(&requests[turn % requests.len()]).await.map_err(|error| error.to_string())?;
        let mut latest = sent;
        loop {
            let read = socket.read(buffer).await.map_err(|error| error.to_string())?;
            if read == 0 {
                return Err("the connection was closed in the middle of an answer".to_owned());
            }
            let before = reading.events;
            let ended = answer.take(&buffer[..read], &mut |body| reading.take(body, workload));
            if answer.status_so_far().is_some_and(|status| status != 200) {
                return Err(String::from_utf8_lossy(&buffer[..read]).into_owned());
            }
            reading.fault()?;
            let events = reading.events;
            let arrived = events > before;
            if (arrived || ended) && turn == 0 && before == 0 {
                tally.begun.fetch_add(1, Relaxed);
            }
            if arrived {
                tally.events.fetch_add((events - before) as u64, Relaxed);
                if tally.is_counted() {
                    let now = Instant::now();
                    let time = (now - latest).as_nanos() as u64;
                    if before == 0 {
                        times.first.push(time);
                    } else {
                        times.gaps.push(time);
                    }
                    latest = now;
                }
            }
            if ended {
                break;
            }
        }
        reading.end(workload)?;
        tally.answers.fetch_add(1, Relaxed);
        if tally.is_counted() {
            times.whole.push(sent.elapsed().as_nanos() as u64);
        }
        Ok(())
    }
}
