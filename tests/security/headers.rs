//! Headers pass by lists of what may, in both directions: here is everything else that there is.

use std::collections::BTreeSet;

use reqwest::header::HeaderMap;
use serde_json::json;

use crate::support::{PIPELINE, Setup, chat, raw, stage, upstream_of};

const CANARY: &str = "canary-4711";

/// What a client may say to vLLM, and what the gateway says itself.
const TO_VLLM: [&str; 12] = [
    "accept",
    "accept-encoding",
    "anthropic-version",
    "content-length",
    "content-type",
    "host",
    "traceparent",
    "tracestate",
    "user-agent",
    "x-request-id",
    "x-session-id",
    "x-vllm-priority",
];

/// What vLLM may say to a client, and what the gateway says itself.
const TO_CLIENT: [&str; 9] = [
    "allow",
    "content-length",
    "content-type",
    "date",
    "endpoint-load-metrics",
    "metadata",
    "retry-after",
    "transfer-encoding",
    "x-request-id",
];

/// Names that mean something to somebody on the way, and some that mean nothing.
const ODD: &str = "accept accept-charset accept-language age alt-svc alt-used anthropic-beta cache-control \
    cdn-loop cf-connecting-ip client-ip content-disposition content-language content-location cookie cookie2 date \
    destination dnt early-data endpoint-load-metrics-format etag expires fastly-client-ip forwarded from \
    front-end-https if-match if-modified-since if-none-match if-range if-unmodified-since last-modified link location \
    max-forwards openai-organization openai-project origin pragma priority proxy-authenticate proxy-authorization \
    proxy-connection range referer sec-fetch-mode sec-fetch-site sec-websocket-key sec-websocket-protocol \
    server set-cookie strict-transport-security te true-client-ip trailer upgrade \
    upgrade-insecure-requests user-agent via warning www-authenticate x-api-key x-amzn-trace-id x-auth-token \
    x-b3-traceid x-client-ip x-cluster-client-ip x-correlation-id x-csrf-token x-custom x-data-parallel-rank \
    x-envoy-original-path x-forwarded x-forwarded-by x-forwarded-for x-forwarded-host x-forwarded-port \
    x-forwarded-proto x-forwarded-server x-frame-options x-hop x-host x-http-method x-http-method-override \
    x-original-host x-original-url x-powered-by x-real-ip x-remote-user x-rewrite-url x-stainless-lang x-user \
    x-vllm-other access-control-allow-origin access-control-request-method content-security-policy \
    proxy-status refresh x-accel-buffering x-accel-redirect x-sendfile keep-alive";

/// A line for each of these names.
fn lines(names: &[&str]) -> String {
    names.iter().fold(String::new(), |lines, name| lines + name + ": " + CANARY + "\r\n")
}

fn odd() -> impl Iterator<Item = &'static str> {
    ODD.split_whitespace()
}

fn foreign<'a>(headers: &'a HeaderMap, may: &[&str]) -> BTreeSet<&'a str> {
    headers.keys().map(reqwest::header::HeaderName::as_str).filter(|name| !may.contains(name)).collect()
}

