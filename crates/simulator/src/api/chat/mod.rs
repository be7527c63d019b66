//! `/v1/chat/completions`, and its batch form.

mod answer;
mod events;
mod parse;
mod template;
mod tools;

pub(crate) use template::{Template, content, render};

use super::generate::{complete, request_id, stream};
use super::info::load_header;
use super::request::{check_surrogates, json_body};
use super::{Cx, Handled, Reply};
use crate::error::ApiError;
use crate::http1::{Answer, Wire};
use crate::json::Problem;
use answer::chat_answer;
pub(crate) use answer::{put_ids, put_prompt_logprobs};
use events::ChatEvents;
use parse::{Chat, chat_job};

/// One conversation.
pub(crate) async fn chat(cx: &Cx<'_>, wire: &mut Wire<'_>) -> Handled {
    let body = json_body(cx)?;
    let id = request_id(cx, "chatcmpl", Some(&body));
    let chat = parse::chat(cx, &body, id)?;
    run(cx, chat, wire).await
}

async fn run(cx: &Cx<'_>, chat: Chat, wire: &mut Wire<'_>) -> Handled {
    if chat.job.stream {
        let mut events = ChatEvents::new(cx, &chat);
        stream(cx, chat.job, &mut events, wire).await?;
        return Ok(Reply { answer: None, live: None });
    }
    let (job, choices, run) = complete(cx, chat.job).await?;
    let body = chat_answer(cx, &job, &choices, &run, &chat.shape);
    let answer = Answer { before: load_header(cx), ..Answer::json(200, body.into_bytes()) };
    Ok(Reply { answer: Some(answer), live: Some(run.live.clone()) })
}

/// Several conversations in one request, answered as choices of one (a31).
pub(crate) async fn batch(cx: &Cx<'_>, wire: &mut Wire<'_>) -> Handled {
    let body = json_body(cx)?;
    body.require(&["messages"], &super::request::SAMPLING)?;
    check_surrogates(&body)?;
    let conversations =
        body.get("messages").and_then(serde_json::Value::as_array).cloned().unwrap_or_default();
    if let Some(other) = conversations.iter().find(|conversation| !conversation.is_array()) {
        let problem = Problem::new("list_type", "body.messages.0", "Input should be a valid list", other);
        return Err(ApiError::invalid(&[problem]).into());
    }
    let id = request_id(cx, "chatcmpl", Some(&body));
    let chat = chat_job(cx, &body, id, &conversations)?;
    run(cx, chat, wire).await
}
