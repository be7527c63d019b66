//! The admin side and the data plane: two ports, two kinds of credentials, and no way from one to the other.

use reqwest::Method;
use serde_json::json;
use vllm_gateway_sdk::routes;

use crate::support::{MODEL, chat, stage};

#[tokio::test]
async fn an_admin_route_on_the_data_port_is_404_with_either_credential() {
    let stage = stage().await;
    let document = stage.admin_get("/api/openapi.json").await;
    for (path, item) in document["paths"].as_object().unwrap() {
        let path = path.replace("{id}", &stage.app_id).replace("{name}", "main");
        for method in item.as_object().unwrap().keys() {
            let method = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
            for credential in [&stage.key, stage.token()] {
                let request = stage.client.request(method.clone(), stage.url(&path)).bearer_auth(credential);
                assert_eq!(request.send().await.unwrap().status(), 404, "{method} {path}");
            }
        }
    }
    assert_eq!(stage.chat(json!({})).await.status(), 200, "the app is still there");
}

#[tokio::test]
async fn a_data_route_on_the_admin_port_is_404_and_reaches_no_vllm() {
    let stage = stage().await;
    for route in routes() {
        let path = route.path.replace("{id}", MODEL);
        let method = Method::from_bytes(route.allow().as_bytes()).unwrap();
        let request = stage.admin(method, &path).body(chat(json!({})).to_string());
        assert_eq!(request.send().await.unwrap().status(), 404, "{path}");
    }
    for path in ["/health", "/ready"] {
        assert_eq!(stage.admin(Method::GET, path).send().await.unwrap().status(), 404, "{path}");
    }
    assert_eq!(stage.vllm.requests().len(), 0);
}

#[tokio::test]
async fn the_admin_token_opens_no_inference_and_an_apps_key_no_administration() {
    let stage = stage().await;
    let body = chat(json!({})).to_string();
    let request = stage.client.post(stage.url("/v1/chat/completions")).bearer_auth(stage.token());
    let answer = request.header("content-type", "application/json").body(body).send().await.unwrap();
    assert_eq!(answer.status(), 401);
    let url = format!("http://{}/api/apps", stage.gateway.admin_address());
    let answer = stage.client.get(url).bearer_auth(&stage.key).send().await.unwrap();
    assert_eq!(answer.status(), 401);
    assert_eq!(stage.vllm.requests().len(), 0);
}

#[tokio::test]
async fn a_browser_is_told_by_neither_port_that_it_may_call() {
    let stage = stage().await;
    for address in [stage.gateway.data_address(), stage.gateway.admin_address()] {
        for path in ["/v1/chat/completions", "/api/apps", "/metrics", "/health"] {
            let preflight = stage
                .client
                .request(Method::OPTIONS, format!("http://{address}{path}"))
                .header("origin", "https://example.org")
                .header("access-control-request-method", "POST")
                .header("access-control-request-headers", "authorization");
            let answer = preflight.send().await.unwrap();
            assert!(!answer.status().is_success(), "{address}{path}");
            let allowed = answer.headers().keys().find(|name| name.as_str().starts_with("access-control-"));
            assert_eq!(allowed, None, "{address}{path}");
        }
    }
}
