//! A client that leaves midway is charged for what was generated until then, exactly as vLLM told it, and has seen
//! nothing that it did not ask for.

use std::time::{Duration, Instant};

use futures_util::FutureExt;
use serde_json::{Value, json};
use vllm_gateway_simulator::{Fault, Generation, Options, Speed};

use crate::{
    by_hand::{ByHand, Leaving, timeless},
    support::{MODEL, Setup, Stage, at, chat, fast},
};

/// Frequent, because two of them in a row say that the gateway has read all that vLLM sent before it stopped.
const HEARTBEAT: &str = "heartbeat = \"8ms\"";

/// What a client may ask of usage, and what of it vLLM shows.
fn options() -> [Value; 6] {
    [
        Value::Null,
        json!({"include_usage": true}),
        json!({"include_usage": true, "continuous_usage_stats": true}),
        json!({"continuous_usage_stats": true}),
        json!({"include_usage": false}),
        json!({"include_usage": false, "continuous_usage_stats": true}),
    ]
}

/// A stream that a client leaves.
struct Case {
    path: &'static str,
    body: Value,
}

impl Case {
    fn chat(extra: Value) -> Self {
        let mut body = chat(json!({"stream": true, "ignore_eos": true, "max_tokens": 4}));
        extra.as_object().unwrap().iter().for_each(|(key, value)| body[key] = value.clone());
        Self { path: "/v1/chat/completions", body }
    }

    fn completions(prompt: Value, n: u64) -> Self {
        let body = json!({"model": MODEL, "prompt": prompt, "n": n, "max_tokens": 4, "ignore_eos": true,
            "seed": 1, "stream": true});
        Self { path: "/v1/completions", body }
    }

    fn with(&self, options: &Value) -> Value {
        let mut body = self.body.clone();
        if !options.is_null() {
            body["stream_options"] = options.clone();
        }
        body
    }
}

/// What became of one request.
struct Left {
    id: String,
    got: String,
    generation: Generation,
}

/// Lets vLLM stop after so many events, waits until the gateway has read them all, and leaves.
async fn leave_after(stage: &Stage, path: &str, id: &str, body: &Value, events: usize, how: Leaving) -> Left {
    stage.vllm.forget();
    stage.vllm.inject_once(Fault::HangAfter(events));
    let mut client = stage.asked(path, id, body).await;
    assert_eq!(client.head().await.unwrap().status, 200, "{id}");
    let stopped = |vllm: &vllm_gateway_simulator::Simulator| {
        vllm.ledger().first().is_some_and(|generation| generation.ended.is_some())
    };
    assert!(stage.vllm.wait_for(crate::support::PATIENCE, stopped).await, "{id}: vLLM did not stop");
    let mut got = String::new();
    let mut keep = |chunk: &[u8]| {
        let chunk = std::str::from_utf8(chunk).unwrap();
        let is_heartbeat = chunk == ": heartbeat\n\n";
        if !is_heartbeat {
            got.push_str(chunk);
        }
        is_heartbeat
    };
    // What has come already says nothing of what was read since.
    while let Some(chunk) = client.chunk().now_or_never() {
        keep(&chunk.unwrap().unwrap());
    }
    let mut silent = 0;
    while silent < 2 {
        silent = if keep(&client.chunk().await.unwrap().unwrap()) { silent + 1 } else { 0 };
    }
    assert_gone(stage, client, how).await;
    Left { id: id.to_owned(), got, generation: stage.vllm.ledger().remove(0) }
}

async fn assert_gone(stage: &Stage, client: ByHand, how: Leaving) {
    let left = Instant::now();
    let client = client.leave(how).await;
    stage.settled().await;
    assert!(left.elapsed() < Duration::from_secs(1), "{how:?}: gone after {:?}", left.elapsed());
    drop(client);
}

fn events(body: &str) -> usize {
    body.matches("\n\n").count()
}

/// How many tokens these events speak of.
fn tokens_in(body: &str) -> u64 {
    let tokens = ["\"content\":\"", "\"text\":\"", "\"delta\":\""].map(|key| body.matches(key).count());
    // The first event of a chat has an empty text, and so have the parts that the other routes begin with.
    let empty = ["\"content\":\"\"", "\"text\":\"\""].map(|key| body.matches(key).count());
    (tokens.iter().sum::<usize>() - empty.iter().sum::<usize>()) as u64
}

fn charged(record: &Value) -> u64 {
    record["completionTokens"].as_u64().unwrap_or(0)
}

/// Leaves this stream after every one of its events, with every wish for usage.
async fn assert_charged_at_every_event(vllm: Options, case: Case) {
    let stage = Setup { vllm, server: HEARTBEAT.into(), ..Setup::default() }.start().await;
    for (number, options) in options().iter().enumerate() {
        let body = case.with(options);
        let direct = timeless(&stage.asked_directly(case.path, "same", &body).await);
        let all = json!({"include_usage": true, "continuous_usage_stats": true});
        let sent = stage.asked_directly(case.path, "same", &case.with(&all)).await;
        let mut left = Vec::new();
        for stop in 0..events(&sent) {
            let id = format!("left-{number}-{stop}");
            let how = Leaving::ALL[stop % Leaving::ALL.len()];
            left.push((stop, leave_after(&stage, case.path, &id, &body, stop, how).await));
        }
        for (stop, Left { id, got, generation }) in left {
            let record = stage.record(&id).await;
            let seen = timeless(&got).replace(&id, "same");
            assert!(direct.starts_with(&seen), "{options} after {stop}: {seen} is no beginning of {direct}");
            if options == &all {
                assert_eq!(events(&got), stop, "{got}");
            }
            let told = generation.sent_tokens as u64;
            assert_eq!(charged(&record), told, "{options} after {stop} events: {record:#}");
            assert!(tokens_in(&got) <= told && told <= generation.completion_tokens as u64, "{id}: {got}");
            // The last event but `[DONE]` has vLLM's final word.
            let source = match stop {
                0 => "none",
                _ if stop + 1 == events(&sent) => "usage",
                _ => "partial",
            };
            assert_eq!(record["tokenSource"], source, "{options} after {stop} events");
            let prompt = (stop > 0).then_some(generation.prompt_tokens);
            if stop + 1 == events(&sent) {
                assert_eq!(record["promptTokens"], json!(prompt), "{record:#}");
            }
            assert_eq!((&record["outcome"], &record["status"]), (&json!("client_gone"), &json!(200)));
        }
        // Whoever stays to the end sees the whole of it, and nothing else.
        let mut client = stage.asked(case.path, "same", &body).await;
        client.head().await.unwrap();
        let (whole, ended) = client.rest().await;
        ended.unwrap();
        assert_eq!(timeless(&whole), direct, "{options}");
    }
}

