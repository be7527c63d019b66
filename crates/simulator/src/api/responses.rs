//! `/v1/responses`: OpenAI's newer form. Nothing is stored, as on a server without the response store.

use serde_json::Value;

use super::chat::{Template, content, render};
use super::generate::{Choice, Delta, Dialect, Job, Prompt, complete, request_id, stream};
use super::models::model;
use super::request::{
    JsonBody, SAMPLING, check_length, check_sampling, check_surrogates, check_tokens, json_body, max_tokens,
};
use super::{Cx, Handled, Reply};
use crate::engine::Run;
use crate::error::ApiError;
use crate::http1::{Answer, Interrupt, Wire};
use crate::json::{Json, Problem, float};

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
    if body.truth("background") {
        let message = "This vLLM engine does not support `store=True` and therefore does not support the background mode. To enable \
                       these features, set the environment variable `VLLM_ENABLE_RESPONSES_API_STORE=1` when launching the vLLM server.";
        return Err(ApiError::invalid_request("background", message).into());
    }
    let model = model(cx, &body)?;
    check_sampling(cx, &body)?;
    let prompt = prompt(cx, &body)?;
    check_surrogates(&body)?;
    let limit = max_tokens(cx, &body, &["max_output_tokens"])?;
    let mut job = Job::new(
        cx,
        request_id(cx, "resp", Some(&body)).replacen("resp-", "resp_", 1),
        model,
        &body,
        vec![prompt],
    );
    job.n = 1;
    job.limits.max_tokens = limit;
    let form = Form::new(cx, &job, &body);
    if job.stream {
        stream(cx, job, &mut ResponseEvents { form, sequence: 0, text: String::new() }, wire).await?;
        return Ok(Reply { answer: None, live: None });
    }
    let (job, choices, run) = complete(cx, job).await?;
    let mut json = Json::new();
    let text = choices.first().map_or("", |choice| &choice.text);
    form.put(&mut json, &job, choices.first(), text);
    Ok(Reply { answer: Some(Answer::json(200, json.into_bytes())), live: Some(run.live.clone()) })
}

fn prompt(cx: &Cx<'_>, body: &JsonBody) -> Result<Prompt, ApiError> {
    let options = &cx.shared.options;
    let own = options.models.first().map_or("", String::as_str);
    let mut messages = Vec::new();
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
    Ok(prompt)
}

/// The response object, which comes once or three times.
struct Form {
    message_id: String,
    instructions: Option<String>,
    temperature: f64,
    top_p: f64,
    max_output_tokens: Option<usize>,
}

impl Form {
    fn new(cx: &Cx<'_>, _: &Job, body: &JsonBody) -> Self {
        Self {
            message_id: format!("msg_{}", cx.shared.new_id()),
            instructions: body.get("instructions").and_then(Value::as_str).map(str::to_owned),
            temperature: float(body.get("temperature")).unwrap_or(0.7),
            top_p: float(body.get("top_p")).unwrap_or(0.9),
            max_output_tokens: body.count("max_output_tokens"),
        }
    }

    /// Without a finished choice it is in progress.
    fn put(&self, json: &mut Json, job: &Job, choice: Option<&Choice>, text: &str) {
        let reason = choice.and_then(|choice| choice.finish.as_ref()).map(|finish| finish.reason);
        let status = match reason {
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
        json.put(r#","background":false,"max_output_tokens":"#);
        match self.max_output_tokens {
            Some(tokens) => json.put_number(tokens),
            None => json.put("null"),
        };
        json.put(r#","max_tool_calls":null,"previous_response_id":null,"prompt":null,"reasoning":null,"service_tier":"auto","status":"#);
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
        wire.event(|json| {
            json.put("event: ").put(name).put("\ndata: {");
            fields(json, form, text);
            json.put(r#","sequence_number":"#).put_number(sequence);
            after(json, text);
            json.put(r#","type":"#).put_text(name).put("}\n\n");
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
        _: &Cx<'_>,
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
        })
    }
}
