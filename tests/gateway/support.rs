//! A gateway in this process, a simulated vLLM behind it, and what tests ask of both.

use std::{
    net::SocketAddr,
    path::PathBuf,
    time::{Duration, Instant},
};

use reqwest::{Client, RequestBuilder, Response};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use vllm_gateway::Gateway;
use vllm_gateway_simulator::{Options, Simulator, Speed, Tasks};

pub(crate) const MODEL: &str = "Qwen3-32B";

/// How long anything may take before a test gives up.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A gateway with its folder, and the simulated vLLM behind it.
pub(crate) struct Stage {
    pub(crate) gateway: Gateway,
    pub(crate) vllm: Simulator,
    pub(crate) client: Client,
    pub(crate) key: String,
    pub(crate) app_id: String,
    pub(crate) folder: TempDir,
    token: String,
}

/// What a stage is made of.
pub(crate) struct Setup {
    pub(crate) vllm: Options,
    /// Lines for `[server]`.
    pub(crate) server: String,
    /// Everything else of the file; `{vllm}` is the simulated vLLM's URL.
    pub(crate) rest: String,
}

impl Default for Setup {
    fn default() -> Self {
        Self { vllm: fast(), server: String::new(), rest: PIPELINE.into() }
    }
}

/// A simulated vLLM without delays.
pub(crate) fn fast() -> Options {
    at(Speed::default())
}

/// A simulated vLLM whose streams take their time.
pub(crate) fn slow() -> Options {
    let tick = Duration::from_millis(20);
    at(Speed { ttft: tick, itl: tick, jitter: 0.0 })
}

pub(crate) fn at(speed: Speed) -> Options {
    Options { models: vec![MODEL.into()], speed, tasks: Tasks::ALL, ..Options::default() }
}

pub(crate) const PIPELINE: &str = r#"
[pipelines.default]
filters = ["access-log", "auth", "model-route"]
[filters.access-log]
[filters.auth]
[filters.model-route]
models = { "Qwen3-32B" = "main" }
[upstreams.main]
endpoints = [{ url = "{vllm}" }]
"#;

pub(crate) async fn stage() -> Stage {
    Setup::default().start().await
}

impl Setup {
    pub(crate) fn vllm(vllm: Options) -> Self {
        Self { vllm, ..Self::default() }
    }

    pub(crate) fn server(server: &str) -> Self {
        Self { server: server.into(), ..Self::default() }
    }

    pub(crate) fn rest(rest: &str) -> Self {
        Self { rest: rest.into(), ..Self::default() }
    }

    pub(crate) async fn start(self) -> Stage {
        let vllm = Simulator::start(self.vllm.clone()).await.unwrap();
        let folder = TempDir::new().unwrap();
        std::fs::write(folder.path().join("gateway.toml"), self.text(&vllm)).unwrap();
        let gateway = Gateway::start(&folder.path().join("gateway.toml")).await.unwrap();
        assert!(gateway.ready(PATIENCE).await, "the gateway did not become ready");
        let token =
            std::fs::read_to_string(folder.path().join("data/admin.token")).unwrap().trim().to_owned();
        let client = Client::builder().no_proxy().build().unwrap();
        let mut stage =
            Stage { gateway, vllm, client, key: String::new(), app_id: String::new(), folder, token };
        let app = stage.create_app(json!({"orgName": "acme"})).await;
        stage.key = app["apiKey"].as_str().unwrap().to_owned();
        stage.app_id = app["id"].as_str().unwrap().to_owned();
        stage
    }

    pub(crate) fn text(&self, vllm: &Simulator) -> String {
        let rest = self.rest.replace("{vllm}", &vllm.url());
        format!(
            "[server]\nlisten = \"127.0.0.1:0\"\n{}\n[admin]\nlisten = \"127.0.0.1:0\"\n{rest}",
            self.server
        )
    }
}