#[tokio::test]
async fn nothing_but_the_list_reaches_vllm() {
    let stage = stage().await;
    let names: Vec<_> = odd().collect();
    // A head has 64 headers at most: so in several requests.
    for names in names.chunks(50) {
        let body = chat(json!({})).to_string();
        let odd = lines(names);
        let request = format!(
            "POST /v1/chat/completions?{CANARY}={CANARY} HTTP/1.1\r\nHost: {CANARY}.example\r\nAuthorization: Bearer {}\r\n\
             Connection: close, x-hop, {CANARY}\r\nTraceparent: 00-{}-{}-01\r\nX-Vllm-Priority: 3\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n{odd}\r\n{body}",
            stage.key,
            "1".repeat(32),
            "2".repeat(16),
            body.len()
        );
        let answer = stage.raw(request.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
    let seen = stage.vllm.requests();
    assert_eq!(seen.len(), names.len().div_ceil(50));
    for seen in seen {
        let head = String::from_utf8_lossy(&seen.head).into_owned();
        assert!(!head.contains(CANARY), "{head}");
        assert!(!head.contains(&stage.key), "{head}");
        assert_eq!(foreign(&seen.headers, &TO_VLLM), BTreeSet::new(), "{head}");
        assert_eq!(seen.path, "/v1/chat/completions");
        assert_eq!(seen.headers["host"], stage.vllm.addr.to_string());
        assert_eq!(seen.headers["accept-encoding"], "identity");
        assert_eq!(
            (&seen.headers["x-vllm-priority"], seen.headers.len()),
            (&"3".parse().unwrap(), 8),
            "{head}"
        );
    }
}

#[tokio::test]
async fn the_question_for_models_carries_nothing_of_the_client() {
    let stage = stage().await;
    let odd = lines(&odd().take(50).collect::<Vec<_>>());
    let answer = stage
        .raw(
            format!(
                "GET /v1/models?{CANARY} HTTP/1.1\r\nHost: {CANARY}\r\nAuthorization: Bearer {}\r\nConnection: close\r\n{odd}\r\n",
                stage.key
            )
            .as_bytes(),
        )
        .await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let seen = stage.vllm.requests().remove(0);
    let head = String::from_utf8_lossy(&seen.head).into_owned();
    assert!(!head.contains(CANARY) && !head.contains(&stage.key), "{head}");
    assert_eq!(foreign(&seen.headers, &TO_VLLM), BTreeSet::new(), "{head}");
}

#[tokio::test]
async fn nothing_but_the_list_reaches_the_client() {
    // The first four would change how the answer is framed, or are the gateway's own.
    let mut names: Vec<_> =
        odd().filter(|name| !["date", "trailer", "upgrade", "keep-alive"].contains(name)).collect();
    names.extend(["x-hop", "content-encoding-of-theirs", "authorization", "x-request-id-of-theirs"]);
    let framing = "connection: x-hop\r\nx-request-id: theirs\r\nretry-after: 3\r\n";
    let json = "content-type: application/json\r\ncontent-length: 2\r\n\r\n{}".to_owned();
    let events = format!(
        "content-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n\
         e\r\ndata: [DONE]\n\n\r\n0\r\n{CANARY}: {CANARY}\r\n\r\n"
    );
    // An answer has 100 headers at most: so in several.
    for names in names.chunks(60) {
        let odd = lines(names);
        for (status, body, streams) in [("200", &json, false), ("429", &json, false), ("200", &events, true)]
        {
            let upstream = upstream_of(format!("HTTP/1.1 {status} X\r\n{odd}{framing}{body}")).await;
            let config = PIPELINE.replace("{vllm}", &format!("http://{upstream}"));
            let stage = Setup::rest(&config).start().await;
            let request = stage.post("/v1/chat/completions", &chat(json!({"stream": streams})));
            let got = request.header("x-request-id", "mine").send().await.unwrap();
            assert_eq!(got.status().as_str(), status);
            assert_eq!(foreign(got.headers(), &TO_CLIENT), BTreeSet::new());
            let headers = got.headers();
            let (id, retry_after) = (&headers["x-request-id"], &headers["retry-after"]);
            assert_eq!((id, retry_after), (&"mine".parse().unwrap(), &"3".parse().unwrap()));
            let head = format!("{headers:?}");
            let text = got.text().await.unwrap();
            assert!(!head.contains(CANARY) && !text.contains(CANARY), "{head} {text}");
        }
    }
}

#[tokio::test]
async fn the_gateways_own_answers_say_nothing_of_what_it_is_made_of() {
    let stage = stage().await;
    let data = stage.raw(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
    let admin =
        raw(stage.gateway.admin_address(), b"GET /api/apps HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    for answer in [data, admin.await] {
        let lower = answer.to_ascii_lowercase();
        for word in ["server:", "salvo", "hyper", "x-powered-by", "set-cookie", "<html"] {
            assert!(!lower.contains(word), "{word}: {answer}");
        }
    }
}
