//! A request in, an answer out, a record with its tokens.

use serde_json::{Value, json};

use crate::support::{MODEL, Setup, chat, json_of, request_id, slow, stage};

#[tokio::test]
async fn an_answer_comes_back_and_its_record_has_vllms_tokens() {
    let stage = stage().await;
    let answer = stage.chat(json!({})).await;
    assert_eq!(answer.status(), 200);
    let id = request_id(&answer);
    let body = json_of(answer).await;
    assert_eq!(body["model"], MODEL);
    let record = stage.record(&id).await;
    assert_eq!(record["outcome"], "finished");
    assert_eq!(record["status"], 200);
    assert_eq!(record["tokenSource"], "usage");
    assert_eq!(record["promptTokens"], body["usage"]["prompt_tokens"]);
    assert_eq!(record["completionTokens"], body["usage"]["completion_tokens"]);
    assert_eq!(record["orgName"], "acme");
    assert_eq!(record["appId"], *stage.app_id);
    assert_eq!(record["upstream"], "main");
    assert_eq!(record["attempts"], 1);
    assert_eq!(record["keyPrefix"], stage.key[..16]);
}

#[tokio::test]
async fn a_stream_whose_client_did_not_ask_for_usage_shows_none_and_is_counted() {
    let stage = stage().await;
    let answer = stage.chat(json!({"stream": true})).await;
    let id = request_id(&answer);
    assert_eq!(answer.headers()["content-type"], "text/event-stream; charset=utf-8");
    let text = answer.text().await.unwrap();
    assert!(text.ends_with("data: [DONE]\n\n"), "{text}");
    assert!(!text.contains("\"usage\""), "{text}");
    assert_eq!(text.matches("system_fingerprint").count(), 1, "{text}");
    let record = stage.record(&id).await;
    assert_eq!((&record["outcome"], &record["tokenSource"]), (&json!("finished"), &json!("usage")));
    assert_eq!(record["completionTokens"], 8);
    assert_eq!(record["stream"], true);
    assert!(record["ttftMs"].is_u64());
    let sent: Value = serde_json::from_slice(&stage.vllm.requests()[0].body).unwrap();
    assert_eq!(sent["stream_options"], json!({"include_usage": true, "continuous_usage_stats": true}));
}

#[tokio::test]
async fn a_stream_whose_client_asked_for_usage_ends_with_it() {
    let stage = stage().await;
    let text = stage
        .chat(json!({"stream": true, "stream_options": {"include_usage": true}}))
        .await
        .text()
        .await
        .unwrap();
    assert_eq!(text.matches("\"usage\"").count(), 1, "{text}");
    assert!(text.contains("\"choices\":[],\"usage\""), "{text}");
}

#[tokio::test]
async fn events_arrive_one_by_one_and_not_all_at_the_end() {
    let stage = Setup::vllm(slow()).start().await;
    let mut answer = stage.chat(json!({"stream": true, "max_tokens": 20})).await;
    let mut chunks = 0;
    let mut first = None;
    while answer.chunk().await.unwrap().is_some() {
        chunks += 1;
        first.get_or_insert_with(std::time::Instant::now);
    }
    assert!(chunks >= 20, "{chunks} chunks");
    assert!(first.unwrap().elapsed().as_millis() >= 200, "everything came at once");
}

#[tokio::test]
async fn the_body_goes_to_vllm_byte_for_byte() {
    let stage = stage().await;
    let body = r#"{ "x_unknown" : 1.50e+1, "model":"Qwen3-32B" ,"messages":[{"role":"user","content":"\u00e4 ü"}],"max_tokens":2}"#;
    let request = stage.client.post(stage.url("/v1/chat/completions")).bearer_auth(&stage.key);
    let answer = request.header("content-type", "application/json").body(body).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let seen = &stage.vllm.requests()[0];
    assert_eq!(seen.body, body.as_bytes());
}

#[tokio::test]
async fn neither_the_clients_key_nor_a_header_that_is_not_listed_reaches_vllm() {
    let stage = stage().await;
    let request = stage.post("/v1/chat/completions", &chat(json!({})));
    request
        .header("cookie", "a=b")
        .header("x-forwarded-for", "1.2.3.4")
        .header("x-request-id", "mine-1")
        .send()
        .await
        .unwrap();
    let seen = &stage.vllm.requests()[0];
    assert!(seen.headers.get("authorization").is_none());
    assert!(seen.headers.get("cookie").is_none());
    assert!(seen.headers.get("x-forwarded-for").is_none());
    assert_eq!(seen.headers["x-request-id"], "mine-1");
    assert_eq!(seen.headers["accept-encoding"], "identity");
}

#[tokio::test]
async fn an_alias_is_renamed_and_the_upstreams_key_is_sent() {
    let rest = r#"
[pipelines.default]
filters = ["access-log", "auth", "model-route"]
[filters.access-log]
[filters.auth]
[filters.model-route]
models = { "gpt-4o" = { upstream = "main", model = "Qwen3-32B" } }
default_model = "gpt-4o"
[upstreams.main]
endpoints = [{ url = "{vllm}" }]
api_key = "file:vllm.key"
"#;
    let key = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(key.path(), "sk-of-vllm\n").unwrap();
    let stage = Setup::rest(&rest.replace("vllm.key", &key.path().display().to_string())).start().await;
    let answer = stage.chat(json!({"model": "gpt-4o"})).await;
    assert_eq!(answer.status(), 200);
    let id = request_id(&answer);
    let seen = stage.vllm.requests();
    let sent: Value = serde_json::from_slice(&seen[0].body).unwrap();
    assert_eq!(sent["model"], "Qwen3-32B");
    assert_eq!(seen[0].headers["authorization"], "Bearer sk-of-vllm");
    let record = stage.record(&id).await;
    assert_eq!((&record["model"], &record["upstreamModel"]), (&json!("gpt-4o"), &json!("Qwen3-32B")));
    let unnamed = stage
        .post("/v1/chat/completions", &json!({"messages": [{"role": "user", "content": "hi"}]}))
        .send()
        .await
        .unwrap();
    assert_eq!(unnamed.status(), 200, "default_model serves a request without a model");
}

#[tokio::test]
async fn connection_refused_goes_to_the_next_endpoint() {
    let dead = {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        socket.local_addr().unwrap()
    };
    let rest = crate::support::PIPELINE.replace(
        "[{ url = \"{vllm}\" }]",
        &format!(
            "[{{ url = \"http://{dead}\" }}, {{ url = \"{{vllm}}\" }}]\nbalance = \"round-robin\"\nhealth = {{ interval = \"never\" }}"
        ),
    );
    let stage = Setup::rest(&rest).start().await;
    let mut attempts = Vec::new();
    for _ in 0..4 {
        let answer = stage.chat(json!({})).await;
        assert_eq!(answer.status(), 200);
        let record = stage.record(&request_id(&answer)).await;
        attempts.push(record["attempts"].as_u64().unwrap());
    }
    attempts.sort_unstable();
    assert_eq!(attempts, [1, 1, 2, 2]);
}
