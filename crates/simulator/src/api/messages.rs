//! `/v1/messages`: Anthropic's form.

use serde_json::Value;

use super::chat::{Template, content, render};
use super::generate::{Choice, Delta, Dialect, Finish, Job, Prompt, complete, request_id, stream};
use super::models::model;
use super::request::{
    JsonBody, SAMPLING, check_length, check_sampling, check_surrogates, check_tokens, json_body, max_tokens,
};
use super::{Cx, Handled, Reply};
use crate::engine::Run;
use crate::error::ApiError;
use crate::http1::{Answer, Interrupt, Wire};
use crate::json::{Json, listed};

/// One message.
pub(crate) async fn messages(cx: &Cx<'_>, wire: &mut Wire<'_>) -> Handled {
    let body = json_body(cx)?;
    body.require(&["model", "messages", "max_tokens"], &SAMPLING)?;
    let model = model(cx, &body)?;
    check_sampling(cx, &body)?;
    let prompt = prompt(cx, &body)?;
    check_surrogates(&body)?;
    let limit = max_tokens(cx, &body, &["max_tokens"])?;
    let mut job = Job::new(cx, request_id(cx, "chatcmpl", None), model, &body, vec![prompt]);
    job.n = 1;
    job.limits.max_tokens = limit;
    job.limits.stop =
        listed(body.get("stop_sequences")).into_iter().filter(|stop| !stop.is_empty()).collect();
    if job.stream {
        stream(cx, job, &mut MessageEvents, wire).await?;
        return Ok(Reply { answer: None, live: None });
    }
    let (job, choices, run) = complete(cx, job).await?;
    let (text, reason) =
        choices.first().map_or(("", None), |choice| (choice.text.as_str(), choice.finish.as_ref()));
    let mut json = Json::new();
    json.put(r#"{"id":"#).put_text(&job.id);
    json.put(r#","type":"message","role":"assistant","content":[{"type":"text","text":"#).put_text(text);
    json.put(r#"}],"model":"#).put_text(&job.model);
    json.put(r#","stop_reason":"#).put_maybe(reason.map(stop_reason));
    if let Some(stop) = reason.and_then(|finish| finish.stop.as_deref()) {
        json.put(r#","stop_sequence":"#).put_text(stop);
    }
    json.put(r#","usage":"#);
    put_usage(&mut json, &job, &choices);
    json.put("}");
    Ok(Reply { answer: Some(Answer::json(200, json.into_bytes())), live: Some(run.live.clone()) })
}

/// How many tokens a message has.
pub(crate) fn count_tokens(cx: &Cx<'_>) -> Handled {
    let body = json_body(cx)?;
    body.require(&["model", "messages"], &SAMPLING)?;
    model(cx, &body)?;
    let tokens = prompt(cx, &body)?.tokens.len();
    let json = Json::new()
        .raw(r#"{"input_tokens":"#)
        .number(tokens)
        .raw(r#","context_management":{"original_input_tokens":"#)
        .number(tokens)
        .raw("}}");
    Ok(Reply::of(Answer::json(200, json.into_bytes())))
}

fn prompt(cx: &Cx<'_>, body: &JsonBody) -> Result<Prompt, ApiError> {
    let options = &cx.shared.options;
    let own = options.models.first().map_or("", String::as_str);
    let mut conversation = Vec::new();
    if let Some(system) = body.get("system") {
        let text = content(system, options.multimodal, own)?;
        conversation.push(serde_json::json!({"role": "system", "content": text}));
    }
    conversation.extend(body.get("messages").and_then(Value::as_array).into_iter().flatten().cloned());
    let none = Vec::new();
    let tools = body.get("tools").and_then(Value::as_array).unwrap_or(&none);
    let text = render(&conversation, tools, Template::Open, options.multimodal, own)?;
    check_length(cx, &text)?;
    let prompt = Prompt::new(text);
    check_tokens(cx, prompt.tokens.len())?;
    Ok(prompt)
}

fn stop_reason(finish: &Finish) -> &'static str {
    match (finish.reason, &finish.stop) {
        ("length", _) => "max_tokens",
        ("stop", Some(_)) => "stop_sequence",
        ("stop", None) => "end_turn",
        (other, _) => other,
    }
}

fn put_usage(json: &mut Json, job: &Job, choices: &[Choice]) {
    let output = choices.iter().map(|choice| choice.tokens).sum();
    json.put(r#"{"input_tokens":"#).put_number(job.prompt_tokens());
    json.put(r#","output_tokens":"#).put_number(output).put("}");
}

/// The events: named, and without `[DONE]`.
struct MessageEvents;

fn event(wire: &mut Wire<'_>, name: &str, write: impl FnOnce(&mut Json)) -> Result<(), Interrupt> {
    wire.event(|json| {
        json.put("event: ").put(name).put("\ndata: {\"type\":").put_text(name);
        write(json);
        json.put("}\n\n");
    })
}

impl Dialect for MessageEvents {
    fn open(
        &mut self,
        _: &Cx<'_>,
        job: &Job,
        choices: &[Choice],
        wire: &mut Wire<'_>,
    ) -> Result<(), Interrupt> {
        event(wire, "message_start", |json| {
            json.put(r#","message":{"id":"#).put_text(&job.id);
            json.put(r#","type":"message","role":"assistant","content":[],"model":"#).put_text(&job.model);
            json.put(r#","stop_reason":null,"stop_sequence":null,"usage":"#);
            put_usage(json, job, choices);
            json.put("}");
        })?;
        event(wire, "content_block_start", |json| {
            json.put(r#","content_block":{"type":"text","text":""},"index":0"#);
        })
    }

    fn tell(
        &mut self,
        _: &Cx<'_>,
        _: &Job,
        _: &Choice,
        delta: &Delta,
        wire: &mut Wire<'_>,
    ) -> Result<(), Interrupt> {
        if delta.text.is_empty() {
            return Ok(());
        }
        event(wire, "content_block_delta", |json| {
            json.put(r#","delta":{"type":"text_delta","text":"#).put_text(&delta.text).put(r#"},"index":0"#);
        })
    }

    fn close(
        &mut self,
        _: &Cx<'_>,
        job: &Job,
        choices: &[Choice],
        _: &Run,
        wire: &mut Wire<'_>,
    ) -> Result<(), Interrupt> {
        let finish = choices.first().and_then(|choice| choice.finish.as_ref());
        event(wire, "content_block_stop", |json| {
            json.put(r#","index":0"#);
        })?;
        event(wire, "message_delta", |json| {
            json.put(r#","delta":{"stop_reason":"#).put_maybe(finish.map(stop_reason));
            json.put(r#","stop_sequence":"#).put_maybe(finish.and_then(|finish| finish.stop.as_deref()));
            json.put(r#"},"usage":"#);
            put_usage(json, job, choices);
        })?;
        event(wire, "message_stop", |_| {})
    }
}
