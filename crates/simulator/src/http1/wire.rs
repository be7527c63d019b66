//! Writing an answer to the socket: framing, and the faults that show in how bytes leave.

use std::io;

use tokio::net::TcpStream;
use tokio::time::sleep;

use super::answer::{Answer, Common, event_stream_head};
use crate::fault::{After, Junk, Plan};
use crate::json::Json;

/// A buffer that grew beyond this for one large answer is given back.
const KEEP_CAPACITY: usize = 64 * 1024;

/// Why an answer stops before its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Interrupt {
    /// The client cannot be written to any more.
    Gone,
    /// A scripted fault struck.
    Trip(After),
}

/// The write half of one exchange.
pub(crate) struct Wire<'s> {
    socket: &'s TcpStream,
    pub(crate) plan: &'s Plan,
    pub(crate) common: Common,
    /// Answers to HEAD carry no body.
    pub(crate) head_only: bool,
    out: Vec<u8>,
    event: Json,
    joined: Vec<u8>,
    joined_events: usize,
    events: usize,
    tripped: bool,
    streaming: bool,
}

impl<'s> Wire<'s> {
    pub(crate) fn new(socket: &'s TcpStream, plan: &'s Plan, common: Common) -> Self {
        Self {
            socket,
            plan,
            common,
            head_only: false,
            out: Vec::new(),
            event: Json::new(),
            joined: Vec::new(),
            joined_events: 0,
            events: 0,
            tripped: false,
            streaming: false,
        }
    }

    /// Bytes that wait to be flushed.
    pub(crate) fn waiting(&self) -> usize {
        self.out.len()
    }

    /// Whether a stream's head has been written, so that an error can only be an event.
    pub(crate) fn is_streaming(&self) -> bool {
        self.streaming
    }

    /// Writes a whole answer, with the faults that can befall one.
    pub(crate) async fn answer(&mut self, answer: &Answer) -> Result<(), Interrupt> {
        let length = answer.body.len().try_into().unwrap_or(u64::MAX);
        let head = answer.head(&self.common, u64::saturating_add_signed(length, self.plan.wrong_length));
        self.out.extend_from_slice(&head);
        if self.head_only {
            return self.flush().await;
        }
        // Without events to count, a fault "after k events" strikes in the middle of the body. An error or an abort
        // is an answer of its own, and this is it.
        let breaks = |after: After| !self.tripped && !matches!(after, After::Error | After::Abort);
        if let Some((_, after)) = self.plan.after.filter(|(_, after)| breaks(*after)) {
            self.tripped = true;
            self.out.extend_from_slice(&answer.body[..answer.body.len() / 2]);
            return Err(Interrupt::Trip(after));
        }
        if answer.chunked {
            self.chunk(&answer.body);
            self.out.extend_from_slice(b"0\r\n\r\n");
        } else {
            self.out.extend_from_slice(&answer.body);
        }
        self.flush().await
    }

    /// Writes the head of a stream of events at once: it leaves before the first token exists.
    pub(crate) async fn start_events(&mut self) -> Result<(), Interrupt> {
        self.streaming = true;
        self.out.extend_from_slice(&event_stream_head(&self.common));
        self.flush().await
    }

    /// Adds one event; `write` gets a cleared buffer for everything up to the blank line.
    pub(crate) fn event(&mut self, write: impl FnOnce(&mut Json)) -> Result<(), Interrupt> {
        let mut event = std::mem::take(&mut self.event);
        event.clear();
        write(&mut event);
        let done = self.add_event(event.as_bytes());
        self.event = event;
        done
    }

    /// A comment line between events; it counts for no fault.
    pub(crate) fn comment(&mut self, text: &str) {
        self.chunk(format!(": {text}\n\n").as_bytes());
    }

    /// Ends the stream cleanly.
    pub(crate) async fn finish_events(&mut self) -> Result<(), Interrupt> {
        self.close_joined();
        self.out.extend_from_slice(b"0\r\n\r\n");
        self.flush().await
    }

