//! What is in the answers: the same for the same seed, counted rightly, and ended where it should.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use serde_json::Value;
use support::{Answer, ask_json, chat};
use vllm_gateway_simulator::{AutoTools, End, Options, Simulator, Tasks};

async fn start(options: Options) -> Simulator {
    Simulator::start(options).await.unwrap()
}

async fn chatted(simulator: &Simulator, more: &str) -> Answer {
    ask_json(simulator, "/v1/chat/completions", &chat(more)).await
}

fn content(answer: &Answer) -> String {
    answer.json()["choices"][0]["message"]["content"].as_str().unwrap().to_owned()
}

/// The text of each choice of a stream.
fn streamed_text(answer: &Answer, choice: u64) -> String {
    let events = answer.events();
    let parsed = events.iter().filter_map(|event| serde_json::from_str::<Value>(event).ok());
    let choices = parsed.flat_map(|event| event["choices"].as_array().cloned().unwrap_or_default());
    choices
        .filter(|one| one["index"] == choice)
        .filter_map(|one| one["delta"]["content"].as_str().or(one["text"].as_str()).map(str::to_owned))
        .collect()
}

#[tokio::test]
async fn the_same_seed_and_prompt_give_the_same_text_streamed_or_not() {
    let (one, other) = (start(Options::default()).await, start(Options::default()).await);
    let text = content(&chatted(&one, r#","seed":7"#).await);
    assert_eq!(text, content(&chatted(&other, r#","seed":7"#).await));
    assert_eq!(text, streamed_text(&chatted(&one, r#","seed":7,"stream":true"#).await, 0));
    assert_ne!(text, content(&chatted(&one, r#","seed":8"#).await));
    let two = chatted(&one, r#","seed":7,"n":2"#).await.json();
    assert_eq!(two["choices"][0]["message"]["content"], text);
    assert_ne!(two["choices"][1]["message"]["content"], text);
    one.shutdown().await;
    other.shutdown().await;
}

#[tokio::test]
async fn an_answer_ends_by_itself_or_by_its_limits() {
    let simulator = start(Options { tokens: 12, ..Options::default() }).await;
    for (more, reason, tokens) in [
        ("", "stop", 12),
        (r#","max_tokens":5"#, "length", 5),
        (r#","max_tokens":5,"max_completion_tokens":3"#, "length", 3),
        (r#","max_tokens":30,"ignore_eos":true"#, "length", 30),
        (r#","max_tokens":40,"min_tokens":20"#, "stop", 21),
    ] {
        let answer = chatted(&simulator, more).await.json();
        assert_eq!(answer["choices"][0]["finish_reason"], reason, "{more}");
        assert_eq!(answer["usage"]["completion_tokens"], tokens, "{more}");
    }
    simulator.shutdown().await;
}

#[tokio::test]
async fn a_stop_string_is_left_out_also_when_tokens_cut_it() {
    let options = Options { text: Some("one two three <END> four".to_owned()), ..Options::default() };
    let simulator = start(options).await;
    for stop in [r#""<END>""#, r#"["never","ee <EN"]"#] {
        let whole = chatted(&simulator, &format!(r#","stop":{stop}"#)).await;
        let streamed = chatted(&simulator, &format!(r#","stop":{stop},"stream":true"#)).await;
        let expected = if stop.starts_with('[') { "one two thr" } else { "one two three " };
        assert_eq!(content(&whole), expected);
        assert_eq!(streamed_text(&streamed, 0), expected);
        assert_eq!(whole.json()["choices"][0]["finish_reason"], "stop");
        assert_eq!(
            whole.json()["choices"][0]["stop_reason"],
            if expected == "one two thr" { "ee <EN" } else { "<END>" }
        );
    }
    let untouched = chatted(&simulator, r#","stop":"five""#).await;
    assert_eq!(content(&untouched), "one two three <END> four", "what was held back comes at the end");
    simulator.shutdown().await;
}

#[tokio::test]
async fn written_text_comes_whole_character_by_character() {
    let text = "héllo 漢字漢字 🙂🙂 \"quoted\" \\ \n end";
    let simulator = start(Options { text: Some(text.to_owned()), ..Options::default() }).await;
    let streamed = chatted(&simulator, r#","stream":true"#).await;
    assert_eq!(streamed_text(&streamed, 0), text);
    assert_eq!(content(&chatted(&simulator, "").await), text);
    simulator.shutdown().await;
}

#[tokio::test]
async fn usage_is_the_sum_and_the_ledger_agrees() {
    let simulator = start(Options { tokens: 9, ..Options::default() }).await;
    let body = r#"{"prompt":["one","two two"],"n":2,"stream":true,"max_tokens":100,"stream_options":{"include_usage":true,"continuous_usage_stats":true}}"#;
    let events = ask_json(&simulator, "/v1/completions", body).await.events();
    let usage: Value = serde_json::from_str(&events[events.len() - 2]).unwrap();
    assert_eq!(usage["usage"]["completion_tokens"], 4 * 9);
    let generation = simulator.ledger().pop().unwrap();
    assert_eq!(usage["usage"]["prompt_tokens"], generation.prompt_tokens);
    assert_eq!((generation.completion_tokens, generation.sent_tokens), (36, 36));
    assert_eq!(generation.ended.unwrap().0, End::Finished("stop"));
    // The last figure of each choice adds up to it.
    let mut last = [0; 4];
    for event in events.iter().filter_map(|event| serde_json::from_str::<Value>(event).ok()) {
        if let Some(choice) = event["choices"][0]["index"].as_u64() {
            last[usize::try_from(choice).unwrap()] = event["usage"]["completion_tokens"].as_u64().unwrap();
        }
    }
    assert_eq!(last, [9; 4]);
    simulator.shutdown().await;
}

#[tokio::test]
async fn an_event_may_hold_several_tokens() {
    let simulator = start(Options { tokens_per_event: 4, ..Options::default() }).await;
    let more = r#","max_tokens":10,"stream":true,"stream_options":{"include_usage":true}"#;
    let events = chatted(&simulator, more).await.events();
    assert_eq!(events.len(), 1 + 3 + 2, "the first, three with 4 + 4 + 2 tokens, usage, and [DONE]");
    assert!(events[4].contains(r#""completion_tokens":10"#));
    simulator.shutdown().await;
}

#[tokio::test]
async fn reasoning_comes_before_content_and_is_counted() {
    let simulator =
        start(Options { reasoning_tokens: Some(3), tokens_per_event: 2, ..Options::default() }).await;
    let answer = chatted(&simulator, r#","max_tokens":8"#).await.json();
    assert_eq!(answer["usage"]["completion_tokens_details"]["reasoning_tokens"], 3);
    let message = &answer["choices"][0]["message"];
    assert!(
        !message["reasoning"].as_str().unwrap().is_empty()
            && !message["content"].as_str().unwrap().is_empty()
    );
    let streamed = chatted(&simulator, r#","max_tokens":8,"stream":true"#).await;
    assert_eq!(streamed_text(&streamed, 0), message["content"].as_str().unwrap());
    assert!(streamed.text().contains(r#""delta":{"reasoning":"#));
    simulator.shutdown().await;
}

#[tokio::test]
async fn tools_are_called_with_arguments_that_fit() {
    let tools = r#","tools":[{"type":"function","function":{"name":"weather","parameters":{"type":"object","properties":{"city":{"type":"string"}},"required":["city"]}}}]"#;
    let simulator = start(Options { auto_tools: AutoTools::Call, ..Options::default() }).await;
    for choice in ["", r#","tool_choice":"required""#] {
        let answer = chatted(&simulator, &format!("{tools}{choice}")).await.json();
        let call = &answer["choices"][0]["message"]["tool_calls"][0]["function"];
        let arguments: Value = serde_json::from_str(call["arguments"].as_str().unwrap()).unwrap();
        assert!(call["name"] == "weather" && arguments["city"].is_string());
        assert_eq!(answer["choices"][0]["finish_reason"], "tool_calls");
    }
    let events = chatted(&simulator, &format!(r#"{tools},"stream":true"#)).await.events();
    let pieces: String = events
        .iter()
        .filter_map(|event| serde_json::from_str::<Value>(event).ok())
        .filter_map(|event| {
            event["choices"][0]["delta"]["tool_calls"][0]["function"]["arguments"].as_str().map(str::to_owned)
        })
        .collect();
    assert!(serde_json::from_str::<Value>(&pieces).unwrap()["city"].is_string());
    assert!(content(&chatted(&simulator, &format!(r#"{tools},"tool_choice":"none""#)).await).len() > 1);
    simulator.shutdown().await;
}

#[tokio::test]
async fn the_second_time_a_long_prompt_is_cached() {
    let simulator =
        start(Options { prompt_tokens_details: true, dev_mode: true, ..Options::default() }).await;
    let body = format!(r#"{{"messages":[{{"role":"user","content":"{}"}}]}}"#, "the world ".repeat(100));
    let mut cached = Vec::new();
    for _ in 0..2 {
        let answer = ask_json(&simulator, "/v1/chat/completions", &body).await.json();
        cached.push(answer["usage"]["prompt_tokens_details"]["cached_tokens"].as_u64().unwrap());
    }
    assert!(cached[0] == 0 && cached[1] >= 128, "{cached:?}");
    ask_json(&simulator, "/reset_prefix_cache", "").await;
    let answer = ask_json(&simulator, "/v1/chat/completions", &body).await.json();
    assert_eq!(answer["usage"]["prompt_tokens_details"]["cached_tokens"], 0);
    simulator.shutdown().await;
}

#[tokio::test]
async fn embeddings_scores_and_ranks_agree_with_each_other() {
    let simulator = start(Options { tasks: Tasks::ALL, ..Options::default() }).await;
    let rerank = r#"{"query":"a","documents":["b","c","a","d"]}"#;
    let ranked = ask_json(&simulator, "/v1/rerank", rerank).await.json();
    assert_eq!(ranked["results"][0]["index"], 2, "a text is most like itself");
    let scored = ask_json(&simulator, "/score", r#"{"text_1":"a","text_2":["b","c","a","d"]}"#).await.json();
    assert_eq!(ranked["results"][0]["relevance_score"], scored["data"][2]["score"]);
    let twice = ask_json(&simulator, "/v1/embeddings", r#"{"input":["x","x"]}"#).await.json();
    assert_eq!(twice["data"][0]["embedding"], twice["data"][1]["embedding"]);
    let classes = ask_json(&simulator, "/classify", r#"{"input":"x"}"#).await.json();
    assert_eq!(classes["data"][0]["num_classes"], 2);
    assert_eq!(simulator.ledger().len(), 4);
    simulator.shutdown().await;
}

#[tokio::test]
async fn tokens_can_be_turned_back_into_their_text() {
    let simulator = start(Options::default()).await;
    let text = r#"The quick \"brown\" fox: 漢字 🙂"#;
    let tokens =
        ask_json(&simulator, "/tokenize", &format!(r#"{{"prompt":"{text}"}}"#)).await.json()["tokens"]
            .to_string();
    let back = ask_json(&simulator, "/detokenize", &format!(r#"{{"tokens":{tokens}}}"#)).await.json();
    assert_eq!(back["prompt"], "The quick \"brown\" fox: 漢字 🙂");
    simulator.shutdown().await;
}

#[tokio::test]
async fn an_adapter_is_listed_and_answers_by_its_own_name() {
    let simulator = start(Options { adapters: vec!["sql".to_owned()], ..Options::default() }).await;
    let answer = ask_json(&simulator, "/v1/completions", r#"{"model":"sql","prompt":"x"}"#).await.json();
    assert_eq!(answer["model"], "sql");
    let models = support::get(&simulator, "/v1/models").await.json();
    assert_eq!(
        (models["data"][1]["id"].as_str(), models["data"][1]["parent"].as_str()),
        (Some("sql"), Some("Qwen3-32B"))
    );
    simulator.shutdown().await;
}

#[tokio::test]
async fn load_is_counted_while_a_request_is_answered() {
    let speed =
        vllm_gateway_simulator::Speed { ttft: std::time::Duration::from_secs(60), ..Default::default() };
    let simulator = start(Options { load_tracking: true, speed, ..Options::default() }).await;
    let mut client = support::Client::connect(&simulator).await;
    client.post("/v1/chat/completions", &chat(r#","stream":true"#)).await;
    client.until("\r\n\r\n").await.unwrap();
    assert_eq!(support::get(&simulator, "/load").await.text(), r#"{"server_load":1}"#);
    simulator.shutdown().await;
}
