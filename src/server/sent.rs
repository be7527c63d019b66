//! The body of an answer, on its way to the client.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures_util::Stream;
use http_body::{Body, Frame, SizeHint};
use salvo::http::ResBody;
use vllm_gateway_sdk::ResponseBody;

use crate::proxy::{EarlyBody, Leased};

/// What a client is sent behind the head.
pub(crate) enum Sent {
    /// An answer of the gateway itself.
    Whole(Bytes),
    /// The answer of an upstream, while it comes.
    Upstream(Box<ResponseBody<Leased>>),
    /// A stream that began while its request still waits.
    Early(Box<EarlyBody>),
    /// What came through salvo's router.
    Routed(ResBody),
}

impl From<Sent> for ResBody {
    fn from(sent: Sent) -> Self {
        match sent {
            Sent::Whole(bytes) => Self::Once(bytes),
            Sent::Upstream(body) => Self::stream(*body),
            Sent::Early(body) => Self::stream(*body),
            Sent::Routed(body) => body,
        }
    }
}

impl Body for Sent {
    type Data = Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match self.get_mut() {
            Self::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Self::Whole(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Self::Upstream(body) => Pin::new(&mut **body)
                .poll_next(cx)
                .map(|next| next.map(|chunk| chunk.map(Frame::data).map_err(Into::into))),
            Self::Early(body) => Pin::new(&mut **body)
                .poll_next(cx)
                .map(|next| next.map(|chunk| chunk.map(Frame::data).map_err(Into::into))),
            Self::Routed(body) => {
                Pin::new(body).poll_frame(cx).map(|next| next.map(|frame| frame.map_err(Into::into)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.is_empty(),
            Self::Upstream(_) | Self::Early(_) => false,
            Self::Routed(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            // Where it is known, the head says it.
            Self::Upstream(_) | Self::Early(_) => SizeHint::default(),
            Self::Routed(body) => Body::size_hint(body),
        }
    }
}
