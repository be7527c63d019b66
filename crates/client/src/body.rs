//! The body of an answer, read from the socket when it is asked for and not before.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Frame, SizeHint};

use crate::{Origin, connection::Connection, framing::Framing};

/// The body of an answer. Dropped before its end, it closes the connection.
#[derive(Debug)]
pub struct Body {
    /// None once the body is over, or broken.
    connection: Option<Connection>,
    framing: Framing,
    /// Where the connection goes at the end, and how many may be there; none if it is of no use any more.
    home: Option<(Arc<Origin>, usize)>,
}

impl Body {
    pub(crate) fn new(connection: Connection, framing: Framing, home: Option<(Arc<Origin>, usize)>) -> Self {
        let mut body = Self { connection: Some(connection), framing, home };
        body.settle();
        body
    }

    /// Puts the connection aside if the body is over: at once, since a server whose length is out is not asked again.
    fn settle(&mut self) {
        if !self.framing.is_over() {
            return;
        }
        if let (Some(connection), Some((origin, most))) = (self.connection.take(), self.home.take())
            // What comes unasked behind an answer is no answer to the next request.
            && connection.buffer.is_empty()
        {
            origin.pool.put(connection, most);
        }
    }

    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        loop {
            let Some(connection) = &mut self.connection else { return Poll::Ready(None) };
            let data = self.framing.take(&mut connection.buffer)?;
            if !data.is_empty() {
                self.settle();
                return Poll::Ready(Some(Ok(data)));
            }
            if self.framing.is_over() {
                self.settle();
                return Poll::Ready(None);
            }
            if ready!(connection.poll_fill(cx))? == 0 {
                self.connection = None;
                return match self.framing {
                    Framing::Close => Poll::Ready(None),
                    _ => Poll::Ready(Some(Err(io::ErrorKind::UnexpectedEof.into()))),
                };
            }
        }
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let body = self.get_mut();
        let data = ready!(body.poll_data(cx));
        if matches!(data, Some(Err(_))) {
            body.connection = None;
        }
        Poll::Ready(data.map(|data| data.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.connection.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        self.framing.left().map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
