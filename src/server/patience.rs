//! How long a connection may be silent: briefly while it owes the rest of a head, long between two requests.
//!
//! The server's own timer cannot tell the two apart, and would close a client's kept connections as fast as a slow
//! attacker's. So this looks at the bytes themselves, behind TLS, as far as is needed to see where a head ends.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use memchr::memchr_iter;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Sleep,
};

/// How long a head may take, from the connection's beginning or from its first byte.
const HEAD: Duration = Duration::from_secs(15);
/// How long nothing may be asked between two requests. Load balancers keep connections for some minutes.
const IDLE: Duration = Duration::from_hours(1);

/// The same where something came behind the head of the request before: mostly its body, and then a client that keeps its
/// connection is to find it open; but it may be the beginning of a head, and must not stay one for an hour.
const BEHIND: Duration = Duration::from_mins(15);

/// A connection that is watched over.
pub(super) struct Patient<S> {
    stream: S,
    phase: Phase,
    timer: Option<Pin<Box<Sleep>>>,
}

/// What the client is expected to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Send the rest of a head that began then.
    Head { since: Instant, seen: Lines },
    /// Wait: a request is being served. What it waits for has deadlines of its own. Of what came behind the head
    /// nobody knows here whether it is a body.
    Served { more: bool },
    /// Whatever it likes. Since when, is noted when somebody first waits for it. `owes`: what came behind the last head
    /// may be the beginning of the next, which then must go on soon.
    Idle { since: Option<Instant>, owes: bool },
}

/// How far the lines of a head have been seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Lines {
    /// A line that is not empty: empty ones before it are skipped.
    any: bool,
    /// Something in the line that is being read.
    text: bool,
}

impl Lines {
    /// How many of these bytes belong to the head, if it ends within them.
    fn end_in(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut begin = 0;
        for at in memchr_iter(b'\n', bytes) {
            self.see(bytes.get(begin..at)?);
            if self.any && !self.text {
                return Some(at + 1);
            }
            self.text = false;
            begin = at + 1;
        }
        self.see(bytes.get(begin..)?);
        None
    }

    /// A part of a line.
    fn see(&mut self, part: &[u8]) {
        if part.iter().any(|byte| *byte != b'\r') {
            *self = Self { any: true, text: true };
        }
    }
}

impl Phase {
    fn head() -> Self {
        Self::Head { since: Instant::now(), seen: Lines::default() }
    }

    /// When it must have ended.
    fn deadline(&mut self) -> Option<Instant> {
        match self {
            Self::Head { since, .. } => Some(*since + HEAD),
            Self::Served { .. } => None,
            Self::Idle { since, owes } => {
                Some(*since.get_or_insert_with(Instant::now) + if *owes { BEHIND } else { IDLE })
            }
        }
    }

    fn heard(&mut self, bytes: &[u8]) {
        if let (Self::Idle { .. }, false) = (&self, bytes.is_empty()) {
            *self = Self::head();
        }
        match self {
            Self::Head { seen, .. } => {
                if let Some(end) = seen.end_in(bytes) {
                    *self = Self::Served { more: end < bytes.len() };
                }
            }
            Self::Served { more } => *more |= !bytes.is_empty(),
            Self::Idle { .. } => {}
        }
    }

    /// Whether with these bytes it begins to be idle, for all that is known here.
    fn said(&mut self, bytes: &[u8]) -> bool {
        let owes = match self {
            // `100 Continue` is no answer yet: the body comes after it.
            Self::Served { .. } if bytes.starts_with(b"HTTP/1.1 1") => return false,
            Self::Idle { since, .. } => {
                *since = None;
                return false;
            }
            Self::Served { more } => *more,
            Self::Head { .. } => false,
        };
        *self = Self::Idle { since: None, owes };
        true
    }
}

impl<S> Patient<S> {
    pub(super) fn new(stream: S) -> Self {
        Self { stream, phase: Phase::head(), timer: None }
    }

    /// Ready when the client has been silent for too long. The timer is moved only when it fires.
    fn poll_deadline(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let Some(deadline) = self.phase.deadline() else { return Poll::Pending };
            let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline.into())));
            if timer.deadline() > deadline.into() {
                timer.as_mut().reset(deadline.into());
            }
            ready!(timer.as_mut().poll(cx));
            if Instant::now() >= deadline {
                return Poll::Ready(());
            }
            timer.as_mut().reset(deadline.into());
        }
    }
}

