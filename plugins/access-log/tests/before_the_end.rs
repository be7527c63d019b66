//! What is kept before an exchange has ended, so that the death of the process does not lose it.

mod support;

use support::{gateway, reference};
use vllm_gateway_sdk::{Outcome, TokenSource, testkit};

#[tokio::test]
async fn a_record_stands_before_an_upstream_is_called() {
    let gateway = reference();
    gateway.send(testkit::chat("Qwen3-32B").key("acme")).await;
    let opened = gateway.records_opened();
    assert_eq!(opened.len(), 1);
    assert_eq!((opened[0].outcome, opened[0].attempts, opened[0].status), (Outcome::Interrupted, 1, 499));
    assert!(opened[0].endpoint.is_some(), "where it goes is kept before it does");
    assert_eq!(opened[0].model.as_deref(), Some("Qwen3-32B"));
    assert!(opened[0].app_id.is_some());
}

#[tokio::test]
async fn what_never_reaches_an_upstream_is_not_opened() {
    let gateway = reference();
    assert_eq!(gateway.send(testkit::chat("Qwen3-32B")).await.status(), 401);
    assert_eq!(gateway.send(testkit::chat("unheard-of").key("acme")).await.status(), 404);
    assert_eq!((gateway.records_opened().len(), gateway.logged().len()), (0, 2));
}

#[tokio::test]
async fn whatever_goes_out_has_been_counted_before() {
    let gateway = reference().upstream(testkit::sse(["one", "two", "three"]).usage(5, 3));
    gateway.send(testkit::chat("Qwen3-32B").key("acme")).await;
    let on_the_way = gateway.records_on_the_way();
    assert!(on_the_way.windows(2).all(|pair| pair[0].response_bytes <= pair[1].response_bytes));
    assert!(on_the_way.iter().all(|record| record.status == 200 && record.attempts == 1));
    let last = on_the_way.last().expect("three chunks went out");
    assert_eq!((last.completion_tokens, last.token_source), (Some(3), TokenSource::Usage));
}

#[tokio::test]
async fn an_exchange_is_written_once_however_often_it_is_told_of_its_end() {
    let gateway = gateway(r#""access-log""#, "");
    for _ in 0..3 {
        gateway.send(testkit::chat("Qwen3-32B")).await;
    }
    assert_eq!((gateway.logged().len(), gateway.records_pending()), (3, 0));
}
