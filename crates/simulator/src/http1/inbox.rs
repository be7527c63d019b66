//! The bytes of one connection that have come and are not used up yet.

use std::io;

use bytes::BytesMut;
use tokio::net::TcpStream;

/// How far a client may run ahead (pipelining) while its request is being answered.
const MAX_AHEAD: usize = 256 * 1024;
const READ_STEP: usize = 8 * 1024;

/// What the client sent and nobody took yet.
#[derive(Default)]
pub(crate) struct Inbox {
    pub(crate) bytes: BytesMut,
}

impl Inbox {
    /// Waits for more bytes; 0 is the end of what the client sends.
    pub(crate) async fn fill(&mut self, socket: &TcpStream) -> io::Result<usize> {
        loop {
            socket.readable().await?;
            // Reserved only now: an idle connection holds no buffer. Large bodies get large steps.
            self.bytes.reserve(READ_STEP.max(self.bytes.len().min(1024 * 1024)));
            match socket.try_read_buf(&mut self.bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                done => return done,
            }
        }
    }

    /// Returns when the client is gone: it closed, half-closed (vLLM takes both the same) or reset.
    pub(crate) async fn gone(&mut self, socket: &TcpStream) {
        loop {
            if self.bytes.len() >= MAX_AHEAD {
                // It sends on and on instead of listening; it cannot be seen leaving any more, but writing will tell.
                std::future::pending::<()>().await;
            }
            match self.fill(socket).await {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
        }
    }
}
