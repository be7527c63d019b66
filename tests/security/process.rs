//! A gateway as a process of its own: with an environment, limits and output of its own.

use std::{
    fs::{self, File},
    net::SocketAddr,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Instant,
};

use reqwest::{Client, Method, RequestBuilder, Response};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{PATIENCE, chat};

/// As the gateway makes its own: what it cannot know by its looks, it cannot mask where somebody shows it around.
pub(crate) const TOKEN: &str = "c0ffee000815c0ffee471100c0ffee009999c0ffee001234c0ffee00abcdc0ff";

/// A running gateway. Its output is in files, so that nothing waits for a reader.
pub(crate) struct Process {
    child: Child,
    pub(crate) folder: TempDir,
    pub(crate) data: SocketAddr,
    pub(crate) admin: SocketAddr,
    pub(crate) client: Client,
}

/// What is to be started.
pub(crate) struct Start<'a> {
    /// Everything but the listeners.
    pub(crate) config: &'a str,
    pub(crate) server: &'a str,
    pub(crate) environment: &'a [(&'a str, &'a str)],
    /// The most open files, if not as many as here.
    pub(crate) files: Option<u32>,
}

impl Start<'_> {
    pub(crate) fn command(&self, folder: &TempDir) -> Command {
        let gateway = env!("CARGO_BIN_EXE_vllm-gateway");
        let mut command = match self.files {
            None => Command::new(gateway),
            Some(files) => {
                let mut shell = Command::new("sh");
                shell.args(["-c", &format!("ulimit -n {files} && exec \"$0\" \"$@\""), gateway]);
                shell
            }
        };
        command.current_dir(folder.path()).env_remove("RUST_LOG").env("TEST_ADMIN_TOKEN", TOKEN);
        command.envs(self.environment.iter().copied()).stdin(Stdio::null());
        command
    }

    /// The folder with `gateway.toml` in it.
    pub(crate) fn folder(&self) -> TempDir {
        let folder = TempDir::new().unwrap();
        let listen = "listen = \"127.0.0.1:0\"";
        let text = format!(
            "[server]\n{listen}\n{}\n[admin]\n{listen}\ntoken = \"env:TEST_ADMIN_TOKEN\"\n{}",
            self.server, self.config
        );
        fs::write(folder.path().join("gateway.toml"), text).unwrap();
        folder
    }

    pub(crate) async fn start(&self) -> Process {
        self.start_in(self.folder()).await
    }

    pub(crate) async fn start_in(&self, folder: TempDir) -> Process {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let file = |name: &str| Stdio::from(File::create(folder.path().join(name)).unwrap());
        let child = self
            .command(&folder)
            .args(["run", "--log-format", "json"])
            .stdout(file("stdout.txt"))
            .stderr(file("stderr.txt"))
            .spawn()
            .unwrap();
        let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
        let client = Client::builder().no_proxy().build().unwrap();
        let mut process = Process { child, folder, data: nowhere, admin: nowhere, client };
        let begun = Instant::now();
        let serving = loop {
            let said = process.said();
            let line = said.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            if let Some(line) = line.into_iter().find(|line| line["message"] == "serving") {
                break line;
            }
            assert!(begun.elapsed() < PATIENCE, "it does not serve: {said}");
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        };
        let address = |name: &str| serving[name].as_str().unwrap().parse().unwrap();
        (process.data, process.admin) = (address("data"), address("admin"));
        process
    }
}

impl Process {
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// All that it wrote to standard error.
    pub(crate) fn said(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.path("stderr.txt")).unwrap()).into_owned()
    }

    pub(crate) fn admin(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.client.request(method, format!("http://{}{path}", self.admin)).bearer_auth(TOKEN);
        request.header("content-type", "application/json")
    }

    /// Makes an app: its key, when it is in force.
    pub(crate) async fn app(&self) -> String {
        let answer =
            self.admin(Method::POST, "/api/apps").body(r#"{"orgName":"acme"}"#).send().await.unwrap();
        let app: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
        let begun = Instant::now();
        while self.client.get(format!("http://{}/ready", self.data)).send().await.unwrap().status() != 200 {
            assert!(begun.elapsed() < PATIENCE, "it is not ready: {}", self.said());
        }
        app["apiKey"].as_str().unwrap().to_owned()
    }

    pub(crate) async fn chat(&self, key: &str) -> Response {
        let request = self.client.post(format!("http://{}/v1/chat/completions", self.data)).bearer_auth(key);
        request
            .header("content-type", "application/json")
            .body(chat(json!({})).to_string())
            .send()
            .await
            .unwrap()
    }

    /// The sum of all samples of this metric.
    pub(crate) async fn metric(&self, name: &str) -> f64 {
        let page = self.admin(Method::GET, "/metrics").send().await.unwrap().text().await.unwrap();
        let samples = page.lines().filter(|line| line.starts_with(name));
        samples.map(|line| line.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap()).sum()
    }

    /// How many file descriptors it has open.
    pub(crate) fn open_files(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.id())).unwrap().count()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
