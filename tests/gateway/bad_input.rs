//! What bad input gets: a clear error in the right shape, a record, and no call of vLLM.

use serde_json::{Value, json};
use tokio::{io::AsyncWriteExt, net::TcpStream};

use crate::support::{MODEL, Setup, Stage, chat, json_of, raw, request_id, stage};

/// Status, code and param of the answer to this JSON text.
async fn refusal(stage: &Stage, body: impl Into<reqwest::Body>) -> (u16, Value, Value) {
    let request = stage.client.post(stage.url("/v1/chat/completions")).bearer_auth(&stage.key);
    let answer = request.header("content-type", "application/json").body(body).send().await.unwrap();
    let status = answer.status().as_u16();
    let error = json_of(answer).await["error"].clone();
    assert!(error["message"].is_string() && error["type"].is_string(), "{error}");
    (status, error["code"].clone(), error["param"].clone())
}

#[tokio::test]
async fn bodies_that_are_not_what_they_should_be_get_400_and_reach_nobody() {
    let stage = stage().await;
    let deep = format!("{{\"model\":\"{MODEL}\",\"x\":{}{}}}", "[".repeat(10_000), "]".repeat(10_000));
    // Python takes it for true, and would stream what nobody here counts.
    let endless = format!("{{\"model\":\"{MODEL}\",\"messages\":[],\"stream\":1.{}}}", "0".repeat(5_000));
    let cases: [(&str, String); 10] = [
        ("malformed", "{\"model\": \"Qwen3-32B\", \"messages\": [".into()),
        ("empty", String::new()),
        ("a list", "[]".into()),
        ("null", "null".into()),
        ("two models", format!("{{\"model\":\"{MODEL}\",\"messages\":[],\"mod\\u0065l\":\"{MODEL}\"}}")),
        ("deep", deep),
        ("endless", endless),
        ("no model", "{\"messages\":[]}".into()),
        ("null model", "{\"model\":null,\"messages\":[]}".into()),
        ("model not a string", "{\"model\":5,\"messages\":[]}".into()),
    ];
    for (what, body) in cases {
        let (status, _, param) = refusal(&stage, body).await;
        assert_eq!(status, 400, "{what}");
        if what.contains("model") && what != "two models" {
            assert_eq!(param, "model", "{what}");
        }
    }
    assert_eq!(refusal(&stage, vec![b'{', 0xff, b'}']).await.0, 400);
    assert_eq!(stage.vllm.requests().len(), 0);
    assert_eq!(stage.records("outcome=replied&status=400", 11).await.len(), 11);
}

#[tokio::test]
async fn an_unknown_model_gets_404_and_is_not_repeated() {
    let stage = stage().await;
    let answer = stage.chat(json!({"model": "<nope>"})).await;
    assert_eq!(answer.status(), 404);
    let text = answer.text().await.unwrap();
    assert!(!text.contains("nope"), "{text}");
    assert!(text.contains("model_not_found"));
}

#[tokio::test]
async fn a_body_over_the_limit_gets_413() {
    let stage = stage().await;
    let body = chat(json!({"x": "y".repeat(33 << 20)})).to_string();
    let request = stage
        .client
        .post(stage.url("/v1/chat/completions"))
        .bearer_auth(&stage.key)
        .header("content-type", "application/json");
    // The gateway may answer and close while the client still sends.
    if let Ok(answer) = request.body(body).send().await {
        assert_eq!(answer.status(), 413);
        assert_eq!(json_of(answer).await["error"]["code"], "request_too_large");
    }
    let record = stage.records("status=413", 1).await.remove(0);
    assert_eq!(record["errorCode"], "request_too_large");
}

#[tokio::test]
async fn compressed_bodies_and_other_content_types_get_415() {
    let stage = stage().await;
    for (name, value) in [("content-encoding", "gzip"), ("content-type", "text/plain")] {
        let request = stage.client.post(stage.url("/v1/chat/completions")).bearer_auth(&stage.key);
        let request =
            if name == "content-type" { request } else { request.header("content-type", "application/json") };
        let answer = request.header(name, value).body(chat(json!({})).to_string()).send().await.unwrap();
        assert_eq!(answer.status(), 415, "{name}");
    }
    let bare = stage
        .client
        .post(stage.url("/v1/chat/completions"))
        .bearer_auth(&stage.key)
        .body("{}")
        .send()
        .await
        .unwrap();
    assert_eq!(bare.status(), 415);
}

