//! Endpoints that come and go while the gateway serves: by REST, by a file, by the addresses of a name.

use std::time::{Duration, Instant};

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use vllm_gateway_simulator::{Options, Simulator};

use crate::{
    support::{PATIENCE, PIPELINE, Setup, chat, fast},
    yard::{Yard, endpoints, yard},
};

async fn patch(yard: &Yard, upstream: &str, body: Value) -> (StatusCode, Value) {
    let path = format!("/api/upstreams/{upstream}/endpoints");
    let answer = yard.admin(Method::PATCH, &path).body(body.to_string()).send().await.unwrap();
    (answer.status(), answer.json().await.unwrap())
}

#[tokio::test]
async fn an_operator_adds_drains_and_removes_endpoints_and_no_request_fails() {
    let mut yard = yard(2, "").await;
    let added = Simulator::start(fast()).await.unwrap();
    let urls: Vec<String> = yard.vllms.iter().chain([&added]).map(Simulator::url).collect();
    yard.vllms.push(added);
    let running: Vec<_> = (0..6)
        .map(|_| {
            let requests: Vec<_> =
                (0..60).map(|_| yard.post("/v1/chat/completions", &chat(json!({})))).collect();
            tokio::spawn(async move {
                for request in requests {
                    assert_eq!(request.send().await.unwrap().status(), 200);
                    tokio::time::sleep(Duration::from_millis(3)).await;
                }
            })
        })
        .collect();
    let (status, upstream) = patch(&yard, "main", json!({"url": urls[2], "weight": 2})).await;
    assert_eq!((status, &upstream["endpoints"][2]["weight"]), (StatusCode::OK, &json!(2)));
    assert_eq!(patch(&yard, "main", json!({"url": urls[0], "state": "drained"})).await.0, StatusCode::OK);
    assert_eq!(yard.states().await, ["drained", "up", "up"]);
    assert_eq!(patch(&yard, "main", json!({"url": urls[1], "state": "removed"})).await.0, StatusCode::OK);
    let (status, problem) = patch(&yard, "main", json!({"url": urls[2], "state": "drained"})).await;
    assert_eq!((status, &problem["field"]), (StatusCode::CONFLICT, &json!("state")));
    for one in running {
        one.await.unwrap();
    }

    yard.vllms.iter().for_each(Simulator::forget);
    assert!(yard.gateway.reload().await, "what was changed outlives a reload");
    yard.served(4).await;
    assert_eq!(yard.shares(), [0, 0, 4]);
    assert_eq!(patch(&yard, "main", json!({"url": urls[0], "state": "active"})).await.0, StatusCode::OK);
    assert_eq!(patch(&yard, "main", json!({"url": urls[2], "state": "removed"})).await.0, StatusCode::OK);
    yard.vllms.iter().for_each(Simulator::forget);
    yard.served(2).await;
    assert_eq!(yard.shares(), [2, 0, 0]);
}

#[tokio::test]
async fn a_weight_leaves_the_state_as_it_is_and_active_leaves_it_to_the_file() {
    let yard = yard(2, "").await;
    let urls: Vec<String> = yard.vllms.iter().map(Simulator::url).collect();
    assert_eq!(patch(&yard, "main", json!({"url": urls[0], "state": "drained"})).await.0, StatusCode::OK);
    let (_, upstream) = patch(&yard, "main", json!({"url": urls[0]})).await;
    assert_eq!(upstream["endpoints"][0]["health"], "drained");
    assert_eq!(patch(&yard, "main", json!({"url": urls[0], "state": "active"})).await.0, StatusCode::OK);
    assert_eq!(yard.states().await, ["up", "up"]);
    // The file has it no longer, and nobody else wants it.
    let text = std::fs::read_to_string(yard.config()).unwrap();
    let (before, now) = (endpoints(&yard.vllms), endpoints(&yard.vllms[1..]));
    std::fs::write(yard.config(), text.replace(&before, &now)).unwrap();
    assert!(yard.gateway.reload().await);
    assert_eq!(yard.told().await["endpoints"].as_array().unwrap().len(), 1);
    let (_, upstream) = patch(&yard, "main", json!({"url": urls[0], "state": "active"})).await;
    assert_eq!(upstream["endpoints"].as_array().unwrap().len(), 2, "one that is not listed is added");
}

