//! No secret is ever shown: each is a word that stands nowhere else, and after a run with everything switched on that
//! talks, every output is searched for it.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::Instant,
};

use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::{Duration, sleep};
use vllm_gateway_simulator::{Fault, Simulator};

use crate::{
    process::{Process, Start, TOKEN},
    support::{PATIENCE, chat, fast},
};

const API_KEY: &str = "canary-upstream-key-7b21d0";
const PASSWORD: &str = "canary-mongodb-password-99ce3";
/// Enough of the key's file to know it by.
const TLS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/tls");

const PIPELINES: &str = r#"
[pipelines.default]
filters = ["access-log", "auth", "model-route"]
[filters.access-log]
[filters.auth]
[filters.model-route]
models = { "Qwen3-32B" = "main" }
[upstreams.main]
endpoints = [{ url = "{vllm}" }]
api_key = "file:secrets/vllm.key"
"#;

/// All that was put out, with the name of the place where.
#[derive(Default)]
struct Outputs(Vec<(String, Vec<u8>)>);

impl Outputs {
    fn add(&mut self, name: impl Into<String>, bytes: impl Into<Vec<u8>>) {
        self.0.push((name.into(), bytes.into()));
    }

    /// Every file below this folder but those that hold the secrets by right.
    fn add_files(&mut self, folder: &Path) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                if !path.ends_with("secrets") {
                    self.add_files(&path);
                }
            } else {
                self.add(path.display().to_string(), fs::read(&path).unwrap());
            }
        }
    }

    fn hold_nowhere(&self, what: &str, secret: &str) {
        assert!(secret.len() >= 12, "`{what}` is too short to be searched for");
        for (name, bytes) in &self.0 {
            let at = bytes.windows(secret.len()).position(|window| window == secret.as_bytes());
            let Some(at) = at else { continue };
            let around = &bytes[at.saturating_sub(200)..(at + secret.len() + 40).min(bytes.len())];
            panic!("{what} stands in {name}: {}", String::from_utf8_lossy(around));
        }
    }
}

fn folder(start: &Start<'_>) -> TempDir {
    let folder = start.folder();
    let secrets = folder.path().join("secrets");
    fs::create_dir(&secrets).unwrap();
    fs::write(secrets.join("vllm.key"), API_KEY).unwrap();
    fs::copy(format!("{TLS}/key.pem"), secrets.join("key.pem")).unwrap();
    fs::copy(format!("{TLS}/cert.pem"), folder.path().join("cert.pem")).unwrap();
    folder
}

fn tls_lines() -> Vec<String> {
    let pem = fs::read_to_string(format!("{TLS}/key.pem")).unwrap();
    pem.lines().filter(|line| !line.starts_with("---") && line.len() > 40).map(str::to_owned).collect()
}

