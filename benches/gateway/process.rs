//! The processes that are measured, and what the operating system tells of them.

use std::{
    io::{BufRead, BufReader},
    net::{SocketAddr, TcpListener},
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::net::TcpStream;

use crate::{call, compare::ticks, gateway};

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
    /// Starts the gateway from this program; `under` is a command that the gateway's command line is given to, `itl` the time
    /// between two tokens of the simulated vLLM.
    pub(crate) async fn start(program: &str, under: &[String], itl: &str) -> Self {
        let folder = TempDir::new().unwrap();
        let (vllm, data, admin) = (free_port(), free_port(), free_port());
        // Not from that program: where it counts which of its code is hot, this would count as its own.
        let mut simulate = Command::new(env!("CARGO_BIN_EXE_vllm-gateway"));
        simulate.args(["simulate", "--ttft", "0s", "--itl", itl, "--listen", &vllm.to_string()]);
        let simulated = Process::start(simulate);
        let file = folder.path().join("gateway.toml");
        let models = [("Qwen3-32B".to_owned(), vec![vllm])];
        std::fs::write(&file, gateway::config(data, admin, &models)).unwrap();
        let mut words = under.iter().map(String::as_str).chain([program]);
        let mut serve = Command::new(words.next().unwrap());
        serve.args(words).arg("-c").arg(&file).env("RUST_LOG", "warn");
        let gateway = Process::start(serve);
        wait_for(vllm).await;
        wait_for(data).await;
        let key = gateway::create_app(admin, folder.path()).await;
        gateway::wait_until_ready(data).await;
        Self { gateway, _vllm: simulated, _folder: folder, vllm, data, admin, key }
    }
}

impl Stage {
    /// What became of the records, as the metrics tell it.
    pub(crate) async fn records(&self) -> String {
        let (_, page) = call::get(self.admin, "/metrics").await.unwrap();
        page.lines()
            .filter(|line| line.starts_with("vllm_gateway_access_log_"))
            .collect::<Vec<_>>()
            .join("\n")
    }

    /// Records that the store does not have yet.
    pub(crate) async fn records_waiting(&self) -> u64 {
        gateway::records_waiting(self.admin).await
    }
}

pub(crate) struct Process(Child);

impl Process {
    fn start(mut command: Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Self(command.spawn().unwrap())
    }

    /// Starts it with a file that takes what it says.
    pub(crate) fn start_with_log(mut command: Command, log: &Path) -> Self {
        let file = std::fs::File::create(log).unwrap();
        command.stdin(Stdio::null()).stdout(file.try_clone().unwrap()).stderr(file);
        Self(command.spawn().unwrap_or_else(|error| panic!("{command:?} cannot be run: {error}")))
    }

    /// Whether it has not ended.
    pub(crate) fn is_running(&self) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.id())).unwrap_or_default();
        stat.rsplit(')')
            .next()
            .is_some_and(|rest| !matches!(rest.trim_start().chars().next(), None | Some('Z')))
    }

    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }

    /// Time that all its threads have spent on a processor.
    pub(crate) fn processor_time(&self) -> Duration {
        ticks(self.id())
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
        status(self.id(), name)
    }
}

impl Drop for Process {
    /// Asks it to end, since one that has children of its own would leave them behind, and one that counts what it does has
    /// that to write; ten seconds later nothing is asked.
    fn drop(&mut self) {
        if kill_process(Pid::from_child(&self.0), Signal::TERM).is_ok() {
            for _ in 0..1_000 {
                if matches!(self.0.try_wait(), Ok(Some(_)) | Err(_)) {
                    return;
                }
                std::thread::sleep(Duration::from_millis(10));
            }
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What the system tells of a process under this name.
pub(crate) fn status(process: u32, name: &str) -> u64 {
    let file = std::fs::File::open(format!("/proc/{process}/status"));
    let status = BufReader::new(file.unwrap_or_else(|error| panic!("process {process} is gone: {error}")));
    let line = status.lines().map_while(Result::ok).find(|line| line.starts_with(name)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// A port that nobody listens on: a left-over server would be measured in place of ours.
pub(crate) fn free_port() -> SocketAddr {
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
