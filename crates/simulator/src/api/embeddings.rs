//! `/v1/embeddings`, `/pooling` and `/classify`: vectors made up from the text, the same text the same vector.

use serde_json::Value;

use super::chat::{Template, render};
use super::generate::{Prompt, request_id};
use super::models::pooling_model;
use super::request::{JsonBody, check_length, check_surrogates, check_tokens, json_body};
use super::{Cx, Handled, Reply, Stop};
use crate::engine::{Pulse, Run};
use crate::error::{ApiError, ENGINE_DIED};
use crate::http1::{Answer, Wire};
use crate::json::{Json, Kind, Problem, check};
use crate::ledger::End;
use crate::text::{Random, decode, hash};

/// Runs work that only reads prompts; its end is the answer.
pub(crate) async fn pool(cx: &Cx<'_>, id: &str, model: &str, prompts: &[Prompt]) -> Result<Run, Stop> {
    let tokens = prompts.iter().map(|prompt| prompt.tokens.len()).sum();
    let open = || cx.shared.ledger.open(id, &cx.head.path, model, false, tokens);
    let mut run = Run::admit(cx.shared, open, prompts.len())?;
    let mut pulse = run.seat().await;
    if pulse == Pulse::Token {
        cx.shared.metrics.prompt_tokens.fetch_add(tokens, std::sync::atomic::Ordering::Relaxed);
        run.hold(tokens);
        pulse = run.tick(1).await;
    }
    match pulse {
        Pulse::Token => run.end(End::Finished("stop")),
        Pulse::Abort => {
            run.end(End::Finished("abort"));
            return Err(ApiError::internal("the request was aborted").into());
        }
        Pulse::Died => {
            run.end(End::EngineDied);
            return Err(ApiError::internal(ENGINE_DIED).into());
        }
    }
    Ok(run)
}

/// The answer of pooling work.
pub(crate) fn pooled(run: &Run, answer: Answer) -> Reply {
    Reply { answer: Some(answer), live: Some(run.live.clone()) }
}

/// A prompt of plain text, within the context.
pub(crate) fn text_prompt(cx: &Cx<'_>, text: &str) -> Result<Prompt, ApiError> {
    check_length(cx, text)?;
    let prompt = Prompt::new(text.to_owned());
    check_tokens(cx, prompt.tokens.len())?;
    Ok(prompt)
}

/// A vector of length 1 that stands for a text.
pub(crate) fn vector(cx: &Cx<'_>, text: &str) -> Vec<f32> {
    let mut random = Random::new(hash(text.as_bytes()));
    let raw: Vec<f64> = (0..cx.shared.options.embedding_size.max(1)).map(|_| random.signed()).collect();
    let length = raw.iter().map(|part| part * part).sum::<f64>().sqrt().max(f64::MIN_POSITIVE);
    #[allow(clippy::cast_possible_truncation)] // Single precision is what the server computes in.
    raw.iter().map(|part| (part / length) as f32).collect()
}

