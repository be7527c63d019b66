//! Which path is which route, as FastAPI decides it.

use http::Method;

use crate::options::Options;

/// A route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Route {
    Chat,
    ChatBatch,
    Completions,
    Responses,
    StoredResponse(String),
    Messages,
    CountTokens,
    SystemOne,
    GenerativeScoring,
    Invocations,
    Tokenize,
    Detokenize,
    Embeddings,
    CohereEmbed,
    Pooling,
    Classify,
    Score,
    Rerank,
    Transcriptions,
    Translations,
    Models,
    Health,
    Version,
    Load,
    Metrics,
    KvEventSources,
    IsScaling,
    ScaleOut,
    Sleep,
    WakeUp,
    IsSleeping,
    Pause,
    Resume,
    IsPaused,
    ResetPrefixCache,
    ResetCache,
}

/// What routing found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Routed {
    To(Route),
    NotFound,
    /// The methods there are.
    NotAllowed(&'static str),
    /// Without the slash at its end the path is known.
    Redirect(String),
}

/// Finds the route of a request.
pub(crate) fn route(options: &Options, method: &Method, path: &str) -> Routed {
    match routes_at(options, path) {
        Some((allow, route)) => {
            let allowed = allow.split(", ").any(|allowed| allowed == method.as_str());
            if allowed { Routed::To(route) } else { Routed::NotAllowed(allow) }
        }
        None => match path.strip_suffix('/') {
            Some(short) if routes_at(options, short).is_some() => Routed::Redirect(short.to_owned()),
            _ => Routed::NotFound,
        },
    }
}

fn routes_at(options: &Options, path: &str) -> Option<(&'static str, Route)> {
    let tasks = options.tasks;
    let dev = options.dev_mode;
    let (allow, route, there) = match path {
        "/v1/chat/completions" => ("POST", Route::Chat, tasks.generate),
        "/v1/chat/completions/batch" => ("POST", Route::ChatBatch, tasks.generate),
        "/v1/completions" => ("POST", Route::Completions, tasks.generate),
        "/v1/responses" => ("POST", Route::Responses, tasks.generate),
        "/v1/messages" => ("POST", Route::Messages, tasks.generate),
        "/v1/messages/count_tokens" => ("POST", Route::CountTokens, tasks.generate),
        "/v1/systemone" => ("POST", Route::SystemOne, tasks.generate),
        "/generative_scoring" => ("POST", Route::GenerativeScoring, tasks.generate),
        "/invocations" => ("POST", Route::Invocations, true),
        "/tokenize" => ("POST", Route::Tokenize, true),
        "/detokenize" => ("POST", Route::Detokenize, true),
        "/v1/embeddings" => ("POST", Route::Embeddings, tasks.embed),
        "/v2/embed" => ("POST", Route::CohereEmbed, tasks.embed),
        "/pooling" => ("POST", Route::Pooling, tasks.embed || tasks.classify),
        "/classify" => ("POST", Route::Classify, tasks.classify),
        "/score" | "/v1/score" => ("POST", Route::Score, tasks.embed || tasks.classify),
        "/rerank" | "/v1/rerank" | "/v2/rerank" => ("POST", Route::Rerank, tasks.embed || tasks.classify),
        "/v1/audio/transcriptions" => ("POST", Route::Transcriptions, tasks.transcribe),
        "/v1/audio/translations" => ("POST", Route::Translations, tasks.transcribe),
        "/v1/models" => ("GET", Route::Models, true),
        "/health" => ("GET", Route::Health, true),
        "/ping" => ("GET, POST", Route::Health, true),
        "/version" => ("GET", Route::Version, true),
        "/load" => ("GET", Route::Load, true),
        "/metrics" | "/metrics/" => ("GET", Route::Metrics, true),
        "/kv_event_sources" => ("GET", Route::KvEventSources, true),
        "/is_scaling_elastic_ep" => ("POST", Route::IsScaling, true),
        "/v1/chat/completions/render"
        | "/v1/completions/render"
        | "/v1/messages/render"
        | "/v1/responses/render"
        | "/v1/chat/completions/derender"
        | "/v1/completions/derender"
        | "/inference/v1/generate"
        | "/inference/v1/abort_requests" => ("POST", Route::ScaleOut, tasks.generate),
        "/sleep" => ("POST", Route::Sleep, dev),
        "/wake_up" => ("POST", Route::WakeUp, dev),
        "/is_sleeping" => ("GET", Route::IsSleeping, dev),
        "/pause" => ("POST", Route::Pause, dev),
        "/resume" => ("POST", Route::Resume, dev),
        "/is_paused" => ("GET", Route::IsPaused, dev),
        "/reset_prefix_cache" => ("POST", Route::ResetPrefixCache, dev),
        "/reset_mm_cache" | "/reset_encoder_cache" => ("POST", Route::ResetCache, dev),
        _ => return stored_response(path).filter(|_| tasks.generate),
    };
    there.then_some((allow, route))
}

/// `/v1/responses/{id}` and `/v1/responses/{id}/cancel`.
fn stored_response(path: &str) -> Option<(&'static str, Route)> {
    let rest = path.strip_prefix("/v1/responses/")?;
    let (allow, id) = rest.strip_suffix("/cancel").map_or(("GET", rest), |id| ("POST", id));
    (!id.is_empty() && !id.contains('/')).then(|| (allow, Route::StoredResponse(id.to_owned())))
}

/// The handler name in `http_requests_total`.
pub(crate) fn handler<'p>(options: &Options, path: &'p str) -> &'p str {
    match routes_at(options, path.strip_suffix('/').unwrap_or(path)) {
        Some((_, Route::StoredResponse(_))) => "/v1/responses/{response_id}",
        Some(_) => path,
        None => "none",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::Tasks;

    fn at(tasks: Tasks, method: &str, path: &str) -> Routed {
        let options = Options { tasks, ..Options::default() };
        route(&options, &method.parse().unwrap_or_default(), path)
    }

    #[test]
    fn paths_are_found_as_recorded() {
        let generate = Tasks::GENERATE;
        assert_eq!(at(generate, "POST", "/v1/chat/completions"), Routed::To(Route::Chat));
        assert_eq!(at(generate, "GET", "/v1/chat/completions"), Routed::NotAllowed("POST"));
        assert_eq!(at(generate, "HEAD", "/v1/models"), Routed::NotAllowed("GET"));
        assert_eq!(at(generate, "GET", "/v1/models/"), Routed::Redirect("/v1/models".to_owned()));
        assert_eq!(at(generate, "GET", "//v1/models"), Routed::NotFound);
        assert_eq!(at(generate, "GET", "/v1/models/Qwen3-32B"), Routed::NotFound);
        assert_eq!(at(generate, "POST", "/v1/embeddings"), Routed::NotFound);
        assert_eq!(at(Tasks::EMBED, "POST", "/v1/chat/completions"), Routed::NotFound);
        assert_eq!(at(Tasks::EMBED, "POST", "/classify"), Routed::NotFound);
        assert_eq!(
            at(generate, "POST", "/v1/responses/r/cancel"),
            Routed::To(Route::StoredResponse("r".to_owned()))
        );
    }
}
