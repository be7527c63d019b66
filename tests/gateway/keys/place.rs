//! Where keys are tried: gateways that can be killed, a MongoDB that can be stopped, and what is asked of them.

use std::{
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use reqwest::{Client, Method, Response};
use serde_json::{Value, json};
use tempfile::TempDir;
use vllm_gateway_simulator::Simulator;
use vllm_gateway_store::testing::{MongoOptions, MongoServer};

use crate::support::{PATIENCE, PIPELINE, chat, fast, json_of};

pub(super) const TOKEN: &str = "an-admin-token-of-the-tests";
/// The promise for a change on another gateway.
pub(super) const PROMISED: Duration = Duration::from_secs(5);

/// A MongoDB, a simulated vLLM, and gateways that share both.
pub(super) struct Place {
    pub(super) mongo: MongoServer,
    pub(super) vllm: Simulator,
    pub(super) client: Client,
    pub(super) folder: TempDir,
}

/// A running gateway: a process of its own, so that it can be killed.
pub(super) struct Gateway {
    pub(super) process: Child,
    pub(super) data: String,
    pub(super) admin: String,
    pub(super) said: Arc<Mutex<String>>,
    pub(super) client: Client,
    pub(super) folder: PathBuf,
}

pub(super) async fn standalone() -> Place {
    Place::new(MongoOptions::default()).await
}

pub(super) async fn replica_set() -> Place {
    Place::new(MongoOptions { replica_set: true, ..MongoOptions::default() }).await
}

impl Place {
    pub(super) async fn new(options: MongoOptions) -> Self {
        // As the gateway does, which runs in other processes here.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mongo = tokio::task::spawn_blocking(|| MongoServer::start_own(options)).await.unwrap();
        Self {
            mongo,
            vllm: Simulator::start(fast()).await.unwrap(),
            client: Client::builder().no_proxy().build().unwrap(),
            folder: TempDir::new().unwrap(),
        }
    }

    /// Starts the gateway of that name, with what its earlier run has left. It may not be ready.
    pub(super) async fn start(&self, name: &str) -> Gateway {
        self.start_with(name, "").await
    }

    /// The same with a line for `[store]`.
    pub(super) async fn start_with(&self, name: &str, line: &str) -> Gateway {
        self.start_on(name, &format!("kind = \"mongodb\"\nuri = \"env:TEST_MONGO\"\n{line}")).await
    }

    /// The same on a store of one's own.
    pub(super) async fn start_on(&self, name: &str, store: &str) -> Gateway {
        let mut process = self.command(name, store).spawn().unwrap();
        let folder = self.folder.path().join(name);
        let lines = BufReader::new(process.stderr.take().unwrap()).lines();
        let said = Arc::new(Mutex::new(String::new()));
        let (found, addresses) = tokio::sync::oneshot::channel();
        let (text, mut found) = (Arc::clone(&said), Some(found));
        // Reads on after the start: a full pipe would block the gateway.
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let event: Value = serde_json::from_str(&line).unwrap_or_default();
                if event["message"] == "serving"
                    && let Some(found) = found.take()
                {
                    let of = |field: &str| format!("http://{}", event[field].as_str().unwrap_or_default());
                    let _ = found.send((of("data"), of("admin")));
                }
                text.lock().unwrap().push_str(&(line + "\n"));
            }
        });
        let Ok(Ok((data, admin))) = tokio::time::timeout(PATIENCE, addresses).await else {
            panic!("the gateway did not start: {}", said.lock().unwrap());
        };
        Gateway { process, data, admin, said, client: self.client.clone(), folder }
    }

    /// How the gateway of that name is started on a store.
    pub(super) fn command(&self, name: &str, store: &str) -> Command {
        let folder = self.folder.path().join(name);
        std::fs::create_dir_all(&folder).unwrap();
        let text = format!(
            "[server]\nlisten = \"127.0.0.1:0\"\n[admin]\nlisten = \"127.0.0.1:0\"\ntoken = \"env:TEST_ADMIN_TOKEN\"\n\
             [store]\n{store}\n{}",
            PIPELINE.replace("{vllm}", &self.vllm.url())
        );
        std::fs::write(folder.join("gateway.toml"), text).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_vllm-gateway"));
        command
            .args(["run", "--log-format", "json"])
            .current_dir(&folder)
            .env("TEST_ADMIN_TOKEN", TOKEN)
            .env("TEST_MONGO", &self.mongo.uri)
            .env_remove("RUST_LOG")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        command
    }

    /// What the gateway of that name says, which does not start.
    pub(super) async fn refused(&self, name: &str, store: &str) -> String {
        let child = self.command(name, store).spawn().unwrap();
        let ended = tokio::task::spawn_blocking(|| child.wait_with_output().unwrap());
        let ended = tokio::time::timeout(PATIENCE, ended).await.expect("it starts").unwrap();
        assert!(!ended.status.success());
        String::from_utf8(ended.stderr).unwrap()
    }

    pub(super) fn stop_store(&mut self, how: Outage) {
        match how {
            Outage::Stalled => self.mongo.stall(),
            Outage::Killed => self.mongo.kill(),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outage {
    Stalled,
    Killed,
}

impl Gateway {
    /// The status, and the error's code, of a request with this key.
    pub(super) async fn answer(&self, key: &str) -> (u16, String) {
        let request = self.client.post(format!("{}/v1/chat/completions", self.data)).bearer_auth(key);
        let answer = request
            .header("content-type", "application/json")
            .body(chat(json!({})).to_string())
            .send()
            .await
            .unwrap();
        let status = answer.status().as_u16();
        (status, json_of(answer).await["error"]["code"].as_str().unwrap_or_default().to_owned())
    }

    pub(super) async fn ready(&self) -> u16 {
        self.client.get(format!("{}/ready", self.data)).send().await.unwrap().status().as_u16()
    }

    pub(super) async fn is_ready(&self) {
        until("it is ready", || async { self.ready().await == 200 }).await;
    }

    pub(super) async fn admin(&self, method: Method, path: &str, body: Value) -> Response {
        let request = self.client.request(method, format!("{}{path}", self.admin)).bearer_auth(TOKEN);
        request.header("content-type", "application/json").body(body.to_string()).send().await.unwrap()
    }

    /// Makes an app: its id and its key.
    pub(super) async fn app(&self, body: Value) -> (String, String) {
        let answer = self.admin(Method::POST, "/api/apps", body).await;
        assert_eq!(answer.status(), 201);
        let app = json_of(answer).await;
        (app["id"].as_str().unwrap().to_owned(), app["apiKey"].as_str().unwrap().to_owned())
    }

    pub(super) async fn disable(&self, id: &str) {
        let body = json!({"status": "disabled"});
        let answer = self.admin(Method::PATCH, &format!("/api/apps/{id}/status"), body).await;
        assert!(answer.status().is_success(), "{}", answer.text().await.unwrap());
    }

    pub(super) fn copy(&self) -> PathBuf {
        self.folder.join("data/apps.json")
    }

    /// Waits until the copy on the disk names an app of each of these ids.
    pub(super) async fn copied(&self, ids: &[&str]) {
        until("the copy is written", || async {
            let text = std::fs::read_to_string(self.copy()).unwrap_or_default();
            ids.iter().all(|id| text.contains(id))
        })
        .await;
    }

    /// As a crash would: nothing is told, nothing is written.
    pub(super) fn kill(mut self) -> PathBuf {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        self.folder.clone()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Waits for something that must come true, and says how long that took.
pub(super) async fn until<F: Future<Output = bool>>(what: &str, holds: impl Fn() -> F) -> Duration {
    let begun = Instant::now();
    while !holds().await {
        assert!(begun.elapsed() < PATIENCE, "never: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    begun.elapsed()
}
