//! Streams that wait in the line, and are told their place.

use std::time::Duration;

use reqwest::Response;
use serde_json::{Value, json};
use vllm_gateway_simulator::{Fault, Rule};

use crate::{
    support::PATIENCE,
    yard::{Yard, yard},
};

/// One server that holds what it is sent, and runs one request at a time.
async fn busy(queue: &str) -> (Yard, tokio::task::JoinHandle<()>) {
    let yard = yard(1, &format!("max_concurrent = 1\nqueue = {{ tell_place = \"20ms\"{queue} }}")).await;
    yard.vllms[0].set_asleep(true);
    let request = yard.client.post(yard.url("/v1/chat/completions")).bearer_auth(&yard.key);
    let runs = request.json(&crate::support::chat(json!({})));
    let runs = tokio::spawn(async move {
        runs.send().await.unwrap();
    });
    assert!(yard.vllms[0].wait_for(PATIENCE, |vllm| vllm.active() == 1).await);
    (yard, runs)
}

/// Reads until this was said.
async fn until_said(answer: &mut Response, words: &str) -> String {
    let mut said = String::new();
    while !said.contains(words) {
        let chunk = tokio::time::timeout(PATIENCE, answer.chunk()).await.unwrap().unwrap();
        said.push_str(std::str::from_utf8(&chunk.expect(&said)).unwrap());
    }
    said
}

fn without_comments(text: &str) -> String {
    text.split_inclusive("\n\n").filter(|event| !event.starts_with(':')).collect()
}

#[tokio::test]
async fn a_stream_hears_how_many_are_before_it_and_then_its_answer_as_it_is() {
    let (yard, runs) = busy("").await;
    let mut first = yard.chat(json!({"stream": true})).await;
    assert_eq!(first.status(), 200);
    assert_eq!(first.headers()["content-type"], "text/event-stream; charset=utf-8");
    until_said(&mut first, ": waiting, 0 before this one\n\n").await;
    let mut second = yard.chat(json!({"stream": true})).await;
    until_said(&mut second, ": waiting, 1 before this one\n\n").await;
    yard.vllms[0].set_asleep(false);
    runs.await.unwrap();
    for answer in [first, second] {
        let id = answer.headers()["x-request-id"].to_str().unwrap().to_owned();
        let text = without_comments(&answer.text().await.unwrap());
        assert!(text.starts_with("data: {") && text.ends_with("data: [DONE]\n\n"), "{text}");
        assert!(!text.contains("usage"), "what nobody asked for stays hidden: {text}");
        let record = yard.record(&id).await;
        assert_eq!((&record["status"], &record["outcome"]), (&json!(200), &json!("finished")));
        assert!(record["completionTokens"].as_u64().unwrap() > 0);
        assert!(record["responseBytes"].as_u64().unwrap() > text.len() as u64, "comments were sent, too");
    }
}

#[tokio::test]
async fn what_fails_behind_the_comments_is_an_event_and_the_record_says_why() {
    let (yard, _runs) = busy(", timeout = \"100ms\"").await;
    let answer = yard.chat(json!({"stream": true})).await;
    assert_eq!(answer.status(), 200);
    let id = answer.headers()["x-request-id"].to_str().unwrap().to_owned();
    let text = without_comments(&answer.text().await.unwrap());
    let event: Value = serde_json::from_str(text.strip_prefix("data: ").unwrap().trim_end()).unwrap();
    assert_eq!(event["error"]["code"], "overloaded");
    let record = yard.record(&id).await;
    assert_eq!(
        (&record["status"], &record["outcome"], &record["errorCode"]),
        (&json!(200), &json!("replied"), &json!("overloaded"))
    );
    yard.vllms[0].set_asleep(false);
}

#[tokio::test]
async fn an_error_of_the_server_is_told_in_its_own_words() {
    let (yard, runs) = busy("").await;
    yard.vllms[0].inject(Rule::always(Fault::Status(400)));
    let mut answer = yard.chat(json!({"stream": true})).await;
    until_said(&mut answer, "waiting").await;
    let id = answer.headers()["x-request-id"].to_str().unwrap().to_owned();
    yard.vllms[0].set_asleep(false);
    runs.await.unwrap();
    let text = without_comments(&answer.text().await.unwrap());
    let event: Value = serde_json::from_str(text.strip_prefix("data: ").unwrap().trim_end()).unwrap();
    assert_eq!(event["error"]["code"], 400);
    let record = yard.record(&id).await;
    assert_eq!(
        (&record["status"], &record["outcome"], &record["errorCode"]),
        (&json!(200), &json!("upstream_error"), &json!("upstream_refused"))
    );
}

#[tokio::test]
async fn who_waits_for_no_stream_hears_nothing_and_gets_a_status() {
    let (yard, _runs) = busy(", timeout = \"60ms\"").await;
    let answer = yard.chat(json!({})).await;
    assert_eq!(answer.status(), 503);
    assert!(answer.text().await.unwrap().starts_with('{'));
    yard.vllms[0].set_asleep(false);
}

#[tokio::test]
async fn a_client_that_leaves_while_it_is_told_gives_up_its_place() {
    let (yard, runs) = busy("").await;
    let mut answer = yard.chat(json!({"stream": true})).await;
    until_said(&mut answer, "waiting").await;
    let id = answer.headers()["x-request-id"].to_str().unwrap().to_owned();
    drop(answer);
    yard.waiting(0).await;
    assert_eq!(yard.record(&id).await["outcome"], "client_gone");
    yard.vllms[0].set_asleep(false);
    runs.await.unwrap();
    tokio::time::timeout(Duration::from_secs(10), yard.served(1)).await.unwrap();
}
