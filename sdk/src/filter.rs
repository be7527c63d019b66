//! The contract of a plugin: what it may do on the request, on the response, and at the end.

use async_trait::async_trait;
use bytes::Bytes;

use crate::{Error, Event, Exchange, Facts, Head, ModelOffer, Outcome, Reply, Services};

/// One configured step of a pipeline, shared by every request that goes through it.
#[async_trait]
pub trait Filter: Send + Sync + 'static {
    /// Runs once per request, in the order of `filters`.
    async fn on_request(&self, ex: &mut Exchange) -> Result<Flow, Error>;

    /// The models that this filter can route, for `/v1/models`.
    fn models(&self) -> Vec<ModelOffer> {
        Vec::new()
    }

    /// Called when a configuration with this filter comes into force, also when the filter was kept from the
    /// one before. Must not block.
    fn on_start(&self, _services: &Services) {}
}

/// What a filter decides about a request.
pub enum Flow {
    /// Go on.
    Continue,
    /// Go on, and follow the response with this object.
    Watch(Box<dyn ResponseFilter>),
    /// Answer now: neither the later filters nor the upstream are reached.
    Reply(Reply),
}

/// The response side of one exchange: owns its state, never awaits, must not block.
///
/// Of several, the one whose filter stands last in `filters` runs first.
pub trait ResponseFilter: Send {
    /// The target is known and an upstream is about to be called; an error refuses the request.
    fn before_upstream(&mut self, _facts: &Facts) -> Result<(), Error> {
        Ok(())
    }

    /// A copy of the request, of which this is known, is about to be sent to a mirror. What is given follows the copy as
    /// this follows the request; without it the copy goes unnoticed here. An error keeps it from being sent, and the
    /// request from nothing. Must not wait: the client does.
    fn on_mirror(&self, _copy: &Facts) -> Result<Option<Box<dyn ResponseFilter>>, Error> {
        Ok(None)
    }

    /// An endpoint is about to be tried. Called for each attempt.
    fn on_attempt(&mut self, _facts: &Facts) {}

    /// The head is about to go out; it may be changed.
    fn on_head(&mut self, _head: &mut Head, _facts: &Facts) {}

    /// What [`on_chunk`](Self::on_chunk) and [`on_event`](Self::on_event) should be called with.
    fn wants(&self) -> Wants {
        Wants::Nothing
    }

    /// Some bytes of the body are about to go out; they may be replaced.
    fn on_chunk(&mut self, _chunk: &mut Bytes, _facts: &Facts) {}

    /// A whole event of a stream went by. It is a copy: the bytes that the client gets do not wait for it.
    fn on_event(&mut self, _event: &Event, _facts: &Facts) {}

    /// How it ends is settled, and the last bytes are about to go out. What must be kept before the client has
    /// the whole answer is kept here. Not called where nothing goes out any more: then only `on_complete` is.
    fn on_last(&mut self, _facts: &Facts, _outcome: Outcome) {}

    /// The exchange is over. Called exactly once, however it ended, and nothing is called after it.
    fn on_complete(self: Box<Self>, _facts: &Facts, _outcome: Outcome) {}
}

/// What of the response's body a [`ResponseFilter`] wants to see. Less costs less.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wants {
    /// Nothing: only the head and the end.
    #[default]
    Nothing,
    /// Every chunk as it goes out.
    Chunks,
    /// Every chunk, and every whole event of a stream.
    Events,
}

/// What a filter can contribute to an exchange, or need of it. The order in `filters` is checked by these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fact {
    /// Who the request acts for.
    Consumer,
    /// Where it goes.
    Target,
}

impl Fact {
    /// Its name in diagnostics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Consumer => "consumer",
            Self::Target => "target",
        }
    }
}
