//! The gateway as a process of its own: its metrics are the process's, and tests must not see each other's.

use std::{
    io::{BufRead, BufReader},
    net::SocketAddr,
    process::{Child, Command, Stdio},
};

use reqwest::{Client, Method, RequestBuilder};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::page::Page;

pub(crate) struct Process {
    child: Child,
    folder: TempDir,
    data: SocketAddr,
    admin: SocketAddr,
    pub(crate) client: Client,
    pub(crate) key: String,
}

impl Process {
    /// Starts it with this configuration, the listeners' tables left out, and creates an app.
    pub(crate) async fn start(config: &str) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let folder = TempDir::new().unwrap();
        let listen = "listen = \"127.0.0.1:0\"\n";
        std::fs::write(
            folder.path().join("gateway.toml"),
            format!("[server]\n{listen}[admin]\n{listen}{config}"),
        )
        .unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_vllm-gateway"))
            .args(["--log-format", "json", "-c"])
            .arg(folder.path().join("gateway.toml"))
            .env_remove("RUST_LOG")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        let mut heard = Vec::new();
        let serving: Value = loop {
            let Some(line) = said.next() else { panic!("it ended before it served: {heard:#?}") };
            match serde_json::from_str::<Value>(&line) {
                Ok(line) if line["message"] == "serving" => break line,
                _ => heard.push(line),
            }
        };
        // A pipe that nobody reads would hold up the gateway once it is full.
        std::thread::spawn(move || said.for_each(drop));
        let address = |name: &str| serving[name].as_str().unwrap().parse().unwrap();
        let (data, admin) = (address("data"), address("admin"));
        let client = Client::builder().no_proxy().build().unwrap();
        let mut process = Self { child, folder, data, admin, client, key: String::new() };
        process.key = process.create_app().await;
        process
    }

    /// Creates an app and gives its key once the gateway is ready.
    async fn create_app(&self) -> String {
        let app = self.admin(Method::POST, "/api/apps").body(json!({"orgName": "acme"}).to_string());
        let app: Value = serde_json::from_str(&app.send().await.unwrap().text().await.unwrap()).unwrap();
        let ready = || self.client.get(self.url("/ready")).send();
        while ready().await.unwrap().status() != 200 {}
        app["apiKey"].as_str().unwrap().to_owned()
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.data)
    }

    pub(crate) fn admin(&self, method: Method, path: &str) -> RequestBuilder {
        let token = std::fs::read_to_string(self.folder.path().join("data/admin.token")).unwrap();
        let url = format!("http://{}{path}", self.admin);
        self.client.request(method, url).bearer_auth(token.trim()).header("content-type", "application/json")
    }

    /// A chat with the app's key.
    pub(crate) fn chat(&self, body: &Value) -> RequestBuilder {
        let request = self.client.post(self.url("/v1/chat/completions")).bearer_auth(&self.key);
        request.header("content-type", "application/json").body(body.to_string())
    }

    pub(crate) async fn metrics(&self) -> Page {
        let answer = self.client.get(format!("http://{}/metrics", self.admin)).send().await.unwrap();
        Page::of(&answer.text().await.unwrap())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
