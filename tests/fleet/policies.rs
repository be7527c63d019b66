//! Each policy spreads requests as its name says.

use serde_json::json;
use vllm_gateway_simulator::Simulator;

use crate::{
    support::{PIPELINE, Setup, at, chat, fast},
    yard::{yard, yard_of},
};

#[tokio::test]
async fn every_policy_serves_and_leaves_nobody_out() {
    for policy in ["round-robin", "least-requests", "p2c", "vllm-load", "prefix", "session"] {
        let yard = yard(3, &format!("balance = \"{policy}\"")).await;
        for n in 0..40 {
            let prompt = format!("{n} ").repeat(200);
            let body =
                chat(json!({"messages": [{"role": "user", "content": prompt}], "user": format!("user-{n}")}));
            assert_eq!(yard.post("/v1/chat/completions", &body).send().await.unwrap().status(), 200);
        }
        let shares = yard.shares();
        assert!(
            shares.iter().sum::<usize>() == 40 && shares.iter().all(|share| *share >= 3),
            "{policy}: {shares:?}"
        );
        assert_eq!(yard.told().await["balance"], policy);
    }
}

#[tokio::test]
async fn weights_are_heeded() {
    let yard = yard(2, "balance = \"round-robin\"").await;
    let text = std::fs::read_to_string(yard.config()).unwrap();
    let (first, rest) = text.split_once(" }, {").unwrap();
    std::fs::write(yard.config(), format!("{first}, weight = 3 }}, {{{rest}")).unwrap();
    assert!(yard.gateway.reload().await);
    yard.served(8).await;
    assert_eq!(yard.shares(), [6, 2]);
}

#[tokio::test]
async fn the_same_beginning_goes_where_it_is_cached_even_if_the_system_prompt_stands_last() {
    let yard = yard(4, "balance = \"prefix\"").await;
    let messages =
        |turn: usize| json!([{"role": "user", "content": format!("turn {turn} {}", "x".repeat(600))}]);
    for turn in 0..12 {
        let system = "You are terse. ".repeat(60);
        let body =
            json!({"model": "Qwen3-32B", "max_tokens": 2, "messages": messages(turn), "system": system});
        assert_eq!(yard.post("/v1/messages", &body).send().await.unwrap().status(), 200);
    }
    assert_eq!(yard.shares().iter().filter(|share| **share > 0).count(), 1, "{:?}", yard.shares());
}

#[tokio::test]
async fn a_session_is_told_by_a_header_else_by_the_user_else_by_the_app() {
    let yard = yard(4, "balance = \"session\"").await;
    let homes = || yard.shares().iter().filter(|share| **share > 0).count();
    for n in 0..10 {
        let body = chat(json!({"user": format!("user-{n}")}));
        let request = yard.post("/v1/chat/completions", &body).header("x-session-id", "mine");
        assert_eq!(request.send().await.unwrap().status(), 200);
    }
    assert_eq!(homes(), 1, "the header comes first");
    yard.vllms.iter().for_each(Simulator::forget);
    yard.served(10).await;
    assert_eq!(homes(), 1, "all are the same app's");
    yard.vllms.iter().for_each(Simulator::forget);
    for n in 0..40 {
        yard.chat(json!({"user": format!("user-{n}")})).await;
    }
    assert_eq!(homes(), 4, "users differ");
}

#[tokio::test]
async fn vllms_own_figures_decide_and_are_shown() {
    let tick = std::time::Duration::from_millis(20);
    let slow = at(vllm_gateway_simulator::Speed { ttft: tick, itl: tick, ..Default::default() });
    let yard = yard_of(vec![slow.clone(), slow], "balance = \"vllm-load\"").await;
    // Work that this gateway does not know of.
    let body = chat(json!({"stream": true, "max_tokens": 4000, "ignore_eos": true}));
    let client = reqwest::Client::new();
    let mut others = Vec::new();
    for _ in 0..5 {
        let url = format!("{}/v1/chat/completions", yard.vllms[0].url());
        others.push(
            client
                .post(url)
                .header("content-type", "application/json")
                .body(body.to_string())
                .send()
                .await
                .unwrap(),
        );
    }
    let begun = std::time::Instant::now();
    while yard.told().await["endpoints"][0]["reported"]["running"] != 5 {
        assert!(begun.elapsed() < crate::support::PATIENCE, "{}", yard.told().await);
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    yard.vllms[0].forget();
    yard.served(6).await;
    assert_eq!(yard.shares(), [0, 6]);
    drop(others);
}

/// A canary: one model, two upstreams, one of which knows it by another name.
#[tokio::test]
async fn a_model_may_be_divided_between_upstreams() {
    let new = Simulator::start(vllm_gateway_simulator::Options { models: vec!["next".into()], ..fast() })
        .await
        .unwrap();
    let canary = format!(
        "[{{ upstream = \"main\", weight = 3 }}, {{ upstream = \"new\", model = \"next\" }}]\n[upstreams.new]\n\
         endpoints = [{{ url = \"{}\" }}]",
        new.url()
    );
    let rest = PIPELINE.replace(
        "[filters.model-route]\nmodels = { \"Qwen3-32B\" = \"main\" }",
        &format!("[filters.model-route.models]\n\"Qwen3-32B\" = {canary}"),
    );
    let stage = Setup::rest(&rest).start().await;
    for _ in 0..80 {
        assert_eq!(stage.chat(json!({})).await.status(), 200);
    }
    let (old, new) = (stage.vllm.requests().len(), new.requests().len());
    assert!(old + new == 80 && (5..40).contains(&new), "{old} and {new}");
    let record = &stage.records("outcome=finished", 80).await;
    let of = |upstream: &str| record.iter().filter(|record| record["upstream"] == upstream).count();
    assert_eq!((of("main"), of("new")), (old, new));
    let models = stage.client.get(stage.url("/v1/models")).bearer_auth(&stage.key).send().await.unwrap();
    assert_eq!(crate::support::json_of(models).await["data"].as_array().unwrap().len(), 1);
}
