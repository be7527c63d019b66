//! Connections: kept, pipelined, refused, old and odd ones, as the raw recordings (r01 to r17) show.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::time::{Duration, Instant};

use support::{Broken, Client, PATIENCE, ask, ask_json, chat, get, post};
use tokio::net::TcpStream;
use tokio::time::timeout;
use vllm_gateway_simulator::{Door, Options, Simulator};

async fn start() -> Simulator {
    Simulator::start(Options::default()).await.unwrap()
}

#[tokio::test]
async fn an_idle_connection_is_closed_after_its_time() {
    assert_eq!(Options::default().keep_alive, Duration::from_secs(5));
    let keep_alive = Duration::from_millis(150);
    let simulator = Simulator::start(Options { keep_alive, ..Options::default() }).await.unwrap();
    let mut client = Client::connect(&simulator).await;
    client.send(b"GET /version HTTP/1.1\r\n\r\n").await;
    client.answer().await.unwrap();
    let idle = Instant::now();
    assert_eq!(client.rest().await, Ok(Vec::new()));
    assert!(idle.elapsed() >= Duration::from_millis(140), "{:?}", idle.elapsed());
    simulator.shutdown().await;
}

#[tokio::test]
async fn errors_and_streams_keep_the_connection() {
    let simulator = start().await;
    let mut client = Client::connect(&simulator).await;
    client.post("/v1/chat/completions", &chat(r#","temperature":-1"#)).await;
    assert_eq!(client.answer().await.unwrap().status, 400);
    client.post("/v1/chat/completions", &chat(r#","stream":true"#)).await;
    assert_eq!(client.answer().await.unwrap().status, 200);
    client.post("/v1/nope", "{\"a\":1}").await;
    assert_eq!(client.answer().await.unwrap().status, 404);
    client.send(b"GET /version HTTP/1.1\r\n\r\n").await;
    assert_eq!(client.answer().await.unwrap().text(), r#"{"version":"0.32.0"}"#);
    assert_eq!(simulator.connections().accepted, 1);
    simulator.shutdown().await;
}

#[tokio::test]
async fn two_requests_at_once_are_answered_in_order() {
    let simulator = start().await;
    let mut client = Client::connect(&simulator).await;
    let mut both = b"GET /version HTTP/1.1\r\nHost: x\r\n\r\n".to_vec();
    both.extend(post("/v1/chat/completions", &chat("")));
    client.send(&both).await;
    assert_eq!(client.answer().await.unwrap().text(), r#"{"version":"0.32.0"}"#);
    assert!(client.answer().await.unwrap().text().contains("chat.completion"));
    simulator.shutdown().await;
}

#[tokio::test]
async fn a_request_may_come_byte_by_byte() {
    let simulator = start().await;
    let mut client = Client::connect(&simulator).await;
    for byte in post("/tokenize", r#"{"prompt":"hello"}"#) {
        client.send(&[byte]).await;
        tokio::task::yield_now().await;
    }
    assert_eq!(client.answer().await.unwrap().json()["count"], 1);
    simulator.shutdown().await;
}

#[tokio::test]
async fn http_1_0_gets_a_chunked_http_1_1_answer_and_a_close() {
    let simulator = start().await;
    let mut client = Client::connect(&simulator).await;
    let body = chat(r#","max_tokens":2,"stream":true"#);
    let head = format!(
        "POST /v1/chat/completions HTTP/1.0\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    client.send(&[head.as_bytes(), body.as_bytes()].concat()).await;
    let rest = String::from_utf8(client.rest().await.unwrap()).unwrap();
    assert!(rest.starts_with("HTTP/1.1 200 OK\r\n"));
    assert!(
        rest.contains("\r\nvary: Origin\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n"),
        "{rest}"
    );
    assert!(rest.ends_with("e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n"));
    simulator.shutdown().await;
}

#[tokio::test]
async fn what_is_not_http_is_refused_in_uvicorns_words() {
    let simulator = start().await;
    for garbage in [
        &b"hello\r\n\r\n"[..],
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ] {
        let mut client = Client::connect(&simulator).await;
        client.send(garbage).await;
        // What was sent after the refused part may turn the close into a reset.
        let _ = client.rest().await;
        let text = String::from_utf8(client.bytes).unwrap_or_default();
        if text.is_empty() {
            continue;
        }
        let (status, rest) = text.split_once("\r\ndate: ").unwrap();
        assert_eq!(status, "HTTP/1.1 400 Bad Request");
        assert!(rest.ends_with(
            "GMT\r\nserver: uvicorn\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: 30\r\nconnection: close\r\n\r\nInvalid HTTP request received."
        ), "{rest}");
    }
    simulator.shutdown().await;
}

#[tokio::test]
async fn large_and_many_headers_and_large_bodies_are_taken() {
    let simulator = start().await;
    let big = format!("GET /version HTTP/1.1\r\nX-Big: {}\r\n\r\n", "y".repeat(5_000_000));
    assert_eq!(ask(&simulator, big.as_bytes()).await.unwrap().status, 200);
    let many: String =
        (0..400).flat_map(|number| ["X-H".to_owned(), number.to_string(), ": v\r\n".to_owned()]).collect();
    assert_eq!(
        ask(&simulator, format!("GET /version HTTP/1.1\r\n{many}\r\n").as_bytes()).await.unwrap().status,
        200
    );
    let message = "x".repeat(6_000_000);
    let body = format!(r#"{{"messages":[{{"role":"user","content":"{message}"}}]}}"#);
    let answer = ask_json(&simulator, "/v1/chat/completions", &body).await;
    assert_eq!(answer.status, 400);
    assert!(answer.text().contains("your prompt contains 6000050 characters"), "{}", answer.text());
    simulator.shutdown().await;
}

#[tokio::test]
async fn continue_is_said_before_the_body_and_only_where_it_is_read() {
    let simulator = start().await;
    let body = chat("");
    let head = |path: &str| {
        format!(
            "POST {path} HTTP/1.1\r\nContent-Type: application/json\r\nExpect: 100-continue\r\nContent-Length: {}\r\n\r\n",
            body.len()
        )
    };
    let mut client = Client::connect(&simulator).await;
    client.send(head("/v1/chat/completions").as_bytes()).await;
    client.until("HTTP/1.1 100 Continue\r\n\r\n").await.unwrap();
    client.send(body.as_bytes()).await;
    assert_eq!(client.answer().await.unwrap().status, 200);
    let mut client = Client::connect(&simulator).await;
    client.send(head("/v1/nope").as_bytes()).await;
    let rest = client.rest().await.unwrap();
    assert!(rest.starts_with(b"HTTP/1.1 404 Not Found\r\n"));
    simulator.shutdown().await;
}

#[tokio::test]
async fn what_is_refused_by_its_head_does_not_wait_for_its_body() {
    let simulator =
        Simulator::start(Options { api_keys: vec!["k".to_owned()], ..Options::default() }).await.unwrap();
    let mut client = Client::connect(&simulator).await;
    client.send(b"POST /v1/chat/completions HTTP/1.1\r\nContent-Length: 7\r\n\r\n").await;
    assert_eq!(client.answer().await.unwrap().status, 401);
    // The body that comes after all is not the next request.
    client.send(b"GET / HGET /version HTTP/1.1\r\n\r\n").await;
    assert_eq!(client.answer().await.unwrap().text(), r#"{"version":"0.32.0"}"#);
    simulator.shutdown().await;
}

#[tokio::test]
async fn a_refused_port_comes_back_as_the_same_port() {
    let simulator = start().await;
    let mut kept = Client::connect(&simulator).await;
    kept.send(b"GET /version HTTP/1.1\r\n\r\n").await;
    kept.answer().await.unwrap();
    for _ in 0..3 {
        simulator.set_door(Door::Refuse).await;
        let refused = TcpStream::connect(simulator.addr).await.unwrap_err();
        assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
        // Open connections stay.
        kept.send(b"GET /version HTTP/1.1\r\n\r\n").await;
        assert_eq!(kept.answer().await.unwrap().status, 200);
        simulator.set_door(Door::Open).await;
        assert_eq!(get(&simulator, "/health").await.status, 200);
    }
    simulator.hang_up();
    assert_eq!(kept.rest().await, Ok(Vec::new()));
    simulator.shutdown().await;
}

#[tokio::test]
async fn a_stalled_door_accepts_and_says_nothing() {
    let simulator = start().await;
    simulator.set_door(Door::Stall).await;
    let mut client = Client::connect(&simulator).await;
    client.send(b"GET /version HTTP/1.1\r\n\r\n").await;
    assert!(timeout(Duration::from_millis(100), client.more()).await.is_err());
    simulator.set_door(Door::Reset).await;
    let mut reset = Client::connect(&simulator).await;
    assert_eq!(reset.more().await, Err(Broken::Reset));
    simulator.set_door(Door::Open).await;
    assert_eq!(get(&simulator, "/version").await.status, 200);
    simulator.shutdown().await;
}

#[tokio::test]
async fn a_fleet_of_eight_shares_nothing() {
    let mut fleet = Vec::new();
    for number in 0..8 {
        let models = vec![format!("model-{number}")];
        fleet.push(Simulator::start(Options { models, ..Options::default() }).await.unwrap());
    }
    for (number, simulator) in fleet.iter().enumerate() {
        let models = get(simulator, "/v1/models").await.json();
        assert_eq!(models["data"][0]["id"], format!("model-{number}"));
        assert_eq!((simulator.requests().len(), simulator.connections().accepted), (1, 1));
    }
    for simulator in &fleet {
        simulator.shutdown().await;
        assert!(TcpStream::connect(simulator.addr).await.is_err());
    }
}

#[tokio::test]
async fn what_came_can_be_looked_at() {
    let simulator = Simulator::start(Options { keep_requests: 2, ..Options::default() }).await.unwrap();
    get(&simulator, "/version").await;
    get(&simulator, "/health?deep=1").await;
    ask(&simulator, &post("/tokenize", r#"{"prompt":"hello"}"#)).await.unwrap();
    let seen = simulator.requests();
    assert_eq!(seen.len(), 2, "only the last are kept");
    assert_eq!((seen[0].method.as_str(), seen[0].path.as_str()), ("GET", "/health?deep=1"));
    assert_eq!(seen[1].body.as_ref(), br#"{"prompt":"hello"}"#);
    assert_eq!(seen[1].header("content-type"), Some("application/json"));
    assert!(seen[1].head.starts_with(b"POST /tokenize HTTP/1.1\r\nHost: sim\r\n"));
    assert!(seen[0].connection < seen[1].connection);
    simulator.forget();
    assert!(simulator.requests().is_empty());
    assert!(simulator.wait_for(PATIENCE, |simulator| simulator.connections().open == 0).await);
    simulator.shutdown().await;
}
