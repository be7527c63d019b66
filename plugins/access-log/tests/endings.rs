//! However a request ends, there is one record of it, and the record says how.

mod support;

use support::{gateway, reference};
use vllm_gateway_sdk::{
    Outcome, Record, TokenSource,
    testkit::{self, Gateway, Request, Run, Upstream, json, sse, unreachable},
};

const ANSWER: &str =
    r#"{"id":"1","choices":[],"usage":{"prompt_tokens":7,"total_tokens":9,"completion_tokens":2}}"#;

fn chat() -> Request {
    testkit::chat("Qwen3-32B").key("acme")
}

/// Sends it to an upstream that does this; gives the one record.
async fn record_of(upstream: Upstream, request: Request) -> (Run, Record) {
    one_record(&reference().upstream(upstream), request).await
}

async fn one_record(gateway: &Gateway, request: Request) -> (Run, Record) {
    let run = gateway.send(request).await;
    assert_eq!(gateway.records_pending(), 0);
    let [record] = run.logged() else { panic!("{} records", run.logged().len()) };
    let record = record.clone();
    assert_eq!(record.status, run.status(), "the record says what the client was sent");
    if run.status() != 499 {
        assert_eq!(record.response_bytes, run.body().len() as u64);
    }
    (run, record)
}

#[tokio::test]
async fn a_stream_read_to_its_end_is_finished() {
    let (run, record) = record_of(sse(["Hel", "lo"]).usage(3, 2), chat()).await;
    assert_eq!((record.status, record.outcome), (200, Outcome::Finished));
    assert!(run.body().ends_with("data: [DONE]\n\n") && !run.body().contains("usage"), "{}", run.body());
    assert_eq!(
        (record.prompt_tokens, record.completion_tokens, record.total_tokens),
        (Some(3), Some(2), Some(5))
    );
    assert_eq!(record.token_source, TokenSource::Usage);
    assert_eq!((record.org_name.as_deref(), record.app_id.as_deref()), (Some("acme"), Some("id-of-acme")));
    assert_eq!((record.model.as_deref(), record.upstream.as_deref()), (Some("Qwen3-32B"), Some("vllm")));
    assert_eq!((record.endpoint.as_deref(), record.attempts), (Some("http://vllm.test:8000"), 1));
    assert_eq!((record.method.as_str(), record.path.as_str()), ("POST", "/v1/chat/completions"));
    assert_eq!((record.pipeline.as_deref(), record.error_code), (Some("test"), None));
    assert!(record.stream && record.ttft_ms.is_some() && record.request_bytes > 0);
}

#[tokio::test]
async fn a_client_that_hangs_up_after_the_last_event_has_finished() {
    // Role, two pieces, reason of the end, [DONE]: the server may never ask for what comes after.
    let (run, record) = record_of(sse(["Hel", "lo"]), chat().client_leaves_after(5)).await;
    assert!(run.body().ends_with("data: [DONE]\n\n"), "{}", run.body());
    assert_eq!(record.outcome, Outcome::Finished);
}

#[tokio::test]
async fn an_answer_of_declared_length_is_finished_with_its_last_byte() {
    let (run, record) = record_of(json(200, ANSWER), chat()).await;
    assert_eq!((run.body().as_str(), record.outcome), (ANSWER, Outcome::Finished));
    assert_eq!((record.total_tokens, record.token_source), (Some(9), TokenSource::Usage));
}

#[tokio::test]
async fn an_upstreams_own_error_is_finished_under_its_status() {
    let body = r#"{"error":{"message":"too long","type":"BadRequestError","param":null,"code":400}}"#;
    let (run, record) = record_of(json(400, body), chat()).await;
    assert_eq!((record.status, record.outcome), (400, Outcome::Finished));
    assert_eq!((run.body().as_str(), record.error_code), (body, None));
}

#[tokio::test]
async fn a_refusal_is_replied() {
    let (_, record) = record_of(sse(["x"]), testkit::chat("Qwen3-32B")).await;
    assert_eq!((record.status, record.outcome), (401, Outcome::Replied));
    assert_eq!(record.error_code.as_deref(), Some("invalid_api_key"));
    assert_eq!((record.attempts, record.ttft_ms, record.token_source), (0, None, TokenSource::None));
    let (_, record) = record_of(sse(["x"]), testkit::chat("unknown").key("acme")).await;
    assert_eq!((record.status, record.error_code.as_deref()), (404, Some("model_not_found")));
    assert_eq!(record.model.as_deref(), Some("unknown"));
}

