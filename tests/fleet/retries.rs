//! What is tried a second time, and what must not be.

use serde_json::json;
use vllm_gateway_simulator::{Fault, Options, Rule};

use crate::{
    support::{chat, fast, slow},
    yard::{Yard, yard, yard_of},
};

async fn resetting(options: &str) -> Yard {
    let yard = yard(2, options).await;
    yard.vllms[0].inject(Rule::always(Fault::Reset));
    yard
}

#[tokio::test]
async fn a_full_queue_sends_a_request_to_another_server() {
    let full = Options { max_num_queued_reqs: Some(0), ..fast() };
    let yard = yard_of(vec![full, fast()], "").await;
    for n in 0..6 {
        let answer = yard.chat(json!({})).await;
        assert_eq!(answer.status(), 200);
        if n == 0 {
            let record = yard.record_of(&answer).await;
            assert_eq!((&record["attempts"], &record["outcome"]), (&json!(2), &json!("finished")));
            assert_eq!(record["endpoint"], yard.vllms[1].url());
        }
    }
    assert_eq!(yard.shares()[1], 6);
    assert!(yard.shares()[0] <= 2, "{:?}", yard.shares());
}

#[tokio::test]
async fn without_leave_the_clients_gets_vllms_own_words() {
    let full = || Options { max_num_queued_reqs: Some(0), ..fast() };
    let yard = yard_of(vec![full(), full()], "retry_on = []").await;
    let answer = yard.chat(json!({})).await;
    assert_eq!(answer.status(), 503);
    let record = yard.record_of(&answer).await;
    assert_eq!((&record["attempts"], &record["outcome"]), (&json!(1), &json!("finished")));
    assert!(answer.text().await.unwrap().contains("The engine is currently busy"));
}

#[tokio::test]
async fn what_may_have_been_generated_is_not_sent_again_unless_the_operator_says_so() {
    let yard = resetting("").await;
    let mut statuses: Vec<_> = Vec::new();
    for _ in 0..2 {
        statuses.push(yard.chat(json!({})).await.status().as_u16());
    }
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 502]);

    let yard = resetting("retry_on = [\"broken\"]").await;
    yard.served(4).await;
    let sample = "vllm_gateway_retries_total{upstream=\"main\",reason=\"broken\"}";
    assert!(yard.metric(sample).await.is_some());
}

#[tokio::test]
async fn what_leaves_a_trace_at_the_server_is_never_sent_again() {
    let yard = resetting("retry_on = [\"broken\"]").await;
    let mut statuses = Vec::new();
    for _ in 0..2 {
        let body = json!({"model": "Qwen3-32B", "input": "hello"});
        statuses.push(yard.post("/v1/responses", &body).send().await.unwrap().status().as_u16());
    }
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 502]);
}

#[tokio::test]
async fn nothing_is_sent_again_once_a_byte_of_it_is_out() {
    let yard = yard(2, "retry_on = [\"broken\", \"busy\", \"draining\"]").await;
    yard.vllms.iter().for_each(|vllm| vllm.inject(Rule::always(Fault::ResetAfter(2))));
    let answer = yard.chat(json!({"stream": true})).await;
    let record_id = answer.headers()["x-request-id"].to_str().unwrap().to_owned();
    let _ = answer.text().await;
    let record = yard.record(&record_id).await;
    assert_eq!((&record["attempts"], &record["outcome"]), (&json!(1), &json!("upstream_broke")));
    assert_eq!(yard.shares().iter().sum::<usize>(), 1);
}

#[tokio::test]
async fn retries_do_not_become_a_storm() {
    let yard =
        yard_of(vec![slow(), slow(), slow(), slow()], "retry_on = [\"broken\"]\nretry_budget = 0").await;
    yard.vllms.iter().for_each(|vllm| vllm.inject(Rule::always(Fault::Reset)));
    let body = chat(json!({}));
    let asked: Vec<_> =
        (0..50).map(|_| tokio::spawn(yard.post("/v1/chat/completions", &body).send())).collect();
    for one in asked {
        assert_eq!(one.await.unwrap().unwrap().status(), 502);
    }
    // Three at a time may always be tried again; without a budget each would have been at all four.
    let attempts: usize = yard.shares().iter().sum();
    assert!((50..200).contains(&attempts), "{attempts}");
}