impl Stage {
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.gateway.data_address())
    }

    /// The admin token.
    pub(crate) fn token(&self) -> &str {
        &self.token
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.folder.path().join("gateway.toml")
    }

    /// A request with the app's key and this JSON.
    pub(crate) fn post(&self, path: &str, body: &Value) -> RequestBuilder {
        let request = self.client.post(self.url(path)).bearer_auth(&self.key);
        request.header("content-type", "application/json").body(body.to_string())
    }

    pub(crate) async fn chat(&self, extra: Value) -> Response {
        self.post("/v1/chat/completions", &chat(extra)).send().await.unwrap()
    }

    pub(crate) fn admin(&self, method: reqwest::Method, path: &str) -> RequestBuilder {
        let url = format!("http://{}{path}", self.gateway.admin_address());
        self.client.request(method, url).bearer_auth(self.token()).header("content-type", "application/json")
    }

    pub(crate) async fn admin_get(&self, path: &str) -> Value {
        json_of(self.admin(reqwest::Method::GET, path).send().await.unwrap()).await
    }

    pub(crate) async fn create_app(&self, body: Value) -> Value {
        let answer =
            self.admin(reqwest::Method::POST, "/api/apps").body(body.to_string()).send().await.unwrap();
        assert_eq!(answer.status(), 201);
        json_of(answer).await
    }

    /// The records that match, once there are this many of them.
    pub(crate) async fn records(&self, query: &str, count: usize) -> Vec<Value> {
        let begun = Instant::now();
        loop {
            let page = self.admin_get(&format!("/api/logs?pageSize=200&{query}")).await;
            let items = page["items"].as_array().unwrap().clone();
            if items.len() >= count || begun.elapsed() > PATIENCE {
                assert_eq!(items.len(), count, "records for {query}: {items:#?}");
                return items;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// The one record of the request with this id.
    pub(crate) async fn record(&self, request_id: &str) -> Value {
        self.records(&format!("requestId={request_id}"), 1).await.remove(0)
    }

    /// Waits until so many exchanges run here.
    pub(crate) async fn running(&self, exchanges: u64) {
        let begun = Instant::now();
        while self.gateway.running() != exchanges {
            assert!(begun.elapsed() < PATIENCE, "{} exchanges run", self.gateway.running());
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Waits until no exchange runs here and no generation runs at the upstream.
    pub(crate) async fn settled(&self) {
        let begun = Instant::now();
        while self.gateway.running() > 0 || self.vllm.active() > 0 {
            assert!(
                begun.elapsed() < PATIENCE,
                "{} exchanges and {} generations still run",
                self.gateway.running(),
                self.vllm.active()
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Sends these bytes as they are and reads until the gateway closes or `until` has come.
    pub(crate) async fn raw(&self, bytes: &[u8]) -> String {
        raw(self.gateway.data_address(), bytes).await
    }
}

pub(crate) async fn raw(address: SocketAddr, bytes: &[u8]) -> String {
    let mut socket = TcpStream::connect(address).await.unwrap();
    // The gateway may refuse and close before it has read everything.
    let _ = socket.write_all(bytes).await;
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(PATIENCE, socket.read_to_end(&mut answer)).await;
    String::from_utf8_lossy(&answer).into_owned()
}

/// An upstream that gives these bytes to whoever has sent a request, and then waits for him to leave.
pub(crate) async fn upstream_of(answer: impl Into<Vec<u8>>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, answer) = (listener.local_addr().unwrap(), answer.into());
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let answer = answer.clone();
            tokio::spawn(async move {
                let mut request = [0; 16 * 1024];
                let _ = socket.read(&mut request).await;
                let _ = socket.write_all(&answer).await;
                while socket.read(&mut request).await.is_ok_and(|read| read > 0) {}
            });
        }
    });
    address
}

pub(crate) fn chat(extra: Value) -> Value {
    let mut body = json!({"model": MODEL, "messages": [{"role": "user", "content": "Say hello"}], "max_tokens": 8, "seed": 1});
    for (key, value) in extra.as_object().unwrap() {
        body[key] = value.clone();
    }
    body
}

pub(crate) async fn json_of(answer: Response) -> Value {
    let bytes = answer.bytes().await.unwrap();
    serde_json::from_slice(&bytes)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&bytes)))
}

pub(crate) fn request_id(answer: &Response) -> String {
    answer.headers()["x-request-id"].to_str().unwrap().to_owned()
}
