//! Every recording that can be asked again is asked of the simulator, and the answers are compared: status,
//! header names in their order, error texts to the letter, and the shape of everything else.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use support::shape::{shape, stream_shape};
use support::{Answer, Client, recordings};
use vllm_gateway_simulator::recording::{RecordedRequest, load};
use vllm_gateway_simulator::{AutoTools, Options, Recording, Simulator, Tasks};

/// The recordings that the simulator answers otherwise, and why.
const DIFFERENT: [(&str, &str); 5] = [
    ("a08c-chat-tools-required-stream", "the random model called its tool three times; ours calls it once"),
    (
        "a09-chat-response-format-json-object",
        "the random model did not come to the end of its JSON; ours does",
    ),
    ("a09b-chat-response-format-json-schema", "the same, with a schema"),
    (
        "a13i-chat-no-max-tokens",
        "the random model happened upon a stop token of its own: `stop_reason` is a number",
    ),
    ("w02g-transcription-verbose-json", "the random model made vLLM fail; ours answers"),
];

/// Streams of several prompts whose events came in an order of chance; each kind of event is compared once.
const INTERLEAVED: [&str; 2] =
    ["a10h-completions-list-prompt-stream", "a10l-completions-list-prompt-stream-no-usage"];

fn options_of(name: &str) -> Options {
    // The random model hardly ever ended by itself.
    let common = Options { max_model_len: 512, max_num_seqs: 16, tokens: 100_000, ..Options::default() };
    match name.as_bytes().first() {
        Some(b'b') => Options {
            models: vec!["Qwen3-32B".to_owned(), "alias-b".to_owned()],
            max_num_seqs: 1,
            api_keys: vec!["sk-good-1".to_owned(), "sk-good-2".to_owned()],
            request_id_headers: true,
            force_include_usage: true,
            prompt_tokens_details: true,
            load_tracking: true,
            per_request_metrics: true,
            max_num_queued_reqs: Some(4),
            reasoning_tokens: Some(400),
            auto_tools: AutoTools::Refused,
            allowed_origins: vec!["*".to_owned()],
            dev_mode: true,
            ..common
        },
        Some(b'e') => Options { tasks: Tasks::EMBED, ..common },
        // The speech model ended at its first token.
        Some(b'w') => Options {
            tasks: Tasks::TRANSCRIBE,
            models: vec!["whisper-tiny".to_owned()],
            max_model_len: 448,
            tokens: 1,
            ..common
        },
        _ => common,
    }
}

/// The request as it was on the wire, with forms and chunks made anew.
fn bytes_of(request: &RecordedRequest) -> Vec<u8> {
    let mut body = request.body.to_vec();
    if let Some(fields) = request.form() {
        let boundary =
            request.header("content-type").and_then(|kind| kind.split_once("boundary=")).unwrap().1;
        body = form(&fields, boundary);
    }
    let mut head = format!("{} {} HTTP/1.1\r\n", request.method, request.path);
    for (name, value) in &request.headers {
        let value =
            if name.eq_ignore_ascii_case("content-length") { body.len().to_string() } else { value.clone() };
        head.push_str(&[name, ": ", &value, "\r\n"].concat());
    }
    if request.header("transfer-encoding").is_some() {
        let mut chunked = format!("{:x}\r\n", body.len()).into_bytes();
        chunked.extend([&body[..], b"\r\n0\r\n\r\n"].concat());
        body = chunked;
    }
    [head.as_bytes(), b"\r\n", &body].concat()
}

