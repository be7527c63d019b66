//! The body of an answer, and the slot of its endpoint that it holds.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use vllm_gateway_client as client;
use vllm_gateway_sdk::UpstreamBody;

use crate::upstream::Lease;

/// The body of an answer as it comes, or one that was read already.
pub(super) enum AnswerBody {
    Coming(client::Body),
    Read(Bytes),
}

/// What the end of an answer says of its endpoint.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Says {
    /// No more than its status has said already.
    Nothing,
    /// That it serves.
    Serves,
    /// That its engine works.
    Generates,
}

/// An upstream's body with the slot that its endpoint keeps for it.
pub(crate) struct Leased {
    body: AnswerBody,
    lease: Option<Lease>,
    says: Says,
    /// Whether it is a stream of events, and whether its first byte has come.
    streams: bool,
    began: bool,
}

impl Leased {
    pub(super) fn new(body: AnswerBody, lease: Option<Lease>, says: Says, streams: bool) -> Self {
        Self { body, lease, says, streams, began: false }
    }
}

impl Body for Leased {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        match &mut self.body {
            AnswerBody::Coming(body) => {
                let frame = Pin::new(body).poll_frame(cx);
                if frame.is_ready() && !self.began {
                    self.began = true;
                    let streams = self.streams;
                    self.lease.iter_mut().for_each(|lease| lease.began(streams));
                }
                frame
            }
            AnswerBody::Read(bytes) => {
                let bytes = std::mem::take(bytes);
                Poll::Ready((!bytes.is_empty()).then(|| Ok(Frame::data(bytes))))
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl AnswerBody {
    pub(super) fn size_hint(&self) -> SizeHint {
        match self {
            Self::Coming(body) => body.size_hint(),
            Self::Read(bytes) => SizeHint::with_exact(bytes.len() as u64),
        }
    }
}

impl UpstreamBody for Leased {
    fn judged(&mut self, well: bool) {
        let Some(lease) = self.lease.as_ref().filter(|_| self.says != Says::Nothing) else { return };
        let (upstream, endpoint) = (lease.upstream(), lease.endpoint());
        if well {
            endpoint.served_well(self.says == Says::Generates);
        } else {
            upstream.not_reached(endpoint);
        }
    }

    fn aborted(&mut self) {
        self.lease.iter().for_each(|lease| lease.endpoint().is_ending());
    }
}
