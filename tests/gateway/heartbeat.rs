//! Comments in silent streams: where they stand, what they leave alone, and whom they find.

use std::time::Duration;

use serde_json::{Value, json};
use vllm_gateway_simulator::{Fault, Speed};

use crate::{
    by_hand::{ByHand, Leaving, request, timeless},
    support::{PATIENCE, Setup, Stage, at, chat, fast},
};

const CHAT: &str = "/v1/chat/completions";
const HEARTBEAT: &str = ": heartbeat\n\n";

fn beating(every: &str) -> Setup {
    Setup::server(&format!("heartbeat = \"{every}\""))
}

async fn whole(stage: &Stage, id: &str, body: &Value) -> String {
    let mut client = stage.asked(CHAT, id, body).await;
    client.head().await.unwrap();
    let (text, ended) = client.rest().await;
    ended.unwrap();
    text
}

#[tokio::test]
async fn a_stream_that_waits_carries_comments_and_its_record_knows_nothing_of_them() {
    let wait = Duration::from_millis(200);
    let vllm = at(Speed { ttft: wait, itl: Duration::ZERO, jitter: 0.0 });
    let stage = Setup { vllm, ..beating("10ms") }.start().await;
    let body = chat(json!({"stream": true}));
    let text = whole(&stage, "waited", &body).await;
    assert!(text.starts_with(&HEARTBEAT.repeat(3)) && text.ends_with("data: [DONE]\n\n"), "{text}");
    let answer = text.replace(HEARTBEAT, "");
    assert!(!answer.contains(':') || answer.starts_with("data: "), "{answer}");
    let record = stage.record("waited").await;
    assert_eq!(record["responseBytes"], answer.len());
    assert_eq!((&record["outcome"], &record["completionTokens"]), (&json!("finished"), &json!(8)));
    assert!(record["ttftMs"].as_f64().unwrap() >= 200.0, "a comment is no token: {record:#}");
}

#[tokio::test]
async fn a_comment_never_stands_within_an_event() {
    let stage = Setup { vllm: fast(), ..beating("3ms") }.start().await;
    let all = json!({"include_usage": true, "continuous_usage_stats": true});
    // What passes as it comes, piece by piece, and what is rebuilt.
    for options in [all, Value::Null] {
        let body = chat(json!({"stream": true, "max_tokens": 3, "stream_options": options}));
        let direct = timeless(&stage.asked_directly(CHAT, "same", &body).await);
        stage.vllm.inject_once(Fault::Drip(60, Duration::from_millis(15)));
        let text = whole(&stage, "same", &body).await;
        let events: Vec<_> = text.split_terminator("\n\n").collect();
        let comments = events.iter().filter(|event| **event == HEARTBEAT.trim_end()).count();
        assert!(comments > 2, "{text}");
        for event in events {
            let data = event.strip_prefix("data: ");
            let is_whole = |data: &str| data == "[DONE]" || serde_json::from_str::<Value>(data).is_ok();
            assert!(event == HEARTBEAT.trim_end() || data.is_some_and(is_whole), "{event:?} in {text}");
        }
        assert_eq!(timeless(&text.replace(HEARTBEAT, "")), direct);
    }
}

#[tokio::test]
async fn nothing_is_said_before_the_head_and_in_whole_answers() {
    let wait = Duration::from_millis(150);
    let vllm = at(Speed { ttft: wait, itl: Duration::ZERO, jitter: 0.0 });
    let stage = Setup { vllm, ..beating("5ms") }.start().await;
    let text = whole(&stage, "whole", &chat(json!({}))).await;
    assert!(serde_json::from_str::<Value>(&text).is_ok(), "{text}");
    // A refusal that comes late is still a status.
    stage.vllm.inject_once(Fault::Delay(wait));
    let mut client = stage.asked(CHAT, "late", &chat(json!({"stream": true, "max_tokens": 0}))).await;
    assert_eq!(client.head().await.unwrap().status, 400);
    let (text, _) = client.rest().await;
    assert!(serde_json::from_str::<Value>(&text).is_ok(), "{text}");
}

/// While a byte of it lies unread, the server does not hear a client leave. Writing to it tells.
#[tokio::test]
async fn a_client_that_is_not_heard_leaving_is_found() {
    let stage = beating("50ms").start().await;
    for how in [Leaving::Closes, Leaving::Resets] {
        let id = format!("vanished-{how:?}");
        stage.vllm.set_speed(Speed { ttft: Duration::from_secs(600), ..Speed::default() });
        let mut client = ByHand::connect(stage.gateway.data_address()).await;
        let mut bytes = request(&stage.key, CHAT, &id, &chat(json!({"stream": true})));
        bytes.push(b'P');
        client.send(&bytes).await;
        client.head().await.unwrap();
        client.leave(how).await;
        assert!(stage.vllm.wait_for(PATIENCE, |vllm| vllm.active() == 0).await, "{how:?}: it was not found");
        stage.settled().await;
        assert_eq!(stage.record(&id).await["outcome"], "client_gone");
    }
}

#[tokio::test]
async fn comments_can_be_switched_on_while_serving() {
    let wait = Duration::from_millis(100);
    let setup = Setup::vllm(at(Speed { ttft: wait, itl: Duration::ZERO, jitter: 0.0 }));
    let stage = setup.start().await;
    let body = chat(json!({"stream": true}));
    assert!(!whole(&stage, "off", &body).await.contains(HEARTBEAT), "they are off by default");
    let text = std::fs::read_to_string(stage.config()).unwrap();
    std::fs::write(stage.config(), text.replacen("[server]\n", "[server]\nheartbeat = \"10ms\"\n", 1))
        .unwrap();
    let answer = stage.admin(reqwest::Method::POST, "/api/reload").send().await.unwrap();
    let answer = crate::support::json_of(answer).await;
    assert_eq!(answer["needsRestart"], json!([]), "{answer}");
    assert!(whole(&stage, "on", &body).await.contains(HEARTBEAT));
}
