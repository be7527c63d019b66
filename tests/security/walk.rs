//! Default deny: every route there is, with every method, and nobody who may.

use reqwest::{Method, Response};
use serde_json::{Value, json};
use vllm_gateway_sdk::{Answer, ModelPlace, routes};
use vllm_gateway_simulator::Options;

use crate::support::{MODEL, Setup, Stage, fast, stage};

const METHODS: [&str; 10] =
    ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "X-ANY"];

/// A key of the right shape that nobody has.
const UNKNOWN: &str = "sk-live-00000000-0000-0000-0000-000000000000";

/// What is open to everybody, and why: probes of an orchestrator.
const OPEN: [(&str, &str); 2] = [("GET", "/health"), ("GET", "/ready")];

/// What is open on the admin side: the page, which holds nothing, and the metrics, unless `metrics_auth` is set.
const ADMIN_OPEN: [(&str, &str); 4] =
    [("GET", "/"), ("GET", "/page.js"), ("GET", "/page.css"), ("GET", "/metrics")];

/// The paths that vLLM has and the gateway does not.
fn closed() -> impl Iterator<Item = &'static str> {
    let lines = include_str!("vllm-routes.txt").lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| line.split_once(' ').unwrap().1)
}

/// All paths that the data plane could serve.
fn paths() -> Vec<String> {
    let ours = routes().map(|route| route.path.replace("{id}", MODEL));
    let mut paths: Vec<_> = ours.chain(closed().map(str::to_owned)).collect();
    paths
        .extend(["/", "/health", "/ready", "/api", "/api/apps", "/page.js", "/v1", "/v1/"].map(String::from));
    paths
}

async fn call(stage: &Stage, url: &str, method: &str, credential: Option<(&str, &str)>) -> Response {
    let method = Method::from_bytes(method.as_bytes()).unwrap();
    let mut request = stage.client.request(method, url).header("content-type", "application/json");
    if let Some((name, credential)) = credential {
        request = request.header(name, credential);
    }
    request.body("{}").send().await.unwrap()
}

/// Headers that show no credential, or a wrong one.
fn wrong(others: &str) -> Vec<Option<(&'static str, String)>> {
    let bearer = |token: &str| Some(("authorization", format!("Bearer {token}")));
    let plain = |key: &str| Some(("x-api-key", key.to_owned()));
    let basic = Some(("authorization", "Basic YWRtaW46YWRtaW4=".to_owned()));
    vec![
        None,
        bearer(""),
        bearer(UNKNOWN),
        bearer("sk-live-"),
        bearer(others),
        plain(UNKNOWN),
        plain(others),
        basic,
    ]
}

#[tokio::test]
async fn no_route_of_the_data_plane_answers_those_who_may_not_and_none_reaches_vllm() {
    let stage = stage().await;
    let mut asked = 0;
    for path in paths() {
        for method in METHODS {
            for credential in wrong(stage.token()) {
                let credential = credential.as_ref().map(|(name, value)| (*name, &**value));
                let status = call(&stage, &stage.url(&path), method, credential).await.status().as_u16();
                asked += 1;
                if OPEN.contains(&(method, &path)) {
                    assert_eq!(status, 200, "{method} {path}");
                } else {
                    assert!(matches!(status, 401 | 404 | 405), "{method} {path}: {status}");
                }
            }
        }
    }
    assert!(asked > 4_000, "{asked}");
    assert_eq!(stage.vllm.requests().len(), 0, "a request of nobody's reached vLLM");
}

#[tokio::test]
async fn only_the_routes_of_the_table_are_reachable_and_those_with_their_method_only() {
    let stage = Setup::vllm(Options { response_store: true, ..fast() }).start().await;
    let key = format!("Bearer {}", stage.key);
    for path in closed() {
        for method in METHODS {
            let status = call(&stage, &stage.url(path), method, Some(("authorization", &key))).await.status();
            assert!(matches!(status.as_u16(), 404 | 405), "{method} {path}: {status}");
        }
    }
    assert_eq!(stage.vllm.requests().len(), 0);
    let mut served = 0;
    let response = response(&stage).await;
    for route in routes() {
        let id = if route.answer == Answer::Stored { &response } else { MODEL };
        let path = route.path.replace("{id}", id);
        for method in METHODS {
            let credential = Some(("authorization", &*key));
            let status = call(&stage, &stage.url(&path), method, credential).await.status().as_u16();
            let refused = matches!(status, 401 | 404 | 405);
            assert_eq!(refused, method != route.allow(), "{method} {path}: {status}");
            served += usize::from(!refused);
        }
    }
    assert_eq!(served, routes().count(), "the walk tried every route, and with the key it is there");
}

