//! Servers in vLLM's sleep mode.

use serde_json::json;
use vllm_gateway_simulator::{Fault, Options, Rule, Simulator};

use crate::{
    support::{MODEL, Setup, fast},
    yard::{Yard, endpoints, yard_of},
};

/// So many servers that can sleep, all asleep, with these options of their upstream.
async fn sleepers(count: usize, upstream: &str) -> Yard {
    let server = || Options { dev_mode: true, ..fast() };
    let upstream = format!("health = {{ interval = \"20ms\" }}\n{upstream}");
    let yard = yard_of((0..count).map(|_| server()).collect(), &upstream).await;
    yard.vllms.iter().for_each(|vllm| vllm.set_asleep(true));
    yard.are(&vec!["asleep"; count]).await;
    yard
}

/// How many requests each has seen.
fn chats(yard: &Yard) -> Vec<usize> {
    let chats =
        |vllm: &Simulator| vllm.requests().iter().filter(|seen| seen.path == "/v1/chat/completions").count();
    yard.vllms.iter().map(chats).collect()
}

fn woken(vllm: &Simulator) -> usize {
    vllm.requests().iter().filter(|seen| seen.path == "/wake_up").count()
}

#[tokio::test]
async fn a_server_that_sleeps_gets_no_requests_until_it_is_awake() {
    let yard = sleepers(2, "").await;
    yard.vllms[1].set_asleep(false);
    yard.are(&["asleep", "up"]).await;
    yard.served(5).await;
    assert_eq!(chats(&yard), [0, 5]);
    yard.vllms[0].set_asleep(false);
    yard.are(&["up", "up"]).await;
    yard.vllms[1].set_asleep(true);
    yard.are(&["up", "asleep"]).await;
    yard.served(5).await;
    assert_eq!(chats(&yard), [5, 5]);
}

#[tokio::test]
async fn if_all_sleep_requests_are_refused_at_once_and_nobody_is_woken() {
    let yard = sleepers(2, "").await;
    let answer = yard.chat(json!({})).await;
    assert_eq!(answer.status(), 503);
    let error: serde_json::Value = answer.json().await.unwrap();
    assert_eq!(error["error"]["code"], "no_healthy_endpoint");
    assert_eq!(chats(&yard), [0, 0]);
}

#[tokio::test]
async fn one_is_woken_once_for_all_requests_that_wait() {
    let yard = sleepers(2, "when_asleep = \"wake\"").await;
    let all = futures_util::future::join_all((0..40).map(|_| yard.chat(json!({})))).await;
    assert!(all.iter().all(|answer| answer.status() == 200));
    assert_eq!([woken(&yard.vllms[0]), woken(&yard.vllms[1])], [1, 0]);
    assert_eq!(yard.states().await[1], "asleep");
}

#[tokio::test]
async fn a_server_that_cannot_be_woken_leaves_it_to_the_next() {
    let yard = sleepers(2, "when_asleep = \"wake\"").await;
    yard.vllms[0].inject(Rule::always(Fault::Status(500)));
    yard.served(3).await;
    assert_eq!(woken(&yard.vllms[1]), 1);
}

#[tokio::test]
async fn nobody_is_woken_while_another_can_be_asked() {
    let yard = sleepers(2, "when_asleep = \"wake\"").await;
    yard.vllms[1].set_asleep(false);
    yard.are(&["asleep", "up"]).await;
    yard.served(10).await;
    assert_eq!((chats(&yard)[1], woken(&yard.vllms[0])), (10, 0));
}

#[tokio::test]
async fn whoever_has_a_fallback_takes_it_and_has_the_first_choice_woken() {
    let mut vllms = Vec::new();
    for _ in 0..2 {
        vllms.push(Simulator::start(Options { dev_mode: true, ..fast() }).await.unwrap());
    }
    let rest = format!(
        r#"
[pipelines.default]
filters = ["access-log", "auth", "model-route"]
[filters.access-log]
[filters.auth]
[filters.model-route.models]
"{MODEL}" = {{ upstream = "main", fallbacks = ["spare"] }}
spare = {{ upstream = "spare", model = "{MODEL}" }}
[upstreams.main]
when_asleep = "wake"
health = {{ interval = "20ms" }}
{}
[upstreams.spare]
{}
"#,
        endpoints(&vllms[..1]),
        endpoints(&vllms[1..])
    );
    let yard = Yard { stage: Setup::rest(&rest).start().await, vllms };
    yard.vllms[0].set_asleep(true);
    yard.are(&["asleep"]).await;
    yard.served(1).await;
    assert_eq!(chats(&yard), [0, 1]);
    yard.are(&["up"]).await;
    assert_eq!(woken(&yard.vllms[0]), 1);
}

#[tokio::test]
async fn one_that_does_not_wake_does_not_keep_another_from_being_woken() {
    let yard = sleepers(2, "when_asleep = \"wake\"").await;
    yard.vllms[0].inject(Rule::always(Fault::Hang).on("/wake_up"));
    yard.served(1).await;
    assert_eq!([woken(&yard.vllms[0]), woken(&yard.vllms[1])], [1, 1]);
}

#[tokio::test]
async fn what_needs_no_engine_does_not_hide_that_a_server_sleeps() {
    let yard = sleepers(1, "").await;
    yard.vllms[0].set_asleep(false);
    yard.are(&["up"]).await;
    let ask = || yard.post("/tokenize", &json!({"model": MODEL, "prompt": "a"})).send();
    let keeps_asking = async {
        loop {
            let _ = ask().await;
        }
    };
    let falls_asleep = async {
        yard.vllms[0].set_asleep(true);
        yard.are(&["asleep"]).await;
    };
    tokio::select! {
        () = keeps_asking => {}
        () = falls_asleep => {}
    }
}