    /// The error event and `[DONE]` that vLLM sends when its engine dies in the middle (s03).
    pub(crate) async fn finish_with_error(&mut self, message: &str) -> Result<(), Interrupt> {
        self.tripped = true;
        let error = Json::new()
            .raw(r#"data: {"error": {"message": "#)
            .text(message)
            .raw(r#", "type": "InternalServerError", "param": null, "code": 500}}"#)
            .raw("\n\n")
            .into_bytes();
        self.add_event(&error)?;
        self.add_event(b"data: [DONE]\n\n")?;
        self.finish_events().await
    }

    /// Lets the bytes go.
    pub(crate) async fn flush(&mut self) -> Result<(), Interrupt> {
        let out = std::mem::take(&mut self.out);
        let written = self.write(&out).await;
        self.out = out;
        self.out.clear();
        if self.out.capacity() > KEEP_CAPACITY {
            self.out.shrink_to(KEEP_CAPACITY);
        }
        written.map_err(|_| Interrupt::Gone)
    }

    /// Writes bytes as they are, past everything but the way of writing.
    pub(crate) async fn raw(&mut self, bytes: &[u8]) -> Result<(), Interrupt> {
        self.out.extend_from_slice(bytes);
        self.flush().await
    }

    fn add_event(&mut self, payload: &[u8]) -> Result<(), Interrupt> {
        if !self.tripped {
            if let Some((_, junk)) = self.plan.junk.filter(|(at, _)| *at == self.events) {
                self.chunk(&junk.bytes());
            }
            if let Some((_, after)) = self.plan.after.filter(|(at, _)| *at == self.events) {
                self.tripped = true;
                self.close_joined();
                if after == After::CutInside {
                    self.out.extend_from_slice(format!("{:x}\r\n", payload.len()).as_bytes());
                    self.out.extend_from_slice(&payload[..payload.len() / 2]);
                }
                if after == After::Garbage {
                    self.out.extend_from_slice(b"this is not a chunk\r\n");
                }
                return Err(Interrupt::Trip(after));
            }
        }
        self.events += 1;
        if self.plan.join <= 1 {
            self.chunk(payload);
            return Ok(());
        }
        self.joined.extend_from_slice(payload);
        self.joined_events += 1;
        if self.joined_events >= self.plan.join {
            self.close_joined();
        }
        Ok(())
    }

    fn close_joined(&mut self) {
        let joined = std::mem::take(&mut self.joined);
        if !joined.is_empty() {
            self.chunk(&joined);
        }
        self.joined = joined;
        self.joined.clear();
        self.joined_events = 0;
    }

    fn chunk(&mut self, payload: &[u8]) {
        let step = self.plan.split.unwrap_or(payload.len()).max(1);
        for piece in payload.chunks(step) {
            push_hex(&mut self.out, piece.len());
            self.out.extend_from_slice(b"\r\n");
            self.out.extend_from_slice(piece);
            self.out.extend_from_slice(b"\r\n");
        }
    }

    async fn write(&self, bytes: &[u8]) -> io::Result<()> {
        if let Some((step, pause)) = self.plan.drip {
            for piece in bytes.chunks(step.max(1)) {
                write_all(self.socket, piece).await?;
                sleep(pause).await;
            }
            return Ok(());
        }
        if let Some(step) = self.plan.split_writes {
            for piece in bytes.chunks(step.max(1)) {
                write_all(self.socket, piece).await?;
                tokio::task::yield_now().await;
            }
            return Ok(());
        }
        write_all(self.socket, bytes).await
    }
}

impl Junk {
    fn bytes(self) -> Vec<u8> {
        match self {
            Self::NotSse => b"<html><body>502 Bad Gateway</body></html>\n".to_vec(),
            Self::BadUtf8 => {
                b"data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"\xff\xfe\xc3\"}}]}\n\n".to_vec()
            }
            Self::BadJson => b"data: {\"choices\":[{\"index\":0,\n\n".to_vec(),
            Self::Bom => b"\xef\xbb\xbf".to_vec(),
            Self::HugeLine(size) => {
                let mut line = b"data: ".to_vec();
                line.resize(line.len() + size, b'x');
                line.extend_from_slice(b"\n\n");
                line
            }
        }
    }
}

fn push_hex(out: &mut Vec<u8>, mut number: usize) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut digits = [0; 16];
    let mut start = digits.len();
    loop {
        start -= 1;
        digits[start] = DIGITS[number % 16];
        number /= 16;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[start..]);
}

async fn write_all(socket: &TcpStream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match socket.try_write(bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => bytes = &bytes[written..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => socket.writable().await?,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
