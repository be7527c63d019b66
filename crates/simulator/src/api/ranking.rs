//! `/score` and `/rerank`: how alike texts are.

use serde_json::Value;

use super::embeddings::{pool, pooled, put_list_head, put_pooling_usage, text_prompt, vector};
use super::generate::{Prompt, request_id};
use super::models::pooling_model;
use super::request::{JsonBody, check_surrogates, json_body};
use super::{Cx, Handled};
use crate::error::ApiError;
use crate::http1::{Answer, Wire};
use crate::json::{Json, Kind, Problem, listed};

/// A text, or a document object with one.
fn texts(body: &JsonBody, name: &str) -> Result<Vec<String>, ApiError> {
    let text = |value: &Value| match value {
        Value::String(text) => Ok(text.clone()),
        Value::Object(document) => {
            let of = |name| document.get(name).and_then(Value::as_str).map(str::to_owned);
            Ok(of("text").unwrap_or_else(|| listed(document.get("content")).join("\n")))
        }
        other => {
            let place = format!("body.{name}.str");
            Err(ApiError::invalid(&[Problem::new(
                "string_type",
                &place,
                "Input should be a valid string",
                other,
            )]))
        }
    };
    match body.get(name) {
        Some(Value::Array(items)) => items.iter().map(text).collect(),
        Some(one) => Ok(vec![text(one)?]),
        None => Ok(Vec::new()),
    }
}

fn alike(cx: &Cx<'_>, left: &str, right: &str) -> f64 {
    let pairs = vector(cx, left).into_iter().zip(vector(cx, right));
    pairs.map(|(left, right)| f64::from(left) * f64::from(right)).sum()
}

fn prompts(cx: &Cx<'_>, texts: &[String]) -> Result<Vec<Prompt>, ApiError> {
    texts.iter().map(|text| text_prompt(cx, text)).collect()
}

/// `/score`: one text against several, or pair by pair.
pub(crate) async fn score(cx: &Cx<'_>, _: &mut Wire<'_>) -> Handled {
    let body = json_body(cx)?;
    let old = body.fields().contains_key("text_1") || body.fields().contains_key("text_2");
    let (left, right) = if old { ("text_1", "text_2") } else { ("queries", "documents") };
    body.require(&[left, right], &[("model", Kind::Text)])?;
    let model = pooling_model(cx, &body)?;
    let (lefts, rights) = (texts(&body, left)?, texts(&body, right)?);
    if lefts.len() != 1 && lefts.len() != rights.len() {
        return Err(ApiError::bad("Input lengths must be either 1:1, 1:N or N:N").into());
    }
    check_surrogates(&body)?;
    let prompts = prompts(cx, &[&lefts[..], &rights[..]].concat())?;
    let id = request_id(cx, "score", Some(&body));
    let run = pool(cx, &id, &model, &prompts).await?;
    let mut json = Json::new();
    put_list_head(&mut json, &id, &model);
    let pairs = lefts.iter().cycle().zip(&rights).enumerate();
    json.put_list(pairs, |json, (index, (left, right))| {
        json.put(r#"{"index":"#).put_number(index).put(r#","object":"score","score":"#);
        json.put_float(alike(cx, left, right)).put("}");
    });
    json.put(",");
    put_pooling_usage(&mut json, &prompts);
    json.put("}");
    Ok(pooled(&run, Answer::json(200, json.into_bytes())))
}

/// `/rerank`: the best documents first.
pub(crate) async fn rerank(cx: &Cx<'_>, _: &mut Wire<'_>) -> Handled {
    let body = json_body(cx)?;
    body.require(&["query", "documents"], &[("model", Kind::Text), ("top_n", Kind::Integer)])?;
    let model = pooling_model(cx, &body)?;
    let (queries, documents) = (texts(&body, "query")?, texts(&body, "documents")?);
    check_surrogates(&body)?;
    let query = queries.first().cloned().unwrap_or_default();
    let prompts = prompts(cx, &[std::slice::from_ref(&query), &documents[..]].concat())?;
    let id = request_id(cx, "score", Some(&body));
    let run = pool(cx, &id, &model, &prompts).await?;
    let mut ranked: Vec<_> =
        documents.iter().enumerate().map(|(index, text)| (alike(cx, &query, text), index, text)).collect();
    ranked.sort_by(|left, right| right.0.total_cmp(&left.0));
    let top = body.count("top_n").filter(|top| *top > 0).unwrap_or(ranked.len());
    let tokens = prompts.iter().map(|prompt| prompt.tokens.len()).sum();
    let mut json = Json::new();
    json.put(r#"{"id":"#).put_text(&id).put(r#","model":"#).put_text(&model);
    json.put(r#","usage":{"prompt_tokens":"#)
        .put_number(tokens)
        .put(r#","total_tokens":"#)
        .put_number(tokens);
    json.put(r#"},"results":"#);
    json.put_list(ranked.into_iter().take(top), |json, (score, index, text)| {
        json.put(r#"{"index":"#).put_number(index).put(r#","document":{"text":"#).put_text(text);
        json.put(r#","multi_modal":null},"relevance_score":"#).put_float(score).put("}");
    });
    json.put("}");
    Ok(pooled(&run, Answer::json(200, json.into_bytes())))
}
