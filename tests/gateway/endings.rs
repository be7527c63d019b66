//! However an exchange ends: one record, the right outcome, nothing left behind.

use std::time::Duration;

use serde_json::json;
use vllm_gateway_simulator::{Fault, Speed};

use crate::support::{PIPELINE, Setup, at, chat, request_id, slow, stage, upstream_of};

#[tokio::test]
async fn a_client_that_leaves_midway_is_charged_for_what_was_generated() {
    let stage = Setup::vllm(slow()).start().await;
    let mut answer = stage.chat(json!({"stream": true, "max_tokens": 500, "ignore_eos": true})).await;
    let id = request_id(&answer);
    for _ in 0..6 {
        answer.chunk().await.unwrap();
    }
    drop(answer);
    let record = stage.record(&id).await;
    assert_eq!((&record["outcome"], &record["tokenSource"]), (&json!("client_gone"), &json!("partial")));
    assert_eq!(record["status"], 200);
    let charged = record["completionTokens"].as_u64().unwrap();
    assert!((4..100).contains(&charged), "{charged} tokens");
    stage.settled().await;
}

#[tokio::test]
async fn a_client_that_leaves_before_the_head_has_a_record_with_499() {
    let stage = Setup::vllm(at(Speed { ttft: Duration::from_secs(30), ..Speed::default() })).start().await;
    let request = stage.post("/v1/chat/completions", &chat(json!({}))).header("x-request-id", "left-early");
    let _ = request.timeout(Duration::from_millis(300)).send().await;
    let record = stage.record("left-early").await;
    assert_eq!((&record["outcome"], &record["status"]), (&json!("client_gone"), &json!(499)));
    stage.settled().await;
}

#[tokio::test]
async fn an_upstream_that_resets_midway_is_told_as_an_error_and_never_as_a_clean_end() {
    let stage = Setup::vllm(slow()).start().await;
    stage.vllm.inject_once(Fault::ResetAfter(3));
    let mut answer = stage.chat(json!({"stream": true, "max_tokens": 50, "ignore_eos": true})).await;
    let id = request_id(&answer);
    let mut text = String::new();
    let broke = loop {
        match answer.chunk().await {
            Ok(Some(chunk)) => text.push_str(&String::from_utf8_lossy(&chunk)),
            Ok(None) => break false,
            Err(_) => break true,
        }
    };
    assert!(broke, "the stream ended cleanly: {text}");
    assert!(text.contains("\"code\":\"upstream_error\"") && !text.contains("[DONE]"), "{text}");
    let record = stage.record(&id).await;
    assert_eq!(
        (&record["outcome"], &record["errorCode"]),
        (&json!("upstream_broke"), &json!("upstream_error"))
    );
}

#[tokio::test]
async fn an_upstream_that_ends_early_without_done_has_broken() {
    let stage = Setup::vllm(slow()).start().await;
    stage.vllm.inject_once(Fault::EndAfter(3));
    let mut answer = stage.chat(json!({"stream": true, "max_tokens": 50, "ignore_eos": true})).await;
    let id = request_id(&answer);
    while let Ok(Some(_)) = answer.chunk().await {}
    assert_eq!(stage.record(&id).await["outcome"], "upstream_broke");
}

#[tokio::test]
async fn an_upstream_that_resets_before_its_head_gets_502() {
    let stage = stage().await;
    stage.vllm.inject_once(Fault::Reset);
    let answer = stage.chat(json!({})).await;
    assert_eq!(answer.status(), 502);
    let record = stage.record(&request_id(&answer)).await;
    assert_eq!(
        (&record["outcome"], &record["errorCode"]),
        (&json!("upstream_error"), &json!("upstream_error"))
    );
}

