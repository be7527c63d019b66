//! A completion that is not streamed.

use super::super::Cx;
use super::super::chat::{put_ids, put_prompt_logprobs};
use super::super::generate::{Choice, Job, Prompt, logprob, put_metrics, rivals};
use super::Shape;
use crate::engine::Run;
use crate::json::Json;
use crate::text::decode;

/// The whole answer.
pub(crate) fn completion_answer(cx: &Cx<'_>, job: &Job, choices: &[Choice], run: &Run, shape: Shape) -> Json {
    let mut json = Json::new();
    json.put(r#"{"id":"#).put_text(&job.id);
    json.put(r#","object":"text_completion","created":"#).put_number(job.created);
    json.put(r#","model":"#).put_text(&job.model);
    json.put(r#","choices":"#);
    json.put_list(choices, |json, choice| put_choice(json, job, choice, shape));
    json.put(r#","service_tier":null,"system_fingerprint":"#).put_text(&cx.shared.fingerprint).put(",");
    job.put_whole_usage(&mut json, cx, choices, false);
    json.put(r#","kv_transfer_params":null,"ec_transfer_params":null,"metrics":"#);
    if cx.shared.options.per_request_metrics {
        put_metrics(&mut json, run, choices, true);
    } else {
        json.put("null");
    }
    json.put("}");
    json
}

fn put_choice(json: &mut Json, job: &Job, choice: &Choice, shape: Shape) {
    let finish = choice.finish.as_ref();
    let prompt = job.prompts.get(choice.prompt);
    let echoed = prompt.filter(|_| shape.echo);
    json.put(r#"{"index":"#).put_number(choice.index).put(r#","text":"#);
    json.put_text(&format!("{}{}", echoed.map_or("", |prompt| &prompt.text), choice.text));
    json.put(r#","logprobs":"#);
    match job.logprobs {
        Some(top) => {
            let prompt = echoed.map_or(&[][..], |prompt| &prompt.tokens);
            put_logprobs(json, &[prompt, &choice.ids].concat(), 0, !prompt.is_empty(), top);
        }
        None => {
            json.put("null");
        }
    }
    json.put(r#","finish_reason":"#)
        .put_maybe(finish.map(|finish| if shape.score_only { "length" } else { finish.reason }));
    json.put(r#","stop_reason":"#).put_maybe(finish.and_then(|finish| finish.stop.as_deref()));
    json.put(r#","token_ids":"#);
    put_ids(json, job.token_ids.then_some(&choice.ids));
    json.put(r#","prompt_logprobs":"#);
    match (prompt, job.logprobs.filter(|_| shape.echo)) {
        (Some(prompt), Some(top)) => put_prompt_logprobs(json, prompt, top),
        _ => {
            json.put("null");
        }
    }
    json.put(r#","prompt_token_ids":"#);
    put_ids(json, prompt.filter(|_| job.token_ids).map(|prompt: &Prompt| &prompt.tokens[..]));
    json.put(r#","routed_experts":null}"#);
}

/// OpenAI's old form: four lists side by side. The first token of a prompt has no probability.
pub(crate) fn put_logprobs(json: &mut Json, ids: &[u32], start: usize, from_prompt: bool, top: usize) {
    let tokens: Vec<_> = ids.iter().map(|id| decode(&[*id])).collect();
    let unknown = |place: usize| from_prompt && place == 0;
    let mut offset = start;
    json.put(r#"{"text_offset":"#);
    json.put_list(&tokens, |json, token| {
        json.put_number(offset);
        offset += token.chars().count();
    });
    json.put(r#","token_logprobs":"#);
    json.put_list(ids.iter().enumerate(), |json, (place, id)| {
        if unknown(place) {
            json.put("null")
        } else {
            json.put_float(logprob(*id))
        };
    });
    json.put(r#","tokens":"#);
    json.put_list(&tokens, |json, token| {
        json.put_text(token);
    });
    json.put(r#","top_logprobs":"#);
    json.put_list(ids.iter().enumerate(), |json, (place, id)| {
        if unknown(place) {
            json.put("null");
            return;
        }
        json.put("{");
        let others = rivals(*id, top).into_iter().filter(|other| other != id);
        for (rank, id) in std::iter::once(*id).chain(others).enumerate() {
            json.put(if rank > 0 { "," } else { "" })
                .put_text(&decode(&[id]))
                .put(":")
                .put_float(logprob(id));
        }
        json.put("}");
    });
    json.put("}");
}
