//! What the gateway costs, with its whole pipeline on: `cargo bench --bench gateway`.
//!
//! Starts the simulated vLLM and the gateway as processes of their own on loopback, drives both with the same
//! client, and prints what the gateway adds. Processor time and memory are the gateway's alone, from `/proc`.
//! Figures of one run can be compared with each other; those of two machines cannot.
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::cast_precision_loss, missing_docs)]

use std::{
    io::{BufRead, BufReader},
    net::{SocketAddr, TcpListener},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_vllm-gateway");

fn main() {
    // `cargo test` runs benches once with `--test`: building is what it should prove.
    if std::env::args().any(|arg| arg == "--test") {
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(measure());
}

async fn measure() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let folder = tempfile::TempDir::new().unwrap();
    let (vllm, data, admin) = (free_port(), free_port(), free_port());
    let mut simulate = Command::new(PROGRAM);
    simulate.args(["simulate", "--ttft", "0s", "--itl", "0s", "--listen", &vllm.to_string()]);
    let _vllm = Process::start(simulate);
    std::fs::write(folder.path().join("gateway.toml"), config(data, admin, vllm)).unwrap();
    let mut serve = Command::new(PROGRAM);
    serve.arg("-c").arg(folder.path().join("gateway.toml"));
    let gateway = Process::start(serve);
    wait_for(vllm).await;
    wait_for(data).await;
    let key =
        create_app(admin, &std::fs::read_to_string(folder.path().join("data/admin.token")).unwrap()).await;
    println!("memory after start            {:>10} KiB", gateway.memory());

    // First, while no memory lies about that earlier requests have left.
    let idle = gateway.memory();
    let open = 500;
    let mut sockets = Vec::new();
    for _ in 0..open {
        let mut socket = TcpStream::connect(data).await.unwrap();
        // The client does not read on, so the stream stays open for as long as it is measured.
        socket.write_all(&request(&key, &chat(true, 100_000))).await.unwrap();
        let mut first = [0; 1024];
        assert!(socket.read(&mut first).await.unwrap() > 0);
        sockets.push(socket);
    }
    println!(
        "memory of an open stream      {:>10.1} KiB",
        gateway.memory().saturating_sub(idle) as f64 / f64::from(open)
    );
    drop(sockets);

    for clients in [1, 16, 64] {
        let direct = unary(vllm, &key, clients).await;
        let before = gateway.processor_time();
        let through = unary(data, &key, clients).await;
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
    let events = streams(data, &key, 64, 2_000).await;
    let spent = gateway.processor_time().saturating_sub(before).as_secs_f64();
    println!("64 streams at full speed      {:>10.0} events per CPU second", events as f64 / spent);
}

struct Process(Child);

impl Process {
    fn start(mut command: Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Self(command.spawn().unwrap())
    }

    /// Time that all its threads have spent on a processor.
    fn processor_time(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.0.id())).unwrap();
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
        Duration::from_millis(ticks * 10)
    }

    /// Resident memory in KiB.
    fn memory(&self) -> u64 {
        let status = BufReader::new(std::fs::File::open(format!("/proc/{}/status", self.0.id())).unwrap());
        let line = status.lines().map_while(Result::ok).find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A port that nobody listens on: a left-over server would be measured in place of ours.
fn free_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

async fn wait_for(address: SocketAddr) {
    for _ in 0..500 {
        if TcpStream::connect(address).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(300)).await;
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("nobody listens on {address}");
}

fn config(data: SocketAddr, admin: SocketAddr, vllm: SocketAddr) -> String {
    format!(
        r#"[server]
listen = "{data}"
[admin]
listen = "{admin}"
[pipelines.default]
filters = ["access-log", "auth", "model-route"]
[filters.access-log]
[filters.auth]
[filters.model-route]
models = {{ "Qwen3-32B" = "main" }}
[upstreams.main]
endpoints = [{{ url = "http://{vllm}" }}]
"#
    )
}

async fn create_app(admin: SocketAddr, token: &str) -> String {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let call = client.post(format!("http://{admin}/api/apps")).bearer_auth(token.trim());
    let answer =
        call.header("content-type", "application/json").body(r#"{"orgName":"bench"}"#).send().await.unwrap();
    let app: serde_json::Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
    app["apiKey"].as_str().unwrap().to_owned()
}

fn chat(stream: bool, tokens: u32) -> String {
    let text = "word ".repeat(180);
    format!(
        r#"{{"model":"Qwen3-32B","messages":[{{"role":"user","content":"{text}"}}],"max_tokens":{tokens},"ignore_eos":true,"stream":{stream}}}"#
    )
}

fn request(key: &str, body: &str) -> Vec<u8> {
    format!(
        "POST /v1/chat/completions HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {key}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

struct Run {
    count: usize,
    elapsed: Duration,
    latencies: Vec<i64>,
}

impl Run {
    /// In microseconds.
    fn percentile(&self, percent: usize) -> i64 {
        self.latencies[(self.latencies.len() - 1) * percent / 100]
    }
}

/// That many clients, each with a connection of its own, ask one request after another.
async fn unary(address: SocketAddr, key: &str, clients: usize) -> Run {
    const EACH: Duration = Duration::from_secs(4);
    let begun = Instant::now();
    let mut tasks = Vec::new();
    for _ in 0..clients {
        let request = request(key, &chat(false, 4));
        tasks.push(tokio::spawn(async move {
            let mut socket = TcpStream::connect(address).await.unwrap();
            socket.set_nodelay(true).unwrap();
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

async fn read_answer(socket: &mut TcpStream, buffer: &mut [u8]) {
    let mut filled = 0;
    loop {
        let read = socket.read(&mut buffer[filled..]).await.unwrap();
        assert!(read > 0, "the connection was closed");
        filled += read;
        let text = &buffer[..filled];
        let Some(head) = text.windows(4).position(|window| window == b"\r\n\r\n") else { continue };
        let head_text = std::str::from_utf8(&text[..head]).unwrap().to_ascii_lowercase();
        assert!(head_text.starts_with("http/1.1 200"), "{head_text}");
        let length: usize = head_text
            .split("content-length: ")
            .nth(1)
            .unwrap()
            .split("\r\n")
            .next()
            .unwrap()
            .parse()
            .unwrap();
        if filled >= head + 4 + length {
            return;
        }
    }
}

/// That many streams of that many tokens at once; gives the number of events that came.
async fn streams(address: SocketAddr, key: &str, streams: usize, tokens: u32) -> usize {
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
                events += memchr_data(&buffer[..read]);
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

fn memchr_data(bytes: &[u8]) -> usize {
    bytes.windows(6).filter(|window| *window == b"data: ").count()
}
