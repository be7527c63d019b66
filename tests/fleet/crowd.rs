//! Many more clients than a slow fleet can serve: each gets an answer or a refusal, and none is left hanging.

use std::time::Duration;

use serde_json::json;
use vllm_gateway_simulator::{Options, Speed};

use crate::{
    support::{at, chat},
    yard::yard_of,
};

#[tokio::test]
async fn of_a_thousand_clients_of_a_slow_fleet_none_is_left_hanging() {
    let tick = Duration::from_millis(10);
    let speed = Speed { ttft: tick, itl: tick, ..Speed::default() };
    let server = || Options { max_num_seqs: 8, max_num_queued_reqs: Some(16), ..at(speed) };
    let options = "max_concurrent_per_endpoint = 24\nqueue = { size = 400, timeout = \"20s\" }";
    let yard = yard_of((0..4).map(|_| server()).collect(), options).await;
    let body = chat(json!({"stream": true, "max_tokens": 8}));
    let clients: Vec<_> = (0..1000)
        .map(|_| {
            let request = yard.post("/v1/chat/completions", &body);
            tokio::spawn(async move {
                let answer = request.send().await.unwrap();
                let (status, hint) = (answer.status().as_u16(), answer.headers().contains_key("retry-after"));
                (status, hint, answer.text().await.unwrap())
            })
        })
        .collect();
    let (mut served, mut refused) = (0, 0);
    for client in clients {
        let (status, hint, text) =
            tokio::time::timeout(Duration::from_secs(60), client).await.unwrap().unwrap();
        match status {
            200 => {
                assert!(text.ends_with("data: [DONE]\n\n"), "{text}");
                served += 1;
            }
            503 => {
                assert!(hint, "{text}");
                refused += 1;
            }
            other => panic!("{other}: {text}"),
        }
    }
    assert!(served >= 400 && served + refused == 1000, "{served} served, {refused} refused");
    yard.running(0).await;
    assert_eq!(yard.told().await["waiting"], 0);
    assert!(yard.told().await["endpoints"].as_array().unwrap().iter().all(|one| one["inFlight"] == 0));
}
