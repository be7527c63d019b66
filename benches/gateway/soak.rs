//! `--soak 120`: whether the gateway stays as it was under a load that it could bear twice, and under crowds.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
};

use crate::{growth::slope, load, process::Stage};

/// How big the crowds are.
#[derive(Clone, Copy)]
pub(crate) struct Crowds {
    /// Streams that run at every moment.
    pub(crate) streams: usize,
    /// Connections that ask now and then, and are silent in between.
    pub(crate) idle: usize,
}

/// Tokens of a stream: at 100 ms each, one takes ten seconds.
const TOKENS: u32 = 100;
/// One stream in so many is left midway.
const LEAVES: u64 = 20;
/// Clients that ask for whole answers, each some times a second.
const ASKERS: usize = 32;
const PAUSE: Duration = Duration::from_millis(200);
/// How long an idle connection is silent: the gateway closes one after an hour.
const SILENCE: Duration = Duration::from_mins(40);

#[derive(Default)]
struct Tally {
    streams: AtomicU64,
    left: AtomicU64,
    answers: AtomicU64,
    errors: AtomicU64,
}

/// Runs for so long and prints what changed.
pub(crate) async fn measure(program: &str, length: Duration, crowds: Crowds) {
    let stage = Arc::new(Stage::start(program, &[], "100ms").await);
    let before = stage.gateway.resources();
    println!("at the start        {before}");
    let (stop, tally) = (Arc::new(AtomicBool::new(false)), Arc::new(Tally::default()));

    let mut idle = Vec::new();
    for _ in 0..crowds.idle {
        let mut socket = load::connect(stage.data).await;
        ask(&mut socket, &health()).await;
        idle.push(socket);
    }
    println!("{:>6} idle         {}", crowds.idle, stage.gateway.resources());

    let mut tasks = JoinSet::new();
    for number in 0..crowds.streams {
        tasks.spawn(stream(Arc::clone(&stage), Arc::clone(&stop), Arc::clone(&tally), number as u64));
    }
    for _ in 0..ASKERS {
        tasks.spawn(answers(Arc::clone(&stage), Arc::clone(&stop), Arc::clone(&tally)));
    }
    let mut closed = watch(&stage, length, &tally, &mut idle).await;
    stop.store(true, Ordering::Relaxed);
    while let Some(ended) = tasks.join_next().await {
        ended.unwrap();
    }
    closed += ask_all(&mut idle).await;
    drop(idle);
    println!("idle connections that had been closed: {closed} of {}", crowds.idle);
    // What the clients have closed is gone from the gateway soon, and pooled connections after their idle time.
    tokio::time::sleep(Duration::from_secs(10)).await;
    println!("at the end          {}", stage.gateway.resources());
    let count = |of: &AtomicU64| of.load(Ordering::Relaxed);
    let (streams, left, whole) = (count(&tally.streams), count(&tally.left), count(&tally.answers));
    println!(
        "{streams} streams, {left} of them left midway, {whole} answers, {} errors",
        count(&tally.errors)
    );
    println!("{}", stage.records().await);
}

/// Asks on each of these connections, and lets go of those that have been closed: how many.
async fn ask_all(idle: &mut Vec<TcpStream>) -> usize {
    let before = idle.len();
    let mut open = Vec::with_capacity(before);
    for mut socket in idle.drain(..) {
        if ask(&mut socket, &health()).await {
            open.push(socket);
        }
    }
    *idle = open;
    before - idle.len()
}

/// Samples memory until the time is up, and gives back how many of the idle connections were closed meanwhile.
async fn watch(stage: &Stage, length: Duration, tally: &Tally, idle: &mut Vec<TcpStream>) -> usize {
    let begun = Instant::now();
    let (mut closed, mut asked) = (0, Instant::now());
    let every = (length / 120).clamp(Duration::from_secs(1), Duration::from_secs(60));
    let mut samples = Vec::new();
    while begun.elapsed() < length {
        tokio::time::sleep(every).await;
        let hours = begun.elapsed().as_secs_f64() / 3_600.0;
        let (resident, anonymous) = stage.gateway.memory();
        samples.push((hours, resident as f64, anonymous as f64));
        if asked.elapsed() > SILENCE {
            closed += ask_all(idle).await;
            asked = Instant::now();
        }
        if samples.len() % 10 == 0 {
            let errors = tally.errors.load(Ordering::Relaxed);
            println!("{:>6.0} s            {}, {errors} errors", hours * 3_600.0, stage.gateway.resources());
        }
    }
    // The first quarter fills pools and caches, once.
    let steady = &samples[samples.len() / 4..];
    let per_hour = |of: fn(&(f64, f64, f64)) -> f64| {
        slope(&steady.iter().map(|sample| (sample.0, of(sample))).collect::<Vec<_>>()) / 1_024.0
    };
    println!(
        "slope after the first quarter: {:+.2} MiB/h resident, {:+.2} MiB/h anonymous",
        per_hour(|sample| sample.1),
        per_hour(|sample| sample.2)
    );
    closed
}

/// One stream after another, of which some are left in the middle.
async fn stream(stage: Arc<Stage>, stop: Arc<AtomicBool>, tally: Arc<Tally>, number: u64) {
    // Not all at the same beat.
    tokio::time::sleep(Duration::from_millis(number * 37 % 10_000)).await;
    let request = load::request(&stage.key, &load::chat(true, TOKENS));
    let mut turn = number;
    while !stop.load(Ordering::Relaxed) {
        turn += 1;
        let leaves = turn.is_multiple_of(LEAVES);
        let whole = follow(&stage, &request, if leaves { 20 } else { u32::MAX }).await;
        let counted = if leaves { &tally.left } else { &tally.streams };
        counted.fetch_add(1, Ordering::Relaxed);
        if !leaves && !whole {
            tally.errors.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Whether a stream came to its proper end within so many reads.
async fn follow(stage: &Stage, request: &[u8], reads: u32) -> bool {
    let mut socket = load::connect(stage.data).await;
    if socket.write_all(request).await.is_err() {
        return false;
    }
    let mut buffer = [0; 4 * 1024];
    let mut tail = Vec::new();
    for _ in 0..reads {
        match socket.read(&mut buffer).await {
            Ok(0) | Err(_) => return false,
            Ok(read) => tail.extend_from_slice(&buffer[..read]),
        }
        if tail.windows(6).any(|window| window == b"[DONE]") {
            return true;
        }
        tail.drain(..tail.len().saturating_sub(8));
    }
    false
}

async fn answers(stage: Arc<Stage>, stop: Arc<AtomicBool>, tally: Arc<Tally>) {
    let request = load::request(&stage.key, &load::chat(false, 1));
    let mut socket = load::connect(stage.data).await;
    while !stop.load(Ordering::Relaxed) {
        let counted = if ask(&mut socket, &request).await { &tally.answers } else { &tally.errors };
        counted.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(PAUSE).await;
    }
}

fn health() -> Vec<u8> {
    b"GET /health HTTP/1.1\r\nHost: bench\r\n\r\n".to_vec()
}

/// Whether a request on this connection was answered with 200.
async fn ask(socket: &mut TcpStream, request: &[u8]) -> bool {
    if socket.write_all(request).await.is_err() {
        return false;
    }
    let mut buffer = [0; 4 * 1024];
    matches!(socket.read(&mut buffer).await, Ok(read) if buffer[..read].starts_with(b"HTTP/1.1 200"))
}
