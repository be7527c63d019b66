//! Another model answers where the one that was asked for cannot.

use serde_json::json;
use vllm_gateway_simulator::{Options, Simulator};

use crate::support::{MODEL, Setup, Stage, fast};

/// The model that is asked for, on a server that nobody is at, and `backup`, which is `small` at its server.
async fn stage() -> (Stage, Simulator) {
    let backup = Simulator::start(Options { models: vec!["small".into()], ..fast() }).await.unwrap();
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let rest = format!(
        r#"
[pipelines.default]
filters = ["access-log", "auth", "model-route"]
[filters.access-log]
[filters.auth]
[filters.model-route.models]
"{MODEL}" = {{ upstream = "main", fallbacks = ["backup", "last"] }}
backup = {{ upstream = "backup", model = "small" }}
last = "backup"
[upstreams.main]
endpoints = [{{ url = "http://{nobody}" }}]
[upstreams.backup]
endpoints = [{{ url = "{}" }}]
"#,
        backup.url()
    );
    (Setup::rest(&rest).start().await, backup)
}

#[tokio::test]
async fn the_fallback_answers_and_the_record_says_which_it_was() {
    let (stage, backup) = stage().await;
    for stream in [false, true] {
        let answer = stage.chat(json!({"stream": stream})).await;
        assert_eq!(answer.status(), 200);
        let id = answer.headers()["x-request-id"].to_str().unwrap().to_owned();
        assert!(answer.text().await.unwrap().contains("\"model\":\"small\""));
        let record = stage.record(&id).await;
        assert_eq!((&record["model"], &record["upstreamModel"]), (&json!(MODEL), &json!("small")));
        assert_eq!((&record["upstream"], &record["endpoint"]), (&json!("backup"), &json!(backup.url())));
        assert_eq!((&record["attempts"], &record["outcome"]), (&json!(2), &json!("finished")));
    }
    let sent: serde_json::Value = serde_json::from_slice(&backup.requests()[0].body).unwrap();
    assert_eq!(sent["model"], "small");
}

#[tokio::test]
async fn an_app_gets_no_model_by_way_of_a_fallback_that_it_may_not_use() {
    let (stage, backup) = stage().await;
    let narrow = stage.create_app(json!({"orgName": "narrow", "allowedModels": [MODEL]})).await;
    let request = stage.client.post(stage.url("/v1/chat/completions"));
    let request =
        request.bearer_auth(narrow["apiKey"].as_str().unwrap()).json(&crate::support::chat(json!({})));
    let answer = request.send().await.unwrap();
    assert_eq!(answer.status(), 503);
    assert!(answer.text().await.unwrap().contains("no_healthy_endpoint"));
    assert!(backup.requests().is_empty());
}

#[tokio::test]
async fn a_model_whose_servers_are_busy_is_answered_by_its_fallback_at_once() {
    let busy = Options { max_num_queued_reqs: Some(0), ..fast() };
    let backup = Simulator::start(fast()).await.unwrap();
    let rest = crate::support::PIPELINE.replace(
        "models = { \"Qwen3-32B\" = \"main\" }",
        "models = { \"Qwen3-32B\" = { upstream = \"main\", fallbacks = [\"b\"] }, b = { upstream = \"b\", model = \"Qwen3-32B\" } }",
    ) + &format!("[upstreams.b]\nendpoints = [{{ url = \"{}\" }}]\n", backup.url());
    let stage = Setup { vllm: busy, rest, ..Setup::default() }.start().await;
    let begun = std::time::Instant::now();
    assert_eq!(stage.chat(json!({})).await.status(), 200);
    assert!(begun.elapsed() < std::time::Duration::from_secs(5), "{:?}", begun.elapsed());
    assert_eq!(backup.requests().len(), 1);
}
