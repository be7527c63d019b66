//! One of those that are compared: a proxy that runs on the core set aside for it.

use std::{net::SocketAddr, time::Duration};

use tempfile::TempDir;
use tokio::time::sleep;

use super::{
    check::Check,
    cpu::{Spent, tree},
    haproxy,
    launch::{start, wait_for},
    nginx,
    peers::Peer,
};
use crate::{
    call, gateway,
    process::{Process, free_port},
};

/// A look at a peer that has been asked, to see whether it has come to rest, and what it may spend meanwhile.
const LOOK: Duration = Duration::from_millis(100);
const AT_REST: Duration = Duration::from_millis(5);

/// What stands between client and mock.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Nothing: what is added is the difference to this.
    Direct,
    Nginx,
    Haproxy,
    /// A build of the gateway.
    Gateway(String),
    /// Another gateway.
    Peer(&'static Peer),
}

impl Kind {
    /// What can be demanded of its answers.
    pub(crate) fn check(&self) -> Check {
        if let Self::Peer(peer) = self { peer.check } else { Check::Bytes }
    }

    pub(crate) fn is_peer(&self) -> bool {
        matches!(self, Self::Peer(_))
    }
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
    /// Lines that clients add to the heads of their requests.
    pub(crate) headers: String,
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
    /// Starts it and waits until it serves, or says why it does not.
    pub(crate) async fn start(candidate: &Candidate, place: &Place<'_>) -> Result<Self, String> {
        let folder = TempDir::new().unwrap();
        if candidate.kind == Kind::Direct {
            return Ok(Self::assemble(candidate, place.upstream, None, folder, place.model));
        }
        let address = free_port();
        let command = match &candidate.kind {
            Kind::Nginx => nginx::command(folder.path(), address, &[place.upstream]),
            Kind::Haproxy => haproxy::command(folder.path(), address, place.upstream),
            Kind::Gateway(program) => {
                let models = [(place.model.to_owned(), vec![place.upstream])];
                return Ok(Self::start_gateway(candidate, program, &place.under, folder, &models, 1).await);
            }
            Kind::Peer(peer) => peer.command(folder.path(), address, place.upstream, place.model, &key()),
            Kind::Direct => unreachable!("nothing is started for it"),
        };
        let process = start(&command, &place.under, folder.path());
        wait_for(&process, address, folder.path()).await?;
        let mut this = Self::assemble(candidate, address, Some(process), folder, place.model);
        match &candidate.kind {
            Kind::Nginx => this.worker = this.worker.map(nginx::worker),
            Kind::Peer(peer) => {
                this.headers = (peer.headers)(place.upstream);
                this.wait_until_ready(peer.ready).await?;
            }
            _ => {}
        }
        Ok(this)
    }

    /// Some listen before they know their servers.
    async fn wait_until_ready(&self, path: &str) -> Result<(), String> {
        let mut said = String::new();
        for _ in 0..600 {
            match call::get(self.address, path).await {
                Ok((200, _)) => return Ok(()),
                Ok((status, text)) => said = format!("{status} {text}"),
                Err(error) => said = error.to_string(),
            }
            sleep(LOOK).await;
        }
        Err(format!("it is not ready after a minute: {said}"))
    }

    /// Starts nginx in front of these servers, which have their turn one after the other.
    pub(crate) async fn start_nginx(
        candidate: &Candidate,
        under: &[String],
        upstreams: &[SocketAddr],
        models: &[String],
    ) -> Self {
        let (folder, address) = (TempDir::new().unwrap(), free_port());
        let process = start(&nginx::command(folder.path(), address, upstreams), under, folder.path());
        wait_for(&process, address, folder.path()).await.unwrap();
        let mut this = Self::assemble(candidate, address, Some(process), folder, "");
        this.worker = this.worker.map(nginx::worker);
        this.models = models.to_vec();
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
        for address in [data, admin] {
            wait_for(&process, address, folder.path()).await.unwrap();
        }
        let mut keys = vec![gateway::create_app(admin, folder.path()).await];
        if apps > 1 {
            drop(process);
            keys.extend(gateway::add_apps(folder.path(), apps - 1));
            process = run();
            wait_for(&process, data, folder.path()).await.unwrap();
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
            keys: vec![key()],
            models: vec![model.to_owned()],
            headers: String::new(),
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
        self.processes().map(|processes| Spent::by(&processes))
    }

    /// Resident memory in KiB.
    pub(crate) fn resident(&self) -> Option<u64> {
        let status = |process| crate::process::status(process, "VmRSS:");
        self.processes().map(|processes| processes.into_iter().map(status).sum())
    }

    /// Those that do the work: of a peer, all that it may have started.
    fn processes(&self) -> Option<Vec<u32>> {
        self.worker.map(|worker| if self.candidate.kind.is_peer() { tree(worker) } else { vec![worker] })
    }

    /// Waits until what the last requests have left to do is done: the gateway's records are in its store, a peer does
    /// nothing any more.
    pub(crate) async fn settle(&self) {
        if self.candidate.kind.is_peer() {
            return self.come_to_rest().await;
        }
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

    async fn come_to_rest(&self) {
        for _ in 0..600 {
            let before = self.spent();
            sleep(LOOK).await;
            if self.spent().zip(before).is_none_or(|(spent, before)| spent.since(&before) < AT_REST) {
                return;
            }
        }
        println!("{}: it did not come to rest within a minute", self.candidate.name);
    }
}

/// What clients authenticate with, where no gateway has given them a key.
fn key() -> String {
    format!("sk-live-{}", "0".repeat(32))
}
