//! What is kept, for how long, and what happens when nothing more can be kept.

mod support;

use std::time::Duration;

use support::{gateway, reference};
use vllm_gateway_sdk::testkit;

fn with_retention(value: &str) -> String {
    format!("filters = [\"access-log\"]\n[access-log]\nretention = {value}\n")
}

#[tokio::test]
async fn rather_refused_than_unrecorded() {
    let gateway = reference().log_is_full();
    let run = gateway.send(testkit::chat("Qwen3-32B").key("acme")).await;
    assert_eq!((run.status(), run.error_code()), (503, "log_unavailable"));
    assert!(run.header("retry-after").is_some());
    assert_eq!((gateway.upstream_calls(), gateway.logged().len(), gateway.records_pending()), (0, 0, 0));
}

#[tokio::test]
async fn filters_before_the_log_refuse_without_a_record() {
    let gateway = gateway(r#""auth", "access-log""#, "");
    assert_eq!(gateway.send(testkit::chat("Qwen3-32B")).await.logged().len(), 0);
    assert_eq!(gateway.send(testkit::chat("Qwen3-32B").key("acme")).await.logged().len(), 1);
}

#[tokio::test]
async fn neither_prompt_nor_answer_nor_key_is_kept() {
    let gateway = reference().upstream(testkit::sse(["secret answer"]));
    let request = testkit::chat("Qwen3-32B")
        .key("acme")
        .header("user-agent", "curl sk-live-0123456789abcdef0123456789abcdef");
    let run = gateway.send(request).await;
    let record = serde_json::to_string(&run.logged()[0]).expect("a record is JSON");
    for secret in ["Say hello", "secret answer", "0123456789abcdef"] {
        assert!(!record.contains(secret), "{record}");
    }
    assert!(record.contains("curl"), "{record}");
}

#[test]
fn records_are_kept_as_long_as_it_says() {
    let gateway = testkit::pipeline(&with_retention("\"90d\""));
    assert_eq!(gateway.retentions(), [Some(Duration::from_hours(90 * 24))]);
}

#[test]
fn records_are_kept_for_ever_if_nothing_is_said() {
    assert_eq!(testkit::pipeline(r#"filters = ["access-log"]"#).retentions(), [None]);
}

#[test]
fn a_retention_that_is_no_duration_is_reported_where_it_stands() {
    for (value, begins) in [
        ("\"90 moons\"", "3:13: `90 moons` is not a duration"),
        ("90", "3:13: expected a string"),
        ("\"0s\"", "3:13: `retention`: a duration must be longer than nothing"),
    ] {
        let problems = testkit::problems(&with_retention(value));
        assert!(problems.len() == 1 && problems[0].starts_with(begins), "{problems:?}");
    }
}

#[test]
fn a_misspelt_option_names_the_right_one() {
    let problems = testkit::problems("filters = [\"access-log\"]\n[access-log]\nretenion = \"1d\"\n");
    assert!(
        problems[0].starts_with("3:1: unknown field `retenion`, did you mean `retention`?"),
        "{problems:?}"
    );
}
