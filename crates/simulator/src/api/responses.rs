//! `/v1/responses`: OpenAI's newer form. Nothing is stored but on a server with the response store.

use serde_json::Value;

use super::chat::{Template, content, render};
use super::generate::{Choice, Delta, Dialect, Job, Prompt, complete, stream};
use super::models::model;
use super::request::{
    JsonBody, SAMPLING, check_length, check_sampling, check_surrogates, check_tokens, json_body, max_tokens,
};
use super::{Cx, Handled, Reply};
use crate::engine::Run;
use crate::error::ApiError;
use crate::http1::{Answer, Interrupt, Wire};
use crate::json::{Json, Problem, float};
use crate::response_store::Kept;

/// One request.
pub(crate) async fn responses(cx: &Cx<'_>, wire: &mut Wire<'_>) -> Handled {
    let body = json_body(cx)?;
    if !body.fields().contains_key("input") {
        // The framework has added a field of its own by then: the count is one more (a17f).
        let mut seen = body.fields().clone();
        seen.insert(String::new(), Value::Null);
        return Err(ApiError::invalid(&[Problem::missing("body.input", &Value::Object(seen))]).into());
    }
    body.require(&[], &SAMPLING)?;
    let store = cx.shared.options.response_store;
    if body.truth("background") && !store {
        let message = "This vLLM engine does not support `store=True` and therefore does not support the background mode. To enable \
                       these features, set the environment variable `VLLM_ENABLE_RESPONSES_API_STORE=1` when launching the vLLM server.";
        return Err(ApiError::invalid_request("background", message).into());
    }
    let previous = match body.get("previous_response_id").and_then(Value::as_str) {
        Some(id) => cx.shared.responses.get(id).ok_or_else(|| ApiError::unknown_response(id))?.messages,
        None => Vec::new(),
    };
    let model = model(cx, &body)?;
    check_sampling(cx, &body)?;
    let (messages, prompt) = prompt(cx, &body, previous)?;
    check_surrogates(&body)?;
    let limit = max_tokens(cx, &body, &["max_output_tokens"])?;
    let mut job = Job::new(cx, response_id(cx, &body), model, &body, vec![prompt]);
    job.n = 1;
    job.limits.max_tokens = limit;
    let form = Form::new(cx, &job, &body);
    let keeps = (store && body.get("store").is_none_or(|store| *store != Value::Bool(false)))
        .then(|| Kept { messages, ..Kept::default() });
    if form.background && !job.stream {
        let mut json = Json::new();
        form.put(&mut json, &job, None, "");
        let whole = String::from_utf8_lossy(json.as_bytes()).into_owned();
        let kept = Kept { whole, waits: true, ..keeps.unwrap_or_default() };
        cx.shared.responses.keep(&job.id, kept);
        return Ok(Reply::of(Answer::json(200, json.into_bytes())));
    }
    if job.stream {
        stream(cx, job, &mut ResponseEvents { form, sequence: 0, text: String::new(), keeps }, wire).await?;
        return Ok(Reply { answer: None, live: None });
    }
    let (job, choices, run) = complete(cx, job).await?;
    let mut json = Json::new();
    let text = choices.first().map_or("", |choice| &choice.text);
    form.put(&mut json, &job, choices.first(), text);
    if let Some(kept) = keeps {
        keep(cx, &job, kept, &json, text);
    }
    Ok(Reply { answer: Some(Answer::json(200, json.into_bytes())), live: Some(run.live.clone()) })
}

/// The one that the body wishes for, as it is; else a new one. The id of the request in the headers is not asked.
fn response_id(cx: &Cx<'_>, body: &JsonBody) -> String {
    let wished = body.get("request_id").and_then(Value::as_str).map(str::to_owned);
    wished.unwrap_or_else(|| format!("resp_{}", cx.shared.new_id()))
}

/// Keeps a response that has come to its end.
fn keep(cx: &Cx<'_>, job: &Job, mut kept: Kept, whole: &Json, text: &str) {
    kept.whole = String::from_utf8_lossy(whole.as_bytes()).into_owned();
    kept.messages.push(serde_json::json!({"role": "assistant", "content": text}));
    cx.shared.responses.keep(&job.id, kept);
}

