//! Follows an answer of `/v1/responses` until it has told its id.

use std::sync::Arc;

use bytes::Bytes;
use http::{StatusCode, header::CONTENT_TYPE};
use vllm_gateway_sdk::{Facts, Head, ResponseFilter, Wants};
use vllm_gateway_wire::response_id::IdReader;

use super::{Home, Responses};
use crate::proxy::is_event_stream;

/// Remembers the response that goes by, before its client can have read the id.
pub(crate) struct Keeper {
    responses: Arc<Responses>,
    /// The id that the body of the request asked for.
    wished: Option<String>,
    reader: Option<IdReader>,
}

impl Keeper {
    pub(crate) fn new(responses: &Arc<Responses>, wished: Option<String>) -> Self {
        Self { responses: Arc::clone(responses), wished, reader: None }
    }

    /// Whether the client chose this id: vLLM takes one of the body, and might take that of the request. It may be the id of
    /// somebody else's response, of which this process does not know any more, or does not know yet.
    fn is_chosen(&self, id: &str, facts: &Facts) -> bool {
        let random = id.strip_prefix("resp_").unwrap_or(id);
        let is = |wish: &str| wish == id || wish == random;
        self.wished.as_deref().is_some_and(is) || (is(facts.request_id()) && !is_minted(facts))
    }
}

/// Whether the request's id is the gateway's own, which nobody could choose.
fn is_minted(facts: &Facts) -> bool {
    facts.id().simple().to_string() == facts.request_id()
}

impl ResponseFilter for Keeper {
    fn wants(&self) -> Wants {
        Wants::Chunks
    }

    fn on_head(&mut self, head: &mut Head, _: &Facts) {
        let streams = head.headers.get(CONTENT_TYPE).is_some_and(is_event_stream);
        self.reader = (head.status == StatusCode::OK)
            .then(|| if streams { IdReader::stream() } else { IdReader::whole() });
    }

    fn on_chunk(&mut self, chunk: &mut Bytes, facts: &Facts) {
        let Some(reader) = &mut self.reader else { return };
        let id = reader.push(chunk);
        if reader.is_done() {
            self.reader = None;
        }
        let Some(id) = id.filter(|id| !self.is_chosen(id, facts)) else { return };
        if let Some(home) = Home::of(facts) {
            self.responses.keep(&id, home);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::net::{IpAddr, Ipv4Addr};

    use vllm_gateway_sdk::RequestId;

    use super::*;

    fn facts(id: RequestId) -> Facts {
        let head = http::Request::post("/v1/responses").body(()).unwrap().into_parts().0;
        Facts::new(&head, id, IpAddr::V4(Ipv4Addr::LOCALHOST), None)
    }

    #[test]
    fn an_id_that_the_client_chose_is_told_from_one_that_was_made_for_it() {
        let keeper = |wished: Option<&str>| Keeper::new(&Arc::default(), wished.map(str::to_owned));
        let (given, minted) = (facts(RequestId::given("mine")), facts(RequestId::new()));
        assert!(keeper(None).is_chosen("resp_mine", &given) && keeper(None).is_chosen("mine", &given));
        assert!(!keeper(None).is_chosen("resp_mine2", &given));
        assert!(!keeper(None).is_chosen(&format!("resp_{}", minted.request_id()), &minted));
        for wish in ["resp_1", "1"] {
            assert!(keeper(Some(wish)).is_chosen("resp_1", &minted), "{wish}");
        }
        assert!(!keeper(Some("resp_2")).is_chosen("resp_1", &minted));
    }
}
