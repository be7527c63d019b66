//! Whose a response is: to everybody else it is unknown.

use reqwest::Method;
use serde_json::{Value, json};

use super::{id_of, is_unknown, keeping};
use crate::support::{json_of, raw};

#[tokio::test]
async fn to_another_app_it_is_as_unknown_as_one_that_never_was_and_vllm_is_not_asked() {
    let yard = keeping(2, "").await;
    let (id, _) = yard.made(json!({"background": true})).await;
    let stranger = yard.stranger().await;
    yard.seen();
    let mut told = Vec::new();
    for id in [&*id, "resp_0123456789abcdef"] {
        is_unknown(yard.of_response(Method::GET, &format!("{id}?stream=true"), &stranger).await).await;
        is_unknown(yard.of_response(Method::POST, &format!("{id}/cancel"), &stranger).await).await;
        let on = yard.asks_as(&stranger, &json!({"previous_response_id": id}));
        is_unknown(on.send().await.unwrap()).await;
        let answer = yard.of_response(Method::GET, id, &stranger).await;
        let record = yard.record_of(&answer).await;
        let told_record = (record["errorCode"].clone(), record["model"].clone(), record["endpoint"].clone());
        told.push((answer.text().await.unwrap(), told_record));
    }
    assert_eq!(told[0], told[1], "nothing tells the one from the other");
    is_unknown(yard.get("resp_0123456789abcdef").await).await;
    assert_eq!(yard.of_response(Method::GET, &id, "sk-live-nobody").await.status(), 401);
    assert!(yard.seen().is_empty());
    assert_eq!(json_of(yard.get(&id).await).await["status"], "queued", "it was not cancelled");
}

#[tokio::test]
async fn a_forged_id_is_refused_and_vllm_is_not_asked() {
    let yard = keeping(1, "").await;
    let (id, _) = yard.made(json!({})).await;
    yard.seen();
    let long = "a".repeat(10_000);
    for forged in [
        "../x",
        "..",
        "%2e%2e%2fmetrics",
        "..%2fmetrics",
        "x%0d%0aHost:%20y",
        "resp%5f1",
        "a;b",
        "a.b",
        "a:b",
        "@x",
        "",
        "//x",
        &long,
        &format!("{id}/"),
        &format!("{id}/cancel/"),
        &format!("{id}/input_items"),
        &format!("{id}%3Fx"),
    ] {
        let get = format!(
            "GET /v1/responses/{forged} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\nconnection: close\r\n\r\n",
            yard.key
        );
        let answer = raw(yard.gateway.data_address(), get.as_bytes()).await;
        let status = answer.get(9..12).unwrap_or_default();
        assert!(["400", "404", "405"].contains(&status), "{forged}: {answer}");
    }
    assert_eq!(
        yard.of_response(Method::DELETE, &id, &yard.key).await.status(),
        405,
        "vLLM has no such route"
    );
    assert_eq!(yard.of_response(Method::GET, &format!("{id}/cancel"), &yard.key).await.status(), 405);
    assert!(yard.seen().is_empty());
}

#[tokio::test]
async fn nobody_makes_a_response_its_own_by_choosing_its_id() {
    let yard = keeping(1, "").await;
    let (id, _) = yard.made(json!({})).await;
    let stranger = yard.stranger().await;
    yard.seen();
    let asks = |extra: Value| yard.asks_as(&stranger, &extra).send();
    for wished in [&*id, id.strip_prefix("resp_").unwrap()] {
        let answer = asks(json!({"request_id": wished})).await.unwrap();
        assert_eq!((answer.status().as_u16(), yard.seen().len()), (400, 0), "it would be written over");
    }
    // One that this gateway does not know may be somebody's all the same.
    let answer = asks(json!({"request_id": "resp_of_another_gateway", "store": false})).await.unwrap();
    assert_eq!(id_of(&answer.text().await.unwrap()), "resp_of_another_gateway");
    yard.seen();
    for key in [&stranger, &yard.key] {
        is_unknown(yard.of_response(Method::GET, "resp_of_another_gateway", key).await).await;
    }
    assert!(yard.seen().is_empty());
    assert_eq!(yard.get(&id).await.status(), 200);
}

#[tokio::test]
async fn an_app_that_may_use_its_model_no_longer_does_not_get_it() {
    let yard = keeping(1, "").await;
    let (id, _) = yard.made(json!({})).await;
    yard.seen();
    let form = json!({"orgName": "acme", "allowedModels": []}).to_string();
    let put = yard.admin(Method::PUT, &format!("/api/apps/{}", yard.app_id)).body(form);
    assert_eq!(put.send().await.unwrap().status(), 200);
    let answer = yard.get(&id).await;
    assert_eq!(answer.status(), 403);
    assert_eq!(json_of(answer).await["error"]["code"], "model_not_allowed");
    assert!(yard.seen().is_empty());
}
