//! A chat answer that is not streamed.

use super::super::Cx;
use super::super::generate::{Choice, Job, Prompt, logprob, put_bytes, put_metrics, rivals};
use super::parse::Shape;
use crate::engine::Run;
use crate::json::Json;
use crate::text::decode;

/// The whole answer.
pub(crate) fn chat_answer(cx: &Cx<'_>, job: &Job, choices: &[Choice], run: &Run, shape: &Shape) -> Json {
    let mut json = Json::new();
    json.put(r#"{"id":"#).put_text(&job.id);
    json.put(r#","object":"chat.completion","created":"#).put_number(job.created);
    json.put(r#","model":"#).put_text(&job.model);
    json.put(r#","choices":"#);
    json.put_list(choices, |json, choice| put_choice(cx, json, job, choice, shape));
    json.put(r#","service_tier":null,"system_fingerprint":"#).put_text(&cx.shared.fingerprint).put(",");
    job.put_whole_usage(&mut json, cx, choices, true);
    json.put(r#","prompt_logprobs":"#);
    match (shape.prompt_logprobs, job.prompts.first()) {
        (Some(count), Some(prompt)) => put_prompt_logprobs(&mut json, prompt, count),
        _ => {
            json.put("null");
        }
    }
    json.put(r#","prompt_token_ids":"#);
    put_ids(&mut json, job.token_ids.then(|| job.prompts.first().map_or(&[][..], |prompt| &prompt.tokens)));
    json.put(r#","prompt_text":null,"kv_transfer_params":null,"ec_transfer_params":null,"metrics":"#);
    if cx.shared.options.per_request_metrics {
        put_metrics(&mut json, run, choices, true);
    } else {
        json.put("null");
    }
    json.put("}");
    json
}

fn put_choice(cx: &Cx<'_>, json: &mut Json, job: &Job, choice: &Choice, shape: &Shape) {
    let finish = choice.finish.as_ref();
    json.put(r#"{"index":"#).put_number(choice.index).put(r#","message":{"role":"assistant","content":"#);
    let all_reasoning = job.reasoning.is_some() && choice.tokens == choice.reasoning_tokens;
    match &shape.call {
        Some(_) => json.put("\"\""),
        None if all_reasoning => json.put("null"),
        None => json.put_text(&format!("{}{}", shape.echo, choice.text)),
    };
    json.put(r#","refusal":null,"annotations":null,"audio":null,"function_call":null"#);
    if let Some(call) = &shape.call {
        json.put(r#","tool_calls":[{"id":"chatcmpl-tool-"#).put(&cx.shared.new_id());
        json.put(r#"","type":"function","function":{"name":"#).put_text(&call.name);
        json.put(r#","arguments":"#).put_text(&choice.text).put("}}]");
    }
    json.put(r#","reasoning":"#);
    json.put_maybe((choice.reasoning_tokens > 0).then_some(choice.reasoning_text.as_str()));
    json.put(r#"},"logprobs":"#);
    match job.logprobs {
        Some(top) => put_logprobs(json, &choice.ids, top),
        None => {
            json.put("null");
        }
    }
    json.put(r#","finish_reason":"#).put_maybe(finish.map(|finish| finish_reason(finish.reason, shape)));
    json.put(r#","stop_reason":"#).put_maybe(finish.and_then(|finish| finish.stop.as_deref()));
    json.put(r#","token_ids":"#);
    put_ids(json, job.token_ids.then_some(&choice.ids));
    json.put(r#","routed_experts":null}"#);
}

/// A call that came to its end says so.
pub(crate) fn finish_reason(reason: &'static str, shape: &Shape) -> &'static str {
    shape.call.as_ref().filter(|_| reason == "stop").map_or(reason, |call| call.finish)
}

pub(crate) fn put_ids(json: &mut Json, ids: Option<&[u32]>) {
    match ids {
        Some(ids) => json.put_list(ids, |json, id| {
            json.put_number(usize::try_from(*id).unwrap_or(0));
        }),
        None => {
            json.put("null");
        }
    }
}

/// `{"content":[…]}` with each token and its rivals, itself the first of them.
pub(crate) fn put_logprobs(json: &mut Json, ids: &[u32], top: usize) {
    let put_one = |json: &mut Json, id: u32| {
        json.put(r#"{"token":"#).put_text(&decode(&[id])).put(r#","logprob":"#).put_float(logprob(id));
        json.put(r#","bytes":"#);
        put_bytes(json, id);
    };
    json.put(r#"{"content":"#);
    json.put_list(ids, |json, id| {
        put_one(json, *id);
        json.put(r#","top_logprobs":"#);
        let listed = std::iter::once(*id).chain(rivals(*id, top.saturating_sub(1)));
        json.put_list(listed.take(top), |json, rival| {
            put_one(json, rival);
            json.put("}");
        });
        json.put("}");
    });
    json.put("}");
}

/// `[null,{"ID":{"logprob":…,"rank":…,"decoded_token":…}},…]`.
pub(crate) fn put_prompt_logprobs(json: &mut Json, prompt: &Prompt, rivals_wanted: usize) {
    json.put_list(prompt.tokens.iter().enumerate(), |json, (place, id)| {
        if place == 0 {
            json.put("null");
            return;
        }
        json.put("{");
        let others = rivals(*id, rivals_wanted);
        for (rank, id) in
            std::iter::once(*id).chain(others.into_iter().filter(|other| other != id)).enumerate()
        {
            json.put(if rank > 0 { ",\"" } else { "\"" }).put_number(usize::try_from(id).unwrap_or(0));
            json.put(r#"":{"logprob":"#).put_float(logprob(id)).put(r#","rank":"#);
            json.put_number(if rank == 0 { 900 } else { rank }).put(r#","decoded_token":"#);
            json.put_text(&decode(&[id])).put("}");
        }
        json.put("}");
    });
}
