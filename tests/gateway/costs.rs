//! Caps on what one request may cost: what reaches vLLM of a request that does not say how much it wants, and what
//! does not reach it at all.

use serde_json::{Value, json};

use crate::support::{MODEL, Setup, Stage, chat, json_of, request_id};

async fn capped(caps: &str) -> Stage {
    let rest = r#"
[pipelines.default]
routes = ["/*"]
filters = ["access-log", "auth", "cost-caps", "model-route"]
[filters.access-log]
[filters.auth]
[filters.cost-caps]
CAPS
[filters.model-route]
models = { "Qwen3-32B" = "main", "alias" = { upstream = "main", model = "Qwen3-32B" } }
[upstreams.main]
endpoints = [{ url = "{vllm}" }]
"#;
    Setup::rest(&rest.replace("CAPS", caps)).start().await
}

/// Sends this text, which is served, and gives back what reached vLLM.
async fn sent(stage: &Stage, path: &str, body: &str) -> String {
    let request = stage.client.post(stage.url(path)).bearer_auth(&stage.key);
    let answer =
        request.header("content-type", "application/json").body(body.to_owned()).send().await.unwrap();
    assert_eq!(answer.status(), 200, "{path} {body}");
    answer.bytes().await.unwrap();
    let seen = stage.vllm.requests();
    String::from_utf8(seen.last().unwrap().body.to_vec()).unwrap()
}

#[tokio::test]
async fn a_request_over_a_cap_is_refused_in_words_and_recorded_and_reaches_nobody() {
    let stage = capped("max_choices = 4\nmax_tokens = 64\nmax_prompts = 2").await;
    for (path, body, param) in [
        ("/v1/chat/completions", chat(json!({"max_tokens": 65})), "max_tokens"),
        ("/v1/chat/completions", chat(json!({"max_completion_tokens": "65.0"})), "max_completion_tokens"),
        ("/v1/chat/completions", chat(json!({"n": 5})), "n"),
        ("/v1/completions", json!({"model": MODEL, "prompt": ["a", "b"], "n": 3}), "prompt"),
        ("/v1/embeddings", json!({"model": MODEL, "input": ["a", "b", "c"]}), "input"),
        ("/rerank", json!({"model": MODEL, "query": "a", "documents": ["a", "b", "c"]}), "documents"),
    ] {
        let answer = stage.post(path, &body).send().await.unwrap();
        let (status, id) = (answer.status(), request_id(&answer));
        let error = json_of(answer).await["error"].clone();
        assert_eq!((status.as_u16(), &error["param"]), (400, &json!(param)), "{body}: {error}");
        assert_eq!(error["code"], "cost_cap_exceeded");
        assert!(error["message"].as_str().unwrap().contains("at most"), "{error}");
        assert_eq!(stage.record(&id).await["errorCode"], "cost_cap_exceeded");
    }
    let over = json!({"model": MODEL, "messages": [{"role": "user", "content": "a"}], "max_tokens": 65});
    let answer = stage.post("/v1/messages", &over).send().await.unwrap();
    assert_eq!(answer.status(), 400);
    assert_eq!(json_of(answer).await["error"]["type"], "invalid_request_error");
    assert_eq!(stage.vllm.requests().len(), 0);
}

#[tokio::test]
async fn a_request_that_names_no_number_of_tokens_is_sent_with_one() {
    let stage = capped("max_tokens = 64\ndefault_max_tokens = 32").await;
    let messages = r#""messages":[{"role":"user","content":"Say hello"}]"#;
    for (path, before, after) in [
        ("/v1/chat/completions", "}", ",\"max_tokens\":32}"),
        ("/v1/chat/completions", ",\"max_tokens\": null }", ",\"max_tokens\": 32 }"),
        (
            "/v1/chat/completions",
            ",\"max_completion_tokens\":null}",
            ",\"max_completion_tokens\":null,\"max_tokens\":32}",
        ),
        (
            "/v1/chat/completions",
            ",\"m\\u0061x_tokens\":5,\"max_tokens\":null}",
            ",\"m\\u0061x_tokens\":5,\"max_tokens\":32}",
        ),
        ("/v1/chat/completions", ",\"max_completion_tokens\":7}", ",\"max_completion_tokens\":7}"),
        ("/v1/chat/completions", ",\"max_tokens\":64.0}", ",\"max_tokens\":64.0}"),
        ("/invocations", "}", ",\"max_tokens\":32}"),
        ("/v1/messages", ",\"max_tokens\":7}", ",\"max_tokens\":7}"),
    ] {
        let (before, after) = (
            format!("{{\"model\":\"{MODEL}\",{messages}{before}"),
            format!("{{\"model\":\"{MODEL}\",{messages}{after}"),
        );
        assert_eq!(sent(&stage, path, &before).await, after, "{path}");
    }
    let head = format!("{{\"model\":\"{MODEL}\"");
    for (path, before, after) in [
        ("/v1/responses", ",\"input\":\"a\"}", ",\"input\":\"a\",\"max_output_tokens\":32}"),
        (
            "/v1/responses",
            ",\"input\":\"a\",\"max_output_tokens\":5}",
            ",\"input\":\"a\",\"max_output_tokens\":5}",
        ),
        // vLLM stops after 16 tokens there, unless it is told null.
        ("/v1/completions", ",\"prompt\":\"a\"}", ",\"prompt\":\"a\"}"),
        ("/v1/completions", ",\"prompt\":\"a\",\"max_tokens\":null}", ",\"prompt\":\"a\",\"max_tokens\":32}"),
        ("/v1/embeddings", ",\"input\":\"a\"}", ",\"input\":\"a\"}"),
    ] {
        assert_eq!(sent(&stage, path, &format!("{head}{before}")).await, format!("{head}{after}"), "{path}");
    }
}

#[tokio::test]
async fn a_stream_under_another_name_is_bounded_and_counted_all_the_same() {
    let stage = capped("max_tokens = 6").await;
    let body = json!({"model": "alias", "messages": [{"role": "user", "content": "Say hello"}], "stream": true, "ignore_eos": true, "n": 1});
    let answer = stage.post("/v1/chat/completions", &body).send().await.unwrap();
    let id = request_id(&answer);
    let text = answer.text().await.unwrap();
    assert!(text.ends_with("data: [DONE]\n\n") && !text.contains("usage"), "{text}");
    let seen: Value = serde_json::from_slice(&stage.vllm.requests()[0].body).unwrap();
    assert_eq!((&seen["model"], &seen["max_tokens"]), (&json!(MODEL), &json!(6)));
    assert_eq!(seen["stream_options"]["include_usage"], true);
    let record = stage.record(&id).await;
    assert_eq!(
        (&record["outcome"], &record["completionTokens"]),
        (&json!("finished"), &json!(6)),
        "{record}"
    );
    // A default below vLLM's own is told to it, too.
    let body = sent(&stage, "/v1/completions", r#"{"model":"Qwen3-32B","prompt":"a"}"#).await;
    assert_eq!(body, r#"{"model":"Qwen3-32B","prompt":"a","max_tokens":6}"#);
}
