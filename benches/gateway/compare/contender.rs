//! One of those that are compared: a proxy that runs on the core set aside for it.

use std::{
    net::SocketAddr,
    path::Path,
    process::{Command, Output},
    time::Duration,
};

use tempfile::TempDir;
use tokio::{net::TcpStream, time::sleep};

use super::{cpu::Spent, haproxy, nginx};
use crate::{
    gateway,
    process::{Process, free_port},
};

/// What stands between client and mock.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Nothing: what is added is the difference to this.
    Direct,
    Nginx,
    Haproxy,
    /// A build of the gateway.
    Gateway(String),
}

/// A kind under the name that it has in the tables.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Candidate {
    pub(crate) name: String,
    pub(crate) kind: Kind,
}

/// This build of the gateway.
pub(crate) fn gateway_of(program: &str) -> Candidate {
    Candidate { name: "gateway".to_owned(), kind: Kind::Gateway(program.to_owned()) }
}

/// A running one.
pub(crate) struct Contender {
    pub(crate) candidate: Candidate,
    /// Where it serves.
    pub(crate) address: SocketAddr,
    /// The gateway's admin side.
    pub(crate) admin: Option<SocketAddr>,
    /// Keys that it knows; the clients take them in turn.
    pub(crate) keys: Vec<String>,
    /// Models that it serves; the clients take them in turn.
    pub(crate) models: Vec<String>,
    /// The process that does the work.
    worker: Option<u32>,
    _process: Option<Process>,
    _folder: TempDir,
}

/// How a contender is to run.
pub(crate) struct Place<'p> {
    /// The command that is given its command line: it puts it onto its core, or under an instrument.
    pub(crate) under: Vec<String>,
    /// The mock.
    pub(crate) upstream: SocketAddr,
    pub(crate) model: &'p str,
}

impl Contender {
    /// Starts it and waits until it serves.
    pub(crate) async fn start(candidate: &Candidate, place: &Place<'_>) -> Self {
        let folder = TempDir::new().unwrap();
        if candidate.kind == Kind::Direct {
            return Self::assemble(candidate, place.upstream, None, folder, place.model);
        }
        let address = free_port();
        let command = match &candidate.kind {
            Kind::Nginx => nginx::command(folder.path(), address, place.upstream),
            Kind::Haproxy => haproxy::command(folder.path(), address, place.upstream),
            Kind::Gateway(program) => {
                let models = [(place.model.to_owned(), vec![place.upstream])];
                return Self::start_gateway(candidate, program, &place.under, folder, &models, 1).await;
            }
            Kind::Direct => unreachable!("nothing is started for it"),
        };
        let process = start(&command, &place.under, folder.path());
        wait_for(&process, address, folder.path()).await;
        let mut this = Self::assemble(candidate, address, Some(process), folder, place.model);
        if candidate.kind == Kind::Nginx {
            this.worker = this.worker.map(nginx::worker);
        }
        this
    }

    /// Starts the gateway with these models and so many apps, of which the first few are used.
    pub(crate) async fn start_gateway(
        candidate: &Candidate,
        program: &str,
        under: &[String],
        folder: TempDir,
        models: &[(String, Vec<SocketAddr>)],
        apps: usize,
    ) -> Self {
        let (data, admin) = (free_port(), free_port());
        let run =
            || start(&gateway::command(program, folder.path(), data, admin, models), under, folder.path());
        let mut process = run();
        wait_for(&process, data, folder.path()).await;
        wait_for(&process, admin, folder.path()).await;
        let mut keys = vec![gateway::create_app(admin, folder.path()).await];
        if apps > 1 {
            drop(process);
            keys.extend(gateway::add_apps(folder.path(), apps - 1));
            process = run();
            wait_for(&process, data, folder.path()).await;
        }
        gateway::wait_until_ready(data).await;
        gateway::wait_until_known(data, keys.last().expect("it has one at least")).await;
        let mut this = Self::assemble(candidate, data, Some(process), folder, "");
        this.admin = Some(admin);
        this.keys = keys;
        this.models = models.iter().map(|(model, _)| model.clone()).collect();
        this
    }

    fn assemble(
        candidate: &Candidate,
        address: SocketAddr,
        process: Option<Process>,
        folder: TempDir,
        model: &str,
    ) -> Self {
        Self {
            candidate: candidate.clone(),
            address,
            admin: None,
            keys: vec![format!("sk-live-{}", "0".repeat(32))],
            models: vec![model.to_owned()],
            worker: process.as_ref().map(Process::id),
            _process: process,
            _folder: folder,
        }
    }

    /// Of the process that does the work.
    pub(crate) fn process_id(&self) -> u32 {
        self.worker.expect("a program of its own")
    }

    /// What it has spent so far; `None` where nothing stands in between.
    pub(crate) fn spent(&self) -> Option<Spent> {
        self.worker.map(Spent::by)
    }

    /// Resident memory in KiB.
    pub(crate) fn resident(&self) -> Option<u64> {
        self.worker.map(|worker| crate::process::status(worker, "VmRSS:"))
    }

    /// Waits until what the last requests have left to do is done: the gateway's records are in its store.
    pub(crate) async fn settle(&self) {
        let Some(admin) = self.admin else { return };
        for _ in 0..600 {
            if gateway::records_waiting(admin).await == 0 {
                return;
            }
            sleep(Duration::from_millis(100)).await;
        }
        println!(
            "{}: a minute was not enough to store all records; their cost is missing",
            self.candidate.name
        );
    }
}

/// Starts it where it is to run.
fn start(command: &Command, under: &[String], folder: &Path) -> Process {
    let (first, rest) = under.split_first().expect("every proxy runs under some command");
    let mut whole = Command::new(first);
    whole.args(rest).arg(command.get_program()).args(command.get_args()).env("RUST_LOG", "warn");
    Process::start_with_log(whole, &folder.join("output"))
}

/// Waits until it serves. One that ended, as it does when its port is taken, is not waited for.
async fn wait_for(process: &Process, address: SocketAddr, folder: &Path) {
    for _ in 0..3_000 {
        assert!(process.is_running(), "it has ended: {}", output(folder));
        if TcpStream::connect(address).await.is_ok() {
            return;
        }
        sleep(Duration::from_millis(20)).await;
    }
    panic!("nobody listens on {address}: {}", output(folder));
}

fn output(folder: &Path) -> String {
    std::fs::read_to_string(folder.join("output")).unwrap_or_default()
}

/// What a program says of its version, or why it cannot be measured.
pub(crate) fn version(program: &str, option: &str, package: &str) -> Result<String, String> {
    let Output { stdout, stderr, .. } = Command::new(program).arg(option).output().map_err(|error| {
        format!("`{program}` cannot be run ({error}): install Debian's package, `apt-get install {package}`")
    })?;
    let said = [stdout, stderr].concat();
    Ok(String::from_utf8_lossy(&said).lines().next().unwrap_or_default().to_owned())
}
