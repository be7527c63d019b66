//! The gateway that is measured: the pipeline of the default `gateway.toml`, one upstream, one policy.

use std::{
    fs,
    net::{SocketAddr, TcpListener},
    path::Path,
    process::{Child, Command, Output, Stdio},
    time::Duration,
};

use reqwest::Client;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use vllm_gateway_simulator::Simulator;

use crate::{fleet, plan::Plan, trace::MODEL};

/// How long a start may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running gateway; it ends when this is dropped.
pub(crate) struct Gateway {
    process: Process,
    _folder: TempDir,
    /// Where clients ask.
    pub(crate) url: String,
    pub(crate) key: String,
}

/// Why there is none.
pub(crate) enum NotStarted {
    /// The policy has no meaning to this build.
    Unknown,
    Failed(String),
}

impl<E: std::error::Error> From<E> for NotStarted {
    fn from(error: E) -> Self {
        Self::Failed(format!("the gateway does not start: {error}"))
    }
}

impl Gateway {
    pub(crate) async fn start(plan: &Plan, policy: &str, servers: &[Simulator]) -> Result<Self, NotStarted> {
        let folder = TempDir::new()?;
        let file = folder.path().join("gateway.toml");
        let (data, admin) = (free_port()?, free_port()?);
        fs::write(&file, config(data, admin, policy, servers, plan))?;
        check(&plan.program, &file, policy)?;
        let log = fs::File::create(folder.path().join("gateway.log"))?;
        let mut command = Command::new(&plan.program);
        command.arg("-c").arg(&file).env("RUST_LOG", "warn").stdin(Stdio::null());
        let process = Process(command.stdout(log.try_clone()?).stderr(log).spawn()?);
        let client = Client::builder().no_proxy().build()?;
        let url = format!("http://{data}");
        let starting = async {
            let key = loop {
                match create_app(&client, admin, folder.path()).await {
                    Some(key) => break key,
                    None => tokio::time::sleep(Duration::from_millis(50)).await,
                }
            };
            while !is_ready(&client, &url).await {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            key
        };
        let Ok(key) = tokio::time::timeout(PATIENCE, starting).await else {
            let said = fs::read_to_string(folder.path().join("gateway.log")).unwrap_or_default();
            return Err(NotStarted::Failed(format!(
                "the gateway is not ready after {PATIENCE:?}; it said:\n{said}"
            )));
        };
        Ok(Self { process, _folder: folder, url, key })
    }

    /// The process.
    pub(crate) fn id(&self) -> u32 {
        self.process.0.id()
    }
}

fn config(data: SocketAddr, admin: SocketAddr, policy: &str, servers: &[Simulator], plan: &Plan) -> String {
    let weights = fleet::weights();
    let endpoints = servers.iter().zip(weights).map(|(server, weight)| {
        let weight = if plan.weighted { format!(", weight = {weight}") } else { String::new() };
        format!("  {{ url = \"{}\"{weight} }},\n", server.url())
    });
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
models = {{ "{MODEL}" = "fleet" }}
[upstreams.fleet]
balance = "{policy}"
{}
endpoints = [
{}]
"#,
        plan.upstream,
        endpoints.collect::<String>()
    )
}

/// Asks the gateway itself whether it knows what the file says.
fn check(program: &str, file: &Path, policy: &str) -> Result<(), NotStarted> {
    let Output { status, stdout, stderr } = Command::new(program).arg("check").arg(file).output()?;
    if status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&[stdout, stderr].concat()).into_owned();
    Err(if said.contains(&format!("unknown value `{policy}`")) {
        NotStarted::Unknown
    } else {
        NotStarted::Failed(format!("the gateway does not take its configuration:\n{said}"))
    })
}

/// Makes an app and gives its key; none while nobody listens.
async fn create_app(client: &Client, admin: SocketAddr, folder: &Path) -> Option<String> {
    let token = fs::read_to_string(folder.join("data/admin.token")).ok()?;
    let request = client.post(format!("http://{admin}/api/apps")).bearer_auth(token.trim());
    let request = request.header("content-type", "application/json").body(r#"{"orgName":"bench"}"#);
    let app = request.send().await.ok()?.bytes().await.ok()?;
    let app: serde_json::Value = serde_json::from_slice(&app).ok()?;
    Some(app["apiKey"].as_str()?.to_owned())
}

async fn is_ready(client: &Client, url: &str) -> bool {
    client.get(format!("{url}/ready")).send().await.is_ok_and(|answer| answer.status() == 200)
}

/// A port that nobody listens on.
fn free_port() -> std::io::Result<SocketAddr> {
    TcpListener::bind("127.0.0.1:0")?.local_addr()
}

struct Process(Child);

impl Drop for Process {
    /// Asks it to end and gives it a moment.
    fn drop(&mut self) {
        if kill_process(Pid::from_child(&self.0), Signal::TERM).is_ok() {
            for _ in 0..200 {
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