/// The id of a response that the app's key can ask for.
async fn response(stage: &Stage) -> String {
    let made =
        stage.post("/v1/responses", &json!({"model": MODEL, "input": "x", "background": true})).send().await;
    let made: Value = made.unwrap().json().await.unwrap();
    made["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn no_route_of_the_admin_side_answers_those_who_may_not() {
    let stage = stage().await;
    let url = |path: &str| format!("http://{}{path}", stage.gateway.admin_address());
    let document = stage.admin_get("/api/openapi.json").await;
    let documented = document["paths"].as_object().unwrap().keys();
    let mut paths: Vec<String> = documented
        .map(|path| path.replace("{id}", "0190c1d2-0000-7000-8000-000000000000").replace("{name}", "main"))
        .collect();
    assert!(paths.len() >= 12, "{paths:?}");
    paths.extend(["/", "/page.js", "/page.css", "/api", "/nothing"].map(String::from));
    paths.extend(routes().map(|route| route.path.replace("{id}", MODEL)));
    let before = stage.admin_get("/api/apps").await;
    for path in paths {
        for method in METHODS {
            for credential in wrong(&stage.key) {
                let credential = credential.as_ref().map(|(name, value)| (*name, &**value));
                let status = call(&stage, &url(&path), method, credential).await.status().as_u16();
                if ADMIN_OPEN.contains(&(method, &path)) {
                    assert_eq!(status, 200, "{method} {path}");
                } else {
                    assert_eq!(status, 401, "{method} {path}");
                }
            }
        }
    }
    assert_eq!(stage.admin_get("/api/apps").await, before);
}

#[tokio::test]
async fn an_open_pipeline_opens_its_own_routes_only() {
    let rest = r#"
[pipelines.default]
routes = ["/v1/*"]
filters = ["access-log", "auth", "model-route"]
[pipelines.open]
routes = ["/v1/embeddings"]
public = true
filters = ["access-log", "model-route"]
[filters.access-log]
[filters.auth]
[filters.model-route]
models = { "Qwen3-32B" = "main" }
[upstreams.main]
endpoints = [{ url = "{vllm}" }]
"#;
    let stage = Setup::rest(rest).start().await;
    let body = json!({"model": MODEL, "input": "x"}).to_string();
    for route in routes().filter(|route| route.model != ModelPlace::Form) {
        let path = route.path.replace("{id}", MODEL);
        let method = Method::from_bytes(route.allow().as_bytes()).unwrap();
        let request =
            stage.client.request(method, stage.url(&path)).header("content-type", "application/json");
        let status = request.body(body.clone()).send().await.unwrap().status().as_u16();
        let expected = match &*path {
            "/v1/embeddings" => 200,
            // No pipeline serves what is outside of /v1.
            path if !path.starts_with("/v1/") => 404,
            _ => 401,
        };
        assert_eq!(status, expected, "{path}");
    }
    assert_eq!(stage.vllm.requests().len(), 1);
}

/// A refusal never says what was sent: neither the path nor the method nor a header.
#[tokio::test]
async fn refusals_repeat_nothing_of_what_was_sent() {
    let stage = stage().await;
    let canary = "canary-0815";
    for url in [
        stage.url(&format!("/{canary}")),
        stage.url(&format!("/v1/models/{canary}")),
        stage.url(&format!("/v1/models?x={canary}")),
    ] {
        let answer = call(&stage, &url, "GET", Some(("authorization", canary))).await;
        let head = format!("{:?}", answer.headers());
        let text = answer.text().await.unwrap();
        assert!(serde_json::from_str::<Value>(&text).unwrap()["error"]["message"].is_string(), "{text}");
        assert!(!text.contains(canary) && !head.contains(canary), "{url}: {head} {text}");
    }
}
