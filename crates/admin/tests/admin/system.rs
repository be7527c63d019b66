//! What is loaded, reloading it, metrics, the page.

use std::sync::atomic::Ordering;

use serde_json::json;

use crate::support::Gateway;

#[tokio::test]
async fn what_is_loaded_is_shown() {
    let gateway = Gateway::start().await;
    let pipelines = gateway.get("/api/pipelines").await;
    assert_eq!((pipelines.status, pipelines.header("x-content-type-options")), (200, "nosniff"));
    assert_eq!(pipelines.json()["items"][0]["filters"], json!(["access-log"]));
    assert_eq!(gateway.get("/api/upstreams").await.json(), json!({ "items": [] }));
    assert_eq!(gateway.get("/api/plugins").await.json(), json!({ "items": [] }));
    let metrics = gateway.get("/metrics?format=x").await;
    assert_eq!((metrics.status, metrics.text.as_str()), (200, "vllm_gateway_build_info 1\n"));
}

#[tokio::test]
async fn a_reload_says_what_changed_or_why_nothing_did() {
    let gateway = Gateway::start().await;
    let done = gateway.call("POST", "/api/reload", None).await;
    assert_eq!(
        (done.status, done.json()),
        (200, json!({ "changed": ["pipelines.default"], "needsRestart": ["server.listen"] }))
    );
    gateway.control.is_broken.store(true, Ordering::Relaxed);
    let refused = gateway.call("POST", "/api/reload", None).await;
    refused.problem(422, None);
    assert_eq!(refused.json()["diagnostics"][0]["line"], 3);
}

#[tokio::test]
async fn a_panic_costs_one_call_only() {
    let gateway = Gateway::start().await;
    gateway.control.is_broken.store(true, Ordering::Relaxed);
    let detail = gateway.get("/api/plugins").await.problem(500, None);
    assert!(!detail.contains("a bug"), "{detail}");
    assert_eq!(gateway.get("/api/pipelines").await.status, 200);
}

#[tokio::test]
async fn the_page_loads_nothing_from_elsewhere() {
    let gateway = Gateway::start().await;
    let page = gateway.call_as(None, "GET", "/", None).await;
    assert_eq!((page.status, page.header("content-type")), (200, "text/html; charset=utf-8"));
    let policy = page.header("content-security-policy");
    assert!(policy.starts_with("default-src 'none';") && !policy.contains("unsafe"), "{policy}");
    for file in ["/", "/page.js", "/page.css"] {
        let text = gateway.call_as(None, "GET", file, None).await.text;
        assert!(
            !text.contains("http://") && !text.contains("https://") && !text.contains("innerHTML"),
            "{file}"
        );
    }
    assert!(page.text.contains("page.js") && page.text.contains("page.css") && !page.text.contains("<style"));
}
