//! A gateway that is a process of its own, in a folder that outlives it, with a simulated vLLM behind it.

use std::{
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use reqwest::{Client, Method, RequestBuilder};
use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process, prlimit};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::oneshot;
use vllm_gateway_simulator::{Options, Simulator, Speed, Tasks};
use vllm_gateway_store::{LogQuery, Store, connect_mongodb, open_sqlite};

pub(crate) const MODEL: &str = "Qwen3-32B";
pub(crate) const TOKEN: &str = "0123456789abcdef0123456789abcdef0123456789abcdef";

/// How long anything may take before a test gives up.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Whether the long runs were asked for.
pub(crate) fn long() -> bool {
    std::env::var_os("LONG").is_some()
}

/// A folder with `gateway.toml`, and what stands around the gateway that runs in it.
pub(crate) struct Site {
    pub(crate) folder: TempDir,
    pub(crate) vllm: Simulator,
    pub(crate) client: Client,
    /// The database's name and address; SQLite without.
    pub(crate) mongodb: Option<(String, String)>,
    /// Lines for `[server]` and `[journal]`.
    pub(crate) server: &'static str,
    pub(crate) journal: &'static str,
    /// What is put in front of the gateway's command line.
    pub(crate) wrapper: Vec<String>,
}

/// A process that was started, and says by and by where it serves.
pub(crate) struct Starting {
    own: Own,
    said: Arc<Mutex<String>>,
    addresses: oneshot::Receiver<(String, String)>,
    client: Client,
}

/// A gateway that serves.
pub(crate) struct Gateway {
    own: Own,
    said: Arc<Mutex<String>>,
    /// Host and port of the listener for clients.
    pub(crate) data: String,
    pub(crate) admin: String,
    pub(crate) client: Client,
}

/// A child process that ends with its owner, and whoever listens to what it says.
struct Own(Child, Option<std::thread::JoinHandle<()>>);

/// The records of `/metrics`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) accepted: u64,
    pub(crate) stored: u64,
    pub(crate) quarantined: u64,
    pub(crate) pending: u64,
}

/// A simulated vLLM that remembers every generation; this long to the first token, and from one to the next.
pub(crate) async fn vllm(ttft: u64, itl: u64) -> Simulator {
    let speed = Speed { ttft: Duration::from_millis(ttft), itl: Duration::from_millis(itl), jitter: 0.5 };
    let options = Options {
        models: vec![MODEL.into()],
        speed,
        tasks: Tasks::ALL,
        max_num_seqs: 4096,
        keep_requests: 0,
        keep_generations: 1 << 22,
        ..Options::default()
    };
    Simulator::start(options).await.unwrap()
}

impl Site {
    pub(crate) async fn sqlite() -> Self {
        Self::on(vllm(3, 2).await)
    }

