//! Each fault does what it says, at the place it says.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::time::{Duration, Instant};

use support::{Answer, Broken, Client, PATIENCE, ask, ask_json, chat, get, post};
use tokio::time::timeout;
use vllm_gateway_simulator::{End, Fault, Junk, Options, Rule, Simulator};

const STREAM: &str = r#","max_tokens":10,"stream":true"#;
/// The first event, ten tokens, and `[DONE]`.
const EVENTS: usize = 12;

async fn start() -> Simulator {
    Simulator::start(Options::default()).await.unwrap()
}

async fn streamed(simulator: &Simulator, fault: Fault) -> Result<Answer, Broken> {
    simulator.inject_once(fault);
    ask(simulator, &post("/v1/chat/completions", &chat(STREAM))).await
}

fn events_in(bytes: &[u8]) -> usize {
    bytes.windows(8).filter(|window| *window == b"\r\ndata: ").count()
}

fn ended(simulator: &Simulator) -> End {
    simulator.ledger().pop().unwrap().ended.unwrap().0
}

#[tokio::test]
async fn without_a_fault_a_stream_is_whole() {
    let simulator = start().await;
    let answer = ask_json(&simulator, "/v1/chat/completions", &chat(STREAM)).await;
    assert_eq!((answer.events().len(), answer.chunks.len()), (EVENTS, EVENTS));
    assert_eq!(ended(&simulator), End::Finished("length"));
    simulator.shutdown().await;
}

#[tokio::test]
async fn a_reset_or_close_comes_instead_of_an_answer() {
    let simulator = start().await;
    assert_eq!(streamed(&simulator, Fault::Reset).await.unwrap_err(), Broken::Reset);
    assert_eq!(streamed(&simulator, Fault::Close).await.unwrap_err(), Broken::Closed(Vec::new()));
    let Err(Broken::Closed(bytes)) = streamed(&simulator, Fault::NotHttp).await else {
        panic!("it was HTTP")
    };
    assert!(!bytes.is_empty() && !bytes.starts_with(b"HTTP/"));
    assert!(simulator.ledger().is_empty());
    simulator.shutdown().await;
}

#[tokio::test]
async fn a_stream_can_be_reset_closed_or_cut_after_some_events() {
    let simulator = start().await;
    let mut client = Client::connect(&simulator).await;
    simulator.inject_once(Fault::ResetAfter(4));
    client.post("/v1/chat/completions", &chat(STREAM)).await;
    client.until_events(4).await.unwrap();
    assert_eq!(client.rest().await, Err(Broken::Reset));
    assert_eq!(events_in(&client.bytes), 4);
    assert_eq!(ended(&simulator), End::Fault("reset-after=4".to_owned()));

    let Err(Broken::Closed(bytes)) = streamed(&simulator, Fault::TruncateAfter(4)).await else {
        panic!("it was whole")
    };
    assert_eq!(events_in(&bytes), 4);
    assert!(bytes.ends_with(b"\n\n\r\n"));

    let Err(Broken::Closed(bytes)) = streamed(&simulator, Fault::CutInside(4)).await else {
        panic!("it was whole")
    };
    assert_eq!(events_in(&bytes), 5);
    assert!(!bytes.ends_with(b"\r\n"), "the fifth event has no end");
    simulator.shutdown().await;
}

#[tokio::test]
async fn a_stream_can_end_cleanly_without_done_and_the_connection_lives_on() {
    let simulator = start().await;
    simulator.inject_once(Fault::EndAfter(3));
    let mut client = Client::connect(&simulator).await;
    client.post("/v1/chat/completions", &chat(STREAM)).await;
    let answer = client.answer().await.unwrap();
    assert_eq!(answer.events().len(), 3);
    assert!(!answer.text().contains("[DONE]"));
    client.post("/v1/chat/completions", &chat(STREAM)).await;
    assert_eq!(client.answer().await.unwrap().events().len(), EVENTS);
    assert_eq!(simulator.connections().accepted, 1);
    simulator.shutdown().await;
}

#[tokio::test]
async fn a_hanging_stream_holds_its_generation_until_the_client_leaves() {
    let simulator = start().await;
    simulator.inject_once(Fault::HangAfter(3));
    let mut client = Client::connect(&simulator).await;
    client.post("/v1/chat/completions", &chat(STREAM)).await;
    client.until_events(3).await.unwrap();
    assert!(timeout(Duration::from_millis(100), client.more()).await.is_err(), "nothing more comes");
    assert_eq!(simulator.active(), 1);
    drop(client);
    assert!(simulator.wait_for(PATIENCE, |simulator| simulator.active() == 0).await);
    assert_eq!(ended(&simulator), End::Fault("hang-after=3".to_owned()));
    simulator.shutdown().await;
}

