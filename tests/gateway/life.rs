//! Reload, drain and readiness.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use reqwest::Method;
use serde_json::json;
use vllm_gateway_store::{LogQuery, LogStore};

use crate::support::{MODEL, PIPELINE, Setup, chat, json_of, request_id, slow, stage};

#[tokio::test]
async fn a_reload_swaps_the_pipeline_and_running_requests_keep_theirs() {
    let stage = Setup::vllm(slow()).start().await;
    let running = stage.chat(json!({"stream": true, "max_tokens": 30})).await;
    let text = std::fs::read_to_string(stage.config()).unwrap();
    std::fs::write(stage.config(), text.replace(&format!("\"{MODEL}\" = \"main\""), "\"other\" = \"main\""))
        .unwrap();
    let answer = stage.admin(Method::POST, "/api/reload").send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let done = json_of(answer).await;
    assert!(done["changed"].to_string().contains("model-route"), "{done}");
    assert_eq!(stage.chat(json!({})).await.status(), 404);
    assert!(running.text().await.unwrap().ends_with("data: [DONE]\n\n"));
}

#[tokio::test]
async fn a_broken_file_is_reported_where_it_is_broken_and_changes_nothing() {
    let stage = stage().await;
    let text = std::fs::read_to_string(stage.config()).unwrap();
    std::fs::write(stage.config(), text.replace("\"access-log\", \"auth\"", "\"access-log\", \"auht\""))
        .unwrap();
    let answer = stage.admin(Method::POST, "/api/reload").send().await.unwrap();
    assert_eq!(answer.status(), 422);
    let problems = json_of(answer).await.to_string();
    assert!(problems.contains("auht") && problems.contains("\"line\""), "{problems}");
    assert_eq!(stage.chat(json!({})).await.status(), 200);
}

#[tokio::test]
async fn a_saved_file_is_put_in_force_by_itself() {
    let stage = stage().await;
    let text = std::fs::read_to_string(stage.config()).unwrap();
    std::fs::write(stage.config(), text.replace(&format!("\"{MODEL}\" = \"main\""), "\"other\" = \"main\""))
        .unwrap();
    let begun = std::time::Instant::now();
    while stage.chat(json!({})).await.status() != 404 {
        assert!(begun.elapsed() < crate::support::PATIENCE);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn what_needs_a_restart_is_said() {
    let stage = stage().await;
    let text = std::fs::read_to_string(stage.config()).unwrap();
    std::fs::write(stage.config(), text.replacen("127.0.0.1:0", "127.0.0.1:9", 1)).unwrap();
    let done = json_of(stage.admin(Method::POST, "/api/reload").send().await.unwrap()).await;
    assert!(done["needsRestart"].to_string().contains("listen"), "{done}");
}

#[tokio::test]
async fn a_shutdown_lets_running_streams_end_and_keeps_every_record() {
    let stage = Setup::vllm(slow()).start().await;
    let running = stage.chat(json!({"stream": true, "max_tokens": 30})).await;
    let id = request_id(&running);
    let (text, ()) = tokio::join!(running.text(), stage.gateway.shutdown());
    assert!(text.unwrap().ends_with("data: [DONE]\n\n"));
    assert_eq!(outcomes(&stage.folder, id).await, ["finished"]);
}

#[tokio::test]
async fn what_outlasts_the_grace_ends_as_interrupted() {
    let mut setup = Setup::vllm(slow());
    setup.server = "shutdown_grace = \"300ms\"".into();
    let stage = setup.start().await;
    let running = stage.chat(json!({"stream": true, "max_tokens": 5000, "ignore_eos": true})).await;
    let id = request_id(&running);
    let (text, ()) = tokio::join!(running.text(), stage.gateway.shutdown());
    assert!(text.is_err() || !text.unwrap().contains("[DONE]"));
    assert_eq!(outcomes(&stage.folder, id).await, ["interrupted"]);
}

#[tokio::test]
async fn a_whole_answer_that_outlasts_the_grace_is_refused_in_words() {
    let mut setup = Setup::vllm(slow());
    setup.server = "shutdown_grace = \"300ms\"".into();
    let stage = setup.start().await;
    let asked = chat(json!({"max_tokens": 5000, "ignore_eos": true}));
    let asked = stage.post("/v1/chat/completions", &asked).header("x-request-id", "whole").send();
    let asked = tokio::spawn(asked);
    stage.running(1).await;
    stage.gateway.shutdown().await;
    let answer = asked.await.unwrap().unwrap();
    assert_eq!(answer.status(), 503);
    assert_eq!(json_of(answer).await["error"]["code"], "shutting_down");
    assert_eq!(outcomes(&stage.folder, "whole".into()).await, ["interrupted"]);
}

/// The outcomes of the records of this request, read from the store that the gateway has closed.
async fn outcomes(folder: &tempfile::TempDir, request_id: String) -> Vec<&'static str> {
    let store = vllm_gateway_store::open_sqlite(&folder.path().join("data/gateway.db")).await.unwrap();
    let query = LogQuery { request_id: Some(request_id), ..LogQuery::default() };
    let page = store.page(&query, 1, 10).await.unwrap();
    page.items.iter().map(|record| record.outcome.as_str()).collect()
}

#[tokio::test]
async fn health_and_readiness_are_open() {
    let stage = stage().await;
    for path in ["/health", "/ready"] {
        assert_eq!(stage.client.get(stage.url(path)).send().await.unwrap().status(), 200, "{path}");
    }
}

/// A gateway process that ends with its test.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Process {
    fn start(args: &[&str], file: &Path) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_vllm-gateway"));
        command.args(args).arg("-c").arg(file).env_remove("RUST_LOG");
        Self(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap())
    }

    /// What it said until it serves or ends.
    fn said(&mut self) -> String {
        let mut said = String::new();
        for line in BufReader::new(self.0.stderr.as_mut().unwrap()).lines() {
            said += &(line.unwrap() + "\n");
            if said.contains("serving") {
                break;
            }
        }
        said
    }
}

#[test]
fn a_second_gateway_on_one_database_does_not_start_until_the_first_is_gone() {
    let folder = tempfile::TempDir::new().unwrap();
    let file = folder.path().join("gateway.toml");
    let text = "[server]\nlisten = \"127.0.0.1:0\"\n[admin]\nlisten = \"127.0.0.1:0\"\n".to_owned();
    std::fs::write(&file, text + &PIPELINE.replace("{vllm}", "http://127.0.0.1:9")).unwrap();
    let mut first = Process::start(&["run"], &file);
    assert!(first.said().contains("serving"));
    let mut second = Process::start(&["run"], &file);
    let said = second.said();
    for word in ["gateway.db", "another gateway", &first.0.id().to_string(), "[store]", "mongodb"] {
        assert!(said.contains(word), "`{word}` is missing: {said}");
    }
    assert_eq!(second.0.wait().unwrap().code(), Some(1), "{said}");
    assert_eq!(Process::start(&["check"], &file).0.wait().unwrap().code(), Some(0), "`check` needs no lock");
    // It has no time to tidy up: the kernel gives the lock back.
    first.0.kill().unwrap();
    first.0.wait().unwrap();
    assert!(Process::start(&["run"], &file).said().contains("serving"));
}