fn form(fields: &[(String, String)], boundary: &str) -> Vec<u8> {
    let mut body = Vec::new();
    for (name, value) in fields {
        body.extend(format!("--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"").into_bytes());
        match value.strip_prefix('@') {
            Some(file) => {
                body.extend(b"; filename=\"a.wav\"\r\nContent-Type: audio/wav\r\n\r\n");
                if !file.starts_with("/dev/null") {
                    body.extend(wav());
                }
            }
            None => body.extend(format!("\r\n\r\n{value}").into_bytes()),
        }
        body.extend(b"\r\n");
    }
    body.extend(format!("--{boundary}--\r\n").into_bytes());
    body
}

/// One second of silence.
fn wav() -> Vec<u8> {
    let rate: u32 = 16_000;
    let mut wav = b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0".to_vec();
    wav.extend(rate.to_le_bytes());
    wav.extend((rate * 2).to_le_bytes());
    wav.extend(b"\x02\0\x10\0data\0\0\0\0");
    wav.resize(44 + 32_000, 0);
    wav
}

fn names(headers: impl Iterator<Item = (String, String)>) -> Vec<String> {
    headers.map(|(name, _)| name).collect()
}

fn compare(recording: &Recording, answer: &Answer) -> Result<(), String> {
    let recorded = &recording.response;
    let differ = |what: &str, theirs: String, ours: String| {
        Err(format!("{what}\n  recorded {theirs}\n  ours     {ours}"))
    };
    if recorded.status != answer.status {
        return differ("status", recorded.status.to_string(), format!("{} {}", answer.status, answer.text()));
    }
    let (theirs, ours) = (names(recorded.headers.iter().cloned()), names(answer.headers.iter().cloned()));
    if theirs != ours {
        return differ("headers", theirs.join(", "), ours.join(", "));
    }
    let kind = recorded.header("content-type");
    if kind != answer.header("content-type") {
        return differ("content type", format!("{kind:?}"), format!("{:?}", answer.header("content-type")));
    }
    let theirs = String::from_utf8_lossy(&recorded.body()).into_owned();
    let ours = answer.text();
    let (theirs_length, ours_length) = (recorded.body().len(), answer.body().len());
    match kind {
        Some(kind) if kind.starts_with("text/event-stream") => {
            let (mut theirs, mut ours) = (stream_shape(&theirs), stream_shape(&ours));
            if INTERLEAVED.contains(&recording.name.as_str()) {
                for shapes in [&mut theirs, &mut ours] {
                    shapes.sort();
                    shapes.dedup();
                }
            }
            if theirs != ours {
                return differ("events", theirs.join("\n           "), ours.join("\n           "));
            }
            // One event is one chunk.
            let whole = |chunk: &Vec<u8>| {
                chunk.ends_with(b"\n\n") && chunk.windows(2).filter(|two| *two == b"\n\n").count() == 1
            };
            if !answer.chunks.iter().all(whole) {
                return Err("an event is not one chunk".to_owned());
            }
        }
        Some(_) if theirs.is_empty() && ours.is_empty() => {}
        Some("application/json") if recorded.status >= 400 && theirs != ours => {
            return differ("error", theirs, ours);
        }
        Some("application/json") if shape(&theirs) != shape(&ours) || shape(&ours).is_none() => {
            return differ("shape", shape(&theirs).unwrap_or(theirs), shape(&ours).unwrap_or(ours));
        }
        Some("application/octet-stream") if theirs_length == ours_length => {}
        Some("application/json") => {}
        _ if theirs != ours => return differ("body", theirs, ours),
        _ => {}
    }
    Ok(())
}

#[tokio::test]
async fn the_simulator_answers_as_recorded() {
    let loaded = load(&recordings()).unwrap();
    let skipped: Vec<_> = loaded.skipped.iter().map(|skipped| skipped.name.as_str()).collect();
    assert_eq!(skipped, [] as [&str; 0], "every file among the fixtures is one whole exchange");
    assert!(loaded.recordings.len() > 220);

    let mut wrong = Vec::new();
    let mut compared = 0;
    for set in ["a", "b", "e", "w"] {
        let simulator = Simulator::start(options_of(set)).await.unwrap();
        for recording in loaded.recordings.iter().filter(|recording| recording.name.starts_with(set)) {
            let mut client = Client::connect(&simulator).await;
            client.send(&bytes_of(&recording.request)).await;
            let answer = client.answer_to(&recording.request.method).await;
            let answer = answer.unwrap_or_else(|broken| panic!("{}: {broken:?}", recording.name));
            let why = DIFFERENT.iter().find(|(name, _)| *name == recording.name);
            match (compare(recording, &answer), why) {
                (Ok(()), None) | (Err(_), Some(_)) => compared += 1,
                (Err(difference), None) => wrong.push(format!("{}: {difference}", recording.name)),
                (Ok(()), Some(_)) => {
                    wrong.push(format!("{} is listed as different and is not", recording.name));
                }
            }
        }
        simulator.shutdown().await;
    }
    assert!(wrong.is_empty(), "{} of {} differ:\n{}", wrong.len(), compared + wrong.len(), wrong.join("\n"));
}

#[tokio::test]
async fn a_replayed_recording_is_the_same_to_the_byte() {
    let loaded = load(&recordings()).unwrap();
    let simulator = Simulator::start(Options::default()).await.unwrap();
    for set in ["a", "b", "e", "w"] {
        let of_set = loaded.recordings.iter().filter(|recording| recording.name.starts_with(set));
        let of_set: Vec<_> = of_set.cloned().collect();
        simulator.replay(of_set.clone());
        for recording in &of_set {
            let mut client = Client::connect(&simulator).await;
            client.send(&bytes_of(&recording.request)).await;
            let answer = client.answer_to(&recording.request.method).await.unwrap();
            // Some requests were made twice; then either answer will do.
            let twins = of_set.iter().filter(|other| {
                other.request.body == recording.request.body && other.request.path == recording.request.path
            });
            let same = twins.clone().any(|twin| twin.response.raw == answer.raw);
            assert!(same, "{}: got {}", recording.name, String::from_utf8_lossy(&answer.raw));
            let only = twins.count() == 1;
            assert!(!only || recording.response.raw == answer.raw, "{}", recording.name);
        }
    }
    simulator.shutdown().await;
}

#[tokio::test]
async fn a_request_that_was_not_recorded_is_not_answered_from_elsewhere() {
    let simulator = Simulator::start(Options::default()).await.unwrap();
    simulator.replay(load(&recordings()).unwrap().recordings);
    let answer = support::ask_json(&simulator, "/v1/chat/completions", "{\"never\": \"recorded\"}").await;
    assert_eq!(answer.status, 501);
    assert!(answer.text().contains("no recording holds it"));
    simulator.stop_replay();
    assert_eq!(support::get(&simulator, "/version").await.text(), r#"{"version":"0.32.0"}"#);
    simulator.shutdown().await;
}
