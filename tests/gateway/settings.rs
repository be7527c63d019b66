//! What `gateway.toml` can ask for: MongoDB, TLS, trusted proxies, several pipelines, CORS.

use reqwest::{Certificate, Client};
use serde_json::json;
use vllm_gateway_store::testing;

use crate::support::{MODEL, PIPELINE, Setup, chat, request_id};

#[tokio::test]
async fn the_main_job_works_on_mongodb() {
    let database = testing::mongodb().database("gateway_main_job");
    let uri = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(uri.path(), &testing::mongodb().uri).unwrap();
    let store = format!(
        "[store]\nkind = \"mongodb\"\nuri = \"file:{}\"\ndatabase = \"{database}\"\n",
        uri.path().display()
    );
    let stage = Setup::rest(&format!("{store}{PIPELINE}")).start().await;
    let answer = stage.chat(json!({"stream": true})).await;
    let id = request_id(&answer);
    assert!(answer.text().await.unwrap().ends_with("data: [DONE]\n\n"));
    let record = stage.record(&id).await;
    assert_eq!((&record["outcome"], &record["completionTokens"]), (&json!("finished"), &json!(8)));
    let usage = stage.admin_get("/api/usage?groupBy=app,model").await;
    assert_eq!(usage["items"][0]["completionTokens"], 8, "{usage}");
}

#[tokio::test]
async fn tls_is_spoken_where_it_is_asked_for() {
    let tls = format!("{}/tests/tls", env!("CARGO_MANIFEST_DIR"));
    let stage = Setup::server(&format!("tls = {{ cert = \"{tls}/cert.pem\", key = \"{tls}/key.pem\" }}"))
        .start()
        .await;
    let ca = Certificate::from_pem(&std::fs::read(format!("{tls}/cert.pem")).unwrap()).unwrap();
    let client = Client::builder().no_proxy().tls_certs_only([ca]).build().unwrap();
    let url = format!("https://localhost:{}/v1/models", stage.gateway.data_address().port());
    let answer = client.get(url).bearer_auth(&stage.key).send().await.unwrap();
    assert_eq!(answer.status(), 200);
}

#[tokio::test]
async fn a_forwarded_address_counts_only_from_a_trusted_proxy() {
    for (trusted, expected) in [("trusted_proxies = [\"127.0.0.0/8\"]", "203.0.113.7"), ("", "127.0.0.1")] {
        let stage = Setup::server(trusted).start().await;
        let request = stage.post("/v1/chat/completions", &chat(json!({})));
        let answer = request.header("x-forwarded-for", "198.51.100.1, 203.0.113.7").send().await.unwrap();
        let record = stage.record(&request_id(&answer)).await;
        assert_eq!(record["clientIp"], expected);
    }
}

#[tokio::test]
async fn routes_choose_their_pipeline_and_one_plugin_serves_under_two_names() {
    let rest = format!(
        r#"
[pipelines.chat]
routes = ["/v1/*"]
filters = ["access-log", "auth", "model-route"]
[pipelines.vectors]
routes = ["/v1/embeddings"]
filters = ["access-log", "auth", "vectors-route"]
[filters.access-log]
[filters.auth]
[filters.model-route]
models = {{ "{MODEL}" = "main" }}
[filters.vectors-route]
plugin = "model-route"
models = {{ "vectors" = {{ upstream = "main", model = "{MODEL}" }} }}
[upstreams.main]
endpoints = [{{ url = "{{vllm}}" }}]
"#
    );
    let stage = Setup::rest(&rest).start().await;
    let vectors =
        stage.post("/v1/embeddings", &json!({"model": "vectors", "input": "a"})).send().await.unwrap();
    assert_eq!(vectors.status(), 200);
    assert_eq!(stage.record(&request_id(&vectors)).await["pipeline"], "vectors");
    assert_eq!(stage.chat(json!({"model": "vectors"})).await.status(), 404);
    let answer = stage.chat(json!({})).await;
    assert_eq!(stage.record(&request_id(&answer)).await["pipeline"], "chat");
    let tokenize = stage.post("/tokenize", &json!({"model": MODEL, "prompt": "a"})).send().await.unwrap();
    assert_eq!(tokenize.status(), 404, "no pipeline names it");
}

#[tokio::test]
async fn browsers_of_the_listed_origins_may_call() {
    let stage = Setup::server("cors = { origins = [\"https://app.example\"] }").start().await;
    let preflight = |origin: &str| {
        let request = stage.client.request(reqwest::Method::OPTIONS, stage.url("/v1/chat/completions"));
        request.header("origin", origin).header("access-control-request-method", "POST").send()
    };
    let allowed = preflight("https://app.example").await.unwrap();
    assert_eq!(allowed.headers()["access-control-allow-origin"], "https://app.example");
    let other = preflight("https://evil.example").await.unwrap();
    assert!(
        other
            .headers()
            .get("access-control-allow-origin")
            .is_none_or(|origin| origin != "https://evil.example")
    );
}
