//! Bodies on the two sides of an attempt.

use std::{
    collections::VecDeque,
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use crate::upstream::Lease;

/// What is sent upstream: one piece as it is, several one after another, their length known beforehand.
pub(super) fn outgoing(segments: Vec<Bytes>) -> reqwest::Body {
    match <[Bytes; 1]>::try_from(segments) {
        Ok([whole]) => whole.into(),
        Err(segments) => {
            let left = segments.iter().map(|segment| segment.len() as u64).sum();
            reqwest::Body::wrap(Segments { segments: segments.into(), left })
        }
    }
}

struct Segments {
    segments: VecDeque<Bytes>,
    left: u64,
}

impl Body for Segments {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let segment = self.segments.pop_front();
        self.left -= segment.as_ref().map_or(0, |segment| segment.len() as u64);
        Poll::Ready(segment.map(|segment| Ok(Frame::data(segment))))
    }

    fn is_end_stream(&self) -> bool {
        self.segments.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

/// An upstream's body with the slot that its endpoint keeps for it.
pub(crate) struct Leased {
    body: reqwest::Body,
    _lease: Lease,
}

impl Leased {
    pub(super) fn new(body: reqwest::Body, lease: Lease) -> Self {
        Self { body, _lease: lease }
    }
}

impl Body for Leased {
    type Data = Bytes;
    type Error = reqwest::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, reqwest::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
