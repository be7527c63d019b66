//! A request's body whose client may be slow, but not silent.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::Sleep;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A body that fails once nothing of it has come for some time while somebody waited for it.
pub(super) struct Unhurried<B> {
    body: B,
    most: Duration,
    /// Since when it is waited for.
    since: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl<B> Unhurried<B> {
    pub(super) fn new(body: B, most: Duration) -> Self {
        Self { body, most, since: None, timer: None }
    }

    fn poll_silence(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let deadline = *self.since.get_or_insert_with(Instant::now) + self.most;
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline.into())));
        // Only its firing moves it: what comes in time costs the timer nothing.
        while let Poll::Ready(()) = timer.as_mut().poll(cx) {
            if Instant::now() >= deadline {
                return Poll::Ready(());
            }
            timer.as_mut().reset(deadline.into());
        }
        Poll::Pending
    }
}

impl<B> Body for Unhurried<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if let Poll::Ready(next) = Pin::new(&mut self.body).poll_frame(cx) {
            self.since = None;
            return Poll::Ready(next.map(|frame| frame.map_err(Into::into)));
        }
        ready!(self.poll_silence(cx));
        let silence = io::Error::new(io::ErrorKind::TimedOut, "the client stopped sending its request");
        Poll::Ready(Some(Err(silence.into())))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use futures_util::{StreamExt, stream};
    use http_body_util::{BodyExt, StreamBody};
    use tokio::{sync::mpsc, time};

    use super::*;

    const MOST: Duration = Duration::from_millis(200);

    #[tokio::test]
    async fn who_is_slow_is_waited_for_and_who_is_silent_is_not() {
        let (client, chunks) = mpsc::unbounded_channel::<&str>();
        let chunks = stream::unfold(chunks, |mut chunks| async { Some((chunks.recv().await?, chunks)) });
        let chunks = chunks.map(|chunk| Ok::<_, io::Error>(Frame::data(Bytes::from(chunk))));
        let mut body = Unhurried::new(StreamBody::new(Box::pin(chunks)), MOST);
        let begun = Instant::now();
        // Together longer than it may be silent.
        for _ in 0..4 {
            let later = async {
                time::sleep(MOST / 3).await;
                client.send("a bit").unwrap();
            };
            let (chunk, ()) = tokio::join!(body.frame(), later);
            assert_eq!(chunk.unwrap().unwrap().into_data().unwrap(), "a bit");
        }
        assert!(begun.elapsed() > MOST);
        let silent = Instant::now();
        let error = body.frame().await.unwrap().unwrap_err();
        assert_eq!(error.downcast::<io::Error>().unwrap().kind(), io::ErrorKind::TimedOut);
        assert!(silent.elapsed() >= MOST);
    }
}
