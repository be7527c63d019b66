//! What the gateway costs, with its whole pipeline on: `cargo bench --bench gateway`.
//!
//! Starts the simulated vLLM and the gateway as processes of their own on loopback, drives both with the same
//! client, and prints what the gateway adds. Processor time and memory are the gateway's alone, from `/proc`.
//! Figures of one run can be compared with each other; those of two machines cannot.
//!
//! - `-- --compare` puts it beside bare nginx and haproxy, pinned to the same core in turns (`--rounds 5`, `--seconds 3`,
//!   `--only unary-64,many,threads`, `--core 1`, `--no-haproxy`, `--program NAME=PATH` as often as wanted); `--write` puts the
//!   tables into `docs/performance.md`; `--peers` puts it beside other gateways in place of haproxy, all that
//!   `scripts/peers` installs or those named (`--peers litellm,portkey`);
//! - `-- --instructions 300` counts instructions and allocations under valgrind, by layer, of one thread or of several
//!   (`--threads 2`);
//! - `-- --guard` holds them against `bounds.toml`, as CI does;
//! - `-- --requests 1000000` looks for growth of memory;
//! - `-- --soak 120` holds a crowd for so many minutes (`--streams 2000`, `--idle 10000`).
//!
//! `--program PATH` measures another build of the gateway.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::format_push_string,
    missing_docs
)]

mod answer;
mod args;
mod call;
mod callgrind;
mod compare;
mod gateway;
mod growth;
mod guard;
mod instructions;
mod layers;
mod load;
mod process;
mod soak;

use std::{net::SocketAddr, process::ExitCode, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    signal::unix::{SignalKind, signal},
};

use args::Args;
use process::Stage;

fn main() -> ExitCode {
    // `cargo test --all-targets` runs this, too, without what `cargo bench` says: building is what it should prove.
    if !std::env::args().any(|arg| arg == "--bench") {
        return ExitCode::SUCCESS;
    }
    let args = match Args::read() {
        Ok(args) => args,
        Err(unknown) => {
            eprintln!("error: {unknown}");
            return ExitCode::FAILURE;
        }
    };
    let program = args.text("--program").unwrap_or(env!("CARGO_BIN_EXE_vllm-gateway"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let result = runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate()).unwrap();
        // What was started ends with us, whatever ends us: all of it is dropped here.
        tokio::select! {
            result = run(&args, program) => result,
            _ = tokio::signal::ctrl_c() => Err("interrupted".to_owned()),
            _ = terminate.recv() => Err("terminated".to_owned()),
        }
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: &Args, program: &str) -> Result<(), String> {
    if args.has("--compare") {
        return compare::run(args, env!("CARGO_BIN_EXE_vllm-gateway")).await;
    }
    if args.has("--guard") {
        return guard::run(program).await;
    }
    if let Some(minutes) = args.number("--soak") {
        let crowds = soak::Crowds {
            streams: args.number("--streams").unwrap_or(2_000),
            idle: args.number("--idle").unwrap_or(10_000),
        };
        soak::measure(program, Duration::from_mins(minutes), crowds).await;
    } else if let Some(requests) = args.number("--requests") {
        growth::measure(program, requests).await;
    } else if let Some(requests) = args.number("--instructions") {
        return instructions::measure(program, requests, args.number("--threads").unwrap_or(1)).await;
    } else {
        measure(program).await;
    }
    Ok(())
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