fn prompt(cx: &Cx<'_>, body: &JsonBody, previous: Vec<Value>) -> Result<(Vec<Value>, Prompt), ApiError> {
    let options = &cx.shared.options;
    let own = options.models.first().map_or("", String::as_str);
    let mut messages = previous;
    if let Some(instructions) = body.get("instructions").and_then(Value::as_str) {
        messages.push(serde_json::json!({"role": "system", "content": instructions}));
    }
    match body.get("input") {
        Some(Value::Array(items)) => {
            for item in items {
                let text = content(&item["content"], options.multimodal, own)?;
                messages.push(
                    serde_json::json!({"role": item["role"].as_str().unwrap_or("user"), "content": text}),
                );
            }
        }
        input => {
            messages.push(serde_json::json!({"role": "user", "content": input.cloned().unwrap_or_default()}));
        }
    }
    let text = render(&messages, &[], Template::Open, options.multimodal, own)?;
    check_length(cx, &text)?;
    let prompt = Prompt::new(text);
    check_tokens(cx, prompt.tokens.len())?;
    Ok((messages, prompt))
}

/// The response object, which comes once or three times.
struct Form {
    message_id: String,
    instructions: Option<String>,
    temperature: f64,
    top_p: f64,
    max_output_tokens: Option<usize>,
    previous: Option<String>,
    background: bool,
}

impl Form {
    fn new(cx: &Cx<'_>, _: &Job, body: &JsonBody) -> Self {
        Self {
            message_id: format!("msg_{}", cx.shared.new_id()),
            instructions: body.get("instructions").and_then(Value::as_str).map(str::to_owned),
            temperature: float(body.get("temperature")).unwrap_or(0.7),
            top_p: float(body.get("top_p")).unwrap_or(0.9),
            max_output_tokens: body.count("max_output_tokens"),
            previous: body.get("previous_response_id").and_then(Value::as_str).map(str::to_owned),
            background: body.truth("background"),
        }
    }

