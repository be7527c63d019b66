//! What is known of endpoints survives a reload, and endpoints come and go without a failed request.

use std::time::Duration;

use serde_json::json;
use vllm_gateway_simulator::{Door, Simulator};

use crate::{
    support::{chat, fast},
    yard::{endpoints, yard},
};

#[tokio::test]
async fn counts_and_health_survive_a_reload() {
    let yard = yard(2, "balance = \"least-requests\"").await;
    yard.vllms[0].set_asleep(true);
    let body = chat(json!({"stream": true}));
    let mut held = Vec::new();
    while yard.vllms[0].active() < 2 {
        held.push(yard.post("/v1/chat/completions", &body).send().await.unwrap());
    }
    yard.vllms[1].set_door(Door::Refuse).await;
    yard.vllms[1].hang_up();
    yard.are(&["up", "down"]).await;
    let text = std::fs::read_to_string(yard.config()).unwrap();
    std::fs::write(yard.config(), text + "gap_timeout = \"3m\"\n").unwrap();
    assert!(yard.gateway.reload().await);
    assert_eq!(yard.states().await, ["up", "down"]);
    assert!(yard.told().await["endpoints"][0]["inFlight"].as_u64().unwrap() >= 2);
    yard.vllms[0].set_asleep(false);
    drop(held);
}

#[tokio::test]
async fn endpoints_come_and_go_while_requests_run_and_none_of_them_fails() {
    let mut yard = yard(2, "").await;
    let added = Simulator::start(fast()).await.unwrap();
    let before = endpoints(&yard.vllms);
    yard.vllms.push(added);
    let text = std::fs::read_to_string(yard.config()).unwrap();
    let running: Vec<_> = (0..8)
        .map(|_| {
            let requests: Vec<_> =
                (0..40).map(|_| yard.post("/v1/chat/completions", &chat(json!({})))).collect();
            tokio::spawn(async move {
                for request in requests {
                    assert_eq!(request.send().await.unwrap().status(), 200);
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            })
        })
        .collect();
    for turn in 0..6 {
        let now = if turn % 2 == 0 { endpoints(&yard.vllms[1..]) } else { endpoints(&yard.vllms) };
        std::fs::write(yard.config(), text.replace(&before, &now)).unwrap();
        assert!(yard.gateway.reload().await);
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
    for one in running {
        one.await.unwrap();
    }
    assert!(yard.shares().iter().all(|share| *share > 0), "{:?}", yard.shares());
}
