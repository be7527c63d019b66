//! Connections that vLLM closes after five idle seconds: no client ever sees one.

use std::time::Duration;

use serde_json::json;

use crate::{support::chat, yard::yard};

/// Requests with gaps around the time at which vLLM closes what is idle: 100,000 with `LONG`, else some hundreds.
#[tokio::test]
async fn no_request_meets_a_connection_that_vllm_has_given_up() {
    let (clients, rounds) = if std::env::var_os("LONG").is_some() { (500, 200) } else { (40, 6) };
    let yard = yard(2, "").await;
    let body = chat(json!({"max_tokens": 1}));
    let running: Vec<_> = (0..clients)
        .map(|client| {
            let requests: Vec<_> = (0..rounds).map(|_| yard.post("/v1/chat/completions", &body)).collect();
            tokio::spawn(async move {
                for (round, request) in requests.into_iter().enumerate() {
                    assert_eq!(request.send().await.unwrap().status(), 200);
                    // From 3 s to 5.5 s, spread over clients and rounds.
                    let gap = 3_000 + (client * 97 + round * 389) % 2_500;
                    let gap =
                        if std::env::var_os("LONG").is_some() { gap } else { gap / 2 + gap % 2 * 1_500 };
                    tokio::time::sleep(Duration::from_millis(gap as u64)).await;
                }
            })
        })
        .collect();
    for one in running {
        one.await.unwrap();
    }
}
