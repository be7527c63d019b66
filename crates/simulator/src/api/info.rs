//! What the server tells of itself: models, health, version, load, metrics.

use std::sync::atomic::Ordering;

use super::Cx;
use crate::http1::Answer;
use crate::json::Json;
use crate::metrics::{kv_usage, page};
use crate::router::Route;
use crate::shared::Shared;

/// The answer, if the route is one of these.
pub(crate) fn answer(cx: &Cx<'_>, route: &Route) -> Option<Answer> {
    Some(match route {
        Route::Models => models(cx.shared),
        Route::Health => Answer::empty(if cx.shared.control.borrow().dead { 503 } else { 200 }),
        Route::Version => {
            let json = Json::new().raw(r#"{"version":"#).text(&cx.shared.options.version).raw("}");
            Answer::json(200, json.into_bytes())
        }
        Route::Load => {
            let load = cx.shared.metrics.load.load(Ordering::Relaxed);
            Answer::json(200, Json::new().raw(r#"{"server_load":"#).number(load).raw("}").into_bytes())
        }
        Route::Metrics => Answer {
            content_type: Some("text/plain; version=1.0.0; charset=utf-8"),
            ..Answer::text(200, page(cx.shared))
        },
        Route::KvEventSources => Answer::json(200, "{}"),
        Route::IsScaling => Answer::json(200, r#"{"is_scaling_elastic_ep":false}"#),
        _ => return None,
    })
}

fn models(shared: &Shared) -> Answer {
    let options = &shared.options;
    let now = Shared::now();
    let own = options.models.iter().map(|name| (name, None));
    let adapters = options.adapters.iter().map(|name| (name, options.models.first()));
    let mut json = Json::new();
    json.put(r#"{"object":"list","data":"#);
    json.put_list(own.chain(adapters), |json, (name, parent)| {
        json.put(r#"{"id":"#).put_text(name).put(r#","object":"model","created":"#).put_number(now);
        json.put(r#","owned_by":"vllm","root":"#).put_text(if parent.is_some() { name } else { "model" });
        json.put(r#","parent":"#).put_maybe(parent.map(String::as_str)).put(r#","max_model_len":"#);
        match parent {
            Some(_) => json.put("null"),
            None => json.put_number(options.max_model_len),
        };
        json.put(r#","permission":[{"id":"modelperm-"#).put(&shared.new_id());
        json.put(r#"","object":"model_permission","created":"#).put_number(now);
        json.put(r#","allow_create_engine":false,"allow_sampling":true,"allow_logprobs":true,"allow_search_indices":false,"allow_view":true,"allow_fine_tuning":false,"organization":"*","group":null,"is_blocking":false}]}"#);
    });
    json.put("}");
    Answer::json(200, json.into_bytes())
}

/// The load in a header, for clients that balance by it (a23, a23b).
pub(crate) fn load_header(cx: &Cx<'_>) -> Vec<(&'static str, String)> {
    let waiting = cx.shared.metrics.waiting.load(Ordering::Relaxed);
    let usage = kv_usage(cx.shared);
    let value = match cx.head.header("endpoint-load-metrics-format") {
        Some(format) if format.eq_ignore_ascii_case("text") => {
            format!(
                "TEXT named_metrics.num_requests_waiting={waiting}.0, named_metrics.kv_cache_usage_perc={usage:?}"
            )
        }
        Some(format) if format.eq_ignore_ascii_case("json") => format!(
            "JSON {{\"named_metrics\": {{\"num_requests_waiting\": {waiting}.0, \"kv_cache_usage_perc\": {usage:?}}}}}"
        ),
        _ => return Vec::new(),
    };
    vec![("endpoint-load-metrics", value)]
}