#[tokio::test]
async fn what_cannot_be_changed_is_refused_in_words() {
    let yard = yard(1, "").await;
    let url = yard.vllms[0].url();
    for (upstream, body, status, field) in [
        ("other", json!({"url": url}), 404, "name"),
        ("main", json!({"url": "http://127.0.0.1:1", "state": "drained"}), 400, "url"),
        ("main", json!({"url": "ftp://x"}), 400, "url"),
        ("main", json!({"url": "https://127.0.0.1:1"}), 400, "url"),
        ("main", json!({"url": url, "state": "gone"}), 400, "state"),
        ("main", json!({"url": url, "weight": 0}), 400, "weight"),
        ("main", json!({"url": url, "colour": "red"}), 400, "colour"),
        ("main", json!({}), 400, "url"),
    ] {
        let (answered, problem) = patch(&yard, upstream, body).await;
        assert_eq!((answered.as_u16(), &problem["field"]), (status, &json!(field)), "{problem}");
    }
    yard.served(1).await;
}

#[tokio::test]
async fn endpoints_of_a_file_follow_it_without_a_reload() {
    let folder = tempfile::TempDir::new().unwrap();
    let file = folder.path().join("endpoints.toml");
    let vllms = [Simulator::start(fast()).await.unwrap(), Simulator::start(fast()).await.unwrap()];
    let write = |vllm: &Simulator| {
        std::fs::write(&file, format!("endpoints = [{{ url = \"{}\" }}]\n", vllm.url())).unwrap();
    };
    write(&vllms[0]);
    let listed = format!("endpoints_file = \"{}\"", file.display());
    let stage = Setup::rest(&PIPELINE.replace("endpoints = [{ url = \"{vllm}\" }]", &listed)).start().await;
    assert_eq!(stage.chat(json!({})).await.status(), 200);
    assert_eq!(vllms[0].requests().len(), 1);

    std::fs::write(&file, "endpoints = nonsense").unwrap();
    assert_eq!(stage.chat(json!({})).await.status(), 200, "a file that cannot be read changes nothing");
    write(&vllms[1]);
    let begun = Instant::now();
    while vllms[1].requests().is_empty() {
        assert!(begun.elapsed() < PATIENCE);
        assert_eq!(stage.chat(json!({})).await.status(), 200);
    }
}

#[tokio::test]
async fn a_name_stands_for_all_its_addresses() {
    // `localhost` is in every hosts file; a server on each address that it has there.
    let addresses: Vec<_> =
        tokio::net::lookup_host(("localhost", 0)).await.unwrap().map(|found| found.ip()).collect();
    let first = Simulator::start(Options { listen: (addresses[0], 0).into(), ..fast() }).await.unwrap();
    let port = first.addr.port();
    let pipeline = PIPELINE.replace(
        "endpoints = [{ url = \"{vllm}\" }]",
        &format!("endpoints = [{{ url = \"http://localhost:{port}\", resolve = true }}]"),
    );
    let stage = Setup::rest(&pipeline).start().await;
    let begun = Instant::now();
    let urls = loop {
        let told = stage.admin_get("/api/upstreams").await;
        let endpoints = told["items"][0]["endpoints"].as_array().unwrap().clone();
        let urls: Vec<_> = endpoints.iter().map(|one| one["url"].as_str().unwrap().to_owned()).collect();
        if !urls[0].contains("localhost") {
            break urls;
        }
        assert!(begun.elapsed() < PATIENCE, "{told}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    assert!(urls.contains(&first.url()), "{urls:?}");
    for _ in 0..3 {
        let answer = stage.chat(json!({})).await;
        assert_eq!(answer.status(), 200);
        let record = stage.record(answer.headers()["x-request-id"].to_str().unwrap()).await;
        assert_eq!(record["endpoint"], first.url());
    }
    assert_eq!(first.requests()[0].header("host"), Some(format!("localhost:{port}").as_str()));
}