#[tokio::test]
async fn an_upstream_that_is_down_gets_503() {
    let stage = stage().await;
    stage.vllm.shutdown().await;
    let answer = stage.chat(json!({})).await;
    assert_eq!(answer.status(), 503);
    assert!(answer.headers().contains_key("retry-after"));
    let record = stage.record(&request_id(&answer)).await;
    assert_eq!(
        (&record["outcome"], &record["errorCode"]),
        (&json!("upstream_error"), &json!("no_healthy_endpoint"))
    );
}

#[tokio::test]
async fn an_upstream_that_never_answers_gets_504_and_one_that_falls_silent_ends_as_timeout() {
    let rest = crate::support::PIPELINE.replace(
        "[upstreams.main]",
        "[upstreams.main]\nfirst_byte_timeout = \"300ms\"\ngap_timeout = \"300ms\"",
    );
    let stage = Setup::rest(&rest).start().await;
    stage.vllm.inject_once(Fault::Hang);
    let answer = stage.chat(json!({})).await;
    assert_eq!(answer.status(), 504);
    assert_eq!(stage.record(&request_id(&answer)).await["outcome"], "timeout");
    stage.vllm.inject_once(Fault::HangAfter(2));
    let mut answer = stage.chat(json!({"stream": true})).await;
    let id = request_id(&answer);
    while let Ok(Some(_)) = answer.chunk().await {}
    let record = stage.record(&id).await;
    assert_eq!((&record["outcome"], &record["errorCode"]), (&json!("timeout"), &json!("upstream_timeout")));
    stage.settled().await;
}

#[tokio::test]
async fn vllms_own_errors_pass_as_they_are() {
    let stage = stage().await;
    let answer = stage.chat(json!({"max_tokens": 0})).await;
    assert_eq!(answer.status(), 400);
    let id = request_id(&answer);
    assert!(answer.text().await.unwrap().contains("BadRequestError"));
    let record = stage.record(&id).await;
    assert_eq!((&record["outcome"], &record["status"]), (&json!("finished"), &json!(400)));
}

#[tokio::test]
async fn an_event_that_was_cut_is_never_completed_by_the_gateway() {
    let stage = Setup::vllm(slow()).start().await;
    // The client asked for all of it, so the beginning of the cut event is out already.
    let all = json!({"include_usage": true, "continuous_usage_stats": true});
    stage.vllm.inject_once(Fault::CutInside(3));
    let mut answer = stage.chat(json!({"stream": true, "max_tokens": 50, "stream_options": all})).await;
    let id = request_id(&answer);
    let mut text = String::new();
    let broke = loop {
        match answer.chunk().await {
            Ok(Some(chunk)) => text.push_str(&String::from_utf8_lossy(&chunk)),
            Ok(None) => break false,
            Err(_) => break true,
        }
    };
    assert!(broke && !text.ends_with('\n'), "{text}");
    assert_eq!(stage.record(&id).await["outcome"], "upstream_broke");
}

#[tokio::test]
async fn an_upstreams_redirect_is_neither_followed_nor_passed() {
    let stage = stage().await;
    stage.vllm.inject_once(Fault::Status(302));
    let answer = stage.chat(json!({})).await;
    assert_eq!(answer.status(), 502);
    assert_eq!(stage.record(&request_id(&answer)).await["outcome"], "upstream_error");
}

#[tokio::test]
async fn an_upstreams_upgrade_or_compressed_answer_reaches_no_client() {
    let answers = [
        "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\nX-Inner: INNER\r\n\r\nINNER",
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Encoding: gzip\r\nX-Inner: INNER\r\n\
         Content-Length: 5\r\n\r\nINNER",
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Encoding: identity\r\nContent-Encoding: gzip\r\n\
         Transfer-Encoding: chunked\r\n\r\n5\r\nINNER\r\n0\r\n\r\n",
    ];
    for answer in answers {
        let upstream = upstream_of(answer).await;
        let stage = Setup::rest(&PIPELINE.replace("{vllm}", &format!("http://{upstream}"))).start().await;
        let body = chat(json!({"stream": true})).to_string();
        let request = format!(
            "POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {}\r\nX-Request-Id: passed\r\n\
             Connection: close, upgrade\r\nUpgrade: websocket\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            stage.key,
            body.len()
        );
        let got = stage.raw(request.as_bytes()).await;
        assert!(got.starts_with("HTTP/1.1 502 ") && got.contains("\"upstream_error\""), "{answer}: {got}");
        let lower = got.to_lowercase();
        for inner in ["inner", "upgrade", "gzip", "websocket", "event-stream"] {
            assert!(!lower.contains(inner), "`{inner}` of {answer}: {got}");
        }
        let record = stage.record("passed").await;
        let found = (&record["status"], &record["outcome"], &record["errorCode"]);
        assert_eq!(found, (&json!(502), &json!("upstream_error"), &json!("upstream_error")), "{answer}");
        stage.settled().await;
    }
}

