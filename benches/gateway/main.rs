//! What the gateway costs, with its whole pipeline on: `cargo bench --bench gateway`.
//!
//! Starts the simulated vLLM and the gateway as processes of their own on loopback, drives both with the same
//! client, and prints what the gateway adds. Processor time and memory are the gateway's alone, from `/proc`.
//! Figures of one run can be compared with each other; those of two machines cannot.
//!
//! `-- --requests 1000000` looks for growth of memory, `-- --instructions 2000` counts instructions under valgrind,
//! `--soak 120` holds a crowd for so many minutes (`--streams 2000`, `--idle 10000`),
//! and `--program PATH` measures another build of the gateway.
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::cast_precision_loss, missing_docs)]

mod growth;
mod instructions;
mod load;
mod process;
mod soak;

use std::time::Duration;

use std::net::SocketAddr;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use process::Stage;

fn main() {
    let args: Vec<String> = std::env::args().collect();
    // `cargo test` runs benches once with `--test`: building is what it should prove.
    if args.iter().any(|arg| arg == "--test") {
        return;
    }
    let option = |name: &str| args.iter().skip_while(|arg| *arg != name).nth(1).map(String::as_str);
    let number = |name: &str| option(name).map(|number| number.parse::<u64>().expect("a whole number"));
    let program = option("--program").unwrap_or(env!("CARGO_BIN_EXE_vllm-gateway"));
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    if let Some(minutes) = number("--soak") {
        let crowd = |name, usual| number(name).map_or(usual, |many| usize::try_from(many).expect("a crowd"));
        let crowds = soak::Crowds { streams: crowd("--streams", 2_000), idle: crowd("--idle", 10_000) };
        return runtime.block_on(soak::measure(program, Duration::from_mins(minutes), crowds));
    }
    match (number("--requests"), number("--instructions")) {
        (Some(requests), _) => runtime.block_on(growth::measure(program, requests)),
        (None, Some(requests)) => runtime.block_on(instructions::measure(program, requests)),
        (None, None) => runtime.block_on(measure(program)),
    }
}

async fn measure(program: &str) {
    {
        // As vLLM streams to people. Measured first, while no memory lies about that earlier requests have left.
        let Stage { gateway, data, key, .. } = &Stage::start(program, &[], "100ms").await;
        println!(
            "memory of a stream of ten tokens a second {:>10.1} KiB",
            open_streams(*data, gateway, key).await
        );
    }
    let Stage { gateway, vllm, data, key, .. } = &Stage::start(program, &[], "0s").await;
    let (vllm, data) = (*vllm, *data);
    println!("memory after start            {:>10} KiB", gateway.memory().0);

    let unread = open_streams(data, gateway, key).await;
    println!("memory of a stream that comes at full speed and is not read {unread:>10.1} KiB");

    for clients in [1, 16, 64] {
        let direct = load::unary(vllm, key, clients).await;
        let before = gateway.processor_time();
        let through = load::unary(data, key, clients).await;
        let spent = gateway.processor_time().saturating_sub(before).as_secs_f64();
        println!(
            "unary, {clients:>3} clients: {:>8.0} requests per CPU second, {:>7.0} per second; p50 {:>6} µs, added {:>6}; p99 {:>6} µs, added {:>6}",
            through.count as f64 / spent,
            through.count as f64 / through.elapsed.as_secs_f64(),
            through.percentile(50),
            through.percentile(50) - direct.percentile(50),
            through.percentile(99),
            through.percentile(99) - direct.percentile(99)
        );
    }

    let before = gateway.processor_time();
    let events = load::streams(data, key, 64, 2_000).await;
    let spent = gateway.processor_time().saturating_sub(before).as_secs_f64();
    println!("64 streams at full speed      {:>10.0} events per CPU second", events as f64 / spent);
}

/// What an open stream takes in KiB. Its client does not read on, so it stays open for as long as it is measured.
async fn open_streams(data: SocketAddr, gateway: &process::Process, key: &str) -> f64 {
    let idle = gateway.memory().0;
    // Fewer than the simulated vLLM runs at once.
    let open = 200;
    let mut sockets = Vec::new();
    for _ in 0..open {
        let mut socket = TcpStream::connect(data).await.unwrap();
        socket.write_all(&load::request(key, &load::chat(true, 30_000))).await.unwrap();
        let mut first = [0; 1024];
        assert!(socket.read(&mut first).await.unwrap() > 0);
        assert!(first.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&first));
        sockets.push(socket);
    }
    gateway.memory().0.saturating_sub(idle) as f64 / f64::from(open)
}