#[tokio::test]
async fn keys_that_are_none_get_401_and_two_get_400() {
    let stage = stage().await;
    let body = chat(json!({})).to_string();
    let unknown = "Bearer sk-live-00000000-0000-0000-0000-000000000000";
    for credential in [None, Some(""), Some("Bearer "), Some("Bearer  x"), Some("Basic abc"), Some(unknown)] {
        let mut request =
            stage.client.post(stage.url("/v1/chat/completions")).header("content-type", "application/json");
        if let Some(credential) = credential {
            request = request.header("authorization", credential);
        }
        let answer = request.body(body.clone()).send().await.unwrap();
        assert_eq!(answer.status(), 401, "{credential:?}");
        assert_eq!(answer.headers()["www-authenticate"], "Bearer");
        assert_eq!(json_of(answer).await["error"]["code"], "invalid_api_key");
    }
    let doubled = stage
        .post("/v1/chat/completions", &chat(json!({})))
        .header("authorization", format!("Bearer {}", stage.key));
    assert_eq!(doubled.send().await.unwrap().status(), 400);
    assert_eq!(stage.vllm.requests().len(), 0);
}

#[tokio::test]
async fn anthropics_route_takes_anthropics_key_header_and_answers_in_its_shape() {
    let stage = stage().await;
    let body =
        json!({"model": MODEL, "max_tokens": 4, "messages": [{"role": "user", "content": "hi"}]}).to_string();
    let send = |path: &str, key: &str| {
        let request = stage.client.post(stage.url(path)).header("x-api-key", key);
        request.header("content-type", "application/json").body(body.clone()).send()
    };
    assert_eq!(send("/v1/messages", &stage.key).await.unwrap().status(), 200);
    let refused = send("/v1/messages", "nobody").await.unwrap();
    assert_eq!(refused.status(), 401);
    let error = json_of(refused).await;
    assert_eq!((&error["type"], &error["error"]["type"]), (&json!("error"), &json!("authentication_error")));
    assert_eq!(send("/v1/chat/completions", &stage.key).await.unwrap().status(), 401, "only there");
}

