//! Prompts: what they cost, who waits for whom, and what the prefix cache saves.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::time::{Duration, Instant};

use support::{Client, PATIENCE, ask_json, get};
use vllm_gateway_simulator::{Options, Simulator, Speed};

const TOKEN: Duration = Duration::from_millis(1);

fn options() -> Options {
    Options { prefill: TOKEN, block_size: 16, ..Options::default() }
}

async fn start(options: Options) -> Simulator {
    Simulator::start(options).await.unwrap()
}

/// A prompt of some 300 tokens that begins with this word.
fn long(word: &str) -> String {
    asking(word, 300, r#""max_tokens":1"#)
}

fn asking(word: &str, words: usize, more: &str) -> String {
    let text = format!("{word}{}", " the".repeat(words));
    format!(r#"{{"messages":[{{"role":"user","content":"{text}"}}],{more}}}"#)
}

async fn took(simulator: &Simulator, body: &str) -> Duration {
    let began = Instant::now();
    assert_eq!(ask_json(simulator, "/v1/chat/completions", body).await.status, 200);
    began.elapsed()
}

async fn metric(simulator: &Simulator, name: &str) -> f64 {
    let page = get(simulator, "/metrics").await.text();
    let line = page.lines().find(|line| line.starts_with(&format!("vllm:{name}{{"))).unwrap();
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_prompt_costs_time_by_its_length_unless_it_is_in_the_prefix_cache() {
    let simulator = start(options()).await;
    let first = took(&simulator, &long("a")).await;
    assert!(first >= TOKEN * 300, "{first:?}");
    let again = took(&simulator, &long("a")).await;
    assert!(again < TOKEN * 200, "{again:?}");
    let (queries, hits) = simulator.prefix_cache_tokens();
    assert!(queries > 600 && hits > 280 && hits % 16 == 0, "{hits} of {queries}");
    let seen = [
        metric(&simulator, "prefix_cache_queries_total").await,
        metric(&simulator, "prefix_cache_hits_total").await,
    ];
    assert_eq!(seen.map(|seen| format!("{seen}")), [queries, hits].map(|counted| counted.to_string()));
    simulator.forget_prefixes();
    assert!(took(&simulator, &long("a")).await >= TOKEN * 300);
    simulator.shutdown().await;
}

#[tokio::test]
async fn prompts_that_come_at_once_are_computed_one_after_another() {
    let simulator = start(options()).await;
    let began = Instant::now();
    let mut clients = Vec::new();
    for (number, word) in ["a", "b", "c"].into_iter().enumerate() {
        let mut client = Client::connect(&simulator).await;
        client.post("/v1/chat/completions", &long(word)).await;
        assert!(simulator.wait_for(PATIENCE, |simulator| simulator.active() == number + 1).await);
        clients.push(client);
    }
    assert!(simulator.wait_for(PATIENCE, |simulator| simulator.running() == 1).await);
    assert_eq!(simulator.waiting(), 2);
    for (number, client) in (1..).zip(&mut clients) {
        assert_eq!(client.answer().await.unwrap().status, 200);
        assert!(began.elapsed() >= TOKEN * 300 * number, "{number}: {:?}", began.elapsed());
    }
    simulator.shutdown().await;
}

#[tokio::test]
async fn those_who_wait_for_the_same_prompt_find_it_in_the_cache() {
    let simulator = start(options()).await;
    let began = Instant::now();
    let body = long("a");
    let (first, second) = tokio::join!(took(&simulator, &body), took(&simulator, &body));
    assert!(first.min(second) >= TOKEN * 300);
    assert!(began.elapsed() < TOKEN * 500, "{:?}", began.elapsed());
    simulator.shutdown().await;
}

#[tokio::test]
async fn a_client_that_leaves_lets_the_next_prompt_begin_and_leaves_nothing_in_the_cache() {
    let simulator = start(Options { prefill: Duration::from_secs(1), ..options() }).await;
    let mut first = Client::connect(&simulator).await;
    first.post("/v1/chat/completions", &long("a")).await;
    assert!(simulator.wait_for(PATIENCE, |simulator| simulator.running() == 1).await);
    let mut second = Client::connect(&simulator).await;
    second.post("/v1/chat/completions", &long("a")).await;
    assert!(simulator.wait_for(PATIENCE, |simulator| simulator.waiting() == 1).await);
    drop(first);
    assert!(simulator.wait_for(PATIENCE, |simulator| simulator.active() == 1).await);
    assert!(simulator.wait_for(PATIENCE, |simulator| simulator.running() == 1).await);
    assert_eq!(simulator.prefix_cache_tokens().1, 0);
    simulator.shutdown().await;
}

#[tokio::test]
async fn slowing_down_counts_for_the_prompt_that_is_being_computed() {
    let simulator = start(options()).await;
    let began = Instant::now();
    let mut client = Client::connect(&simulator).await;
    client.post("/v1/chat/completions", &long("a")).await;
    assert!(simulator.wait_for(PATIENCE, |simulator| simulator.running() == 1).await);
    simulator.slow_down(4.0);
    client.answer().await.unwrap();
    let took = began.elapsed();
    assert!(took >= TOKEN * 600, "{took:?}");

    simulator.slow_down(1e6);
    client.post("/v1/chat/completions", &long("b")).await;
    assert!(simulator.wait_for(PATIENCE, |simulator| simulator.running() == 1).await);
    simulator.slow_down(1.0);
    client.answer().await.unwrap();
    simulator.shutdown().await;
}

#[tokio::test]
async fn slowing_down_counts_for_tokens_as_well() {
    let speed = Speed { itl: Duration::from_millis(1), ..Speed::default() };
    let simulator = start(Options { speed, ..Options::default() }).await;
    simulator.slow_down(30.0);
    let took = took(&simulator, &asking("a", 1, r#""max_tokens":11"#)).await;
    assert!(took >= Duration::from_millis(300), "{took:?}");
    simulator.shutdown().await;
}

#[tokio::test]
async fn an_engine_that_dies_ends_prompts_that_are_computed_or_wait() {
    let simulator = start(Options { prefill: Duration::from_secs(1), ..options() }).await;
    let mut clients = Vec::new();
    for number in 1..=2 {
        let mut client = Client::connect(&simulator).await;
        client.post("/v1/chat/completions", &long("a")).await;
        assert!(simulator.wait_for(PATIENCE, |simulator| simulator.active() == number).await);
        clients.push(client);
    }
    simulator.set_engine_dead(true);
    for client in &mut clients {
        assert_eq!(client.answer().await.unwrap().status, 500);
    }
    assert_eq!((simulator.running(), simulator.waiting(), simulator.active()), (0, 0, 0));
    simulator.shutdown().await;
}

#[tokio::test]
async fn a_full_cache_forgets_what_was_asked_for_the_longest_ago() {
    // Room for two prompts of twenty blocks, and not for three.
    let simulator =
        start(Options { prefill: Duration::from_nanos(1), num_gpu_blocks: Some(48), ..options() }).await;
    let mut hits = Vec::new();
    for word in ["a", "b", "a", "c", "a", "b"] {
        let before = simulator.prefix_cache_tokens().1;
        took(&simulator, &long(word)).await;
        hits.push(simulator.prefix_cache_tokens().1 - before > 250);
    }
    assert_eq!(hits, [false, false, true, false, true, false]);
    simulator.shutdown().await;
}

#[tokio::test]
async fn the_usage_of_the_kv_cache_is_what_running_requests_hold() {
    let speed = Speed { itl: Duration::from_millis(2), ..Speed::default() };
    let simulator = start(Options { speed, num_gpu_blocks: Some(100), ..options() }).await;
    let mut client = Client::connect(&simulator).await;
    let body = asking("a", 300, r#""max_tokens":20000,"ignore_eos":true,"stream":true"#);
    client.post("/v1/chat/completions", &body).await;
    client.until_events(2).await.unwrap();
    let usage = metric(&simulator, "kv_cache_usage_perc").await;
    assert!((0.18..0.5).contains(&usage), "{usage}");
    drop(client);
    assert!(simulator.wait_for(PATIENCE, |simulator| simulator.active() == 0).await);
    assert!(metric(&simulator, "kv_cache_usage_perc").await.abs() < 1e-9);
    simulator.shutdown().await;
}
