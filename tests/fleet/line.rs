//! Requests that wait because all servers are busy.

use std::time::{Duration, Instant};

use reqwest::RequestBuilder;
use serde_json::{Value, json};
use vllm_gateway_simulator::{Options, Speed};

use crate::{
    support::{at, chat},
    yard::{Yard, yard, yard_of},
};

/// A server that holds a request until it is woken.
async fn asleep(options: &str) -> Yard {
    let yard = yard(1, options).await;
    yard.vllms[0].set_asleep(true);
    yard
}

fn ask(yard: &Yard, key: &str, id: &str) -> RequestBuilder {
    let request = yard.client.post(yard.url("/v1/chat/completions")).bearer_auth(key);
    request.header("x-request-id", id).json(&chat(json!({})))
}

async fn app(yard: &Yard, name: &str) -> String {
    let app: Value = yard.create_app(json!({"orgName": name})).await;
    app["apiKey"].as_str().unwrap().to_owned()
}

/// Sends a request and waits until it runs, or stands in the line as the so-manieth.
async fn sent(yard: &Yard, key: &str, id: &str, waiting: u64) -> tokio::task::JoinHandle<reqwest::Response> {
    let request = ask(yard, key, id);
    let task = tokio::spawn(async move { request.send().await.unwrap() });
    match waiting {
        0 => assert!(yard.vllms[0].wait_for(Duration::from_secs(10), |vllm| vllm.active() == 1).await),
        _ => yard.waiting(waiting).await,
    }
    task
}

fn order(yard: &Yard) -> Vec<String> {
    yard.vllms[0].requests().iter().map(|seen| seen.header("x-request-id").unwrap().to_owned()).collect()
}

#[tokio::test]
async fn apps_take_turns_and_those_with_priority_come_first() {
    let yard = asleep("max_concurrent = 1\nqueue = { priorities = { \"urgent\" = 5 } }").await;
    let (greedy, modest, urgent) =
        (app(&yard, "greedy").await, app(&yard, "modest").await, app(&yard, "urgent").await);
    let mut tasks = vec![sent(&yard, &greedy, "runs", 0).await];
    for (n, (key, id)) in
        [(&greedy, "g1"), (&greedy, "g2"), (&greedy, "g3"), (&modest, "m1"), (&urgent, "u1")]
            .into_iter()
            .enumerate()
    {
        tasks.push(sent(&yard, key, id, n as u64 + 1).await);
    }
    yard.vllms[0].set_asleep(false);
    for task in tasks {
        assert_eq!(task.await.unwrap().status(), 200);
    }
    assert_eq!(order(&yard), ["runs", "u1", "g1", "m1", "g2", "g3"]);
}

#[tokio::test]
async fn a_full_line_refuses_and_says_when_to_come_back() {
    let yard = asleep("max_concurrent_per_endpoint = 1\nqueue = { size = 1 }").await;
    let runs = sent(&yard, &yard.key, "runs", 0).await;
    let waits = sent(&yard, &yard.key, "waits", 1).await;
    let refused = yard.chat(json!({})).await;
    assert_eq!(refused.status(), 503);
    assert!(refused.headers().contains_key("retry-after"));
    let record = yard.record_of(&refused).await;
    assert_eq!((&record["errorCode"], &record["attempts"]), (&json!("overloaded"), &json!(0)));
    let sample = "vllm_gateway_queue_turned_away_total{upstream=\"main\",reason=\"full\"}";
    assert!(yard.metric(sample).await.is_some());
    yard.vllms[0].set_asleep(false);
    assert_eq!((runs.await.unwrap().status().as_u16(), waits.await.unwrap().status().as_u16()), (200, 200));
}

#[tokio::test]
async fn nobody_waits_longer_than_the_operator_allows() {
    let yard = asleep("max_concurrent = 1\nqueue = { timeout = \"200ms\" }").await;
    let runs = sent(&yard, &yard.key, "runs", 0).await;
    let begun = Instant::now();
    assert_eq!(yard.chat(json!({})).await.status(), 503);
    assert!(begun.elapsed() >= Duration::from_millis(200));
    yard.vllms[0].set_asleep(false);
    assert_eq!(runs.await.unwrap().status(), 200);
}