#[tokio::test]
async fn leaving_a_chat_at_any_event_costs_what_vllm_last_told() {
    assert_charged_at_every_event(fast(), Case::chat(json!({}))).await;
}

#[tokio::test]
async fn leaving_a_chat_with_two_choices_costs_what_vllm_last_told_of_both() {
    assert_charged_at_every_event(fast(), Case::chat(json!({"n": 2}))).await;
}

#[tokio::test]
async fn leaving_completions_at_any_event_costs_what_vllm_last_told() {
    assert_charged_at_every_event(fast(), Case::completions(json!("Say hello"), 1)).await;
}

#[tokio::test]
async fn leaving_completions_of_several_prompts_costs_what_vllm_last_told_of_all() {
    assert_charged_at_every_event(fast(), Case::completions(json!(["Say", "hello to us"]), 2)).await;
}

#[tokio::test]
async fn events_of_several_tokens_cost_each_of_them() {
    let vllm = Options { tokens_per_event: 3, ..fast() };
    assert_charged_at_every_event(vllm, Case::chat(json!({"max_tokens": 8}))).await;
}

/// These two tell no running usage: what went by is counted.
#[tokio::test]
async fn leaving_messages_and_responses_costs_the_events_that_went_by() {
    let stage = Setup { server: HEARTBEAT.into(), ..Setup::default() }.start().await;
    let messages = json!({"model": MODEL, "max_tokens": 4, "stream": true, "seed": 1,
        "messages": [{"role": "user", "content": "hi"}]});
    // Of a response the body says the id, so that all have one.
    let responses = json!({"model": MODEL, "input": "hi", "max_output_tokens": 4, "stream": true, "seed": 1,
        "request_id": "resp_same"});
    for (path, body) in [("/v1/messages", messages), ("/v1/responses", responses)] {
        let direct = timeless(&stage.asked_directly(path, "same", &body).await);
        for stop in 0..events(&direct) {
            let id = format!("left{}-{stop}", path.replace('/', "-"));
            let how = Leaving::ALL[stop % Leaving::ALL.len()];
            let Left { got, generation, .. } = leave_after(&stage, path, &id, &body, stop, how).await;
            let record = stage.record(&id).await;
            let seen = timeless(&got).replace(&id, "same");
            assert!(direct.starts_with(&seen) && events(&got) == stop, "{path} after {stop}: {seen}");
            let told = generation.sent_tokens as u64;
            assert_eq!(charged(&record), told, "{path} after {stop} events: {record:#}");
            assert_eq!(record["outcome"], "client_gone", "{path} after {stop} events");
            let final_word = got.contains("event: message_delta");
            let source = match (final_word, path, told) {
                (true, ..) => "usage",
                (_, "/v1/messages", _) if stop > 0 => "estimated",
                (_, _, 1..) => "estimated",
                _ => "none",
            };
            assert_eq!(record["tokenSource"], source, "{path} after {stop} events: {got}");
        }
    }
}

/// Here vLLM does not wait for anybody: it has gone on when the gateway hears that the client is gone.
#[tokio::test]
async fn leaving_a_stream_that_runs_costs_no_less_than_was_got_and_no_more_than_was_generated() {
    let tick = Duration::from_millis(2);
    let stage = Setup::vllm(at(Speed { ttft: tick, itl: tick, jitter: 0.5 })).start().await;
    let cases = [
        Case::chat(json!({"max_tokens": 500})),
        Case::chat(json!({"max_tokens": 500, "n": 3})),
        Case::completions(json!(["a", "b"]), 1),
    ];
    let mut left = Vec::new();
    for (number, case) in cases.iter().enumerate() {
        for events in 1..12 {
            let id = format!("ran-{number}-{events}");
            stage.vllm.forget();
            let mut body = case.body.clone();
            body["max_tokens"] = json!(500);
            let mut client = stage.asked(case.path, &id, &body).await;
            client.head().await.unwrap();
            let mut got = String::new();
            while got.matches("\n\n").count() < events {
                got.push_str(std::str::from_utf8(&client.chunk().await.unwrap().unwrap()).unwrap());
            }
            assert_gone(&stage, client, Leaving::ALL[events % 3]).await;
            left.push(Left { id, got, generation: stage.vllm.ledger().remove(0) });
        }
    }
    for Left { id, got, generation } in left {
        let record = stage.record(&id).await;
        let (charged, generated) = (charged(&record), generation.completion_tokens as u64);
        assert!((tokens_in(&got)..=generated).contains(&charged), "{charged} of {generation:?} for {got}");
        assert!(charged < 500, "{record:#}");
        assert_eq!(record["outcome"], "client_gone", "{record:#}");
    }
}
