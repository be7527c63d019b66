//! What is believed of an upstream: its certificate only if it is a good one, its list of models only up to a size, and
//! its open connections only as long as vLLM keeps them.

use std::time::Duration;

use serde_json::json;

use crate::support::{MODEL, PIPELINE, Setup, json_of, stage, upstream_of};

#[tokio::test]
async fn an_upstream_whose_certificate_nobody_signed_is_not_spoken_to() {
    // A gateway with TLS stands in for a vLLM behind it: it answers 401 to whom it does not know.
    let tls = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/tls");
    let behind = Setup::server(&format!("tls = {{ cert = \"{tls}/cert.pem\", key = \"{tls}/key.pem\" }}"));
    let behind = behind.start().await;
    let port = behind.gateway.data_address().port();
    let pipeline = PIPELINE.replace("{vllm}", &format!("https://localhost:{port}"));
    let careful = Setup::rest(&pipeline).start().await;
    let refused = careful.chat(json!({})).await.status().as_u16();
    assert!(matches!(refused, 502 | 503), "{refused}");
    assert_eq!(behind.admin_get("/api/logs").await["total"], 0, "a request went there");
    let told = pipeline.replace("[upstreams.main]", &format!("[upstreams.main]\nca = \"{tls}/cert.pem\""));
    let stranger = Setup::rest(&told).start().await;
    assert_eq!(stranger.chat(json!({})).await.status(), 401, "with its certificate it is believed");

    // The same again, known there: whole answers and streams, over a connection that is kept.
    let key = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(key.path(), &behind.key).unwrap();
    let api_key = format!("[upstreams.main]\napi_key = \"file:{}\"", key.path().display());
    let known = Setup::rest(&told.replace("[upstreams.main]", &api_key)).start().await;
    for stream in [false, false, true, false] {
        let answer = known.chat(json!({"stream": stream})).await;
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.text().await.unwrap().ends_with("data: [DONE]\n\n"), stream);
    }
    known.settled().await;
    assert_eq!(behind.gateway.running(), 0);
}

#[tokio::test]
async fn a_list_of_models_without_end_is_not_read_to_its_end() {
    for (size, known) in [(1 << 10, true), (5 << 20, false)] {
        let list = json!({"data": [{"id": MODEL, "max_model_len": 77, "x": "y".repeat(size)}]}).to_string();
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            list.len()
        );
        let upstream = upstream_of(head + &list).await;
        // It answers once a connection, and a look at its health would be answered first.
        let rest =
            PIPELINE.replace("{vllm}", &format!("http://{upstream}")) + "health = { interval = \"never\" }\n";
        let stage = Setup::rest(&rest).start().await;
        let models = stage.client.get(stage.url("/v1/models")).bearer_auth(&stage.key).send().await.unwrap();
        assert_eq!(models.status(), 200);
        let entry = json_of(models).await["data"][0].clone();
        assert_eq!((&entry["id"], entry["max_model_len"] == 77), (&json!(MODEL), known), "{size}");
    }
}

#[tokio::test]
async fn a_connection_is_not_used_again_when_vllm_may_be_about_to_close_it() {
    let stage = stage().await;
    for wait in [0, 0, 4_000] {
        // vLLM closes after 5 s; what has been idle for 3.5 s is left alone.
        tokio::time::sleep(Duration::from_millis(wait)).await;
        assert_eq!(stage.chat(json!({})).await.status(), 200);
    }
    let connections: Vec<_> = stage.vllm.requests().iter().map(|seen| seen.connection).collect();
    assert_eq!(connections[0], connections[1], "an open connection is used again");
    assert_ne!(connections[1], connections[2], "one that was idle for 4 s was used again");
}
