//! Asking for a response, and cancelling it: at the one server that made it.

use reqwest::Method;
use serde_json::json;
use vllm_gateway_simulator::Door;

use super::{id_of, is_unknown, keeping};
use crate::support::{MODEL, json_of, raw};

#[tokio::test]
async fn a_response_is_asked_for_at_the_one_server_that_made_it() {
    let yard = keeping(4, "").await;
    let mut makers = Vec::new();
    for turn in 0..8 {
        let (id, maker) = yard.made(json!({"stream": turn % 2 == 1})).await;
        makers.push((id, maker));
    }
    yard.seen();
    for (id, maker) in &makers {
        let answer = yard.get(id).await;
        assert_eq!(answer.status(), 200);
        let record = yard.record_of(&answer).await;
        let response = json_of(answer).await;
        assert_eq!((&response["id"], response["usage"]["output_tokens"].as_u64()), (&json!(id), Some(4)));
        let [(at, seen)] = &yard.seen()[..] else { panic!("asked once") };
        assert_eq!(
            (at, &*seen.method.to_string(), &seen.path),
            (maker, "GET", &format!("/v1/responses/{id}"))
        );
        assert_eq!(record["endpoint"], yard.vllms[*maker].url());
        assert_eq!((&record["model"], &record["upstream"]), (&json!(MODEL), &json!("main")));
        assert_eq!((&record["outcome"], &record["attempts"]), (&json!("finished"), &json!(1)));
        assert_eq!(
            (&record["path"], &record["stream"]),
            (&json!(format!("/v1/responses/{id}")), &json!(false))
        );
        // They were counted when it was made.
        assert_eq!((&record["totalTokens"], &record["tokenSource"]), (&json!(null), &json!("none")));
    }
    let mut used: Vec<_> = makers.into_iter().map(|(_, maker)| maker).collect();
    used.sort_unstable();
    used.dedup();
    assert_eq!(used, [0, 1, 2, 3]);
}

#[tokio::test]
async fn its_events_are_asked_for_there_too_and_from_any_on() {
    let yard = keeping(2, "").await;
    let answer = yard.asks(&json!({"stream": true})).send().await.unwrap();
    let made = answer.text().await.unwrap();
    let id = id_of(&made);
    let maker = yard.only_asked();
    yard.seen();
    let again = yard.get(&format!("{id}?stream=true&unknown=%0d%0a")).await;
    let record = yard.record_of(&again).await;
    assert_eq!(again.text().await.unwrap(), made);
    assert_eq!((&record["stream"], &record["outcome"]), (&json!(true), &json!("finished")));
    assert_eq!((&record["totalTokens"], &record["tokenSource"]), (&json!(null), &json!("none")));
    let later = yard.get(&format!("{id}?starting_after=3&stream=true")).await.text().await.unwrap();
    assert!(
        made.ends_with(&later)
            && later.contains("\"sequence_number\":4")
            && !later.contains("\"sequence_number\":3,")
    );
    let seen: Vec<_> = yard.seen().into_iter().map(|(at, seen)| (at, seen.path)).collect();
    let path = |query: &str| (maker, format!("/v1/responses/{id}?{query}"));
    assert_eq!(seen, [path("stream=true"), path("stream=true&starting_after=3")]);
    assert_eq!(yard.get(&format!("{id}?stream=maybe")).await.status(), 400);
    assert!(yard.seen().is_empty());
}

#[tokio::test]
async fn it_is_cancelled_at_the_server_that_made_it() {
    let yard = keeping(4, "").await;
    for _ in 0..4 {
        let (id, maker) = yard.made(json!({"background": true})).await;
        yard.seen();
        let cancel = yard.client.post(yard.url(&format!("/v1/responses/{id}/cancel"))).bearer_auth(&yard.key);
        // What a client may send with it is neither read nor sent on.
        let answer = cancel.header("content-type", "text/plain").body("no JSON").send().await.unwrap();
        assert_eq!(json_of(answer).await["status"], "cancelled");
        assert_eq!(json_of(yard.get(&id).await).await["status"], "cancelled");
        let seen: Vec<_> =
            yard.seen().into_iter().map(|(at, seen)| (at, seen.path, seen.body.len())).collect();
        let path = format!("/v1/responses/{id}");
        assert_eq!(seen, [(maker, format!("{path}/cancel"), 0), (maker, path, 0)]);
        let again = yard.of_response(Method::POST, &format!("{id}/cancel"), &yard.key).await;
        assert_eq!(again.status(), 400, "vLLM's own word is passed on");
        assert!(again.text().await.unwrap().contains("Cannot cancel"));
    }
}

#[tokio::test]
async fn a_body_that_nobody_reads_is_not_waited_for() {
    let yard = keeping(1, "").await;
    let (id, _) = yard.made(json!({"background": true})).await;
    let head = format!(
        "POST /v1/responses/{id}/cancel HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\ncontent-length: 1000000\r\n\r\n",
        yard.key
    );
    let answer = raw(yard.gateway.data_address(), head.as_bytes()).await.to_lowercase();
    assert!(answer.starts_with("http/1.1 200") && answer.contains("connection: close"), "{answer}");
}

#[tokio::test]
async fn it_is_known_after_a_reload_and_as_long_as_its_server_is_listed() {
    let yard = keeping(3, "").await;
    let (id, maker) = yard.made(json!({})).await;
    let text = std::fs::read_to_string(yard.config()).unwrap();
    std::fs::write(yard.config(), text + "gap_timeout = \"3m\"\n").unwrap();
    assert!(yard.gateway.reload().await);
    assert_eq!(yard.get(&id).await.status(), 200);
    let state = async |state: &str| {
        let body = json!({"url": yard.vllms[maker].url(), "state": state}).to_string();
        let patch = yard.admin(Method::PATCH, "/api/upstreams/main/endpoints").body(body);
        assert_eq!(patch.send().await.unwrap().status(), 200);
    };
    let on = || yard.asks(&json!({"previous_response_id": id})).send();
    state("drained").await;
    assert_eq!(yard.get(&id).await.status(), 200, "nothing is generated for it");
    assert_eq!(on().await.unwrap().status(), 503, "a drained server gets no further work");
    state("removed").await;
    yard.seen();
    is_unknown(yard.get(&id).await).await;
    is_unknown(on().await.unwrap()).await;
    assert!(yard.seen().is_empty());
    state("active").await;
    assert_eq!(yard.get(&id).await.status(), 200);
    assert_eq!(on().await.unwrap().status(), 200);
}

#[tokio::test]
async fn where_its_server_is_away_no_other_is_asked() {
    let yard = keeping(2, "retry_on = [\"broken\", \"busy\", \"draining\"]").await;
    let (id, maker) = yard.made(json!({})).await;
    yard.vllms[maker].set_door(Door::Refuse).await;
    yard.vllms[maker].hang_up();
    yard.seen();
    let answer = yard.get(&id).await;
    assert_eq!(answer.status(), 503);
    assert_eq!(json_of(answer).await["error"]["code"], "no_healthy_endpoint");
    let on = yard.asks(&json!({"previous_response_id": id})).send().await.unwrap();
    assert_eq!(on.status(), 503);
    assert!(yard.seen().is_empty());
}