#[tokio::test]
async fn an_answer_by_a_filter_or_the_gateway_is_replied() {
    let (run, record) = one_record(&gateway(r#""access-log", "answers""#, ""), chat()).await;
    assert_eq!((run.body().as_str(), record.status, record.outcome), ("from memory", 200, Outcome::Replied));
    let (_, record) = record_of(sse(["x"]), testkit::get("/v1/models").key("acme")).await;
    assert_eq!((record.status, record.outcome, record.attempts), (200, Outcome::Replied, 0));
}

#[tokio::test]
async fn a_refusal_at_the_last_moment_is_replied_and_calls_nobody() {
    let gateway = gateway(r#""access-log", "hesitates""#, "");
    let (run, record) = one_record(&gateway, chat()).await;
    assert_eq!((record.status, record.outcome, record.attempts), (429, Outcome::Replied, 0));
    assert_eq!((run.header("retry-after"), gateway.upstream_calls()), (Some("7"), 0));
}

#[tokio::test]
async fn an_upstream_that_cannot_be_reached_is_an_upstream_error() {
    let (run, record) = record_of(unreachable(), chat()).await;
    assert_eq!((record.status, record.outcome), (502, Outcome::UpstreamError));
    assert_eq!((run.error_code(), record.error_code.as_deref()), ("upstream_error", Some("upstream_error")));
}

#[tokio::test]
async fn an_upstream_that_breaks_in_mid_stream_broke() {
    for upstream in [sse(["Hel", "lo"]).upstream_breaks_after(2), sse(["Hel", "lo"]).upstream_ends_after(2)] {
        let (run, record) = record_of(upstream, chat()).await;
        assert_eq!((record.status, record.outcome), (200, Outcome::UpstreamBroke));
        assert_eq!(
            (run.error_code(), record.error_code.as_deref()),
            ("upstream_error", Some("upstream_error"))
        );
        assert!(run.broke_off() && !run.body().contains("[DONE]"), "{}", run.body());
    }
}

#[tokio::test]
async fn a_sized_answer_that_breaks_off_broke() {
    let (run, record) = record_of(json(200, ANSWER).upstream_breaks_after(0), chat()).await;
    assert_eq!(record.outcome, Outcome::UpstreamBroke);
    assert!(run.broke_off());
}

#[tokio::test]
async fn an_upstream_that_falls_silent_times_out() {
    let (run, record) = record_of(sse(["Hel", "lo"]).upstream_stalls_after(2), chat()).await;
    assert_eq!((record.status, record.outcome), (200, Outcome::Timeout));
    assert_eq!(record.error_code.as_deref(), Some("upstream_timeout"));
    assert!(run.broke_off());
}

#[tokio::test]
async fn a_client_that_leaves_before_the_head_is_gone() {
    let (run, record) = record_of(sse(["Hel", "lo"]), chat().client_leaves_before_head()).await;
    assert_eq!((run.status(), record.status, record.outcome), (499, 499, Outcome::ClientGone));
    assert_eq!((record.attempts, record.response_bytes), (1, 0));
}

#[tokio::test]
async fn a_client_that_leaves_midway_is_gone() {
    for chunks in [0, 1, 2] {
        let (_, record) = record_of(sse(["Hel", "lo"]).usage(3, 2), chat().client_leaves_after(chunks)).await;
        assert_eq!((record.status, record.outcome), (200, Outcome::ClientGone), "after {chunks}");
    }
}

#[tokio::test]
async fn what_shutdown_cuts_is_interrupted() {
    let (run, record) = record_of(sse(["Hel", "lo"]), chat().gateway_cuts_after(2)).await;
    assert_eq!((record.status, record.outcome), (200, Outcome::Interrupted));
    assert_eq!(record.error_code.as_deref(), Some("shutting_down"));
    assert!(run.broke_off() && !run.body().contains("[DONE]"), "{}", run.body());
}

#[tokio::test]
async fn each_of_many_requests_has_a_record_of_its_own() {
    let gateway = reference();
    for _ in 0..20 {
        one_record(&gateway, chat()).await;
    }
    let mut ids: Vec<_> = gateway.logged().iter().map(|record| record.id).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 20);
}
