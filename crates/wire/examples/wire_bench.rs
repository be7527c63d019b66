//! Prints what the readers cost: nanoseconds for each event of a stream, and megabytes a second of a body.
//!
//! `cargo run --release -p vllm-gateway-wire --example wire_bench`
#![allow(clippy::print_stdout, clippy::cast_precision_loss)]

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use bytes::Bytes;
use vllm_gateway_wire::{
    multipart::FormReader,
    peek::Peek,
    sse::{Hide, Kind, StreamPlan, StreamReader},
    unary::BodyReader,
};

const ROUNDS: u32 = 15;

/// The best of some rounds: the one that was disturbed least.
fn best(mut work: impl FnMut()) -> Duration {
    let mut once = || {
        let start = Instant::now();
        work();
        start.elapsed()
    };
    (0..ROUNDS).map(|_| once()).min().unwrap_or_default()
}

fn speed(name: &str, bytes: usize, work: impl FnMut()) {
    let time = best(work);
    println!("{name:44} {:8.0} MB/s {time:10.1?}", bytes as f64 / time.as_secs_f64() / 1e6);
}

fn events(running: bool) -> Vec<Bytes> {
    let event = |count: usize| {
        let usage = format!(
            ",\"usage\":{{\"prompt_tokens\":17,\"total_tokens\":{},\"completion_tokens\":{count},\"completion_tokens_details\":null}}",
            count + 17
        );
        let usage = if running { usage.as_str() } else { "" };
        Bytes::from(format!(
            "data: {{\"id\":\"chatcmpl-98e20b924bcf87f7\",\"object\":\"chat.completion.chunk\",\"created\":1795409858,\"model\":\"Qwen3-32B\",\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\" word\"}},\"logprobs\":null,\"finish_reason\":null,\"token_ids\":null}}]{usage}}}\n\n"
        ))
    };
    (0..100_000).map(event).collect()
}

fn stream(name: &str, events: &[Bytes], hide: Hide, several: bool) {
    let time = best(|| {
        let mut reader = StreamReader::new(StreamPlan { hide, several, ..StreamPlan::watch(Kind::OpenAi) });
        for event in events {
            black_box(reader.push(event));
        }
    });
    println!("{name:44} {:8.0} ns/event", time.as_nanos() as f64 / events.len() as f64);
}

fn body(name: &str, text: &str) {
    let body = format!(
        "{{\"model\":\"m\",\"messages\":[{{\"role\":\"user\",\"content\":{text}}}],\"stream\":true}}"
    );
    speed(name, body.len(), || {
        let mut peek = Peek::new();
        for segment in body.as_bytes().chunks(65_536) {
            assert_eq!(black_box(peek.feed(segment)), Ok(()));
        }
        assert!(black_box(peek.finish()).is_ok());
    });
}

fn main() {
    let (plain, running) = (events(false), events(true));
    stream("stream, no usage, nothing hidden", &plain, Hide::Nothing, false);
    stream("stream, running usage, nothing hidden", &running, Hide::Nothing, false);
    stream("stream, running usage hidden", &running, Hide::Running, false);
    stream("stream, all hidden", &running, Hide::All, false);
    stream("stream, all hidden, several choices", &running, Hide::All, true);

    let quoted = |text: &str, times| format!("\"{}\"", text.repeat(times));
    body("peek, 1 MB of plain text", &quoted("The quick brown fox jumps over the lazy dog. ", 23_302));
    body(
        "peek, 1 MB of prose with escapes",
        &quoted("Some sixty characters of text stand on a line like this one.\\n", 16_900),
    );
    body("peek, 1 MB of source code with many escapes", &quoted("    let x = \\\"y\\\";\\n", 52_400));
    body("peek, 1 MB of Chinese", &quoted("网关站在模型前面，", 38_800));
    body("peek, 1 MB of token ids", &format!("[{}]", vec!["12345"; 174_000].join(",")));
    let request = "{\"model\":\"Qwen3-32B\",\"messages\":[{\"role\":\"user\",\"content\":\"Say hello\"}],\"max_tokens\":8,\"stream\":true,\"temperature\":0.7}";
    let time = best(|| {
        for _ in 0..10_000 {
            let mut peek = Peek::new();
            assert_eq!(peek.feed(black_box(request.as_bytes())), Ok(()));
            assert!(black_box(peek.finish()).is_ok());
        }
    });
    println!("{:44} {:8.0} ns", "peek, a small request", time.as_nanos() as f64 / 10_000.0);

    let embeddings =
        format!("{{\"data\":[{}],\"usage\":{{\"prompt_tokens\":1}}}}", vec!["-0.0123"; 125_000].join(","));
    speed("answer, 1 MB of embeddings", embeddings.len(), || {
        let mut reader = BodyReader::new();
        embeddings.as_bytes().chunks(16_384).for_each(|chunk| reader.push(chunk));
        assert!(black_box(reader.usage()).is_some());
    });

    let file: Vec<u8> = (0..25_000_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let head =
        b"--b0undary-0123456789\r\nContent-Disposition: form-data; name=\"file\"; filename=\"f\"\r\n\r\n";
    let form = [head.as_slice(), &file, b"\r\n--b0undary-0123456789--"].concat();
    speed("form, 25 MB of audio", form.len(), || {
        let Ok(mut reader) = FormReader::new("multipart/form-data; boundary=b0undary-0123456789") else {
            return;
        };
        for segment in form.chunks(65_536) {
            assert_eq!(reader.feed(segment), Ok(()));
        }
        assert!(black_box(reader.finish()).is_ok());
    });
}
