//! A gateway's admin side on a port of its own, and a client for it.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Once};
use std::time::Duration;

use reqwest::header::HeaderMap;
use reqwest::{Client, Method};
use salvo::async_trait;
use salvo::conn::{Acceptor, Listener, TcpListener};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use vllm_gateway_admin::{
    AdminCall, AdminState, ChangeRefused, Control, EndpointChange, EndpointState, ReloadDone, TokenDigest,
    service,
};
use vllm_gateway_directory::Directory;
use vllm_gateway_sdk::{Apps, Lookup};
use vllm_gateway_store::{Store, open_sqlite};

pub(crate) const TOKEN: &str = "the-admin-token-of-these-tests-0123456789";

pub(crate) struct Gateway {
    pub(crate) address: SocketAddr,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) directory: Arc<Directory>,
    pub(crate) control: Arc<Running>,
    pub(crate) folder: TempDir,
    client: Client,
    serving: JoinHandle<()>,
}

/// What the rest of a gateway would tell.
#[derive(Default)]
pub(crate) struct Running {
    pub(crate) is_broken: AtomicBool,
    pub(crate) calls: AtomicUsize,
}

#[async_trait]
impl Control for Running {
    fn pipelines(&self) -> Value {
        json!({ "items": [{ "name": "default", "filters": ["access-log"] }] })
    }
    fn upstreams(&self) -> Value {
        json!({ "items": [] })
    }
    async fn change_endpoint(&self, upstream: &str, change: EndpointChange) -> Result<Value, ChangeRefused> {
        match (upstream, change.url.as_str(), change.state) {
            ("main", "http://last:8000", _) => Err(ChangeRefused::LastEndpoint),
            ("main", url, None | Some(EndpointState::Active)) => {
                Ok(json!({ "name": "main", "url": url, "weight": change.weight }))
            }
            ("main", _, _) => Err(ChangeRefused::NoSuchEndpoint),
            _ => Err(ChangeRefused::NoSuchUpstream),
        }
    }
    fn plugins(&self) -> Value {
        assert!(!self.is_broken.load(Ordering::Relaxed), "a bug");
        json!({ "items": [] })
    }
    async fn reload(&self) -> Result<ReloadDone, Vec<Value>> {
        if self.is_broken.load(Ordering::Relaxed) {
            return Err(vec![
                json!({ "file": "gateway.toml", "line": 3, "column": 1, "severity": "error", "message": "no" }),
            ]);
        }
        Ok(ReloadDone {
            changed: vec!["pipelines.default".into()],
            needs_restart: vec!["server.listen".into()],
        })
    }
    fn metrics(&self) -> String {
        "vllm_gateway_build_info 1\n".into()
    }
    fn called(&self, _call: &AdminCall<'_>) {
        self.calls.fetch_add(1, Ordering::Relaxed);
    }
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// Asserts that it is a problem of this status at this field, and gives its detail.
    #[track_caller]
    pub(crate) fn problem(&self, status: u16, field: Option<&str>) -> String {
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(self.header("content-type"), "application/problem+json", "{self:?}");
        let body = self.json();
        assert_eq!(body["status"], status);
        assert_eq!(body["type"], "about:blank");
        assert!(body["title"].is_string() && body["detail"].is_string(), "{body}");
        assert_eq!(body["field"].as_str(), field, "{body}");
        body["detail"].as_str().unwrap().to_owned()
    }
}

impl Gateway {
    pub(crate) async fn start() -> Self {
        Self::start_with(false).await
    }

    pub(crate) async fn start_with(metrics_auth: bool) -> Self {
        let folder = TempDir::new().unwrap();
        let store = Arc::new(open_sqlite(folder.path().join("gateway.db")).await.unwrap());
        Self::on(store, folder, metrics_auth).await
    }

    pub(crate) async fn on(store: Arc<dyn Store>, folder: TempDir, metrics_auth: bool) -> Self {
        prepare();
        let directory = Arc::new(Directory::new(Duration::from_hours(1)));
        directory.poll(&*store).await.unwrap();
        let control = Arc::new(Running::default());
        let state = AdminState {
            token: TokenDigest::of(TOKEN).unwrap(),
            store: Arc::clone(&store),
            directory: Arc::clone(&directory),
            control: Arc::clone(&control) as _,
            metrics_auth,
        };
        let acceptor = TcpListener::new("127.0.0.1:0").bind().await;
        let address = acceptor.holdings()[0].local_addr.clone().into_std().unwrap();
        let serving = tokio::spawn(salvo::Server::new(acceptor).serve(service(Arc::new(state))));
        Self { address, store, directory, control, folder, client: Client::new(), serving }
    }

    /// A call with the token.
    pub(crate) async fn call(&self, method: &str, path: &str, body: Option<Value>) -> Answer {
        self.call_as(Some(TOKEN), method, path, body).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.call("GET", path, None).await
    }

    pub(crate) async fn call_as(
        &self,
        token: Option<&str>,
        method: &str,
        path: &str,
        body: Option<Value>,
    ) -> Answer {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let mut request = self.client.request(method, format!("http://{}{path}", self.address));
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Answer { status, headers, text: response.text().await.unwrap() }
    }

    /// A request as it stands, with the token and the usual headers after its first line.
    pub(crate) async fn raw(&self, first_line: &str, headers: &str, body: &[u8]) -> Answer {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let head = format!(
            "{first_line} HTTP/1.1\r\nauthorization: Bearer {TOKEN}\r\nconnection: close\r\n{headers}\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        // A server that has refused already may have closed.
        let _ = stream.write_all(body).await;
        let mut bytes = Vec::new();
        let _ = stream.read_to_end(&mut bytes).await;
        let text = String::from_utf8(bytes).unwrap();
        let (head, body) =
            text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer to {first_line}: {text}"));
        let mut lines = head.lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let pairs = lines.filter_map(|line| line.split_once(": "));
        let headers = pairs.map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        Answer { status, headers, text: body.to_owned() }
    }

    /// Makes an app; its id and its key.
    pub(crate) async fn app(&self, org_name: &str) -> (String, String) {
        let made = self.call("POST", "/api/apps", Some(json!({ "orgName": org_name }))).await;
        assert_eq!(made.status, 201, "{made:?}");
        let app = made.json();
        (app["id"].as_str().unwrap().to_owned(), app["apiKey"].as_str().unwrap().to_owned())
    }

    /// What the data plane would be told of this key.
    pub(crate) fn says(&self, key: &str) -> &'static str {
        match self.directory.lookup(key) {
            Lookup::Granted(_) => "granted",
            Lookup::Disabled(_) => "disabled",
            Lookup::Expired(_) => "expired",
            Lookup::Unknown => "unknown",
            Lookup::Unavailable => "unavailable",
        }
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// Everything that is logged in this process, from the most talkative level on.
pub(crate) fn logged() -> String {
    String::from_utf8(LOGGED.lock().unwrap().clone()).unwrap()
}

static LOGGED: Mutex<Vec<u8>> = Mutex::new(Vec::new());

struct ToMemory;

impl Write for ToMemory {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        Write::write(&mut *LOGGED.lock().unwrap(), bytes)
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn prepare() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        rustls::crypto::ring::default_provider().install_default().ok();
        tracing_subscriber::fmt()
            .with_ansi(false)
            .with_max_level(tracing_subscriber::filter::LevelFilter::TRACE)
            .with_writer(|| ToMemory)
            .init();
    });
}
