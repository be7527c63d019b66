//! The engine: queueing, pace, changes while it runs, and its ends.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::time::{Duration, Instant};

use support::{Client, PATIENCE, ask_json, chat, get};
use vllm_gateway_simulator::{End, Options, Simulator, Speed};

fn itl(milliseconds: u64) -> Speed {
    Speed { itl: Duration::from_millis(milliseconds), ..Speed::default() }
}

async fn start(options: Options) -> Simulator {
    Simulator::start(options).await.unwrap()
}

#[tokio::test]
async fn a_full_queue_is_refused_and_waiting_streams_carry_comments() {
    let simulator = start(Options {
        speed: itl(5),
        max_num_seqs: 1,
        max_num_queued_reqs: Some(4),
        sse_keep_alive_interval: Some(Duration::from_millis(30)),
        ..Options::default()
    })
    .await;
    let request = chat(r#","max_tokens":20000,"ignore_eos":true,"stream":true"#);
    let mut clients = Vec::new();
    for number in 1..=4 {
        let mut client = Client::connect(&simulator).await;
        client.post("/v1/chat/completions", &request).await;
        client.until("\r\n\r\n").await.unwrap();
        assert!(simulator.wait_for(PATIENCE, |simulator| simulator.active() == number).await);
        clients.push(client);
    }
    let fifth = ask_json(&simulator, "/v1/chat/completions", &request).await;
    assert_eq!(fifth.status, 503);
    assert_eq!(
        fifth.text(),
        r#"{"error":{"message":"The engine is currently busy and cannot accept new requests. Please try again later or on a different instance.","type":"Service Unavailable","param":null,"code":503}}"#
    );
    assert_eq!((simulator.running(), simulator.waiting()), (1, 3));
    clients[2].until("\r\n: keep-alive\n\n\r\n").await.unwrap();
    assert!(!String::from_utf8_lossy(&clients[2].bytes).contains("data:"));
    let metrics = get(&simulator, "/metrics").await.text();
    assert!(metrics.contains("vllm:num_requests_running{engine=\"0\",model_name=\"Qwen3-32B\"} 1.0\n"));
    assert!(metrics.contains("vllm:num_requests_waiting{engine=\"0\",model_name=\"Qwen3-32B\"} 3.0\n"));
    assert!(metrics.contains("reason=\"max_num_queued_reqs\"} 1.0\n"));
    // The first leaves: the second gets its seat, in the order of coming.
    drop(clients.remove(0));
    clients[0].until_events(2).await.unwrap();
    assert_eq!(simulator.running(), 1);
    simulator.shutdown().await;
}

#[tokio::test]
async fn more_seats_at_run_time_let_the_waiting_in() {
    let simulator = start(Options { speed: itl(2), max_num_seqs: 1, ..Options::default() }).await;
    let request = chat(r#","max_tokens":20000,"ignore_eos":true,"stream":true"#);
    let mut clients = Vec::new();
    for _ in 0..2 {
        let mut client = Client::connect(&simulator).await;
        client.post("/v1/chat/completions", &request).await;
        client.until("\r\n\r\n").await.unwrap();
        clients.push(client);
    }
    assert_eq!((simulator.running(), simulator.waiting()), (1, 1));
    simulator.set_max_num_seqs(2);
    clients[1].until_events(1).await.unwrap();
    assert_eq!((simulator.running(), simulator.waiting()), (2, 0));
    simulator.shutdown().await;
}

#[tokio::test]
async fn tokens_come_at_the_pace_that_is_set() {
    let speed = Speed { ttft: Duration::from_millis(80), ..itl(10) };
    let simulator = start(Options { speed, ..Options::default() }).await;
    for stream in ["true", "false"] {
        let began = Instant::now();
        let answer = ask_json(
            &simulator,
            "/v1/chat/completions",
            &chat(&format!(r#","max_tokens":20,"stream":{stream}"#)),
        )
        .await;
        let took = began.elapsed();
        assert_eq!(answer.status, 200);
        assert!(took >= Duration::from_millis(80 + 19 * 10), "{took:?}");
        assert!(took < Duration::from_secs(3), "{took:?}");
    }
    simulator.shutdown().await;
}

#[tokio::test]
async fn the_head_of_a_stream_leaves_before_the_first_token() {
    let speed = Speed { ttft: Duration::from_secs(60), ..Speed::default() };
    let simulator = start(Options { speed, ..Options::default() }).await;
    let mut client = Client::connect(&simulator).await;
    client.post("/v1/chat/completions", &chat(r#","stream":true,"max_tokens":3"#)).await;
    client.until("\r\n\r\n").await.unwrap();
    assert!(client.bytes.ends_with(b"\r\n\r\n"), "nothing but the head has come");
    // A change of pace counts for what runs.
    simulator.set_speed(Speed::default());
    assert!(client.answer().await.unwrap().text().ends_with("data: [DONE]\n\n"));
    simulator.shutdown().await;
}

#[tokio::test]
async fn an_abort_ends_streams_and_answers_with_their_usage() {
    let simulator = start(Options { speed: itl(2), ..Options::default() }).await;
    let mut stream = Client::connect(&simulator).await;
    let usage = r#","stream_options":{"include_usage":true}"#;
    stream
        .post(
            "/v1/chat/completions",
            &chat(&format!(r#","max_tokens":20000,"ignore_eos":true,"stream":true{usage}"#)),
        )
        .await;
    stream.until_events(4).await.unwrap();
    let mut whole = Client::connect(&simulator).await;
    whole.post("/v1/chat/completions", &chat(r#","max_tokens":20000,"ignore_eos":true"#)).await;
    assert!(simulator.wait_for(PATIENCE, |simulator| simulator.running() == 2).await);
    simulator.abort_all();
    let events = stream.answer().await.unwrap().events();
    let [.., last, usage, done] = &events[..] else { panic!("{events:?}") };
    assert!(
        last.contains(r#""delta":{},"logprobs":null,"finish_reason":"abort","stop_reason":null"#),
        "{last}"
    );
    assert_eq!(done, "[DONE]");
    let billed: serde_json::Value = serde_json::from_str(usage).unwrap();
    let answer = whole.answer().await.unwrap();
    assert_eq!((answer.status, answer.json()["choices"][0]["finish_reason"].as_str()), (200, Some("abort")));
    for generation in simulator.ledger() {
        assert_eq!(generation.ended.unwrap().0, End::Finished("abort"));
    }
    assert_eq!(billed["usage"]["completion_tokens"], simulator.ledger()[0].completion_tokens);
    simulator.shutdown().await;
}

#[tokio::test]
async fn a_killed_engine_is_told_as_recorded() {
    let simulator = start(Options { speed: itl(2), ..Options::default() }).await;
    let mut stream = Client::connect(&simulator).await;
    stream
        .post("/v1/chat/completions", &chat(r#","max_tokens":20000,"ignore_eos":true,"stream":true"#))
        .await;
    stream.until_events(4).await.unwrap();
    let mut whole = Client::connect(&simulator).await;
    whole.post("/v1/chat/completions", &chat(r#","max_tokens":20000,"ignore_eos":true"#)).await;
    assert!(simulator.wait_for(PATIENCE, |simulator| simulator.running() == 2).await);
    simulator.set_engine_dead(true);
    let text = stream.answer().await.unwrap().text();
    assert!(text.ends_with("data: {\"error\": {\"message\": \"EngineCore encountered an issue. See stack trace (above) for the root cause.\", \"type\": \"InternalServerError\", \"param\": null, \"code\": 500}}\n\ndata: [DONE]\n\n"));
    let answer = whole.answer().await.unwrap();
    let error = r#"{"error":{"message":"EngineCore encountered an issue. See stack trace (above) for the root cause.","type":"InternalServerError","param":null,"code":500}}"#;
    assert_eq!((answer.status, answer.text().as_str()), (500, error));
    assert_eq!(get(&simulator, "/health").await.status, 503);
    assert_eq!(ask_json(&simulator, "/v1/chat/completions", &chat(",\"stream\":true")).await.status, 500);
    simulator.set_engine_dead(false);
    assert_eq!(get(&simulator, "/health").await.status, 200);
    simulator.shutdown().await;
}

#[tokio::test]
async fn a_draining_server_finishes_what_runs_and_refuses_the_rest() {
    let simulator = start(Options { speed: itl(5), ..Options::default() }).await;
    let mut runs = Client::connect(&simulator).await;
    runs.post("/v1/chat/completions", &chat(r#","max_tokens":20,"stream":true"#)).await;
    runs.until_events(1).await.unwrap();
    simulator.set_draining(true);
    let refused = ask_json(&simulator, "/v1/chat/completions", &chat("")).await;
    assert_eq!((refused.status, get(&simulator, "/health").await.status), (500, 200));
    assert!(refused.text().contains("cannot schedule new futures after shutdown"));
    assert!(runs.answer().await.unwrap().text().contains(r#""finish_reason":"length""#));
    simulator.shutdown().await;
}

#[tokio::test]
async fn a_sleeping_engine_generates_nothing_until_it_wakes() {
    let simulator = start(Options { dev_mode: true, ..Options::default() }).await;
    assert_eq!(ask_json(&simulator, "/sleep?level=1", "").await.status, 200);
    assert_eq!(get(&simulator, "/is_sleeping").await.text(), r#"{"is_sleeping":true}"#);
    let mut client = Client::connect(&simulator).await;
    client.post("/v1/chat/completions", &chat(r#","max_tokens":4,"stream":true"#)).await;
    client.until("\r\n\r\n").await.unwrap();
    assert_eq!((simulator.generated_tokens(), get(&simulator, "/health").await.status), (0, 200));
    assert_eq!(ask_json(&simulator, "/wake_up", "").await.status, 200);
    assert!(client.answer().await.unwrap().text().ends_with("data: [DONE]\n\n"));
    simulator.shutdown().await;
}

#[tokio::test]
async fn terminating_aborts_and_then_nobody_listens() {
    let simulator = start(Options { speed: itl(2), ..Options::default() }).await;
    let mut client = Client::connect(&simulator).await;
    client
        .post("/v1/chat/completions", &chat(r#","max_tokens":20000,"ignore_eos":true,"stream":true"#))
        .await;
    client.until_events(2).await.unwrap();
    simulator.terminate().await;
    let text = String::from_utf8_lossy(&client.rest().await.unwrap()).into_owned();
    assert!(
        text.contains(r#""finish_reason":"abort""#) && text.ends_with("data: [DONE]\n\n\r\n0\r\n\r\n"),
        "{text}"
    );
    assert!(tokio::net::TcpStream::connect(simulator.addr).await.is_err());
}
