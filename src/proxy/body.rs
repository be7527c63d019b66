//! The body of an answer, and the slot of its endpoint that it holds.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use vllm_gateway_client as client;

use crate::upstream::Lease;

/// An upstream's body with the slot that its endpoint keeps for it.
pub(crate) struct Leased {
    body: client::Body,
    _lease: Lease,
}

impl Leased {
    pub(super) fn new(body: client::Body, lease: Lease) -> Self {
        Self { body, _lease: lease }
    }
}

impl Body for Leased {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