    pub(crate) fn on(vllm: Simulator) -> Self {
        // As the gateway does, which runs in other processes here.
        let _ = rustls::crypto::ring::default_provider().install_default();
        Self {
            folder: TempDir::new().unwrap(),
            vllm,
            client: Client::builder().no_proxy().build().unwrap(),
            mongodb: None,
            server: "shutdown_grace = \"1s\"",
            journal: "",
            wrapper: Vec::new(),
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn write_config(&self) {
        let store = match &self.mongodb {
            None => "kind = \"sqlite\"\npath = \"data/gateway.db\"".to_owned(),
            Some((uri, database)) => {
                format!("kind = \"mongodb\"\nuri = \"env:TEST_MONGO\"\ndatabase = \"{database}\" # {uri}")
            }
        };
        let text = format!(
            "[server]\nlisten = \"127.0.0.1:0\"\n{}\n\
             [admin]\nlisten = \"127.0.0.1:0\"\ntoken = \"env:TEST_ADMIN_TOKEN\"\n\
             [store]\n{store}\n[journal]\n{}\n\
             [pipelines.default]\nfilters = [\"access-log\", \"auth\", \"model-route\"]\n\
             [filters.access-log]\n[filters.auth]\n\
             [filters.model-route]\nmodels = {{ \"{MODEL}\" = \"main\" }}\n\
             [upstreams.main]\nendpoints = [{{ url = \"{}\" }}]\n",
            self.server,
            self.journal,
            self.vllm.url(),
        );
        std::fs::write(self.path("gateway.toml"), text).unwrap();
    }

    /// Starts a gateway and does not wait for it.
    pub(crate) fn spawn(&self) -> Starting {
        self.write_config();
        let mut line = self.wrapper.clone();
        line.push(std::env::var("GATEWAY").unwrap_or_else(|_| env!("CARGO_BIN_EXE_vllm-gateway").into()));
        line.extend(["run", "--log-format", "json"].map(str::to_owned));
        let mut command = Command::new(&line[0]);
        command.args(&line[1..]).current_dir(self.folder.path()).env("TEST_ADMIN_TOKEN", TOKEN);
        if let Some((uri, _)) = &self.mongodb {
            command.env("TEST_MONGO", uri);
        }
        command.env_remove("RUST_LOG").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut own = Own(command.spawn().unwrap(), None);
        let lines = BufReader::new(own.0.stderr.take().unwrap()).lines();
        let said = Arc::new(Mutex::new(String::new()));
        let (found, addresses) = oneshot::channel();
        let (text, mut found) = (Arc::clone(&said), Some(found));
        // Reads on after the start: a full pipe would block the gateway.
        own.1 = Some(std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let event: Value = serde_json::from_str(&line).unwrap_or_default();
                if event["message"] == "serving"
                    && let Some(found) = found.take()
                {
                    let of = |field: &str| event[field].as_str().unwrap_or_default().to_owned();
                    let _ = found.send((of("data"), of("admin")));
                }
                text.lock().unwrap().push_str(&(line + "\n"));
            }
        }));
        Starting { own, said, addresses, client: self.client.clone() }
    }

    pub(crate) async fn start(&self) -> Gateway {
        self.spawn().serving().await
    }

    /// The store itself, while no gateway runs.
    pub(crate) async fn store(&self) -> Arc<dyn Store> {
        match &self.mongodb {
            None => Arc::new(open_sqlite(self.path("data/gateway.db")).await.unwrap()),
            Some((uri, database)) => Arc::new(connect_mongodb(uri, database).await.unwrap()),
        }
    }

    /// How many records are in the store, which no gateway has open.
    pub(crate) async fn stored(&self) -> u64 {
        let store = self.store().await;
        let total = store.page(&LogQuery::default(), 1, 1).await.unwrap().total;
        store.close().await;
        total
    }

    /// Bytes of the journal's regions.
    pub(crate) fn journal_bytes(&self) -> u64 {
        let entries = std::fs::read_dir(self.path("data/journal")).unwrap().map(Result::unwrap);
        let regions = entries.filter(|entry| entry.file_name().to_string_lossy().contains(".cells"));
        regions.map(|entry| entry.metadata().unwrap().len()).sum()
    }
}

impl Starting {
    pub(crate) async fn serving(self) -> Gateway {
        let Self { own, said, addresses, client } = self;
        let Ok(Ok((data, admin))) = tokio::time::timeout(PATIENCE, addresses).await else {
            panic!("the gateway did not start: {}", said.lock().unwrap());
        };
        Gateway { own, said, data, admin, client }
    }

    /// Kills it wherever it is.
    pub(crate) fn kill(self) {
        drop(self.own);
    }

    /// Waits for its end: its status, and what it said.
    pub(crate) async fn ended(mut self) -> (Option<i32>, String) {
        let status = self.own.ended(PATIENCE).await;
        (status, self.said.lock().unwrap().clone())
    }
}

impl Gateway {
    pub(crate) fn pid(&self) -> Pid {
        self.own.pid()
    }

