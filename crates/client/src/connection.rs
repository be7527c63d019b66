//! A connection: its socket, and what was read from it and not yet taken.

use std::{
    io::{self, IoSlice},
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
};

use bytes::BytesMut;
use rustix::{io::Errno, net::RecvFlags};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::client::TlsStream;

/// Bytes that are asked for at first: room for some events of a stream, or for most whole answers.
const LEAST: usize = 4 * 1024;
/// Bytes that are asked for of a server that sends faster than it is read.
const MOST: usize = 64 * 1024;

/// A connection to a server.
#[derive(Debug)]
pub(crate) struct Connection {
    io: Io,
    /// What was read and not yet taken.
    pub(crate) buffer: BytesMut,
    /// How much is asked for next.
    ask: usize,
}

#[derive(Debug)]
pub(crate) enum Io {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Connection {
    pub(crate) fn new(io: Io) -> Self {
        Self { io, buffer: BytesMut::new(), ask: LEAST }
    }

    /// Reads what there is; 0 at the end.
    pub(crate) fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let Self { io, buffer, ask } = self;
        if buffer.capacity() - buffer.len() < *ask / 4 {
            buffer.reserve(*ask);
        }
        let room = buffer.capacity() - buffer.len();
        let read = pin!(io.read_buf(buffer)).poll(cx);
        if let Poll::Ready(Ok(read)) = read
            && read == room
        {
            *ask = (*ask * 2).min(MOST);
        }
        read
    }

    pub(crate) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match Pin::new(&mut self.io).poll_write_vectored(cx, pieces) {
            Poll::Ready(Ok(0)) => Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            written => written,
        }
    }

    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    /// Whether nothing has come since it was put aside: neither an end, nor bytes that nobody asked for.
    ///
    /// The system is asked, not the runtime, which may not have heard yet of what has just come.
    pub(crate) fn is_quiet(&mut self) -> bool {
        match &mut self.io {
            Io::Plain(stream) => {
                let seen = rustix::net::recv(&*stream, &mut [0], RecvFlags::PEEK | RecvFlags::DONTWAIT);
                seen.is_err_and(|error| error == Errno::AGAIN)
            }
            // Bytes may be the protocol's own, such as tickets for later sessions: it must read them.
            Io::Tls(stream) => {
                let mut byte = [0];
                let mut nobody = Context::from_waker(Waker::noop());
                Pin::new(stream).poll_read(&mut nobody, &mut ReadBuf::new(&mut byte)).is_pending()
            }
        }
    }

    /// Lets go of the memory that it does not need while it waits.
    pub(crate) fn rest(&mut self) {
        self.buffer = BytesMut::new();
        self.ask = LEAST;
    }
}

impl AsyncRead for Io {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl Io {
    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, pieces),
            Self::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, pieces),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }
}