#[tokio::test]
async fn whoever_leaves_the_line_is_recorded_and_never_reaches_vllm() {
    let yard = asleep("max_concurrent = 1").await;
    let runs = sent(&yard, &yard.key, "runs", 0).await;
    let leaves = sent(&yard, &yard.key, "leaves", 1).await;
    leaves.abort();
    yard.waiting(0).await;
    let record = yard.record("leaves").await;
    assert_eq!(
        (&record["outcome"], &record["status"], &record["attempts"]),
        (&json!("client_gone"), &json!(499), &json!(0))
    );
    yard.vllms[0].set_asleep(false);
    assert_eq!(runs.await.unwrap().status(), 200);
    yard.served(2).await;
    assert!(!order(&yard).contains(&"leaves".to_owned()));
}

#[tokio::test]
async fn a_busy_server_is_waited_for_and_everybody_is_served() {
    let tick = Duration::from_millis(5);
    let busy =
        Options { max_num_queued_reqs: Some(4), ..at(Speed { ttft: tick, itl: tick, ..Speed::default() }) };
    let yard = yard_of(vec![busy], "").await;
    let tasks: Vec<_> =
        (0..60).map(|n| tokio::spawn(ask(&yard, &yard.key, &format!("r{n}")).send())).collect();
    for task in tasks {
        assert_eq!(task.await.unwrap().unwrap().status(), 200);
    }
}

#[tokio::test]
async fn at_the_end_of_the_gateway_those_who_wait_are_told() {
    let yard = asleep("max_concurrent = 1").await;
    let _runs = sent(&yard, &yard.key, "runs", 0).await;
    let waits = sent(&yard, &yard.key, "waits", 1).await;
    let Yard { stage, vllms } = yard;
    let ended = tokio::spawn(stage.gateway.shutdown());
    vllms[0].set_asleep(false);
    let answer = waits.await.unwrap();
    assert_eq!(answer.status(), 200, "what was accepted is served within the time of grace");
    ended.await.unwrap();
}

/// A server that refuses whatever it is sent, and says to come back at once.
#[tokio::test]
async fn a_server_that_always_refuses_is_not_asked_in_a_loop_and_nobody_waits_beyond_the_time() {
    let refusal = "HTTP/1.1 503 Service Unavailable\r\nretry-after: 0\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}";
    let asked = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, count) = (listener.local_addr().unwrap(), std::sync::Arc::clone(&asked));
    tokio::spawn(async move {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        while let Ok((mut socket, _)) = listener.accept().await {
            count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            tokio::spawn(async move {
                let _ = socket.read(&mut [0; 4096]).await;
                let _ = socket.write_all(refusal.as_bytes()).await;
            });
        }
    });
    let rest = crate::support::PIPELINE.replace("{vllm}", &format!("http://{address}"))
        + "queue = { timeout = \"3s\" }\nhealth = { interval = \"never\" }\n";
    let stage = crate::support::Setup::rest(&rest).start().await;
    let begun = Instant::now();
    let answer = stage.chat(json!({})).await;
    assert_eq!(answer.status(), 503);
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    let asked = asked.load(std::sync::atomic::Ordering::Relaxed);
    assert!((1..=6).contains(&asked), "{asked}");
}

#[tokio::test]
async fn who_waits_goes_to_a_server_that_is_added_and_not_to_one_that_is_drained() {
    let yard = asleep("max_concurrent_per_endpoint = 1").await;
    let runs = sent(&yard, &yard.key, "runs", 0).await;
    let waits = sent(&yard, &yard.key, "waits", 1).await;
    let added = vllm_gateway_simulator::Simulator::start(crate::support::fast()).await.unwrap();
    for body in [json!({"url": added.url()}), json!({"url": yard.vllms[0].url(), "state": "drained"})] {
        let change =
            yard.admin(reqwest::Method::PATCH, "/api/upstreams/main/endpoints").body(body.to_string());
        assert_eq!(change.send().await.unwrap().status(), 200);
    }
    assert_eq!(waits.await.unwrap().status(), 200);
    assert_eq!(added.requests().len(), 1);
    yard.vllms[0].set_asleep(false);
    assert_eq!(runs.await.unwrap().status(), 200);
    assert_eq!(order(&yard), ["runs"]);
}
