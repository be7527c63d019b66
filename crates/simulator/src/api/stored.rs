//! `/v1/responses/{id}` and its `cancel`. That there is none is as recorded (a17d, a17e); what is answered of one that was
//! kept is as vLLM's sources have it.

use http::Method;

use super::{Cx, Handled, Reply};
use crate::error::ApiError;
use crate::http1::{Answer, Wire};
use crate::response_store::Kept;

/// Gives a response that was kept, or cancels it.
pub(crate) async fn stored(cx: &Cx<'_>, id: &str, wire: &mut Wire<'_>) -> Handled {
    let unknown = || ApiError::unknown_response(id);
    if cx.head.method == Method::POST {
        let (kept, waited) = cx.shared.responses.cancel(id).ok_or_else(unknown)?;
        if !waited {
            let message = "Cannot cancel a synchronous response.";
            return Err(ApiError::new(400, "invalid_request_error", message).into());
        }
        return Ok(whole(kept));
    }
    let kept = cx.shared.responses.get(id).ok_or_else(unknown)?;
    let asked = |name: &str| {
        let mut pairs = cx.head.query.split('&').filter_map(|pair| pair.split_once('='));
        pairs.rfind(|(other, _)| *other == name).map(|(_, value)| value.to_owned())
    };
    if asked("stream").is_none_or(|stream| stream != "true") {
        return Ok(whole(kept));
    }
    let first =
        asked("starting_after").and_then(|after| after.parse::<usize>().ok()).map_or(0, |after| after + 1);
    wire.start_events().await?;
    for event in kept.events.iter().skip(first) {
        wire.event(|json| {
            json.put(&String::from_utf8_lossy(event));
        })?;
    }
    wire.finish_events().await?;
    Ok(Reply { answer: None, live: None })
}

fn whole(kept: Kept) -> Reply {
    Reply::of(Answer::json(200, kept.whole.into_bytes()))
}