/// Requests that go well and every way of going wrong, with the secrets in all the wrong places.
async fn all_kinds_of_requests(gateway: &Process, vllm: &Simulator, key: &str, outputs: &mut Outputs) {
    let url = |path: &str| format!("http://{}{path}", gateway.data);
    let body = chat(json!({})).to_string();
    let post = |path: &str, body: String| {
        gateway.client.post(url(path)).bearer_auth(key).header("content-type", "application/json").body(body)
    };
    let mut answers = vec![
        ("chat", post("/v1/chat/completions", body.clone())),
        ("stream", post("/v1/chat/completions", chat(json!({"stream": true})).to_string())),
        ("malformed", post("/v1/chat/completions", format!("{{\"{key}"))),
        ("wrong type", post("/v1/chat/completions", body.clone()).header("content-encoding", key)),
        ("key in the path", post(&format!("/v1/{key}"), body.clone())),
        ("key in the query", post(&format!("/v1/chat/completions?key={key}"), body.clone())),
        ("key twice", post("/v1/chat/completions", body.clone()).bearer_auth(key)),
        ("key as request id", post("/v1/chat/completions", body.clone()).header("x-request-id", key)),
        ("key as user agent", post("/v1/chat/completions", body.clone()).header("user-agent", key)),
        ("key as trace", post("/v1/chat/completions", body.clone()).header("x-forwarded-for", key)),
        ("key of a model", gateway.client.get(url(&format!("/v1/models/{key}"))).bearer_auth(key)),
        ("models", gateway.client.get(url("/v1/models")).bearer_auth(key)),
        ("token on the data plane", gateway.client.get(url("/v1/models")).bearer_auth(TOKEN)),
        ("token in the path", gateway.client.get(url(&format!("/{TOKEN}"))).bearer_auth(TOKEN)),
        ("not http", gateway.client.get(url("/v1/models")).header("authorization", format!("Basic {key}"))),
    ];
    answers.push(("key as model", post("/v1/chat/completions", chat(json!({"model": key})).to_string())));
    answers.push(("the upstream's key", post("/v1/chat/completions", body.clone()).bearer_auth(API_KEY)));
    for (what, request) in answers {
        let answer = request.send().await.unwrap();
        // The id that the client sent itself comes back to it, so it is not among its headers' outputs.
        outputs.add(format!("{what}: head"), format!("{:?}", answer.headers()));
        outputs.add(format!("{what}: body"), answer.bytes().await.unwrap_or_default());
    }
    for fault in [Fault::ResetAfter(2), Fault::Reset] {
        vllm.inject_once(fault);
        let answer =
            post("/v1/chat/completions", chat(json!({"stream": true})).to_string()).send().await.unwrap();
        outputs.add("fault", answer.bytes().await.unwrap_or_default());
    }
    for (index, seen) in vllm.requests().iter().enumerate() {
        let head = String::from_utf8_lossy(&seen.head).into_owned();
        let own = format!("authorization: Bearer {API_KEY}");
        assert!(head.to_ascii_lowercase().contains(&own.to_ascii_lowercase()), "{head}");
        // Its own key is the upstream's to know, in this one place.
        let lower = head.to_ascii_lowercase().replacen(&own.to_ascii_lowercase(), "", 1);
        outputs.add(format!("the head of request {index} at the upstream"), lower);
    }
}

/// Every admin call of the document, well and badly put, and the command line's answers.
async fn all_kinds_of_calls(gateway: &Process, key: &str, outputs: &mut Outputs) {
    let document =
        gateway.admin(Method::GET, "/api/openapi.json").send().await.unwrap().text().await.unwrap();
    let parsed: Value = serde_json::from_str(&document).unwrap();
    let mut calls = vec![];
    for (path, item) in parsed["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys().filter(|method| *method != "delete") {
            let method = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
            for id in ["0190c1d2-0000-7000-8000-000000000000", key, TOKEN] {
                calls.push((method.clone(), path.replace("{id}", id).replace("{name}", "main")));
            }
            calls.push((
                method,
                format!("{}?q={key}&t={TOKEN}", path.replace("{id}", "x").replace("{name}", "main")),
            ));
        }
    }
    for (method, path) in calls {
        let named = [key, TOKEN, API_KEY].iter().any(|secret| path.contains(secret));
        let answer = gateway.admin(method.clone(), &path).body(json!({key: TOKEN}).to_string());
        let answer = answer.send().await.unwrap();
        outputs.add(format!("{method} a path, named: {named}"), answer.text().await.unwrap());
    }
    outputs.add("openapi.json", document);
}

async fn broken_and_mended(gateway: &Process, outputs: &mut Outputs) {
    let file = gateway.path("gateway.toml");
    let sound = fs::read_to_string(&file).unwrap();
    // What somebody may paste where a reference belongs.
    for (from, to) in [
        ("file:secrets/vllm.key", API_KEY),
        ("env:TEST_ADMIN_TOKEN", TOKEN),
        ("file:secrets/vllm.key", "file:secrets/nothing.key"),
        ("endpoints = [{", "endpoints = {["),
    ] {
        fs::write(&file, sound.replace(from, to)).unwrap();
        let answer = gateway.admin(Method::POST, "/api/reload").send().await.unwrap();
        assert!(matches!(answer.status().as_u16(), 200 | 422), "{}", answer.status());
        outputs.add("reload", answer.text().await.unwrap());
    }
    fs::write(&file, sound).unwrap();
    let answer = gateway.admin(Method::POST, "/api/reload").send().await.unwrap();
    assert_eq!(answer.status(), 200);
    outputs.add("reload", answer.text().await.unwrap());
}