    /// `kill -9`: nothing is told, nothing is written.
    pub(crate) fn kill(self) {
        drop(self.own);
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    /// Waits for its end: its status, none if a signal ended it.
    pub(crate) async fn ended(&mut self, most: Duration) -> Option<i32> {
        self.own.ended(most).await
    }

    pub(crate) fn is_alive(&mut self) -> bool {
        self.own.0.try_wait().unwrap().is_none()
    }

    /// What it has written to its log.
    pub(crate) fn said(&self) -> String {
        self.said.lock().unwrap().clone()
    }

    /// From now on no file of its may become longer than this; those that are, stay.
    pub(crate) fn limit_files(&self, bytes: Option<u64>) {
        let limit = Rlimit { current: bytes, maximum: None };
        prlimit(Some(self.pid()), Resource::Fsize, limit).unwrap();
    }

    /// Resident memory, in KiB.
    pub(crate) fn memory(&self) -> u64 {
        let path = format!("/proc/{}/status", self.pid().as_raw_nonzero());
        let status = std::fs::read_to_string(path).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches("kB").trim().parse().unwrap()
    }

    pub(crate) fn admin(&self, method: Method, path: &str) -> RequestBuilder {
        let url = format!("http://{}{path}", self.admin);
        self.client.request(method, url).bearer_auth(TOKEN).header("content-type", "application/json")
    }

    /// Makes an app; its key.
    pub(crate) async fn app(&self) -> String {
        let body = json!({"orgName": "acme"}).to_string();
        let answer = self.admin(Method::POST, "/api/apps").body(body).send().await.unwrap();
        assert_eq!(answer.status(), 201);
        let app: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
        app["apiKey"].as_str().unwrap().to_owned()
    }

    pub(crate) async fn get(&self, path: &str) -> Value {
        let answer = self.admin(Method::GET, path).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{path}");
        serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap()
    }

    /// The status and the error's code of `GET /ready`.
    pub(crate) async fn ready(&self) -> (u16, String) {
        let answer = self.client.get(format!("http://{}/ready", self.data)).send().await.unwrap();
        let status = answer.status().as_u16();
        let body: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
        (status, body["error"]["code"].as_str().unwrap_or_default().to_owned())
    }

    /// Waits until `/ready` answers so.
    pub(crate) async fn becomes_ready(&self, status: u16) {
        until("readiness", || async { self.ready().await.0 == status }).await;
    }

    /// The counts of records, which must add up; none if the gateway is gone.
    pub(crate) async fn try_counts(client: &Client, admin: &str) -> Option<Counts> {
        let page = client.get(format!("http://{admin}/metrics")).send().await.ok()?.text().await.ok()?;
        let number = |name: &str| {
            let line = page
                .lines()
                .find_map(|line| line.strip_prefix("vllm_gateway_access_log_records_")?.strip_prefix(name));
            line.unwrap().trim().parse::<u64>().unwrap()
        };
        let counts = Counts {
            accepted: number("total{state=\"accepted\"}"),
            stored: number("total{state=\"stored\"}"),
            quarantined: number("total{state=\"quarantined\"}"),
            pending: number("pending"),
        };
        assert_eq!(counts.accepted, counts.stored + counts.quarantined + counts.pending, "{counts:?}");
        Some(counts)
    }

    pub(crate) async fn counts(&self) -> Counts {
        Self::try_counts(&self.client, &self.admin).await.unwrap()
    }

    /// Waits until no record is on its way any more.
    pub(crate) async fn settled(&self) -> Counts {
        let begun = Instant::now();
        loop {
            let counts = self.counts().await;
            if counts.pending == 0 {
                return counts;
            }
            assert!(begun.elapsed() < 4 * PATIENCE, "{counts:?}\n{}", last_lines(&self.said()));
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Every record of the store since this time, page by page.
    pub(crate) async fn records(&self, from: jiff::Timestamp) -> Vec<Value> {
        let (mut records, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = self.get(&format!("/api/logs?pageSize=200&from={from}&cursor={cursor}")).await;
            records.extend(page["items"].as_array().unwrap().iter().cloned());
            match page["nextCursor"].as_str() {
                Some(next) => cursor = next.to_owned(),
                None => return records,
            }
        }
    }
}

impl Own {
    fn pid(&self) -> Pid {
        Pid::from_child(&self.0)
    }

    async fn ended(&mut self, most: Duration) -> Option<i32> {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.0.try_wait().unwrap() {
                // What it said last is read when its end is.
                if let Some(listener) = self.1.take() {
                    listener.join().unwrap();
                }
                return status.code();
            }
            assert!(begun.elapsed() < most, "it has not ended within {most:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Waits for something that must come true, and says how long that took.
pub(crate) async fn until<F: Future<Output = bool>>(what: &str, holds: impl Fn() -> F) -> Duration {
    let begun = Instant::now();
    while !holds().await {
        assert!(begun.elapsed() < PATIENCE, "never: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    begun.elapsed()
}

fn last_lines(said: &str) -> String {
    let lines: Vec<&str> = said.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}