/// `"usage":{…}` of pooling work.
pub(crate) fn put_pooling_usage(json: &mut Json, prompts: &[Prompt]) {
    let tokens = prompts.iter().map(|prompt| prompt.tokens.len()).sum();
    json.put(r#""usage":{"prompt_tokens":"#).put_number(tokens).put(r#","total_tokens":"#).put_number(tokens);
    json.put(r#","completion_tokens":0,"prompt_tokens_details":null,"completion_tokens_details":null}"#);
}

/// `{"id":…,"object":"list","created":…,"model":…,"data":`
pub(crate) fn put_list_head(json: &mut Json, id: &str, model: &str) {
    json.put(r#"{"id":"#).put_text(id).put(r#","object":"list","created":"#);
    json.put_number(crate::shared::Shared::now()).put(r#","model":"#).put_text(model).put(r#","data":"#);
}

/// `input` in one of its forms, or `messages`.
fn prompts(cx: &Cx<'_>, body: &JsonBody) -> Result<Vec<Prompt>, ApiError> {
    if let Some(messages) = body.get("messages").and_then(Value::as_array) {
        let own = cx.shared.options.models.first().map_or("", String::as_str);
        let ending = if body.truth("add_generation_prompt") { Template::Open } else { Template::Closed };
        return Ok(vec![text_prompt(
            cx,
            &render(messages, &[], ending, cx.shared.options.multimodal, own)?,
        )?]);
    }
    match body.get("input") {
        Some(Value::String(text)) => Ok(vec![text_prompt(cx, text)?]),
        Some(Value::Array(items)) if items.first().is_some_and(Value::is_number) => {
            Ok(vec![token_prompt(cx, items)?])
        }
        Some(Value::Array(items)) if !items.is_empty() => items
            .iter()
            .map(|item| match item {
                Value::String(text) => text_prompt(cx, text),
                Value::Array(tokens) => token_prompt(cx, tokens),
                other => Err(unfit(other)),
            })
            .collect(),
        Some(other) => Err(unfit(other)),
        // One complaint for each shape of request that it might have been (e02g).
        None => {
            let missing = |name: &str| Problem::missing(&format!("body.{name}"), &body.value);
            let shapes = ["input", "messages", "messages", "messages", "input", "messages", "input"];
            Err(ApiError::invalid(&shapes.map(missing)))
        }
    }
}

fn token_prompt(cx: &Cx<'_>, items: &[Value]) -> Result<Prompt, ApiError> {
    let ids = items
        .iter()
        .map(|item| item.as_u64().and_then(|id| u32::try_from(id).ok()).ok_or_else(|| unfit(item)));
    let tokens: Vec<u32> = ids.collect::<Result<_, _>>()?;
    check_tokens(cx, tokens.len())?;
    Ok(Prompt { text: decode(&tokens), tokens })
}

fn unfit(value: &Value) -> ApiError {
    ApiError::invalid(&[Problem::new(
        "string_type",
        "body.input.str",
        "Input should be a valid string",
        value,
    )])
}

fn read(cx: &Cx<'_>) -> Result<(JsonBody, String, Vec<Prompt>), ApiError> {
    let body = json_body(cx)?;
    let mut problems = Vec::new();
    check(
        body.fields(),
        &[("model", Kind::Text), ("dimensions", Kind::Integer), ("encoding_format", Kind::Text)],
        &mut problems,
    );
    if !problems.is_empty() {
        return Err(ApiError::invalid(&problems));
    }
    // The shape is judged before the model (e02g has a good model, e02f a good shape).
    if body.get("input").is_none() && body.get("messages").is_none() {
        prompts(cx, &body)?;
    }
    let model = pooling_model(cx, &body)?;
    if let Some(dimensions) = body.count("dimensions") {
        return Err(ApiError::bad(format!(
            "Model '{model}' does not support Matryoshka embeddings; dimensions must be unset (received dimensions={dimensions})."
        )));
    }
    let prompts = prompts(cx, &body)?;
    check_surrogates(&body)?;
    Ok((body, model, prompts))
}

/// `/v1/embeddings`.
pub(crate) async fn embeddings(cx: &Cx<'_>, _: &mut Wire<'_>) -> Handled {
    let (body, model, prompts) = read(cx)?;
    let id = request_id(cx, "embd", Some(&body));
    let format = body.get("encoding_format").and_then(Value::as_str).unwrap_or("float").to_owned();
    let run = pool(cx, &id, &model, &prompts).await?;
    let vectors: Vec<_> = prompts.iter().map(|prompt| vector(cx, &prompt.text)).collect();
    if format == "bytes" || format == "bytes_only" {
        return Ok(pooled(&run, bytes_answer(&id, &model, &prompts, &vectors, format == "bytes")));
    }
    let mut json = Json::new();
    put_list_head(&mut json, &id, &model);
    json.put_list(vectors.iter().enumerate(), |json, (index, vector)| {
        json.put(r#"{"index":"#).put_number(index).put(r#","object":"embedding","embedding":"#);
        if format == "base64" {
            json.put_text(&base64(&bytes_of(vector)));
        } else {
            put_floats(json, vector);
        }
        json.put("}");
    });
    json.put(",");
    put_pooling_usage(&mut json, &prompts);
    json.put("}");
    Ok(pooled(&run, Answer::json(200, json.into_bytes())))
}

/// The bytes as they are; everything else goes into a header (e02j).
fn bytes_answer(id: &str, model: &str, prompts: &[Prompt], vectors: &[Vec<f32>], metadata: bool) -> Answer {
    let body: Vec<u8> = vectors.iter().flat_map(|vector| bytes_of(vector)).collect();
    let tokens: usize = prompts.iter().map(|prompt| prompt.tokens.len()).sum();
    let mut start = 0;
    let entries: Vec<_> = vectors.iter().enumerate().map(|(index, vector)| {
        let end = start + vector.len() * 4;
        let entry = format!(
            "{{\"index\": {index}, \"embed_dtype\": \"float32\", \"endianness\": \"native\", \"start\": {start}, \"end\": {end}, \"shape\": [{}]}}",
            vector.len()
        );
        start = end;
        entry
    }).collect();
    let name = |text: &str| String::from_utf8_lossy(Json::new().text(text).as_bytes()).into_owned();
    let header = format!(
        "{{\"id\": {}, \"created\": {}, \"model\": {}, \"data\": [{}], \"usage\": {{\"prompt_tokens\": {tokens}, \"total_tokens\": {tokens}}}}}",
        name(id),
        crate::shared::Shared::now(),
        name(model),
        entries.join(", ")
    );
    let before = if metadata { vec![("metadata", header)] } else { Vec::new() };
    Answer {
        before,
        content_type: Some("application/octet-stream"),
        body: body.into(),
        chunked: true,
        ..Answer::empty(200)
    }
}

/// `/pooling`.
pub(crate) async fn pooling(cx: &Cx<'_>, _: &mut Wire<'_>) -> Handled {
    let (body, model, prompts) = read(cx)?;
    let id = request_id(cx, "pooling", Some(&body));
    let run = pool(cx, &id, &model, &prompts).await?;
    let base64_wanted = body.get("encoding_format").and_then(Value::as_str) == Some("base64");
    let mut json = Json::new();
    put_list_head(&mut json, &id, &model);
    json.put_list(prompts.iter().enumerate(), |json, (index, prompt)| {
        json.put(r#"{"index":"#).put_number(index).put(r#","object":"pooling","data":"#);
        let vector = vector(cx, &prompt.text);
        if base64_wanted {
            json.put_text(&base64(&bytes_of(&vector)));
        } else {
            put_floats(json, &vector);
        }
        json.put("}");
    });
    json.put(",");
    put_pooling_usage(&mut json, &prompts);
    json.put("}");
    Ok(pooled(&run, Answer::json(200, json.into_bytes())))
}

/// `/classify`, of two classes. No recording shows a success; the shape is that of vLLM's documentation.
pub(crate) async fn classify(cx: &Cx<'_>, _: &mut Wire<'_>) -> Handled {
    let (body, model, prompts) = read(cx)?;
    let id = request_id(cx, "classify", Some(&body));
    let run = pool(cx, &id, &model, &prompts).await?;
    let mut json = Json::new();
    put_list_head(&mut json, &id, &model);
    json.put_list(prompts.iter().enumerate(), |json, (index, prompt)| {
        let second = f64::midpoint(Random::new(hash(prompt.text.as_bytes())).signed(), 1.0);
        let label = if second > 0.5 { "LABEL_1" } else { "LABEL_0" };
        json.put(r#"{"index":"#).put_number(index).put(r#","label":"#).put_text(label);
        json.put(r#","probs":["#)
            .put_float(1.0 - second)
            .put(",")
            .put_float(second)
            .put(r#"],"num_classes":2}"#);
    });
    json.put(",");
    put_pooling_usage(&mut json, &prompts);
    json.put("}");
    Ok(pooled(&run, Answer::json(200, json.into_bytes())))
}

fn put_floats(json: &mut Json, vector: &[f32]) {
    json.put_list(vector, |json, part| {
        json.put_float(f64::from(*part));
    });
}

fn bytes_of(vector: &[f32]) -> Vec<u8> {
    vector.iter().flat_map(|part| part.to_le_bytes()).collect()
}

fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let bits =
            group.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - group.len()));
        for place in 0..4 {
            let letter = usize::try_from(bits >> (18 - 6 * place) & 63).unwrap_or(0);
            text.push(if place <= group.len() { char::from(LETTERS[letter]) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::base64;

    #[test]
    fn base64_is_padded() {
        let spelled = ["", "f", "fo", "foo", "foob"].map(|text| base64(text.as_bytes()));
        assert_eq!(spelled, ["", "Zg==", "Zm8=", "Zm9v", "Zm9vYg=="]);
    }
}