impl<S> Patient<S> {
    fn said(&mut self, bytes: &[u8], cx: &mut Context<'_>) {
        let is_timed = |timer: &Pin<Box<Sleep>>| !timer.is_elapsed();
        // The server that has found nothing to read while it answered does not read again before something comes.
        if self.phase.said(bytes) && !self.timer.as_ref().is_some_and(is_timed) {
            let _ = self.poll_deadline(cx);
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Patient<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        if let Poll::Ready(read) = Pin::new(&mut self.stream).poll_read(cx, buffer) {
            self.phase.heard(buffer.filled().get(before..).unwrap_or_default());
            return Poll::Ready(read);
        }
        ready!(self.poll_deadline(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Patient<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, bytes));
        self.said(bytes, cx);
        Poll::Ready(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write_vectored(cx, pieces));
        self.said(pieces.iter().find(|piece| !piece.is_empty()).map_or(&[], |piece| piece), cx);
        Poll::Ready(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use futures_util::FutureExt;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    fn is_head(phase: Phase) -> bool {
        matches!(phase, Phase::Head { .. })
    }

    #[test]
    fn a_head_ends_where_the_parser_says_so_however_it_is_cut() {
        for head in [
            &b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"[..],
            b"\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
            b"GET / HTTP/1.1\nHost: a\n\n",
            b"GET / HTTP/1.1\r\nHost: a\n\r\n",
        ] {
            for cut in 0..head.len() {
                let mut phase = Phase::head();
                phase.heard(&head[..cut]);
                assert!(is_head(phase), "{cut} bytes of {}", head.escape_ascii());
                phase.heard(&head[cut..]);
                assert_eq!(phase, Phase::Served { more: false }, "{cut} bytes of {}", head.escape_ascii());
            }
        }
    }

    #[test]
    fn a_kept_connection_has_time_and_its_next_head_has_not() {
        let mut phase = Phase::head();
        phase.heard(b"GET / HTTP/1.1\r\n\r\n");
        assert_eq!(phase.deadline(), None, "whoever serves it has deadlines of his own");
        phase.said(b"HTTP/1.1 200 OK\r\n\r\n");
        assert!(phase.deadline().is_some_and(|at| at > Instant::now() + HEAD));
        phase.heard(b"");
        assert!(!is_head(phase), "a read that gave nothing is no head");
        phase.heard(b"G");
        assert!(is_head(phase));
        assert!(phase.deadline().is_some_and(|at| at <= Instant::now() + HEAD));
    }

    #[tokio::test]
    async fn a_connection_that_was_read_from_before_its_answer_only_is_timed_all_the_same() {
        let (mut client, stream) = tokio::io::duplex(1024);
        let mut connection = Patient::new(stream);
        client.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        let mut head = [0; 64];
        assert_eq!(connection.read(&mut head).await.unwrap(), 18);
        // Whether the client is still there.
        assert!(connection.read(&mut head).now_or_never().is_none());
        assert!(connection.timer.is_none(), "what serves it has deadlines of its own");
        connection.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
        let timer = connection.timer.as_ref().unwrap();
        assert!(timer.deadline() > (Instant::now() + BEHIND).into());
    }

    #[test]
    fn a_body_after_100_continue_is_no_head() {
        let mut phase = Phase::head();
        phase.heard(b"POST / HTTP/1.1\r\nExpect: 100-continue\r\n\r\n");
        phase.said(b"HTTP/1.1 100 Continue\r\n\r\n");
        phase.heard(b"a slow body");
        assert_eq!(phase, Phase::Served { more: true });
    }

    #[test]
    fn what_came_behind_a_head_may_be_the_next_one_and_does_not_wait_for_an_hour() {
        let mut phase = Phase::head();
        phase.heard(b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HT");
        phase.said(b"HTTP/1.1 200 OK\r\n\r\n");
        assert!(phase.deadline().is_some_and(|at| at <= Instant::now() + BEHIND));
    }
}
