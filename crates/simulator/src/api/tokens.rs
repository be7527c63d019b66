//! `/tokenize` and `/detokenize`, with the simulator's own tokenizer.

use serde_json::Value;

use super::chat::{Template, put_ids, render};
use super::models::model;
use super::request::{check_surrogates, json_body};
use super::{Cx, Handled, Reply};
use crate::error::ApiError;
use crate::http1::Answer;
use crate::json::{Json, Kind, Problem, truth};
use crate::text::{decode, tokenize as tokens_of};

/// A prompt, or messages, to tokens.
pub(crate) fn tokenize(cx: &Cx<'_>) -> Handled {
    let body = json_body(cx)?;
    body.require(&[], &[("model", Kind::Text), ("prompt", Kind::Text)])?;
    let text = match (body.get("prompt"), body.get("messages").and_then(Value::as_array)) {
        (Some(prompt), _) => prompt.as_str().unwrap_or("").to_owned(),
        (None, Some(messages)) => {
            let ending = if truth(body.get("add_generation_prompt")).unwrap_or(true) {
                Template::Open
            } else {
                Template::Closed
            };
            render(messages, &[], ending, true, "")?
        }
        (None, None) => {
            let missing = |name| Problem::missing(&format!("body.{name}"), &body.value);
            return Err(ApiError::invalid(&["prompt", "messages"].map(missing)).into());
        }
    };
    model(cx, &body)?;
    check_surrogates(&body)?;
    let tokens = tokens_of(&text);
    let mut json = Json::new();
    json.put(r#"{"count":"#).put_number(tokens.len());
    json.put(r#","max_model_len":"#).put_number(cx.shared.options.max_model_len).put(r#","tokens":"#);
    put_ids(&mut json, Some(&tokens));
    json.put(r#","token_strs":"#);
    if body.truth("return_token_strs") {
        json.put_list(&tokens, |json, token| {
            json.put_text(&decode(&[*token]));
        });
    } else {
        json.put("null");
    }
    json.put("}");
    Ok(Reply::of(Answer::json(200, json.into_bytes())))
}

/// Tokens to a prompt.
pub(crate) fn detokenize(cx: &Cx<'_>) -> Handled {
    let body = json_body(cx)?;
    body.require(&["tokens"], &[("model", Kind::Text)])?;
    model(cx, &body)?;
    let none = Vec::new();
    let given = body.get("tokens").and_then(Value::as_array).unwrap_or(&none);
    let id = |token: &Value| {
        token.as_u64().and_then(|id| u32::try_from(id).ok()).ok_or_else(|| {
            let message = "Input should be a valid integer";
            ApiError::invalid(&[Problem::new("int_type", "body.tokens.0", message, token)])
        })
    };
    let tokens: Vec<u32> = given.iter().map(id).collect::<Result<_, _>>()?;
    let json = Json::new().raw(r#"{"prompt":"#).text(&decode(&tokens)).raw("}");
    Ok(Reply::of(Answer::json(200, json.into_bytes())))
}