#[tokio::test]
async fn an_answer_without_content_has_finished_and_declares_no_length() {
    for head in [
        "",
        "Content-Length: 0\r\n",
        "Content-Length: 5\r\n",
        "Transfer-Encoding: chunked\r\n",
        "Content-Type: text/event-stream\r\n",
    ] {
        let upstream = upstream_of(format!("HTTP/1.1 204 No Content\r\n{head}\r\n")).await;
        let stage = Setup::rest(&PIPELINE.replace("{vllm}", &format!("http://{upstream}"))).start().await;
        let answer = stage.chat(json!({"stream": head.contains("event-stream")})).await;
        assert_eq!(answer.status(), 204, "{head}");
        for name in ["content-length", "transfer-encoding"] {
            assert!(!answer.headers().contains_key(name), "{head}: {:?}", answer.headers());
        }
        let id = request_id(&answer);
        assert!(answer.bytes().await.unwrap().is_empty());
        let record = stage.record(&id).await;
        let found = (&record["outcome"], &record["status"]);
        assert_eq!(found, (&json!("finished"), &json!(204)), "{head}");
        stage.settled().await;
    }
}

#[tokio::test]
async fn a_length_beside_a_transfer_encoding_is_neither_believed_nor_passed() {
    let whole = r#"{"id":"c","choices":[],"usage":{"prompt_tokens":3,"completion_tokens":4}}"#;
    let (first, rest) = whole.split_at(20);
    let chunks = format!("{:x}\r\n{first}\r\n{:x}\r\n{rest}\r\n0\r\n\r\n", first.len(), rest.len());
    for length in [0, 5, 5000] {
        let upstream = upstream_of(format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\
             Transfer-Encoding: chunked\r\n\r\n{chunks}"
        ))
        .await;
        let stage = Setup::rest(&PIPELINE.replace("{vllm}", &format!("http://{upstream}"))).start().await;
        let answer = stage.chat(json!({})).await;
        assert!(!answer.headers().contains_key("content-length"), "{:?}", answer.headers());
        let id = request_id(&answer);
        assert_eq!(answer.text().await.unwrap(), whole, "{length}");
        let record = stage.record(&id).await;
        let found = (&record["outcome"], &record["tokenSource"], &record["totalTokens"]);
        assert_eq!(found, (&json!("finished"), &json!("usage"), &json!(7)), "{length}");
    }
}

#[tokio::test]
async fn an_upstream_that_ends_before_its_declared_length_has_broken() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let upstream = listener.local_addr().unwrap();
    tokio::spawn(async move {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        while let Ok((mut socket, _)) = listener.accept().await {
            let _ = socket.read(&mut [0; 16 * 1024]).await;
            let answer = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{}";
            let _ = socket.write_all(answer.as_bytes()).await;
        }
    });
    let stage = Setup::rest(&PIPELINE.replace("{vllm}", &format!("http://{upstream}"))).start().await;
    let answer = stage.chat(json!({})).await;
    assert_eq!(answer.headers()["content-length"], "9");
    let id = request_id(&answer);
    assert!(answer.bytes().await.is_err());
    assert_eq!(stage.record(&id).await["outcome"], "upstream_broke");
}
