//! What of a request its endpoint depends on, as far as the upstream's policy asks for it.

use std::ops::Range;

use vllm_gateway_config::SessionBy;
use vllm_gateway_fleet::{Key, Policy, PrefixHasher};
use vllm_gateway_sdk::{Exchange, RequestBody};

use super::Upstream;

impl Upstream {
    /// What decides where this request goes. Costs nothing under policies that do not ask.
    pub(crate) fn key(&self, ex: &Exchange, body: &RequestBody) -> Key {
        match self.policy {
            Policy::Prefix(_) => Key::default().prompt(&prompt(body)),
            Policy::Session => self.session(ex, body),
            Policy::VllmLoad => Key::default().work(bytes(body)),
            Policy::RoundRobin | Policy::LeastRequests | Policy::TwoChoices => Key::default(),
        }
    }

    fn session(&self, ex: &Exchange, body: &RequestBody) -> Key {
        let named = self.session_by.iter().find_map(|by| match by {
            SessionBy::Header(name) => {
                Some(Key::default().session(ex.request().headers.get(name)?.as_bytes()))
            }
            SessionBy::User => {
                let range = body.json()?.spots.user.clone().filter(|range| range.len() > "\"\"".len())?;
                let user: Vec<u8> = pieces(body, range).flatten().copied().collect();
                (user != b"null").then(|| Key::default().session(&user))
            }
            SessionBy::App => Some(Key::default().session(ex.facts().consumer()?.id.as_bytes())),
        });
        named.unwrap_or_default()
    }
}

/// How many bytes it has.
pub(super) fn bytes(body: &RequestBody) -> u32 {
    let bytes: usize = body.segments().iter().map(bytes::Bytes::len).sum();
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

/// Its system prompt, which stands first wherever it is written, and then the rest.
fn prompt(body: &RequestBody) -> PrefixHasher {
    let mut hasher = PrefixHasher::default();
    if let Some(json) = body.json() {
        let spots = [&json.spots.system, &json.spots.prompt].into_iter().flatten();
        for piece in spots.flat_map(|range| pieces(body, range.clone())) {
            if hasher.is_full() {
                break;
            }
            hasher.feed(piece);
        }
    }
    hasher
}

/// The bytes of this range, as they came.
pub(crate) fn pieces(body: &RequestBody, range: Range<usize>) -> impl Iterator<Item = &[u8]> {
    let mut before = 0;
    body.segments().iter().filter_map(move |segment| {
        let begin = range.start.saturating_sub(before).min(segment.len());
        let end = range.end.saturating_sub(before).min(segment.len());
        before += segment.len();
        segment.get(begin..end).filter(|piece| !piece.is_empty())
    })
}
