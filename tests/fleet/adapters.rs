//! LoRA adapters: servers tell of them, and the gateway serves them by their names.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use vllm_gateway_simulator::{Fault, Options, Rule};

use crate::{
    support::{MODEL, PATIENCE, Setup, chat, fast},
    yard::{Yard, endpoints, yard_of},
};

/// Servers with these adapters.
async fn with_adapters(adapters: &[&[&str]], upstream: &str) -> Yard {
    let server = |names: &&[&str]| Options {
        adapters: names.iter().map(|name| (*name).to_owned()).collect(),
        ..fast()
    };
    yard_of(adapters.iter().map(server).collect(), upstream).await
}

async fn listed(yard: &Yard, key: &str) -> Vec<Value> {
    let answer = yard.client.get(yard.url("/v1/models")).bearer_auth(key).send().await.unwrap();
    let list: Value = answer.json().await.unwrap();
    list["data"].as_array().unwrap().clone()
}

fn ids(list: &[Value]) -> Vec<&str> {
    list.iter().map(|entry| entry["id"].as_str().unwrap()).collect()
}

async fn narrow_key(yard: &Yard, models: &[&str]) -> String {
    let app = yard.create_app(json!({"orgName": "narrow", "allowedModels": models})).await;
    app["apiKey"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn adapters_are_listed_and_served_by_their_names() {
    let yard = with_adapters(&[&["sql", "poems"]], "").await;
    let list = listed(&yard, &yard.key).await;
    assert_eq!(ids(&list), [MODEL, "poems", "sql"]);
    assert_eq!(list[2]["parent"], MODEL);
    let one = yard.client.get(yard.url("/v1/models/sql")).bearer_auth(&yard.key).send().await.unwrap();
    assert_eq!(one.json::<Value>().await.unwrap()["id"], "sql");
    let answer = yard.chat(json!({"model": "sql"})).await;
    assert_eq!(answer.status(), 200);
    let record = yard.record_of(&answer).await;
    assert_eq!((&record["model"], &record["upstream"]), (&json!("sql"), &json!("main")));
    let sent: Value = serde_json::from_slice(&yard.vllms[0].requests().last().unwrap().body).unwrap();
    assert_eq!(sent["model"], "sql");
}

#[tokio::test]
async fn a_request_goes_to_a_server_that_has_its_adapter() {
    let yard = with_adapters(&[&["sql"], &[], &["sql", "poems"], &[]], "balance = \"round-robin\"").await;
    for _ in 0..8 {
        assert_eq!(yard.chat(json!({"model": "poems"})).await.status(), 200);
    }
    assert_eq!(yard.shares(), [0, 0, 8, 0]);
    for _ in 0..8 {
        assert_eq!(yard.chat(json!({"model": "sql"})).await.status(), 200);
    }
    assert_eq!((yard.shares()[1], yard.shares()[3]), (0, 0));
    yard.served(8).await;
    assert!(yard.shares().iter().all(|share| *share > 0), "the model itself is everywhere");
}

#[tokio::test]
async fn an_app_with_a_list_of_models_needs_the_adapter_on_it() {
    let yard = with_adapters(&[&["sql", "poems"]], "").await;
    let key = narrow_key(&yard, &["sql"]).await;
    assert_eq!(ids(&listed(&yard, &key).await), ["sql"]);
    for (model, status) in [("sql", 200), ("poems", 403), (MODEL, 403), ("prose", 404)] {
        let request = yard.client.post(yard.url("/v1/chat/completions")).bearer_auth(&key);
        let answer = request.json(&chat(json!({"model": model}))).send().await.unwrap();
        assert_eq!(answer.status(), status, "{model}");
    }
    let base = narrow_key(&yard, &[MODEL]).await;
    assert_eq!(ids(&listed(&yard, &base).await), [MODEL]);
}

#[tokio::test]
async fn adapters_belong_to_the_model_that_is_routed_and_can_be_switched_off() {
    // The server's own model has another name than the one that is routed there.
    let vllm =
        vllm_gateway_simulator::Simulator::start(Options { adapters: vec!["sql".into()], ..fast() }).await;
    let vllms = vec![vllm.unwrap()];
    let config = |more: &str| {
        format!(
            "[pipelines.default]\nfilters = [\"auth\", \"model-route\"]\n[filters.auth]\n\
             [filters.model-route]\n{more}\nmodels = {{ \"mine\" = {{ upstream = \"main\", model = \"{MODEL}\" }} }}\n\
             [upstreams.main]\n{}\n",
            endpoints(&vllms)
        )
    };
    let stage = Setup::rest(&config("")).start().await;
    let answer = stage.client.get(stage.url("/v1/models/sql")).bearer_auth(&stage.key).send().await.unwrap();
    assert_eq!(answer.json::<Value>().await.unwrap()["parent"], "mine");
    assert_eq!(stage.chat(json!({"model": "sql"})).await.status(), 200);
    // By the name that it has there, the model itself is nobody's.
    assert_eq!(stage.chat(json!({})).await.status(), 404);
    let stage = Setup::rest(&config("adapters = false")).start().await;
    assert_eq!(stage.chat(json!({"model": "sql"})).await.status(), 404);
    let answer = stage.client.get(stage.url("/v1/models")).bearer_auth(&stage.key).send().await.unwrap();
    assert_eq!(answer.json::<Value>().await.unwrap()["data"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn names_that_nobody_has_ask_the_servers_no_more_than_now_and_then() {
    let yard = with_adapters(&[&["sql"], &["sql"]], "").await;
    for n in 0..50 {
        assert_eq!(yard.chat(json!({"model": format!("nobody-{n}")})).await.status(), 404);
    }
    for vllm in &yard.vllms {
        assert!(vllm.requests().iter().filter(|seen| seen.path == "/v1/models").count() <= 2);
    }
}

#[tokio::test]
async fn servers_that_do_not_tell_their_models_hold_nobody_up() {
    let yard = with_adapters(&[&["sql"], &["sql"]], "").await;
    yard.vllms.iter().for_each(|vllm| vllm.inject(Rule::always(Fault::Hang).on("/v1/models")));
    let begun = Instant::now();
    let asked = (0..30).map(|n| yard.chat(json!({"model": format!("nobody-{n}")})));
    let answers = futures_util::future::join_all(asked).await;
    assert!(answers.iter().all(|answer| answer.status() == 404));
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    for vllm in &yard.vllms {
        assert!(vllm.requests().iter().filter(|seen| seen.path == "/v1/models").count() <= 1);
    }
}

#[tokio::test]
async fn requests_that_wait_for_the_server_of_their_adapter_are_in_nobodys_way() {
    let yard = with_adapters(&[&["sql"], &[]], "max_concurrent_per_endpoint = 1").await;
    yard.vllms[0].set_asleep(true);
    let body = chat(json!({"model": "sql"}));
    let waiting: Vec<_> =
        (0..3).map(|_| tokio::spawn(yard.post("/v1/chat/completions", &body).send())).collect();
    assert!(yard.vllms[0].wait_for(PATIENCE, |vllm| vllm.active() == 1).await);
    yard.served(5).await;
    assert_eq!(yard.shares(), [1, 5]);
    yard.vllms[0].set_asleep(false);
    for one in waiting {
        assert_eq!(one.await.unwrap().unwrap().status(), 200);
    }
    assert_eq!(yard.shares(), [3, 5]);
}
