//! Requests of `/v1/responses`: what they say of other responses, and whose those are.

use std::{borrow::Cow, ops::Range, sync::Arc};

use vllm_gateway_sdk::{Error, Exchange, RequestBody};
use vllm_gateway_wire::{peek::MAX_SCALAR, response_id::is_id};

use super::{answer::Taken, attempts, bound, early::Teller};
use crate::{
    gateway::Runtime,
    responses::{Home, Keeper, Responses},
    upstream::{Upstream, pieces},
};

/// Sends the request to where the response is kept that it goes on from; if it goes on from none, to any endpoint. The
/// response that comes of it is remembered.
pub(super) async fn take(
    ex: &mut Exchange,
    upstream: &Arc<Upstream>,
    runtime: &Runtime,
    responses: &Arc<Responses>,
    body: &RequestBody,
    teller: Option<&Teller>,
) -> Result<Taken, Error> {
    let wished = wished(ex, responses, body)?;
    let home = previous(ex, responses, body)?;
    ex.watch(Box::new(Keeper::new(responses, wished)));
    match home {
        Some(home) => bound::go_on(ex, runtime, &home, body).await,
        None => attempts::take(ex, upstream, runtime, body, teller).await,
    }
}

/// Where the response is kept that this request goes on from. One that is not known is refused, and is not for vLLM to
/// judge: it may be another app's, made before this gateway started or through another one, and vLLM would go on from it
/// for anybody. vLLM says the same where it has no such response, as it has none unless it was told to keep them.
fn previous(ex: &Exchange, responses: &Responses, body: &RequestBody) -> Result<Option<Arc<Home>>, Error> {
    let named = body.json().and_then(|json| json.spots.previous_response.clone());
    match named.map_or(Named::Nothing, |range| Named::read(body, range)) {
        // Of something that is no text vLLM says itself what is wrong with it.
        Named::Nothing => Ok(None),
        Named::Text(id) => responses.home(&id, ex.facts()).map(Some).ok_or_else(Error::response_not_found),
        Named::Nonsense => Err(Error::response_not_found()),
    }
}

/// The id that the client wants its response to have. vLLM would write it over another of this id, whoever's that is.
fn wished(ex: &Exchange, responses: &Responses, body: &RequestBody) -> Result<Option<String>, Error> {
    let named = body.json().and_then(|json| json.spots.request_id.clone());
    let Named::Text(id) = named.map_or(Named::Nothing, |range| Named::read(body, range)) else {
        return Ok(None);
    };
    let prefixed: Cow<'_, str> = format!("resp_{id}").into();
    if [Cow::Borrowed(&*id), prefixed].iter().any(|id| responses.is_anothers(id, ex.facts())) {
        return Err(Error::invalid("this `request_id` cannot be used").param("request_id"));
    }
    Ok(Some(id))
}

/// What a member of the body holds that should hold an id.
enum Named {
    /// None: it is null, or no text.
    Nothing,
    Text(String),
    /// A text that is the id of nothing.
    Nonsense,
}

impl Named {
    fn read(body: &RequestBody, range: Range<usize>) -> Self {
        let is_long = range.len() > MAX_SCALAR;
        let mut bytes = pieces(body, range).flatten().copied().peekable();
        if bytes.peek() != Some(&b'"') {
            return Self::Nothing;
        }
        if is_long {
            return Self::Nonsense;
        }
        let quoted: Vec<u8> = bytes.collect();
        serde_json::from_slice(&quoted)
            .ok()
            .filter(|id: &String| is_id(id))
            .map_or(Self::Nonsense, Self::Text)
    }
}
