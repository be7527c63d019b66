//! Tokens are counted from every kind of answer, and the client sees what vLLM alone would have sent.

use serde_json::{Value, json};

use crate::support::{MODEL, PIPELINE, Setup, Stage, chat, request_id, stage, upstream_of};

/// Sends it, reads the answer to its end, and gives its body and its record.
async fn exchange(stage: &Stage, path: &str, body: &Value) -> (String, Value) {
    let answer = stage.post(path, body).send().await.unwrap();
    let id = request_id(&answer);
    assert_eq!(answer.status(), 200, "{path}");
    let text = answer.text().await.unwrap();
    (text, stage.record(&id).await)
}

fn assert_counted(record: &Value, completion: Option<u64>) {
    assert_eq!(record["outcome"], "finished", "{record:#}");
    assert_eq!(record["tokenSource"], "usage", "{record:#}");
    assert!(record["promptTokens"].as_u64().unwrap() > 0, "{record:#}");
    if let Some(completion) = completion {
        assert_eq!(record["completionTokens"], completion, "{record:#}");
    }
}

#[tokio::test]
async fn answers_in_one_piece_are_counted() {
    let stage = stage().await;
    let hello = json!([{"role": "user", "content": "hi"}]);
    let cases = [
        (
            "/v1/completions",
            json!({"model": MODEL, "prompt": ["a", "b"], "max_tokens": 3, "ignore_eos": true}),
            Some(6),
        ),
        ("/v1/chat/completions", chat(json!({"n": 2})), Some(16)),
        ("/v1/responses", json!({"model": MODEL, "input": "hi", "max_output_tokens": 4}), Some(4)),
        ("/v1/messages", json!({"model": MODEL, "max_tokens": 4, "messages": hello}), Some(4)),
        ("/v1/embeddings", json!({"model": MODEL, "input": ["one", "two"]}), Some(0)),
        ("/v1/embeddings", json!({"model": MODEL, "input": "one", "encoding_format": "bytes"}), None),
        ("/v1/score", json!({"model": MODEL, "text_1": "a", "text_2": ["b", "c"]}), None),
        ("/v1/rerank", json!({"model": MODEL, "query": "a", "documents": ["b", "c"]}), None),
    ];
    for (path, body, completion) in cases {
        let (_, record) = exchange(&stage, path, &body).await;
        assert_eq!(record["path"], path);
        assert_counted(&record, completion);
    }
}

#[tokio::test]
async fn streams_are_counted_and_show_no_usage_that_was_not_asked_for() {
    let stage = stage().await;
    let cases = [
        (
            "/v1/completions",
            json!({"model": MODEL, "prompt": ["a", "b"], "max_tokens": 3, "ignore_eos": true, "stream": true}),
            6,
        ),
        ("/v1/chat/completions", chat(json!({"n": 2, "stream": true})), 16),
    ];
    for (path, body, completion) in cases {
        let (text, record) = exchange(&stage, path, &body).await;
        assert!(!text.contains("\"usage\"") && text.ends_with("data: [DONE]\n\n"), "{text}");
        assert_eq!(text.matches("system_fingerprint").count(), 2, "each choice's last event has it: {text}");
        assert_counted(&record, Some(completion));
    }
    let hello = json!([{"role": "user", "content": "hi"}]);
    let (text, record) = exchange(
        &stage,
        "/v1/messages",
        &json!({"model": MODEL, "max_tokens": 4, "messages": hello, "stream": true}),
    )
    .await;
    assert!(text.contains("event: message_stop"), "{text}");
    assert_counted(&record, Some(4));
    let (text, record) = exchange(
        &stage,
        "/v1/responses",
        &json!({"model": MODEL, "input": "hi", "max_output_tokens": 4, "stream": true}),
    )
    .await;
    assert!(text.contains("event: response.completed"), "{text}");
    assert_counted(&record, Some(4));
}

#[tokio::test]
async fn a_transcription_is_routed_by_its_form_field_and_counted() {
    let stage = stage().await;
    let form = |stream: bool| {
        let mut text = String::new();
        let mut fields = vec![("model", MODEL), ("language", "en")];
        if stream {
            fields.push(("stream", "true"));
        }
        let mut wav = b"RIFF\x24\x00\x00\x00WAVEfmt \x10\x00\x00\x00\x01\x00\x01\x00\x80\x3e\x00\x00\x00\x7d\x00\x00\x02\x00\x10\x00data\x00\x00\x00\x00".to_vec();
        wav.extend(std::iter::repeat_n(0_u8, 3200));
        text.push_str("--edge\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\nContent-Type: audio/wav\r\n\r\n");
        let mut body = text.into_bytes();
        body.extend(wav);
        for (name, value) in fields {
            body.extend(
                format!("\r\n--edge\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}")
                    .bytes(),
            );
        }
        body.extend(b"\r\n--edge--\r\n");
        body
    };
    let send = |stream| {
        let request = stage.client.post(stage.url("/v1/audio/transcriptions")).bearer_auth(&stage.key);
        request.header("content-type", "multipart/form-data; boundary=edge").body(form(stream)).send()
    };
    let whole = send(false).await.unwrap();
    assert_eq!(whole.status(), 200, "{}", whole.text().await.unwrap());
    let streamed = send(true).await.unwrap();
    let id = request_id(&streamed);
    let text = streamed.text().await.unwrap();
    assert!(text.ends_with("data: [DONE]\n\n") && !text.contains("\"usage\""), "{text}");
    assert_counted(&stage.record(&id).await, None);
}

#[tokio::test]
async fn counting_tokens_counts_nothing() {
    let stage = stage().await;
    let body = json!({"model": MODEL, "messages": [{"role": "user", "content": "hi"}]});
    let (_, record) = exchange(&stage, "/v1/messages/count_tokens", &body).await;
    assert_eq!((&record["tokenSource"], &record["promptTokens"]), (&json!("none"), &Value::Null));
}

#[tokio::test]
async fn usage_is_counted_and_hidden_however_the_upstream_ends_its_lines() {
    let head = r#"data: {"id":"c","object":"chat.completion.chunk","choices":"#;
    let usage = r#""usage":{"prompt_tokens":3,"total_tokens":4,"completion_tokens":1}"#;
    let shown = [
        format!(r#"{head}[{{"index":0,"delta":{{"content":"a"}},"finish_reason":null}}]}}"#),
        format!(r#"{head}[{{"index":0,"delta":{{}},"finish_reason":"stop"}}]}}"#),
        "data: [DONE]".to_owned(),
    ];
    let running = |event: &str| event.replace("}]}", &format!("}}],{usage}}}"));
    let sent = [running(&shown[0]), running(&shown[1]), format!("{head}[],{usage}}}"), shown[2].clone()];
    for end in ["\n", "\r\n", "\r"] {
        let framed = |events: &[String]| {
            events.iter().map(|event| format!("{event}{end}{end}")).collect::<Vec<_>>().concat()
        };
        let stream = framed(&sent);
        let upstream = upstream_of(format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: {}\r\n\r\n{stream}",
            stream.len()
        ));
        let rest = PIPELINE.replace("{vllm}", &format!("http://{}", upstream.await));
        let stage = Setup::rest(&rest).start().await;
        let answer = stage.chat(json!({"stream": true})).await;
        let id = request_id(&answer);
        assert_eq!(answer.text().await.unwrap(), framed(&shown), "{end:?}");
        let record = stage.record(&id).await;
        let found = (&record["outcome"], &record["tokenSource"], &record["totalTokens"]);
        assert_eq!(found, (&json!("finished"), &json!("usage"), &json!(4)), "{end:?}");
    }
}
