//! Where requests go, and which are refused.

use vllm_gateway_access_log as _;
use vllm_gateway_auth as _;
use vllm_gateway_model_route as _;
use vllm_gateway_sdk::{
    Record,
    testkit::{self, Gateway, Request, Run},
};

const MODELS: &str =
    r#"models = { "Qwen3-32B" = "big", "fast" = { upstream = "small", model = "Qwen3-8B" } }"#;

fn gateway(options: &str) -> Gateway {
    testkit::pipeline(&format!(
        "filters = [\"access-log\", \"model-route\"]\nupstreams = [\"big\", \"small\"]\n[model-route]\n{options}\n"
    ))
    .upstream(testkit::json(200, "{}"))
}

fn with_default(model: &str) -> Gateway {
    gateway(&format!("{MODELS}\ndefault_model = \"{model}\""))
}

fn without_model() -> Request {
    testkit::post("/v1/chat/completions", r#"{"messages": []}"#)
}

/// Upstream, the client's model, and the model at the upstream.
fn way(run: &Run) -> (&str, &str, &str) {
    let [Record { upstream: Some(upstream), model: Some(model), upstream_model: Some(sent), .. }] =
        run.logged()
    else {
        panic!("no upstream was called: {}", run.body());
    };
    (upstream, model, sent)
}

#[tokio::test]
async fn a_model_goes_to_its_upstream_under_its_own_name() {
    let run = gateway(MODELS).send(testkit::chat("Qwen3-32B")).await;
    assert_eq!(way(&run), ("big", "Qwen3-32B", "Qwen3-32B"));
}

#[tokio::test]
async fn an_alias_goes_to_its_upstream_under_the_name_there() {
    let run = gateway(MODELS).send(testkit::chat("fast")).await;
    assert_eq!(way(&run), ("small", "fast", "Qwen3-8B"));
}

#[tokio::test]
async fn a_model_that_is_not_named_here_is_not_found_and_not_repeated() {
    let gateway = gateway(MODELS);
    for model in ["qwen3-32b", "Qwen3-32B ", "Qwen3-8B", "big", "nobody-has-this"] {
        let run = gateway.send(testkit::chat(model)).await;
        assert_eq!((run.status(), run.error_code()), (404, "model_not_found"), "{model}");
        assert!(run.body().contains(r#""param":"model""#), "{}", run.body());
        assert!(!run.body().contains(model), "{}", run.body());
    }
    assert_eq!(gateway.upstream_calls(), 0);
}

#[tokio::test]
async fn a_request_that_names_no_model_is_malformed() {
    let gateway = gateway(MODELS);
    for body in [r#"{"messages": []}"#, r#"{"model": null}"#, r#"{"model": ""}"#, "{}"] {
        let run = gateway.send(without_model().body(body)).await;
        assert_eq!(run.status(), 400, "{body}");
        assert!(
            run.body().contains("`model`") && run.body().contains(r#""param":"model""#),
            "{}",
            run.body()
        );
    }
    assert_eq!(gateway.upstream_calls(), 0);
}

#[tokio::test]
async fn the_default_serves_requests_that_name_no_model_and_is_named_to_the_upstream() {
    let run = with_default("Qwen3-32B").send(without_model()).await;
    assert_eq!(way(&run), ("big", "Qwen3-32B", "Qwen3-32B"));
    let run = with_default("fast").send(without_model()).await;
    assert_eq!(way(&run), ("small", "fast", "Qwen3-8B"));
}

#[tokio::test]
async fn the_default_does_not_stand_in_for_an_unknown_model() {
    assert_eq!(with_default("fast").send(testkit::chat("unknown")).await.status(), 404);
}

#[tokio::test]
async fn a_body_that_cannot_be_read_is_malformed() {
    for body in ["", "[]", "{ not json", r#"{"model": 7}"#, r#"{"model": "fast", "model": "Qwen3-32B"}"#] {
        assert_eq!(gateway(MODELS).send(without_model().body(body)).await.status(), 400, "{body}");
    }
}

#[tokio::test]
async fn a_body_over_the_limit_is_too_large() {
    let run = gateway(MODELS).send(without_model().body(" ".repeat(2 << 20))).await;
    assert_eq!((run.status(), run.error_code()), (413, "request_too_large"));
}

#[tokio::test]
async fn an_app_reaches_only_the_models_that_it_may_use() {
    let text = format!(
        "filters = [\"auth\", \"model-route\"]\nupstreams = [\"big\", \"small\"]\n[model-route]\n{MODELS}\ndefault_model = \"fast\""
    );
    let gateway = testkit::pipeline(&text)
        .upstream(testkit::json(200, "{}"))
        .app("acme", |app| app.allowed_models(["Qwen3-32B"]))
        .app("none", |app| app.allowed_models([]));
    let allowed = gateway.send(testkit::chat("Qwen3-32B").key("acme")).await;
    assert_eq!(allowed.status(), 200);
    for request in [
        testkit::chat("fast").key("acme"),
        testkit::chat("Qwen3-32B").key("none"),
        without_model().key("acme"),
    ] {
        let run = gateway.send(request).await;
        assert_eq!((run.status(), run.error_code()), (403, "model_not_allowed"));
    }
    assert_eq!(gateway.upstream_calls(), 1);
    let list = gateway.send(testkit::get("/v1/models").key("acme")).await;
    assert!(list.body().contains("Qwen3-32B") && !list.body().contains("fast"), "{}", list.body());
}

#[tokio::test]
async fn the_list_of_models_needs_no_model() {
    let run = gateway(MODELS).send(testkit::get("/v1/models")).await;
    assert_eq!(run.status(), 200);
    assert!(run.body().contains("\"Qwen3-32B\"") && run.body().contains("\"fast\""), "{}", run.body());
}

#[test]
fn offers_are_told_in_the_order_of_their_names() {
    let models = gateway(MODELS).models();
    let told: Vec<_> = models
        .iter()
        .map(|offer| (&*offer.name, &*offer.target.upstream, offer.target.model.as_deref()))
        .collect();
    assert_eq!(told, [("Qwen3-32B", "big", None), ("fast", "small", Some("Qwen3-8B"))]);
}

#[tokio::test]
async fn speech_routes_name_their_model_in_a_form_field() {
    let form = "--x\r\ncontent-disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\n\r\nRIFF\r\n\
                --x\r\ncontent-disposition: form-data; name=\"model\"\r\n\r\nfast\r\n--x--\r\n";
    let mut request =
        testkit::get("/v1/audio/transcriptions").header("content-type", "multipart/form-data; boundary=x");
    request = request.body(form);
    assert_eq!(way(&gateway(MODELS).send(request).await), ("small", "fast", "Qwen3-8B"));
}
