//! Who `auth` lets in, and what the others are told.

use vllm_gateway_access_log as _;
use vllm_gateway_auth as _;
use vllm_gateway_sdk::testkit::{self, Gateway, Request, Run};

fn gateway() -> Gateway {
    testkit::pipeline(r#"filters = ["auth"]"#)
        .app("acme", |app| app)
        .app("other", |app| app)
        .app("off", testkit::AppSetup::disabled)
        .app("old", testkit::AppSetup::expired)
}

fn chat() -> Request {
    testkit::chat("Qwen3-32B")
}

fn message() -> Request {
    testkit::post("/v1/messages", r#"{"model": "Qwen3-32B", "max_tokens": 8, "messages": []}"#)
}

/// Sends it, and makes sure that a refusal reached no upstream and repeats no part of a key.
async fn send(gateway: Gateway, request: Request) -> Run {
    let gateway = gateway.upstream(testkit::json(200, "{}"));
    let run = gateway.send(request).await;
    assert_eq!(gateway.upstream_calls(), u64::from(run.status() == 200));
    assert!(!run.body().contains("sk-live"), "{}", run.body());
    run
}

async fn status_of(request: Request) -> u16 {
    send(gateway(), request).await.status()
}

#[tokio::test]
async fn the_key_of_an_enabled_app_is_let_in() {
    assert_eq!(status_of(chat().key("acme")).await, 200);
}

#[tokio::test]
async fn the_scheme_may_be_written_in_any_case() {
    for scheme in ["bearer", "BEARER", "bEaReR"] {
        assert_eq!(status_of(chat().header("authorization", &format!("{scheme} sk-live-acme"))).await, 200);
    }
}

#[tokio::test]
async fn a_request_without_a_key_is_refused() {
    let run = send(gateway(), chat()).await;
    assert_eq!((run.status(), run.error_code()), (401, "invalid_api_key"));
    assert_eq!(run.header("www-authenticate"), Some("Bearer"));
    assert!(run.body().contains("authorization: Bearer <key>"), "{}", run.body());
}

#[tokio::test]
async fn what_is_no_bearer_token_is_refused() {
    let values = [
        "",
        " ",
        "Bearer",
        "Bearer ",
        "Bearer  sk-live-acme",
        "Bearer sk-live-acme x",
        "Bearer\tsk-live-acme",
        "Basic sk-live-acme",
        "sk-live-acme",
        "Bearersk-live-acme",
        "Bearer sk-live-acme, Bearer sk-live-acme",
        "Bearer sk-live-acme\t",
    ];
    for value in values {
        let run = send(gateway(), chat().header("authorization", value)).await;
        assert_eq!((run.status(), run.error_code()), (401, "invalid_api_key"), "{value:?}");
    }
}

#[tokio::test]
async fn a_key_that_nobody_has_is_refused() {
    let run = send(gateway(), chat().key("nobody")).await;
    assert_eq!((run.status(), run.error_code()), (401, "invalid_api_key"));
}

#[tokio::test]
async fn a_key_is_compared_as_a_whole_and_in_its_case() {
    for key in ["sk-live-acm", "sk-live-acmee", "SK-LIVE-ACME"] {
        assert_eq!(status_of(chat().header("authorization", &format!("Bearer {key}"))).await, 401, "{key}");
    }
}

#[tokio::test]
async fn a_disabled_app_is_refused() {
    let run = send(gateway(), chat().key("off")).await;
    assert_eq!((run.status(), run.error_code()), (403, "app_disabled"));
}

#[tokio::test]
async fn an_expired_app_is_refused() {
    let run = send(gateway(), chat().key("old")).await;
    assert_eq!((run.status(), run.error_code()), (403, "app_expired"));
}

#[tokio::test]
async fn a_header_that_comes_twice_is_malformed_even_if_both_are_the_same() {
    assert_eq!(status_of(chat().key("acme").key("acme")).await, 400);
    assert_eq!(status_of(chat().key("acme").key("other")).await, 400);
    assert_eq!(status_of(message().x_api_key("acme").x_api_key("acme")).await, 400);
}

#[tokio::test]
async fn anthropics_clients_may_show_their_key_in_x_api_key() {
    assert_eq!(status_of(message().x_api_key("acme")).await, 200);
    assert_eq!(status_of(message().key("acme")).await, 200);
    assert_eq!(status_of(message().x_api_key("nobody")).await, 401);
    assert_eq!(status_of(message().header("x-api-key", "")).await, 401);
    assert_eq!(status_of(message()).await, 401);
}

#[tokio::test]
async fn two_carriers_must_show_the_same_key() {
    assert_eq!(status_of(message().key("acme").x_api_key("acme")).await, 200);
    assert_eq!(status_of(message().key("acme").x_api_key("other")).await, 400);
    assert_eq!(status_of(message().key("acme").header("x-api-key", "")).await, 400);
    assert_eq!(status_of(message().header("authorization", "Basic abc").x_api_key("acme")).await, 400);
}

#[tokio::test]
async fn x_api_key_counts_for_nothing_on_other_routes() {
    assert_eq!(status_of(chat().x_api_key("acme")).await, 401);
    assert_eq!(status_of(chat().key("acme").x_api_key("other")).await, 200);
    assert_eq!(status_of(chat().key("acme").x_api_key("other").x_api_key("off")).await, 200);
}

#[tokio::test]
async fn refusals_speak_the_language_of_their_route() {
    let run = send(gateway(), message()).await;
    assert!(run.body().contains(r#""type":"error""#) && run.body().contains("x-api-key"), "{}", run.body());
    assert!(run.body().contains(r#""type":"authentication_error""#), "{}", run.body());
}

#[tokio::test]
async fn while_the_store_is_down_known_keys_serve_and_others_wait() {
    assert_eq!(send(gateway().store_is_down(), chat().key("acme")).await.status(), 200);
    assert_eq!(send(gateway().store_is_down(), chat().key("off")).await.status(), 403);
    let run = send(gateway().store_is_down(), chat().key("nobody")).await;
    assert_eq!((run.status(), run.error_code()), (503, "store_unavailable"));
    assert!(run.header("retry-after").is_some());
}

#[tokio::test]
async fn nobody_unknown_makes_the_gateway_look_at_a_body() {
    let malformed = chat().body("{ not json");
    assert_eq!(status_of(malformed.clone()).await, 401);
    assert_eq!(status_of(malformed.key("acme")).await, 400);
}

#[tokio::test]
async fn the_record_names_the_app_also_of_a_refused_request() {
    let gateway = testkit::pipeline(r#"filters = ["access-log", "auth"]"#)
        .app("off", testkit::AppSetup::disabled)
        .app("old", testkit::AppSetup::expired);
    for (app, code) in [("off", "app_disabled"), ("old", "app_expired")] {
        let run = gateway.send(chat().key(app)).await;
        let record = &run.logged()[0];
        assert_eq!(record.org_name.as_deref(), Some(app));
        assert_eq!(record.app_id, Some(format!("id-of-{app}")));
        assert_eq!(record.error_code.as_deref(), Some(code));
        assert_eq!(record.request_bytes, 0, "the body was not read");
    }
    let run = gateway.send(chat().key("nobody")).await;
    assert_eq!(run.logged()[0].app_id, None);
}

#[tokio::test]
async fn the_list_of_models_is_for_apps_too() {
    assert_eq!(gateway().send(testkit::get("/v1/models")).await.status(), 401);
    assert_eq!(gateway().send(testkit::get("/v1/models").key("acme")).await.status(), 200);
}

#[test]
fn there_is_nothing_to_configure() {
    let problems = testkit::problems("filters = [\"auth\"]\n[auth]\nanonymous = true\n");
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(problems[0].starts_with("3:1: unknown field `anonymous`"), "{problems:?}");
}
