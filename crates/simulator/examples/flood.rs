//! How many events a second the simulator streams on one core.
//!
//! `flood serve [ITL_MS] [SEQS]` runs a simulator on one thread and prints its address and, at the end of its
//! standard input, the CPU time it used; `flood ADDR STREAMS SECONDS [TOKENS]` opens streams and counts the
//! events that come. Run the two on different cores (`taskset -c 0 flood serve`, `taskset -c 1 flood …`).
#![allow(clippy::print_stdout, clippy::unwrap_used)] // A measuring tool.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use vllm_gateway_simulator::{Options, Simulator, Speed};

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.first().map(String::as_str) {
        Some("serve") => runtime.block_on(serve(&arguments[1..])),
        Some(addr) => runtime.block_on(flood(addr, &arguments[1..])),
        None => println!("flood serve [ITL_MS] [SEQS] | flood ADDR STREAMS SECONDS [TOKENS]"),
    }
}

fn number(arguments: &[String], place: usize, otherwise: u64) -> u64 {
    arguments.get(place).and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

async fn serve(arguments: &[String]) {
    let itl = Duration::from_millis(number(arguments, 0, 0));
    let simulator = Simulator::start(Options {
        speed: Speed { itl, ..Speed::default() },
        max_num_seqs: usize::try_from(number(arguments, 1, 100_000)).unwrap(),
        max_model_len: 1_000_000,
        keep_requests: 0,
        keep_generations: 0,
        ..Options::default()
    })
    .await
    .unwrap();
    println!("{}", simulator.addr);
    // Blocking reads have no place on this runtime's one thread.
    let (ends, ended) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let _ = std::io::stdin().read_line(&mut String::new());
        let _ = ends.send(());
    });
    let _ = ended.await;
    println!("{} tokens generated, {}", simulator.generated_tokens(), usage());
    simulator.shutdown().await;
}

/// CPU time and the most memory that was resident, as the kernel tells them.
fn usage() -> String {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split_whitespace().collect();
    let ticks = |place: usize| fields.get(place).and_then(|field| field.parse::<f64>().ok()).unwrap_or(0.0);
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find(|line| line.starts_with("VmHWM")).unwrap_or("").to_owned();
    format!("{:.2} s of CPU ({:.2} user), {peak}", (ticks(11) + ticks(12)) / 100.0, ticks(11) / 100.0)
}

async fn flood(addr: &str, arguments: &[String]) {
    let (streams, seconds) = (number(arguments, 0, 64), number(arguments, 1, 5));
    let tokens = number(arguments, 2, 2_000);
    let events = Arc::new(AtomicU64::new(0));
    for _ in 0..streams {
        tokio::spawn(stream(addr.to_owned(), tokens, events.clone()));
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let (began, before) = (Instant::now(), events.load(Ordering::Relaxed));
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    let counted = events.load(Ordering::Relaxed) - before;
    let rate = u128::from(counted) * 1_000_000 / began.elapsed().as_micros();
    println!("{rate} events a second over {streams} streams");
}

async fn stream(addr: String, tokens: u64, events: Arc<AtomicU64>) {
    let body = format!(
        r#"{{"messages":[{{"role":"user","content":"hi"}}],"max_tokens":{tokens},"ignore_eos":true,"stream":true}}"#
    );
    let head = "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json";
    let request = format!("{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let mut socket = TcpStream::connect(&addr).await.unwrap();
    let mut room = vec![0; 64 * 1024];
    loop {
        socket.write_all(request.as_bytes()).await.unwrap();
        // An event ends with two line breaks; one may be cut between them by the end of a read.
        let mut last = [0; 5];
        loop {
            let Ok(read @ 1..) = socket.read(&mut room).await else { return };
            let mut ended = u64::from(last[4] == b'\n' && room[0] == b'\n');
            ended += u64::try_from(memchr::memmem::find_iter(&room[..read], b"\n\n").count()).unwrap();
            events.fetch_add(ended, Ordering::Relaxed);
            let tail = [&last[..], &room[read.saturating_sub(5)..read]].concat();
            last.copy_from_slice(&tail[tail.len() - 5..]);
            if &last == b"0\r\n\r\n" {
                break;
            }
        }
    }
}