    /// Without a finished choice it is in progress.
    fn put(&self, json: &mut Json, job: &Job, choice: Option<&Choice>, text: &str) {
        let reason = choice.and_then(|choice| choice.finish.as_ref()).map(|finish| finish.reason);
        let status = match reason {
            None if self.background && !job.stream => "queued",
            None => "in_progress",
            Some("stop") => "completed",
            Some("abort") => "cancelled",
            Some(_) => "incomplete",
        };
        json.put(r#"{"id":"#).put_text(&job.id).put(r#","created_at":"#).put_number(job.created);
        json.put(r#","incomplete_details":"#);
        json.put(if status == "incomplete" { r#"{"reason":"max_output_tokens"}"# } else { "null" });
        json.put(r#","instructions":"#).put_maybe(self.instructions.as_deref());
        json.put(r#","metadata":null,"model":"#)
            .put_text(&job.model)
            .put(r#","object":"response","output":["#);
        if reason.is_some() {
            self.put_message(json, Some(text));
        }
        json.put(r#"],"parallel_tool_calls":true,"temperature":"#).put_float(self.temperature);
        json.put(r#","tool_choice":"none","tools":[],"top_p":"#).put_float(self.top_p);
        json.put(r#","background":"#).put(if self.background { "true" } else { "false" });
        json.put(r#","max_output_tokens":"#);
        match self.max_output_tokens {
            Some(tokens) => json.put_number(tokens),
            None => json.put("null"),
        };
        json.put(r#","max_tool_calls":null,"previous_response_id":"#).put_maybe(self.previous.as_deref());
        json.put(r#","prompt":null,"reasoning":null,"service_tier":"auto","status":"#);
        json.put_text(status).put(r#","text":null,"top_logprobs":null,"truncation":"disabled","usage":"#);
        match choice.filter(|_| reason.is_some()) {
            Some(choice) => {
                let (input, output) = (job.prompt_tokens(), choice.tokens);
                json.put(r#"{"input_tokens":"#).put_number(input);
                json.put(r#","input_tokens_details":{"cached_tokens":"#).put_number(job.cache.cached);
                json.put(r#","cache_write_tokens":0,"input_tokens_per_turn":[],"cached_tokens_per_turn":[]},"output_tokens":"#);
                json.put_number(output);
                json.put(r#","output_tokens_details":{"reasoning_tokens":0,"tool_output_tokens":0,"output_tokens_per_turn":[],"tool_output_tokens_per_turn":[]},"total_tokens":"#);
                json.put_number(input + output).put("}");
            }
            None => {
                json.put("null");
            }
        }
        json.put(r#","user":null,"presence_penalty":0.0,"frequency_penalty":0.0,"kv_transfer_params":null,"ec_transfer_params":null,"input_messages":null,"output_messages":null}"#);
    }

    fn put_message(&self, json: &mut Json, text: Option<&str>) {
        json.put(r#"{"id":"#).put_text(&self.message_id).put(r#","content":["#);
        if let Some(text) = text {
            put_part(json, text, "null");
        }
        json.put(r#"],"role":"assistant","status":"#);
        json.put_text(if text.is_some() { "completed" } else { "in_progress" });
        json.put(r#","type":"message","phase":null}"#);
    }
}

fn put_part(json: &mut Json, text: &str, logprobs: &str) {
    json.put(r#"{"annotations":[],"text":"#).put_text(text);
    json.put(r#","type":"output_text","logprobs":"#).put(logprobs).put("}");
}

/// The events: named, numbered, and without `[DONE]`.
struct ResponseEvents {
    form: Form,
    sequence: usize,
    text: String,
    /// What is kept of it.
    keeps: Option<Kept>,
}

impl ResponseEvents {
    /// One event: its fields up to the sequence number, then those after it.
    fn event(
        &mut self,
        wire: &mut Wire<'_>,
        name: &str,
        fields: impl FnOnce(&mut Json, &Form, &str),
        after: impl FnOnce(&mut Json, &str),
    ) -> Result<(), Interrupt> {
        let (form, text, sequence) = (&self.form, &self.text, self.sequence);
        self.sequence += 1;
        let events = self.keeps.as_mut().map(|kept| &mut kept.events);
        wire.event(|json| {
            json.put("event: ").put(name).put("\ndata: {");
            fields(json, form, text);
            json.put(r#","sequence_number":"#).put_number(sequence);
            after(json, text);
            json.put(r#","type":"#).put_text(name).put("}\n\n");
            events.into_iter().for_each(|events| events.push(json.as_bytes().to_vec()));
        })
    }

    fn plain(
        &mut self,
        wire: &mut Wire<'_>,
        name: &str,
        fields: impl FnOnce(&mut Json, &Form, &str),
    ) -> Result<(), Interrupt> {
        self.event(wire, name, fields, |_, _| {})
    }
}

impl Dialect for ResponseEvents {
    fn open(&mut self, _: &Cx<'_>, job: &Job, _: &[Choice], wire: &mut Wire<'_>) -> Result<(), Interrupt> {
        for name in ["response.created", "response.in_progress"] {
            self.plain(wire, name, |json, form, _| {
                json.put(r#""response":"#);
                form.put(json, job, None, "");
            })?;
        }
        self.plain(wire, "response.output_item.added", |json, form, _| {
            json.put(r#""item":"#);
            form.put_message(json, None);
            json.put(r#","output_index":0"#);
        })?;
        self.plain(wire, "response.content_part.added", |json, form, _| {
            json.put(r#""content_index":0,"item_id":"#).put_text(&form.message_id);
            json.put(r#","output_index":0,"part":"#);
            put_part(json, "", "[]");
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
        self.plain(wire, "response.output_text.delta", |json, form, _| {
            json.put(r#""content_index":0,"delta":"#).put_text(&delta.text);
            json.put(r#","item_id":"#).put_text(&form.message_id).put(r#","logprobs":[],"output_index":0"#);
        })?;
        self.text.push_str(&delta.text);
        Ok(())
    }

    fn close(
        &mut self,
        cx: &Cx<'_>,
        job: &Job,
        choices: &[Choice],
        _: &Run,
        wire: &mut Wire<'_>,
    ) -> Result<(), Interrupt> {
        let place = |json: &mut Json, form: &Form| {
            json.put(r#""content_index":0,"item_id":"#).put_text(&form.message_id);
        };
        self.event(
            wire,
            "response.output_text.done",
            |json, form, _| {
                place(json, form);
                json.put(r#","logprobs":[],"output_index":0"#);
            },
            |json, text| {
                json.put(r#","text":"#).put_text(text);
            },
        )?;
        self.plain(wire, "response.content_part.done", |json, form, text| {
            place(json, form);
            json.put(r#","output_index":0,"part":"#);
            put_part(json, text, "null");
        })?;
        self.plain(wire, "response.output_item.done", |json, form, text| {
            json.put(r#""item":"#);
            form.put_message(json, Some(text));
            json.put(r#","output_index":0"#);
        })?;
        self.plain(wire, "response.completed", |json, form, text| {
            json.put(r#""response":"#);
            form.put(json, job, choices.first(), text);
        })?;
        if let Some(kept) = self.keeps.take() {
            let mut whole = Json::new();
            self.form.put(&mut whole, job, choices.first(), &self.text);
            keep(cx, job, kept, &whole, &self.text);
        }
        Ok(())
    }
}