fn command_line(start: &Start<'_>, folder: &TempDir, outputs: &mut Outputs) {
    let sound = fs::read_to_string(folder.path().join("gateway.toml")).unwrap();
    let pasted = sound.replace("file:secrets/vllm.key", API_KEY).replace("env:TEST_ADMIN_TOKEN", TOKEN);
    let other = TempDir::new().unwrap();
    for (text, folder) in [(sound, folder), (pasted, &other)] {
        fs::write(folder.path().join("gateway.toml"), text).unwrap();
        for args in [
            &["check"][..],
            &["check", "--format", "json"],
            &["plugins"],
            &["plugins", "auth"],
            &["schema"],
            &["--version"],
        ] {
            let output = start.command(folder).args(args).env("RUST_LOG", "trace").output().unwrap();
            outputs.add(format!("{args:?}: stdout"), output.stdout);
            outputs.add(format!("{args:?}: stderr"), output.stderr);
        }
    }
}

#[tokio::test]
async fn no_secret_is_in_any_output_of_a_run_that_says_all_it_can() {
    let vllm = Simulator::start(fast()).await.unwrap();
    let config = PIPELINES.replace("{vllm}", &vllm.url());
    let start = Start { config: &config, server: "", environment: &[("RUST_LOG", "trace")], files: None };
    let gateway = start.start_in(folder(&start)).await;
    let key = gateway.app().await;
    let mut outputs = Outputs::default();
    all_kinds_of_requests(&gateway, &vllm, &key, &mut outputs).await;
    all_kinds_of_calls(&gateway, &key, &mut outputs).await;
    broken_and_mended(&gateway, &mut outputs).await;
    let begun = Instant::now();
    while gateway.metric("vllm_gateway_access_log_records_pending").await > 0.0 {
        assert!(begun.elapsed() < PATIENCE);
        sleep(Duration::from_millis(50)).await;
    }
    for path in ["/metrics", "/api/logs?pageSize=200", "/api/apps", "/api/pipelines", "/api/upstreams"] {
        outputs.add(path, gateway.admin(Method::GET, path).send().await.unwrap().text().await.unwrap());
    }
    command_line(&start, &gateway.folder, &mut outputs);
    // The files while the gateway runs, its log among them, with what SQLite has not put into place yet.
    outputs.add_files(gateway.folder.path());
    let names: Vec<_> = outputs.0.iter().map(|(name, _)| name.as_str()).collect();
    for file in ["gateway.db", "gateway.db-wal", "stderr.txt", ".cells1", "apps"] {
        assert!(names.iter().any(|name| name.contains(file)), "`{file}` was not searched: {names:?}");
    }
    assert!(gateway.said().contains("TRACE"), "the log is not as talkative as it can be");

    outputs.hold_nowhere("the admin token", TOKEN);
    outputs.hold_nowhere("the upstream's key", API_KEY);
    // Its first 16 characters may be shown; what comes after them may not, in any spelling.
    outputs.hold_nowhere("the app's key", &key[16..]);
    outputs.hold_nowhere("the app's key without its dashes", &key["sk-live-".len()..].replace('-', ""));
}

