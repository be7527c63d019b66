//! `previous_response_id`: what goes on from a response goes where that is.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use vllm_gateway_simulator::Options;

use super::{id_of, is_unknown, keeping};
use crate::{
    support::{MODEL, PATIENCE, Setup, fast, json_of, slow},
    yard::{Yard, yard_of},
};

#[tokio::test]
async fn what_goes_on_from_a_response_goes_where_that_is() {
    let yard = keeping(4, "").await;
    for turn in 0..4 {
        let (mut id, maker) = yard.made(json!({"stream": turn % 2 == 1})).await;
        for _ in 0..3 {
            let (next, at) = yard.made(json!({"previous_response_id": id, "stream": turn > 1})).await;
            assert_eq!(at, maker);
            assert_ne!(next, id);
            id = next;
        }
        let escaped = format!(
            r#"{{"model":"{MODEL}","input":"x","previous_response_id":"resp_other","previous\u005fresponse_id":"\u0072{}"}}"#,
            &id[1..]
        );
        yard.seen();
        let answer = yard.post("/v1/responses", &json!({})).body(escaped).send().await.unwrap();
        assert_eq!(answer.status(), 200, "however it is written, and the last counts as for vLLM");
        assert_eq!(yard.only_asked(), maker);
    }
    yard.seen();
    for unknown in [json!("resp_unknown"), json!(""), json!("../x"), json!("a".repeat(10_000))] {
        is_unknown(yard.asks(&json!({"previous_response_id": unknown})).send().await.unwrap()).await;
    }
    assert!(yard.seen().is_empty());
    yard.made(json!({"previous_response_id": null})).await;
}

/// Waits until this server generates something.
async fn generates_at(yard: &Yard, server: usize) {
    let begun = Instant::now();
    while yard.vllms[server].active() < 1 {
        assert!(begun.elapsed() < PATIENCE, "it is not asked");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn what_goes_on_from_it_waits_for_room_and_what_only_asks_for_it_does_not() {
    let servers = (0..2).map(|_| Options { response_store: true, ..slow() }).collect();
    let yard = yard_of(servers, "balance = \"round-robin\"\nmax_concurrent_per_endpoint = 1").await;
    let (id, maker) = yard.made(json!({})).await;
    yard.vllms[maker].set_asleep(true);
    yard.seen();
    let on = || tokio::spawn(yard.asks(&json!({"previous_response_id": id})).send());
    let (one, other) = (on(), on());
    yard.running(2).await;
    generates_at(&yard, maker).await;
    assert_eq!(yard.get(&id).await.status(), 200);
    assert_eq!(yard.chat(json!({})).await.status(), 200, "nobody else waits for it");
    assert_eq!(yard.vllms[maker].active(), 1);
    yard.vllms[maker].set_asleep(false);
    for on in [one, other] {
        assert_eq!(on.await.unwrap().unwrap().status(), 200);
    }
    let made: Vec<_> =
        yard.seen().into_iter().filter(|(_, seen)| seen.path == "/v1/responses").map(|(at, _)| at).collect();
    assert_eq!(made, [maker, maker]);
}

#[tokio::test]
async fn where_nobody_may_wait_it_is_told_at_once_that_its_server_has_no_room() {
    let upstream = "balance = \"round-robin\"\nmax_concurrent_per_endpoint = 1\nqueue = { size = 0 }";
    let servers = (0..2).map(|_| Options { response_store: true, ..slow() }).collect();
    let yard = yard_of(servers, upstream).await;
    let (id, maker) = yard.made(json!({})).await;
    yard.vllms[maker].set_asleep(true);
    let first = tokio::spawn(yard.asks(&json!({"previous_response_id": id})).send());
    generates_at(&yard, maker).await;
    let answer = yard.asks(&json!({"previous_response_id": id})).send().await.unwrap();
    assert_eq!(answer.status(), 503);
    assert_eq!(json_of(answer).await["error"]["code"], "overloaded");
    yard.vllms[maker].set_asleep(false);
    assert_eq!(first.await.unwrap().unwrap().status(), 200);
}

/// Two models, of which the second answers where no server of the first can.
const TWO_MODELS: &str = r#"
[pipelines.default]
filters = ["access-log", "auth", "model-route"]
[filters.access-log]
[filters.auth]
[filters.model-route.models]
"Qwen3-32B" = { upstream = "main", fallbacks = ["small"] }
"small" = { upstream = "small" }
[upstreams.main]
endpoints = [{ url = "http://127.0.0.1:1" }]
[upstreams.small]
endpoints = [{ url = "{vllm}" }]
"#;

#[tokio::test]
async fn what_a_fallback_made_is_gone_on_from_there_by_those_who_may_use_it() {
    let vllm = Options { response_store: true, models: vec!["small".into()], ..fast() };
    let stage = Setup { vllm, rest: TWO_MODELS.into(), ..Setup::default() }.start().await;
    let ask = async |extra: Value| {
        let mut body = json!({"model": MODEL, "input": "x", "max_output_tokens": 2});
        extra.as_object().unwrap().iter().for_each(|(key, value)| body[key] = value.clone());
        stage.post("/v1/responses", &body).send().await.unwrap()
    };
    let id = id_of(&ask(json!({})).await.text().await.unwrap());
    let on = ask(json!({"previous_response_id": id})).await;
    assert_eq!(on.status(), 200);
    let record = stage.record(on.headers()["x-request-id"].to_str().unwrap()).await;
    assert_eq!(
        (&record["model"], &record["upstream"], &record["attempts"]),
        (&json!(MODEL), &json!("small"), &json!(1))
    );
    assert_eq!(ask(json!({"previous_response_id": id, "model": "small"})).await.status(), 200, "it is there");
    let form = json!({"orgName": "acme", "allowedModels": [MODEL]}).to_string();
    let put = stage.admin(reqwest::Method::PUT, &format!("/api/apps/{}", stage.app_id)).body(form);
    assert_eq!(put.send().await.unwrap().status(), 200);
    is_unknown(ask(json!({"previous_response_id": id})).await).await;
}
