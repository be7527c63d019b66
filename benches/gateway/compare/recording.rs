//! Asks the simulated vLLM for the answers that the mock replays and the client expects.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use vllm_gateway_simulator::{Options, Simulator, Speed};

use super::{
    asked::{Key, Usage},
    check::text,
    mock::{Pace, Replay, Replays},
};
use crate::call;

/// What a client asks for again and again, and what it has to get.
pub(crate) struct Workload {
    pub(crate) tokens: u32,
    pub(crate) stream: bool,
    /// Bytes of the prompt.
    pub(crate) prompt: usize,
    /// What lies between two events, where the answer is a stream.
    pub(crate) pace: Pace,
    /// The body that the client has to get, whatever stands in between.
    pub(crate) expected: Vec<u8>,
    /// Where in it each event ends.
    pub(crate) ends: Vec<usize>,
    /// What the model says in it.
    pub(crate) text: Option<String>,
}

impl Workload {
    pub(crate) fn new(tokens: u32, stream: bool, prompt: usize, pace: Pace) -> Self {
        Self { tokens, stream, prompt, pace, expected: Vec::new(), ends: Vec::new(), text: None }
    }

    /// The request for it, as every client sends it.
    pub(crate) fn request(&self, key: &str, model: &str) -> Vec<u8> {
        self.request_with(key, model, "", "")
    }

    /// With more lines in its head, and more at the end of its body.
    pub(crate) fn request_with(&self, key: &str, model: &str, headers: &str, more: &str) -> Vec<u8> {
        let Self { tokens, stream, prompt, .. } = self;
        let text = "word ".repeat(prompt / 5);
        let body = format!(
            r#"{{"model":"{model}","max_tokens":{tokens},"ignore_eos":true,"stream":{stream},"messages":[{{"role":"user","content":"{text}"}}]{more}}}"#
        );
        crate::load::request_with(key, headers, &body)
    }
}

/// Records all answers: each stream as a client asks for it, as the gateway does, and as others do that count tokens.
pub(crate) async fn record(workloads: &mut [&mut Workload], model: &str) -> Replays {
    let options = Options {
        listen: "127.0.0.1:0".parse().unwrap(),
        models: vec![model.to_owned()],
        max_model_len: 10_000_000,
        speed: Speed { ttft: Duration::ZERO, itl: Duration::ZERO, jitter: 0.0 },
        ..Options::default()
    };
    let simulator = Simulator::start(options).await.unwrap();
    let mut replays = Replays::new();
    for workload in workloads {
        let plain = ask(simulator.addr, &workload.request("", model)).await;
        workload.expected.clone_from(&plain.body);
        let ends = plain.body.windows(2).enumerate().filter(|(_, window)| window == b"\n\n");
        workload.ends = ends.map(|(at, _)| at + 2).collect();
        workload.text = text(&plain.body, workload.stream);
        assert!(workload.text.is_some(), "an answer without a text");
        let mut keep = |usage, called: &call::Called| {
            let key = Key { tokens: workload.tokens, stream: workload.stream, usage };
            let replay = replay(called, workload.pace.clone());
            let replay = if workload.stream { replay } else { replay.whole() };
            assert!(
                replays.insert(key, Arc::new(replay)).is_none(),
                "two workloads of {} tokens",
                key.tokens
            );
        };
        keep(Usage::No, &plain);
        let more = [(Usage::AtTheEnd, ""), (Usage::Running, r#","continuous_usage_stats":true"#)];
        for (usage, running) in more.into_iter().filter(|_| workload.stream) {
            let options = format!(r#","stream_options":{{"include_usage":true{running}}}"#);
            let mut called = ask(simulator.addr, &workload.request_with("", model, "", &options)).await;
            // Another answer has another id and another time: without them, what clients get is the same.
            for name in ["\"id\":\"", "\"created\":"] {
                replace_value(&mut called.raw, value(&plain.body, name), name);
            }
            keep(usage, &called);
        }
    }
    simulator.shutdown().await;
    replays
}

async fn ask(simulator: SocketAddr, request: &[u8]) -> call::Called {
    let called = call::send(simulator, request).await.unwrap();
    assert_eq!(called.status, 200, "{}", String::from_utf8_lossy(&called.raw));
    called
}

/// Takes an answer apart at its chunks.
fn replay(called: &call::Called, pace: Pace) -> Replay {
    let (head, mut rest) = called.raw.split_at(called.head);
    let mut pieces: Vec<Vec<u8>> = Vec::new();
    let chunked = crate::answer::header(head, "transfer-encoding") == Some("chunked");
    while chunked && !rest.is_empty() {
        let line = rest.windows(2).position(|window| window == b"\r\n").unwrap();
        let size = usize::from_str_radix(std::str::from_utf8(&rest[..line]).unwrap(), 16).unwrap();
        let (chunk, after) = rest.split_at(line + 2 + size + 2);
        // What follows the last token leaves with it: the usage of the whole, which clients do not get unless they asked
        // for it, the last event, and the end of the body.
        let follows =
            |bytes: &[u8], text: &str| bytes.windows(text.len()).any(|window| window == text.as_bytes());
        match pieces.last_mut() {
            Some(last) if follows(last, "\"finish_reason\":\"") => last.extend_from_slice(chunk),
            _ => pieces.push(chunk.to_vec()),
        }
        rest = after;
    }
    if !chunked {
        pieces.push(rest.to_vec());
    }
    Replay { head: head.to_vec(), pieces, pace }
}

/// What stands behind this name, up to the next comma or quote.
fn value<'b>(body: &'b [u8], name: &str) -> &'b [u8] {
    let start = body.windows(name.len()).position(|window| window == name.as_bytes()).unwrap() + name.len();
    let length = body[start..].iter().position(|byte| matches!(byte, b'"' | b',')).unwrap();
    &body[start..start + length]
}

/// Puts another value of the same length behind this name, everywhere.
fn replace_value(bytes: &mut [u8], value: &[u8], name: &str) {
    let name = name.as_bytes();
    for at in 0..bytes.len().saturating_sub(name.len() + value.len()) {
        if bytes[at..].starts_with(name) {
            bytes[at + name.len()..][..value.len()].copy_from_slice(value);
        }
    }
}