#[tokio::test]
async fn a_hang_before_the_head_ends_when_the_client_leaves() {
    let simulator = start().await;
    simulator.inject_once(Fault::Hang);
    let mut client = Client::connect(&simulator).await;
    client.post("/v1/chat/completions", &chat("")).await;
    assert!(timeout(Duration::from_millis(100), client.more()).await.is_err());
    drop(client);
    assert!(simulator.wait_for(PATIENCE, |simulator| simulator.connections().open == 0).await);
    simulator.shutdown().await;
}

#[tokio::test]
async fn an_error_event_or_an_abort_ends_a_stream_in_vllms_way() {
    let simulator = start().await;
    let text = streamed(&simulator, Fault::ErrorAfter(3)).await.unwrap().text();
    assert!(
        text.contains("data: {\"error\": {\"message\": \"EngineCore encountered")
            && text.ends_with("data: [DONE]\n\n")
    );
    let events = streamed(&simulator, Fault::AbortAfter(3)).await.unwrap().events();
    assert_eq!(events.len(), 5);
    assert!(events[3].contains(r#""finish_reason":"abort""#) && events[3].contains("system_fingerprint"));
    assert_eq!(ended(&simulator), End::Finished("abort"));

    simulator.inject_once(Fault::ErrorAfter(3));
    assert_eq!(ask_json(&simulator, "/v1/chat/completions", &chat("")).await.status, 500);
    simulator.inject_once(Fault::AbortAfter(3));
    let answer = ask_json(&simulator, "/v1/chat/completions", &chat("")).await.json();
    assert_eq!(answer["choices"][0]["finish_reason"], "abort");
    assert_eq!(answer["usage"]["completion_tokens"], 3);
    simulator.shutdown().await;
}

#[tokio::test]
async fn a_scripted_status_has_vllms_words() {
    let simulator = start().await;
    for (status, kind) in
        [(500, "InternalServerError"), (503, "Service Unavailable"), (429, "BadRequestError")]
    {
        simulator.inject_once(Fault::Status(status));
        let answer = ask_json(&simulator, "/v1/chat/completions", &chat(STREAM)).await;
        assert_eq!((answer.status, answer.json()["error"]["type"].as_str()), (status, Some(kind)));
    }
    assert!(simulator.ledger().is_empty());
    simulator.shutdown().await;
}

#[tokio::test]
async fn junk_comes_where_it_was_put_and_the_stream_goes_on() {
    let simulator = start().await;
    for (junk, sign) in [
        (Junk::NotSse, &b"<html>"[..]),
        (Junk::BadUtf8, b"\xff\xfe\xc3"),
        (Junk::BadJson, b"data: {\"choices\":[{\"index\":0,\n\n"),
        (Junk::Bom, b"\xef\xbb\xbf"),
        (Junk::HugeLine(300_000), &[b'x'; 10_000]),
    ] {
        let answer = streamed(&simulator, Fault::Junk(junk, 2)).await.unwrap();
        assert_eq!(answer.chunks.len(), EVENTS + 1, "{junk}");
        assert!(answer.chunks[2].windows(sign.len()).any(|window| window == sign), "{junk}");
        assert!(answer.text().ends_with("data: [DONE]\n\n"));
    }
    simulator.shutdown().await;
}

#[tokio::test]
async fn events_can_be_split_joined_and_dripped_without_a_change_of_bytes() {
    let simulator = start().await;
    let plain =
        ask_json(&simulator, "/v1/chat/completions", &chat(&format!("{STREAM},\"request_id\":\"same\"")))
            .await;
    let scrubbed = |answer: &Answer| {
        let created = answer.events()[0].split("\"created\":").nth(1).unwrap()[..10].to_owned();
        answer.text().replace(&created, "")
    };
    for fault in
        [Fault::Split(7), Fault::SplitWrites(5), Fault::Join(4), Fault::Drip(400, Duration::from_millis(1))]
    {
        simulator.inject_once(fault);
        let answer =
            ask_json(&simulator, "/v1/chat/completions", &chat(&format!("{STREAM},\"request_id\":\"same\"")))
                .await;
        assert_eq!(scrubbed(&answer), scrubbed(&plain), "{fault}");
        match fault {
            Fault::Split(_) => assert!(answer.chunks.iter().all(|chunk| chunk.len() <= 7)),
            Fault::Join(_) => assert_eq!(answer.chunks.len(), EVENTS.div_ceil(4)),
            _ => assert_eq!(answer.chunks.len(), EVENTS),
        }
    }
    simulator.shutdown().await;
}

#[tokio::test]
async fn a_delay_comes_before_the_answer() {
    let simulator = start().await;
    simulator.inject(Rule::once(Fault::Delay(Duration::from_millis(120))).on("/health"));
    let began = Instant::now();
    assert_eq!(get(&simulator, "/health").await.status, 200);
    assert!(began.elapsed() >= Duration::from_millis(120));
    simulator.shutdown().await;
}

#[tokio::test]
async fn a_kept_alive_connection_can_be_closed_without_notice() {
    let simulator = start().await;
    simulator.inject_once(Fault::CloseAfterAnswer);
    let mut client = Client::connect(&simulator).await;
    client.post("/v1/chat/completions", &chat("")).await;
    let answer = client.answer().await.unwrap();
    assert_eq!((answer.status, answer.header("connection")), (200, None));
    assert_eq!(client.rest().await, Ok(Vec::new()));
    simulator.shutdown().await;
}

#[tokio::test]
async fn a_wrong_length_promises_more_or_less_than_comes() {
    let simulator = start().await;
    simulator.inject_once(Fault::WrongLength(10));
    let more = ask(&simulator, &post("/v1/chat/completions", &chat(""))).await;
    assert!(matches!(more, Err(Broken::Closed(bytes)) if bytes.ends_with(b"}")));
    simulator.inject_once(Fault::WrongLength(-10));
    let mut client = Client::connect(&simulator).await;
    client.post("/v1/chat/completions", &chat("")).await;
    assert!(!client.answer().await.unwrap().text().ends_with('}'));
    assert_eq!(client.rest().await.unwrap().len(), 10);
    simulator.shutdown().await;
}

#[tokio::test]
async fn an_answer_that_is_no_stream_breaks_in_its_middle() {
    let simulator = start().await;
    simulator.inject_once(Fault::TruncateAfter(0));
    let broken = ask(&simulator, &post("/v1/chat/completions", &chat(""))).await;
    assert!(
        matches!(broken, Err(Broken::Closed(bytes)) if bytes.windows(6).any(|window| window == b"{\"id\":"))
    );
    let generation = simulator.ledger().pop().unwrap();
    assert_eq!((generation.ended.unwrap().0, generation.sent_tokens), (End::Finished("stop"), 0));
    simulator.shutdown().await;
}

#[tokio::test]
async fn rules_count_skip_and_choose_by_path() {
    let simulator = start().await;
    simulator.inject(Rule::always(Fault::Status(503)).skip(1).times(2).on("/v1/chat/completions"));
    let mut statuses = Vec::new();
    for _ in 0..4 {
        statuses.push(ask_json(&simulator, "/v1/chat/completions", &chat("")).await.status);
        assert_eq!(ask_json(&simulator, "/tokenize", r#"{"prompt":"x"}"#).await.status, 200);
    }
    assert_eq!(statuses, [200, 503, 503, 200]);
    simulator.inject(Rule::always(Fault::Status(500)));
    assert_eq!(get(&simulator, "/health").await.status, 200, "without a path it is for POST only");
    assert_eq!(ask_json(&simulator, "/tokenize", r#"{"prompt":"x"}"#).await.status, 500);
    simulator.clear_faults();
    assert_eq!(ask_json(&simulator, "/tokenize", r#"{"prompt":"x"}"#).await.status, 200);
    simulator.shutdown().await;
}

#[tokio::test]
async fn the_header_scripts_a_request_only_where_it_was_allowed() {
    let request = |fault: &str| {
        let body = chat("");
        let head = format!(
            "POST /v1/chat/completions HTTP/1.1\r\nContent-Type: application/json\r\nx-simulate: {fault}\r\n"
        );
        format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
    };
    let closed = start().await;
    assert_eq!(ask(&closed, &request("status=503")).await.unwrap().status, 200);
    let open = Simulator::start(Options { faults_by_header: true, ..Options::default() }).await.unwrap();
    assert_eq!(ask(&open, &request("status=503; split=3")).await.unwrap().status, 503);
    let misspelled = ask(&open, &request("explode")).await.unwrap();
    assert_eq!(misspelled.status, 400);
    assert!(misspelled.text().contains("no fault has this name"));
    closed.shutdown().await;
    open.shutdown().await;
}
