//! The processes that are measured, and what the operating system tells of them.

use std::{
    io::{BufRead, BufReader},
    net::{SocketAddr, TcpListener},
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use tempfile::TempDir;
use tokio::net::TcpStream;

/// A simulated vLLM and a gateway in front of it, each a process of its own.
pub(crate) struct Stage {
    pub(crate) gateway: Process,
    _vllm: Process,
    _folder: TempDir,
    /// Where the simulated vLLM is reached without the gateway.
    pub(crate) vllm: SocketAddr,
    /// Where the gateway serves.
    pub(crate) data: SocketAddr,
    admin: SocketAddr,
    pub(crate) key: String,
}

impl Stage {
    /// Starts both from this binary; `under` is a command that the gateway's command line is given to, `itl` the time
    /// between two tokens of the simulated vLLM.
    pub(crate) async fn start(program: &str, under: &[String], itl: &str) -> Self {
        let folder = TempDir::new().unwrap();
        let (vllm, data, admin) = (free_port(), free_port(), free_port());
        let mut simulate = Command::new(program);
        simulate.args(["simulate", "--ttft", "0s", "--itl", itl, "--listen", &vllm.to_string()]);
        let simulated = Process::start(simulate);
        let file = folder.path().join("gateway.toml");
        std::fs::write(&file, config(data, admin, vllm)).unwrap();
        let mut words = under.iter().map(String::as_str).chain([program]);
        let mut serve = Command::new(words.next().unwrap());
        serve.args(words).arg("-c").arg(&file).env("RUST_LOG", "warn");
        let gateway = Process::start(serve);
        wait_for(vllm).await;
        wait_for(data).await;
        let key = create_app(admin, folder.path()).await;
        wait_until_ready(data).await;
        Self { gateway, _vllm: simulated, _folder: folder, vllm, data, admin, key }
    }
}

impl Stage {
    /// What became of the records, as the metrics tell it.
    pub(crate) async fn records(&self) -> String {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let answer = client.get(format!("http://{}/metrics", self.admin)).send().await.unwrap();
        let page = answer.text().await.unwrap();
        page.lines()
            .filter(|line| line.starts_with("vllm_gateway_access_log_"))
            .collect::<Vec<_>>()
            .join("\n")
    }

    /// Records that the store does not have yet.
    pub(crate) async fn records_waiting(&self) -> u64 {
        let name = "vllm_gateway_access_log_records_pending ";
        self.records().await.lines().find_map(|line| line.strip_prefix(name)).unwrap().parse().unwrap()
    }
}

pub(crate) struct Process(Child);

impl Process {
    fn start(mut command: Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Self(command.spawn().unwrap())
    }

    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }

    /// Time that all its threads have spent on a processor.
    pub(crate) fn processor_time(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.id())).unwrap();
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
        Duration::from_millis(ticks * 10)
    }

    /// Resident memory in KiB: all of it, and what no file stands behind.
    pub(crate) fn memory(&self) -> (u64, u64) {
        (self.status("VmRSS:"), self.status("RssAnon:"))
    }

    /// Memory, descriptors and threads, for people to read.
    pub(crate) fn resources(&self) -> String {
        let (resident, anonymous) = self.memory();
        let descriptors = std::fs::read_dir(format!("/proc/{}/fd", self.id())).unwrap().count();
        let threads = self.status("Threads:");
        format!(
            "{resident:>8} KiB resident {anonymous:>8} KiB anonymous {descriptors:>6} descriptors {threads:>3} threads"
        )
    }

    fn status(&self, name: &str) -> u64 {
        let status = BufReader::new(std::fs::File::open(format!("/proc/{}/status", self.id())).unwrap());
        let line = status.lines().map_while(Result::ok).find(|line| line.starts_with(name)).unwrap();
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

/// Waits for a server that may take its time to start, as it does under valgrind.
async fn wait_for(address: SocketAddr) {
    for _ in 0..3_000 {
        if TcpStream::connect(address).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(300)).await;
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("nobody listens on {address}");
}

/// Waits until the gateway knows its apps.
async fn wait_until_ready(data: SocketAddr) {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    while client.get(format!("http://{data}/ready")).send().await.unwrap().status() != 200 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
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

async fn create_app(admin: SocketAddr, folder: &Path) -> String {
    let token = std::fs::read_to_string(folder.join("data/admin.token")).unwrap();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let call = client.post(format!("http://{admin}/api/apps")).bearer_auth(token.trim());
    let answer =
        call.header("content-type", "application/json").body(r#"{"orgName":"bench"}"#).send().await.unwrap();
    let app: serde_json::Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
    app["apiKey"].as_str().unwrap().to_owned()
}