#[tokio::test]
async fn paths_that_two_readers_could_read_differently_are_refused_before_any_pipeline() {
    let stage = stage().await;
    let address = stage.gateway.data_address();
    for path in ["//v1/models", "/v1/%6dodels", "/v1/../health", "/v1;x/models", "/v1\\models"] {
        let answer =
            raw(address, format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").as_bytes())
                .await;
        assert!(answer.starts_with("HTTP/1.1 400"), "{path}: {answer}");
    }
    let records = stage.records("status=400", 5).await;
    assert!(
        records.iter().all(|record| record["pipeline"].is_null() && record["outcome"] == "replied"),
        "{records:#?}"
    );
}

#[tokio::test]
async fn requests_that_are_badly_framed_are_refused() {
    let stage = stage().await;
    let cases = [
        ("GET /v1/models HTTP/1.1\r\nConnection: close\r\n\r\n", "400"),
        ("GET /v1/models HTTP/1.1\r\nHost: a\r\nHost: b\r\nConnection: close\r\n\r\n", "400"),
        ("TRACE /v1/models HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", "405"),
        ("DELETE /v1/models HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", "405"),
        ("GET /v1/chat/completions HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", "405"),
        ("GET /nope HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", "404"),
        ("GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", "404"),
        (
            "POST /v1/load_lora_adapter HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
            "404",
        ),
        ("POST /sleep HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", "404"),
    ];
    for (request, status) in cases {
        let answer = stage.raw(request.as_bytes()).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{request}: {answer}");
    }
    assert_eq!(stage.vllm.requests().len(), 0);
}

/// The beginning of a request with this id and this framing, and some of its body.
fn beginning(stage: &Stage, id: &str, framing: &str, body: &str) -> String {
    format!(
        "POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {}\r\nX-Request-Id: {id}\r\n\
         Content-Type: application/json\r\n{framing}\r\n\r\n{body}",
        stage.key
    )
}

#[tokio::test]
async fn a_client_that_vanishes_in_the_middle_of_its_body_has_left() {
    let stage = stage().await;
    let framings = [
        ("length", "Content-Length: 1000", "{\"model\":"),
        ("chunk", "Transfer-Encoding: chunked", "1f4\r\n{\"model\":"),
        ("between-chunks", "Transfer-Encoding: chunked", "9\r\n{\"model\":\r\n"),
        ("chunk-head", "Transfer-Encoding: chunked", "9\r\n{\"model\":\r\n1"),
    ];
    for (what, framing, body) in framings {
        for is_reset in [false, true] {
            let id = format!("vanished-{what}-{is_reset}");
            let mut socket = TcpStream::connect(stage.gateway.data_address()).await.unwrap();
            if is_reset {
                socket.set_zero_linger().unwrap();
            }
            socket.write_all(beginning(&stage, &id, framing, body).as_bytes()).await.unwrap();
            // The request has begun: what is torn down now is its body.
            stage.running(1).await;
            drop(socket);
            let record = stage.record(&id).await;
            let found = (&record["status"], &record["outcome"], &record["errorCode"]);
            assert_eq!(found, (&json!(499), &json!("client_gone"), &Value::Null), "{id}");
        }
    }
    stage.settled().await;
    assert_eq!(stage.vllm.requests().len(), 0);
}

#[tokio::test]
async fn bad_framing_is_400_and_a_body_that_stalls_408() {
    let stage = Setup::server("body_timeout = \"300ms\"").start().await;
    let chunked = "Transfer-Encoding: chunked";
    let cases = [
        ("bad-size", chunked, "zz\r\n{}\r\n", 400),
        ("bad-end", chunked, "2\r\n{}xx0\r\n\r\n", 400),
        ("stalled-chunks", chunked, "2\r\n{}\r\n", 408),
        ("stalled", "Content-Length: 1000", "{\"model\":", 408),
    ];
    for (id, framing, body, status) in cases {
        let answer = stage.raw(beginning(&stage, id, framing, body).as_bytes()).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{id}: {answer}");
        let record = stage.record(id).await;
        assert_eq!((&record["status"], &record["outcome"]), (&json!(status), &json!("replied")), "{id}");
    }
}

#[tokio::test]
async fn the_digits_of_a_key_are_masked_but_not_in_request_ids_and_routed_names() {
    let digits = "01234567-89ab-cdef-0011-223344556677";
    let named = crate::support::PIPELINE.replace(
        "\"Qwen3-32B\" = \"main\"",
        &format!("\"ft-{digits}\" = {{ upstream = \"main\", model = \"Qwen3-32B\" }}"),
    );
    let stage = Setup::rest(&named).start().await;
    let send = async |id: &str, model: &str| {
        let request = stage.post("/v1/chat/completions", &chat(json!({"model": model})));
        request.header("x-request-id", id).header("user-agent", format!("x/{digits}")).send().await.unwrap()
    };
    assert_eq!(send(digits, digits).await.status(), 404);
    let record = stage.record(digits).await;
    assert_eq!((&record["model"], &record["userAgent"]), (&json!("***"), &json!("x/***")));
    assert_eq!(send("routed", &format!("ft-{digits}")).await.status(), 200);
    assert_eq!(stage.record("routed").await["model"], format!("ft-{digits}"));
    let wanted = stage.client.get(stage.url(&format!("/v1/models/{digits}"))).bearer_auth(&stage.key);
    wanted.header("x-request-id", "in-the-path").send().await.unwrap();
    assert_eq!(stage.record("in-the-path").await["path"], "/v1/models/***");
}

#[tokio::test]
async fn what_looks_like_a_key_is_masked_in_the_record() {
    let stage = stage().await;
    let answer = stage.chat(json!({"model": format!("xx{}", stage.key)})).await;
    let record = stage.record(&request_id(&answer)).await;
    assert_eq!(record["model"], "xxsk-***");
}

#[tokio::test]
async fn heads_that_are_too_large_and_doubled_content_types_are_refused() {
    let stage = stage().await;
    let large = stage.post("/v1/chat/completions", &chat(json!({}))).header("x-large", "a".repeat(40_000));
    assert_eq!(large.send().await.unwrap().status(), 431);
    let doubled = stage.post("/v1/chat/completions", &chat(json!({}))).header("content-type", "text/plain");
    assert_eq!(doubled.send().await.unwrap().status(), 400);
}
