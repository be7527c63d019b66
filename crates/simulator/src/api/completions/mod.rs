//! `/v1/completions`: text in, text out, several prompts at a time.

mod answer;
mod events;

use serde_json::Value;

use super::generate::{Job, Prompt, complete, request_id, stream};
use super::info::load_header;
use super::models::model;
use super::request::{
    JsonBody, SAMPLING, check_length, check_sampling, check_surrogates, check_tokens, json_body, max_tokens,
};
use super::{Cx, Handled, Reply};
use crate::error::ApiError;
use crate::http1::{Answer, Wire};
use crate::json::{Kind, Problem, check, integer};
use crate::text::decode;
use answer::completion_answer;
use events::CompletionEvents;

/// How many tokens come when nothing is said (a10k).
const DEFAULT_MAX_TOKENS: usize = 16;

/// What of a request shows in its answer only.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Shape {
    pub(crate) echo: bool,
    /// Nothing is generated: the prompt is scored (a10f).
    pub(crate) score_only: bool,
}

/// One request.
pub(crate) async fn completions(cx: &Cx<'_>, wire: &mut Wire<'_>) -> Handled {
    let body = json_body(cx)?;
    body.require(&[], &SAMPLING)?;
    let mut problems = Vec::new();
    check(body.fields(), &[("logprobs", Kind::Integer)], &mut problems);
    if !problems.is_empty() {
        return Err(ApiError::invalid(&problems).into());
    }
    let model = model(cx, &body)?;
    check_sampling(cx, &body)?;
    let prompts = prompts(cx, &body)?;
    check_surrogates(&body)?;
    let echo = body.truth("echo");
    let score_only = echo && integer(body.get("max_tokens")) == Some(0);
    let limit = if score_only { Some(1) } else { max_tokens(cx, &body, &["max_tokens"])? };

    let mut job = Job::new(cx, request_id(cx, "cmpl", Some(&body)), model, &body, prompts);
    job.limits.max_tokens = Some(limit.unwrap_or(DEFAULT_MAX_TOKENS));
    job.logprobs = body.count("logprobs");
    let shape = Shape { echo, score_only };
    if job.stream {
        stream(cx, job.clone(), &mut CompletionEvents::new(&job, shape), wire).await?;
        return Ok(Reply { answer: None, live: None });
    }
    let (job, mut choices, run) = complete(cx, job).await?;
    if score_only {
        choices.iter_mut().for_each(|choice| {
            choice.tokens = 0;
            choice.text.clear();
            choice.ids.clear();
        });
    }
    let answer = completion_answer(cx, &job, &choices, &run, shape);
    let answer = Answer { before: load_header(cx), ..Answer::json(200, answer.into_bytes()) };
    Ok(Reply { answer: Some(answer), live: Some(run.live.clone()) })
}

/// A string, a list of strings, a list of tokens, or a list of those.
fn prompts(cx: &Cx<'_>, body: &JsonBody) -> Result<Vec<Prompt>, ApiError> {
    let prompts = match body.get("prompt") {
        Some(Value::String(text)) => vec![of_text(cx, text)?],
        Some(Value::Array(items)) if items.first().is_some_and(Value::is_number) => vec![of_tokens(items)?],
        Some(Value::Array(items)) if !items.is_empty() => {
            let one = |item: &Value| match item {
                Value::String(text) => of_text(cx, text),
                Value::Array(tokens) => of_tokens(tokens),
                other => Err(unfit(other)),
            };
            items.iter().map(one).collect::<Result<_, _>>()?
        }
        Some(Value::Array(_)) | None => {
            return Err(ApiError::bad("Either prompt or prompt_embeds must be provided and non-empty."));
        }
        Some(other) => return Err(unfit(other)),
    };
    prompts.iter().try_for_each(|prompt| check_tokens(cx, prompt.tokens.len()))?;
    Ok(prompts)
}

fn of_text(cx: &Cx<'_>, text: &str) -> Result<Prompt, ApiError> {
    check_length(cx, text)?;
    Ok(Prompt::new(text.to_owned()))
}

fn of_tokens(tokens: &[Value]) -> Result<Prompt, ApiError> {
    let ids = tokens
        .iter()
        .map(|token| token.as_u64().and_then(|id| u32::try_from(id).ok()).ok_or_else(|| unfit(token)));
    let tokens: Vec<u32> = ids.collect::<Result<_, _>>()?;
    Ok(Prompt { text: decode(&tokens), tokens })
}

fn unfit(value: &Value) -> ApiError {
    ApiError::invalid(&[Problem::new(
        "string_type",
        "body.prompt.str",
        "Input should be a valid string",
        value,
    )])
}
