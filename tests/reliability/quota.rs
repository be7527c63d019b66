//! The journal's room is used up: rather refused than unrecorded. And it belongs to one gateway.

use std::{collections::HashMap, time::Duration};

use jiff::Timestamp;
use reqwest::Response;
use serde_json::json;

use crate::{
    clients::{Asked, End},
    ledgers::reconcile,
    outages::Held,
    refusals::refused,
    site::{Gateway, MODEL, Site, until, vllm},
    sse::hear,
};

/// Opens a stream that goes on until it is told otherwise.
async fn open_stream(gateway: &Gateway, key: &str, id: &str, tokens: u64) -> Response {
    let body = json!({
        "model": MODEL, "messages": [{"role": "user", "content": "hi"}], "max_tokens": tokens, "ignore_eos": true,
        "stream": true,
    });
    let request =
        gateway.client.post(format!("http://{}/v1/chat/completions", gateway.data)).bearer_auth(key);
    let request = request.header("x-request-id", id).header("content-type", "application/json");
    let answer = request.body(body.to_string()).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_journal_refuses_loses_nothing_and_recovers_by_itself() {
    let mut site = Site::on(vllm(3, 5).await);
    site.journal = "max_size = \"4MiB\"";
    let from = Timestamp::now();
    let gateway = site.start().await;
    let key = gateway.app().await;
    gateway.becomes_ready(200).await;
    let held = Held::new(&site);
    let stream = open_stream(&gateway, &key, "stream", 1_500).await;
    let mut asked = refused(&gateway.data, "full", 6_000).await;
    let by_status = asked.iter().fold(HashMap::new(), |mut all, asked| {
        *all.entry((asked.status.unwrap(), asked.unrecorded())).or_insert(0) += 1;
        all
    });
    // One region has 4,096 cells; one is the stream's.
    assert_eq!(by_status, HashMap::from([((401, false), 4_095), ((503, true), 1_905)]));
    assert_eq!(gateway.ready().await, (503, "log_unavailable".into()));
    assert_eq!(gateway.counts().await.pending, 4_096);
    let told = |what: &str| gateway.said().matches(what).count();
    until("the log says so", || async { told("not ready: the journal") == 1 }).await;
    drop(held);
    gateway.becomes_ready(200).await;
    until("there is room", || async { gateway.counts().await.pending < 100 }).await;
    asked.extend(refused(&gateway.data, "again", 1_000).await);
    assert!(asked[6_000..].iter().all(|asked| asked.status == Some(401)));
    // What ran when there was no room left has its record as well.
    let heard = hear(&stream.bytes().await.unwrap());
    assert!(heard.whole && heard.tokens > 1_400, "{heard:?}");
    asked.push(Asked { status: Some(200), tokens: heard.tokens, ..Asked::new("stream".into(), End::Whole) });
    gateway.settled().await;
    until("the log says that it is over", || async { told("ready: the journal takes records again") == 1 })
        .await;
    assert_eq!(told("not ready: the journal"), 1, "not once for each request");
    let tally = reconcile(&asked, &site.vllm.ledger(), &gateway.records(from).await, false);
    assert_eq!(tally.records, 4_095 + 1_000 + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_gateway_on_one_journal_does_not_start_and_says_why() {
    let mut site = Site::sqlite().await;
    site.journal = "path = \"shared-journal\"";
    let first = site.start().await;
    // With a store of its own, so that nothing but the journal is in its way.
    let text = std::fs::read_to_string(site.path("gateway.toml")).unwrap();
    let other = tempfile::TempDir::new().unwrap();
    let journal = site.path("shared-journal").display().to_string();
    std::fs::write(other.path().join("gateway.toml"), text.replace("shared-journal", &journal)).unwrap();
    let mut second = Site::sqlite().await;
    second.folder = other;
    second.journal = Box::leak(format!("path = \"{journal}\"").into_boxed_str());
    let (status, said) = second.spawn().ended().await;
    assert_eq!(status, Some(1), "{said}");
    for word in ["[journal]", "another process", "shared-journal", "a folder of its own"] {
        assert!(said.contains(word), "`{word}` is missing: {said}");
    }
    assert_eq!(first.ready().await.0, 200);
    // The kernel gives the folder back, whatever ends the process.
    first.kill();
    let second = second.start().await;
    until("it is ready", || async { second.ready().await.0 == 200 }).await;
    tokio::time::timeout(Duration::from_secs(1), second.counts()).await.unwrap();
}