#[tokio::test]
async fn the_stores_password_and_the_tls_key_are_in_no_output_of_a_start_that_fails_and_of_one_that_waits() {
    let uri = format!("mongodb://operator:{PASSWORD}@127.0.0.1:9/?serverSelectionTimeoutMS=300");
    let config = format!(
        "tls = {{ cert = \"cert.pem\", key = \"secrets/key.pem\" }}\n[store]\nkind = \"mongodb\"\nuri = \"env:TEST_MONGO\"\n{}",
        PIPELINES.replace("{vllm}", "http://127.0.0.1:9")
    );
    let environment = [("RUST_LOG", "trace"), ("TEST_MONGO", uri.as_str())];
    let server = "tls = { cert = \"cert.pem\", key = \"secrets/key.pem\" }";
    let start = Start { config: &config, server, environment: &environment, files: None };
    let mut outputs = Outputs::default();
    let gateway = start.start_in(folder(&start)).await;
    // It serves, red, and goes on looking for its store.
    let begun = Instant::now();
    while gateway.said().matches("cannot").count() < 1 && begun.elapsed() < Duration::from_secs(4) {
        sleep(Duration::from_millis(100)).await;
    }
    let client = reqwest::Client::builder().no_proxy().tls_danger_accept_invalid_certs(true).build().unwrap();
    for (address, path, credential) in [
        (gateway.admin, "/api/apps", TOKEN),
        (gateway.admin, "/api/logs", TOKEN),
        (gateway.admin, "/metrics", TOKEN),
        (gateway.data, "/ready", "none"),
        (gateway.data, "/v1/models", PASSWORD),
    ] {
        let answer =
            client.get(format!("https://{address}{path}")).bearer_auth(credential).send().await.unwrap();
        outputs.add(path, answer.text().await.unwrap());
    }
    command_line(&start, &gateway.folder, &mut outputs);
    outputs.add_files(gateway.folder.path());
    assert!(gateway.said().len() > 1_000, "it said nothing");

    // An address that is none, and a key that is none, are told of without being shown.
    let garbage =
        [("RUST_LOG", "trace"), ("TEST_MONGO", "mongodb://operator:canary-mongodb-password-99ce3@:x/")];
    let broken = Start { environment: &garbage, ..start };
    let place = folder(&broken);
    let ended = broken.command(&place).arg("run").output().unwrap();
    assert!(!ended.status.success());
    outputs.add("a start with a broken address", ended.stderr);
    let place = folder(&broken);
    let key: PathBuf = place.path().join("secrets/key.pem");
    fs::write(&key, fs::read_to_string(&key).unwrap().replace("BEGIN", "BEGINN")).unwrap();
    let ended = start_of(&uri, &config, server).command(&place).arg("run").output().unwrap();
    assert!(!ended.status.success());
    outputs.add("a start with a broken key", ended.stderr);

    outputs.hold_nowhere("the store's password", PASSWORD);
    outputs.hold_nowhere("the admin token", TOKEN);
    for line in tls_lines() {
        outputs.hold_nowhere("the TLS key", &line);
    }
}

#[tokio::test]
async fn a_token_is_made_for_its_owner_only_and_a_missing_or_short_one_is_no_start() {
    let config = PIPELINES.replace("{vllm}", "http://127.0.0.1:9");
    let start = Start { config: &config, server: "", environment: &[], files: None };
    let from = |token: &str| {
        let place = folder(&start);
        let file = place.path().join("gateway.toml");
        let text = fs::read_to_string(&file).unwrap().replace("env:TEST_ADMIN_TOKEN", token);
        fs::write(&file, text).unwrap();
        place
    };
    let place = from("file:data/made.token");
    let path = place.path().join("data/made.token");
    let gateway = start.start_in(place).await;
    let made = fs::read_to_string(&path).unwrap();
    assert_eq!((made.trim().len(), path.metadata().unwrap().permissions().mode() & 0o777), (64, 0o600));
    let url = format!("http://{}/api/apps", gateway.admin);
    assert_eq!(gateway.client.get(&url).bearer_auth(made.trim()).send().await.unwrap().status(), 200);
    assert!(!gateway.said().contains(made.trim()), "it was said aloud");

    for (token, environment) in [
        ("env:TEST_NO_SUCH_TOKEN", None),
        ("env:TEST_SHORT_TOKEN", Some("")),
        ("env:TEST_SHORT_TOKEN", Some("short-word")),
        ("file:secrets/empty", None),
    ] {
        let place = from(token);
        fs::write(place.path().join("secrets/empty"), "\n").unwrap();
        let mut command = start.command(&place);
        if let Some(short) = environment {
            command.env("TEST_SHORT_TOKEN", short);
        }
        let ended = command.arg("run").output().unwrap();
        let said = String::from_utf8(ended.stderr).unwrap();
        assert!(matches!(ended.status.code(), Some(1 | 2)) && said.contains("token"), "{token}: {said}");
        assert!(!said.contains("short-word"), "{said}");
    }
}

fn start_of<'a>(uri: &'a str, config: &'a str, server: &'a str) -> Start<'a> {
    let environment = Box::leak(Box::new([("RUST_LOG", "trace"), ("TEST_MONGO", uri)]));
    Start { config, server, environment: &environment[..], files: None }
}
