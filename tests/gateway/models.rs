//! `/v1/models`, and what an app may use.

use reqwest::Method;
use serde_json::json;

use crate::support::{MODEL, Setup, json_of, stage};

#[tokio::test]
async fn the_list_has_the_models_of_the_app_with_what_vllm_says_of_them() {
    let stage = stage().await;
    let list =
        json_of(stage.client.get(stage.url("/v1/models")).bearer_auth(&stage.key).send().await.unwrap())
            .await;
    assert_eq!(list["object"], "list");
    assert_eq!(list["data"][0]["id"], MODEL);
    assert!(list["data"][0]["max_model_len"].is_u64(), "{list}");
    let one = json_of(
        stage.client.get(stage.url("/v1/models/Qwen3-32B")).bearer_auth(&stage.key).send().await.unwrap(),
    )
    .await;
    assert_eq!(one["id"], MODEL);
    let none = stage.client.get(stage.url("/v1/models/nope")).bearer_auth(&stage.key).send().await.unwrap();
    assert_eq!(none.status(), 404);
    let stranger = stage.client.get(stage.url("/v1/models")).send().await.unwrap();
    assert_eq!(stranger.status(), 401);
}

#[tokio::test]
async fn a_model_whose_id_has_a_slash_is_found_by_both_spellings() {
    let rest = crate::support::PIPELINE.replace("\"Qwen3-32B\" = \"main\"", "\"org/Qwen3-32B\" = \"main\"");
    let stage = Setup::rest(&rest).start().await;
    for path in ["/v1/models/org/Qwen3-32B", "/v1/models/org%2FQwen3-32B"] {
        let answer = stage.client.get(stage.url(path)).bearer_auth(&stage.key).send().await.unwrap();
        assert_eq!(json_of(answer).await["id"], "org/Qwen3-32B", "{path}");
    }
}

#[tokio::test]
async fn a_down_upstream_does_not_break_the_list() {
    let stage = stage().await;
    stage.vllm.shutdown().await;
    let list =
        json_of(stage.client.get(stage.url("/v1/models")).bearer_auth(&stage.key).send().await.unwrap())
            .await;
    assert_eq!(list["data"][0]["id"], MODEL);
}

#[tokio::test]
async fn an_app_sees_and_uses_its_allowed_models_only() {
    let stage = stage().await;
    let app = stage.create_app(json!({"orgName": "small", "allowedModels": []})).await;
    let key = app["apiKey"].as_str().unwrap();
    let list =
        json_of(stage.client.get(stage.url("/v1/models")).bearer_auth(key).send().await.unwrap()).await;
    assert_eq!(list["data"], json!([]));
    let body = crate::support::chat(json!({}));
    let answer = stage.post("/v1/chat/completions", &body).headers(bearer(key)).send().await.unwrap();
    assert_eq!(answer.status(), 403);
    assert_eq!(json_of(answer).await["error"]["code"], "model_not_allowed");
}

#[tokio::test]
async fn a_change_of_an_app_is_in_force_at_once() {
    let stage = stage().await;
    let path = format!("/api/apps/{}/status", stage.app_id);
    let set = async |status: &str| {
        let body = json!({"status": status}).to_string();
        assert_eq!(stage.admin(Method::PATCH, &path).body(body).send().await.unwrap().status(), 200);
    };
    set("disabled").await;
    let refused = stage.chat(json!({})).await;
    assert_eq!(refused.status(), 403);
    assert_eq!(json_of(refused).await["error"]["code"], "app_disabled");
    set("enabled").await;
    assert_eq!(stage.chat(json!({})).await.status(), 200);
    let gone = stage.admin(Method::DELETE, &format!("/api/apps/{}", stage.app_id)).send().await.unwrap();
    assert_eq!(gone.status(), 204);
    assert_eq!(stage.chat(json!({})).await.status(), 401);
}

fn bearer(key: &str) -> reqwest::header::HeaderMap {
    let mut headers = reqwest::header::HeaderMap::new();
    headers.insert("authorization", format!("Bearer {key}").parse().unwrap());
    headers
}
