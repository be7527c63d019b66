//! Recordings of a real vLLM, replayed through the gateway: the client gets the very bytes.

use std::collections::HashSet;

use vllm_gateway_simulator::{Recording, load};

use crate::support::Setup;

#[tokio::test]
async fn every_recorded_answer_passes_byte_for_byte() {
    let recordings = recordings();
    assert!(recordings.len() > 60, "only {} recordings", recordings.len());
    let stage = Setup::rest(PIPELINE).start().await;
    stage.vllm.replay(recordings.clone());
    for recording in &recordings {
        let request = &recording.request;
        let call = stage.client.post(stage.url(&request.path)).bearer_auth(&stage.key);
        let call = call.header("content-type", "application/json").body(request.body.clone());
        let answer = call.send().await.unwrap();
        assert_eq!(answer.status().as_u16(), recording.response.status, "{}", recording.name);
        let body = answer.bytes().await.unwrap();
        let expected = recording.response.body();
        assert_eq!(String::from_utf8_lossy(&body), String::from_utf8_lossy(&expected), "{}", recording.name);
    }
}

/// Every model of the recordings goes to the replaying server, which is taken to report usage in any case: then
/// nothing is asked for and nothing is hidden.
const PIPELINE: &str = r#"
[pipelines.default]
filters = ["access-log", "auth", "model-route"]
[filters.access-log]
[filters.auth]
[filters.model-route]
models = { "Qwen3-32B" = "main", "alias-b" = "main", "whisper-tiny" = "main" }
[upstreams.main]
endpoints = [{ url = "{vllm}" }]
force_include_usage = true
"#;

/// The recordings that the gateway passes on, each with a request that no other has.
fn recordings() -> Vec<Recording> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recordings");
    let mut asked = HashSet::new();
    let mut recordings = load(&folder).unwrap().recordings;
    recordings.retain(|recording| {
        let request = &recording.request;
        // The gateway refuses these itself, before vLLM sees them.
        let refused = ["a12-malformed-json", "a12k-invalid-utf8-body"].contains(&recording.name.as_str());
        !refused && passes(recording) && asked.insert((request.path.clone(), request.body.clone()))
    });
    recordings
}

/// A POST on one of our routes that names a known model once and has no headers of its own but the usual ones.
fn passes(recording: &Recording) -> bool {
    let request = &recording.request;
    let usual = ["host", "user-agent", "accept", "content-length", "content-type"];
    let json = request.header("content-type") == Some("application/json");
    let known = contains(&request.body, r#""model": "Qwen3-32B""#)
        || contains(&request.body, r#""model":"Qwen3-32B""#);
    let once = request.body.windows(8).filter(|window| *window == b"\"model\":").count() == 1;
    let route = [
        "/v1/chat/completions",
        "/v1/completions",
        "/v1/embeddings",
        "/v1/responses",
        "/v1/messages",
        "/v1/score",
        "/v1/rerank",
        "/tokenize",
        "/pooling",
    ];
    let plain = request.headers.iter().all(|(name, _)| usual.contains(&name.to_ascii_lowercase().as_str()));
    request.method == "POST" && json && known && once && plain && route.contains(&request.path.as_str())
}

fn contains(body: &[u8], text: &str) -> bool {
    body.windows(text.len()).any(|window| window == text.as_bytes())
}
