//! Servers that go, come back, or only seem to be well.

use std::time::{Duration, Instant};

use serde_json::json;
use vllm_gateway_simulator::{Door, Fault, Rule};

use crate::yard::yard;

#[tokio::test]
async fn a_server_that_dies_costs_no_request_and_gets_its_share_when_it_is_back() {
    let yard = yard(3, "ejection = { return_over = \"1ms\" }").await;
    yard.served(3).await;
    yard.vllms[1].set_door(Door::Refuse).await;
    yard.vllms[1].hang_up();
    yard.served(20).await;
    yard.are(&["up", "down", "up"]).await;
    let url = yard.vllms[1].url();
    let up = format!("vllm_gateway_endpoint_up{{upstream=\"main\",endpoint=\"{url}\"}}");
    assert_eq!(yard.metric(&up).await.as_deref(), Some("0"));
    let before = yard.shares();
    yard.served(10).await;
    assert_eq!(yard.shares()[1], before[1], "nobody is sent there any more");
    yard.vllms[1].set_door(Door::Open).await;
    yard.are(&["up", "up", "up"]).await;
    yard.served(9).await;
    assert_eq!(yard.shares()[1], before[1] + 3);
}

#[tokio::test]
async fn a_server_whose_engine_is_dead_is_down_by_its_own_word() {
    let yard = yard(2, "health = { interval = \"20ms\" }").await;
    yard.vllms[0].set_engine_dead(true);
    yard.are(&["down", "up"]).await;
    yard.served(6).await;
    assert_eq!(yard.shares(), [0, 6]);
}

#[tokio::test]
async fn requests_that_fail_one_after_another_eject_a_server_that_says_it_is_well() {
    let yard = yard(2, "ejection = { failures = 2, base = \"300ms\", return_over = \"1ms\" }").await;
    yard.vllms[0].inject(Rule::always(Fault::Status(500)));
    let mut statuses = Vec::new();
    for _ in 0..12 {
        statuses.push(yard.chat(json!({})).await.status().as_u16());
    }
    assert_eq!(statuses.iter().filter(|status| **status == 500).count(), 2, "{statuses:?}");
    yard.are(&["ejected", "up"]).await;
    let url = yard.vllms[0].url();
    let sample = format!("vllm_gateway_endpoint_ejections_total{{upstream=\"main\",endpoint=\"{url}\"}}");
    assert_eq!(yard.metric(&sample).await.as_deref(), Some("1"));
    yard.vllms[0].clear_faults();
    yard.are(&["up", "up"]).await;
    yard.served(4).await;
}

#[tokio::test]
async fn the_last_server_is_asked_whatever_it_does() {
    let yard = yard(1, "ejection = { failures = 1 }").await;
    yard.vllms[0].inject(Rule::always(Fault::Status(500)));
    for _ in 0..10 {
        assert_eq!(yard.chat(json!({})).await.status(), 500);
    }
    assert_eq!(yard.shares(), [10]);
    yard.vllms[0].clear_faults();
    yard.served(3).await;
}

#[tokio::test]
async fn streams_that_break_count_and_clients_that_leave_do_not() {
    let yard = yard(2, "ejection = { failures = 3, base = \"60s\" }\nbalance = \"least-requests\"").await;
    yard.vllms[0].inject(Rule::always(Fault::ResetAfter(2)));
    yard.vllms[1].inject(Rule::always(Fault::HangAfter(2)));
    let begun = Instant::now();
    while yard.states().await != ["ejected", "up"] {
        assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", yard.states().await);
        let mut answer = yard.chat(json!({"stream": true})).await;
        // Reads until it breaks, or leaves a stream that hangs.
        while let Ok(Ok(Some(_))) = tokio::time::timeout(Duration::from_millis(100), answer.chunk()).await {}
    }
    yard.vllms[1].clear_faults();
}

#[tokio::test]
async fn a_server_that_is_shutting_down_costs_no_request() {
    let yard = yard(2, "").await;
    yard.vllms[0].set_draining(true);
    yard.served(10).await;
    assert_eq!(yard.shares()[1], 10);
    let sample = "vllm_gateway_retries_total{upstream=\"main\",reason=\"draining\"}";
    assert_eq!(yard.metric(sample).await.as_deref(), Some("1"), "after that it is left alone");
}

#[tokio::test]
async fn a_server_that_aborts_its_streams_is_about_to_end_and_gets_no_more_for_the_moment() {
    let yard = yard(2, "health = { interval = \"never\" }\nbalance = \"round-robin\"").await;
    yard.vllms[0].set_asleep(true);
    yard.vllms[1].set_asleep(true);
    let both = async { tokio::join!(yard.chat(json!({"stream": true})), yard.chat(json!({"stream": true}))) };
    let stopped = async {
        assert!(yard.vllms[0].wait_for(Duration::from_secs(10), |vllm| vllm.active() == 1).await);
        assert!(yard.vllms[1].wait_for(Duration::from_secs(10), |vllm| vllm.active() == 1).await);
        yard.vllms[0].abort_all();
        yard.vllms[1].set_asleep(false);
    };
    let ((one, other), ()) = tokio::join!(both, stopped);
    let texts = [one.text().await.unwrap(), other.text().await.unwrap()];
    let aborted = texts.iter().filter(|text| text.contains("\"finish_reason\":\"abort\"")).count();
    assert_eq!(aborted, 1, "{texts:?}");
    yard.are(&["full", "up"]).await;
    let before = yard.shares();
    yard.served(4).await;
    assert_eq!(yard.shares(), [before[0], before[1] + 4]);
}
