//! A filter that panics costs nobody a record.

mod support;

use support::gateway;
use vllm_gateway_sdk::{
    Outcome, Record,
    testkit::{self, Run},
};

/// The run and its one record, with a filter that panics in this hook before or behind the access log.
async fn panicking_in(hook: &str, filters: &str) -> (Run, Record) {
    let gateway = gateway(filters, &format!("[panics]\nhook = \"{hook}\""));
    let run = gateway.send(testkit::chat("Qwen3-32B")).await;
    assert_eq!(gateway.records_pending(), 0);
    let [record] = run.logged() else { panic!("{hook}: {} records", run.logged().len()) };
    let record = record.clone();
    (run, record)
}

#[tokio::test]
async fn a_filter_that_panics_on_the_request_is_a_500() {
    let (run, record) = panicking_in("request", r#""access-log", "panics""#).await;
    assert_eq!((run.status(), run.error_code()), (500, "internal_error"));
    assert_eq!((record.status, record.outcome), (500, Outcome::Replied));
    assert_eq!(record.error_code.as_deref(), Some("internal_error"));
    assert!(!run.body().contains("as it was told"), "a panic's text is for the log: {}", run.body());
}

#[tokio::test]
async fn a_watcher_that_panics_at_the_end_changes_nothing() {
    for hook in ["last", "complete"] {
        for filters in [r#""access-log", "panics""#, r#""panics", "access-log""#] {
            let (run, record) = panicking_in(hook, filters).await;
            assert_eq!((run.status(), record.outcome), (200, Outcome::Finished), "{hook}");
            assert!(run.body().ends_with("data: [DONE]\n\n"), "{hook}");
        }
    }
}

#[tokio::test]
async fn a_watcher_that_panics_on_the_body_breaks_the_response_and_leaves_its_record() {
    for hook in ["chunk", "event"] {
        for filters in [r#""access-log", "panics""#, r#""panics", "access-log""#] {
            let (run, record) = panicking_in(hook, filters).await;
            assert_eq!((run.status(), record.outcome), (200, Outcome::GatewayError), "{hook}");
            assert_eq!(record.error_code.as_deref(), Some("internal_error"), "{hook}");
            assert!(run.broke_off(), "{hook}");
        }
    }
}

#[tokio::test]
async fn a_watcher_that_panics_before_the_head_is_a_500_and_leaves_its_record() {
    for hook in ["before-upstream", "head"] {
        for filters in [r#""access-log", "panics""#, r#""panics", "access-log""#] {
            let (run, record) = panicking_in(hook, filters).await;
            assert_eq!((run.status(), run.error_code()), (500, "internal_error"), "{hook}");
            assert_eq!((record.status, record.outcome), (500, Outcome::Replied), "{hook}");
            assert_eq!(record.error_code.as_deref(), Some("internal_error"), "{hook}");
        }
    }
}
