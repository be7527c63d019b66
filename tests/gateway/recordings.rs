//! Recordings of a real vLLM, replayed through the gateway: the client gets the very bytes.

use vllm_gateway_simulator::recording::Recording;

use crate::support::Setup;

#[tokio::test]
async fn every_recorded_answer_passes_byte_for_byte() {
    let recordings: Vec<Recording> = recordings().into_iter().filter(|recording| passes(recording)).collect();
    assert!(recordings.len() > 40, "only {} recordings", recordings.len());
    let vllm = Simulator::replay(Options { listen: "127.0.0.1:0".into(), ..fast() }, recordings.clone())
        .await
        .unwrap();
    let rest = PIPELINE.replace("{vllm}", &vllm.url());
    let stage = Setup::rest(&rest).start().await;
    for recording in &recordings {
        let request = &recording.request;
        let mut call = stage.client.post(stage.url(&request.path)).bearer_auth(&stage.key);
        if let Some(kind) = request.headers.get("content-type") {
            call = call.header("content-type", kind);
        }
        let answer = call.body(request.body.clone()).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), recording.response.status, "{}", recording.name);
        let body = answer.bytes().await.unwrap();
        let expected: Vec<u8> = recording.response.chunks.iter().flatten().copied().collect();
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

fn recordings() -> Vec<Recording> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recordings");
    Recording::read_all(&folder).unwrap().0
}

/// What the gateway passes on: a POST on a route of its own whose body it takes and whose model it knows.
fn passes(recording: &Recording) -> bool {
    let request = &recording.request;
    let json = request
        .headers
        .get("content-type")
        .is_some_and(|kind| kind.as_bytes().starts_with(b"application/json"));
    let known = [r#""Qwen3-32B""#, r#""alias-b""#].iter().any(|model| contains(&request.body, model));
    let once = request.body.windows(8).filter(|window| *window == b"\"model\":").count() == 1;
    let route = [
        "/v1/chat/completions",
        "/v1/completions",
        "/v1/embeddings",
        "/v1/responses",
        "/v1/messages",
        "/v1/score",
        "/v1/rerank",
    ];
    request.method == "POST"
        && json
        && known
        && once
        && route.contains(&request.path.as_str())
        && recording.response.status != 401
}

fn contains(body: &[u8], text: &str) -> bool {
    body.windows(text.len()).any(|window| window == text.as_bytes())
}
