//! Reading and checking a chat request.

use serde_json::Value;

use super::super::Cx;
use super::super::generate::{Job, Prompt, conforming, tool_arguments};
use super::super::models::model;
use super::super::request::{
    JsonBody, SAMPLING, check_length, check_sampling, check_surrogates, check_tokens, max_tokens,
};
use super::template::{Template, content, render};
use super::tools::{Call, call};
use crate::error::ApiError;
use crate::json::{Problem, truth};

/// What of a chat request shows in its answer only.
#[derive(Debug, Clone, Default)]
pub(crate) struct Shape {
    pub(crate) call: Option<Call>,
    /// `echo`: the last message's text comes first.
    pub(crate) echo: String,
    /// How many rivals `prompt_logprobs` lists; the recorded server lists them with `echo` as well.
    pub(crate) prompt_logprobs: Option<usize>,
}

/// A chat request that can be run.
pub(crate) struct Chat {
    pub(crate) job: Job,
    pub(crate) shape: Shape,
}

/// Reads one conversation.
pub(crate) fn chat(cx: &Cx<'_>, body: &JsonBody, id: String) -> Result<Chat, ApiError> {
    body.require(&["messages"], &SAMPLING)?;
    if let Some(messages) = body.value.get("messages").filter(|messages| !messages.is_array()) {
        let problem = Problem::new("list_type", "body.messages", "Input should be a valid list", messages);
        return Err(ApiError::invalid(&[problem]));
    }
    let conversation = body.value["messages"].clone();
    chat_job(cx, body, id, &[conversation])
}

/// Reads a request of one or more conversations.
pub(crate) fn chat_job(
    cx: &Cx<'_>,
    body: &JsonBody,
    id: String,
    conversations: &[Value],
) -> Result<Chat, ApiError> {
    let model = model(cx, body)?;
    check_sampling(cx, body)?;
    let logprobs = truth(body.get("logprobs")).unwrap_or(false);
    if body.count("top_logprobs").is_some_and(|top| top > 0) && !logprobs {
        let message = "when using `top_logprobs`, `logprobs` must be set to true.";
        return Err(ApiError::parameter("top_logprobs", message, None));
    }
    let call = call(cx, body)?;
    let written = written(body)?;
    let prompts: Result<Vec<_>, _> =
        conversations.iter().map(|messages| prompt(cx, body, messages)).collect();
    let prompts = prompts?;
    check_surrogates(body)?;
    let max_tokens = max_tokens(cx, body, &["max_completion_tokens", "max_tokens"])?;

    let mut job = Job::new(cx, id, model, body, prompts);
    job.limits.max_tokens = max_tokens;
    job.reasoning = cx.shared.options.reasoning_tokens;
    job.logprobs = logprobs.then(|| body.count("top_logprobs").unwrap_or(0));
    if let Some(written) = call.as_ref().map(|call| tool_arguments(&call.tool)).or(written) {
        // Grammar-bound text is the answer itself: there is no reasoning in front of it.
        job.script = Some(written);
        job.reasoning = job.reasoning.map(|_| 0);
    }
    let echo = if body.truth("echo") { last_text(conversations, &job.model)? } else { String::new() };
    let prompt_logprobs = body.count("prompt_logprobs").or_else(|| body.truth("echo").then_some(0));
    Ok(Chat { job, shape: Shape { call, echo, prompt_logprobs } })
}

fn prompt(cx: &Cx<'_>, body: &JsonBody, messages: &Value) -> Result<Prompt, ApiError> {
    let none = Vec::new();
    let messages = messages.as_array().unwrap_or(&none);
    let tools = body.get("tools").and_then(Value::as_array).unwrap_or(&none);
    let ending = if body.truth("continue_final_message") {
        Template::Continue
    } else if truth(body.get("add_generation_prompt")).unwrap_or(true) {
        Template::Open
    } else {
        Template::Closed
    };
    let options = &cx.shared.options;
    let own = options.models.first().map_or("", String::as_str);
    let text = render(messages, tools, ending, options.multimodal, own)?;
    check_length(cx, &text)?;
    let prompt = Prompt::new(text);
    check_tokens(cx, prompt.tokens.len())?;
    Ok(prompt)
}

fn last_text(conversations: &[Value], model: &str) -> Result<String, ApiError> {
    let last = conversations.last().and_then(Value::as_array).and_then(|messages| messages.last());
    last.map_or(Ok(String::new()), |message| content(&message["content"], true, model))
}

/// The text of an answer that has to have a form.
fn written(body: &JsonBody) -> Result<Option<String>, ApiError> {
    const TYPES: [&str; 7] = ["object", "array", "string", "number", "integer", "boolean", "null"];
    let Some(format) = body.get("response_format") else { return Ok(None) };
    match format["type"].as_str() {
        Some("json_object") => Ok(Some(r#"{"answer": "Berlin"}"#.to_owned())),
        Some("json_schema") => {
            let schema = &format["json_schema"]["schema"];
            match schema["type"].as_str().filter(|kind| !TYPES.contains(kind)) {
                Some(kind) => Err(ApiError::bad(format!("Grammar error: Invalid type: {kind}"))),
                None => Ok(Some(conforming(schema))),
            }
        }
        _ => Ok(None),
    }
}
