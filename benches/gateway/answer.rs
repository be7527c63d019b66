//! Reads one answer as it arrives: its head, and its body without the framing.

/// Where in the answer the next byte stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum At {
    Head,
    Counted(usize),
    ChunkSize(usize),
    Chunk(usize),
    ChunkEnd,
    /// In the lines behind the last chunk; whether something stands on this one.
    Trailer(bool),
    End,
}

/// Takes an answer in pieces of any size.
pub(crate) struct Answer {
    head: Vec<u8>,
    at: At,
}

impl Answer {
    pub(crate) const fn new() -> Self {
        Self { head: Vec::new(), at: At::Head }
    }

    /// For the next answer on the same connection.
    pub(crate) fn restart(&mut self) {
        self.head.clear();
        self.at = At::Head;
    }

    /// Takes the next bytes, hands those of the body on, and says whether the answer has ended. What comes after its
    /// end would belong to no request: that is a failure.
    pub(crate) fn take(&mut self, mut bytes: &[u8], body: &mut impl FnMut(&[u8])) -> bool {
        while !bytes.is_empty() {
            let taken = match self.at {
                At::Head => self.take_head(bytes),
                At::Counted(left) | At::Chunk(left) => {
                    let taken = left.min(bytes.len());
                    body(&bytes[..taken]);
                    self.at = match (self.at, left - taken) {
                        (At::Counted(_), 0) => At::End,
                        (At::Counted(_), left) => At::Counted(left),
                        (_, 0) => At::ChunkEnd,
                        (_, left) => At::Chunk(left),
                    };
                    taken
                }
                At::ChunkSize(size) => {
                    self.at = match bytes[0] {
                        b'\n' if size == 0 => At::Trailer(false),
                        b'\n' => At::Chunk(size),
                        b'\r' => At::ChunkSize(size),
                        digit => At::ChunkSize(size * 16 + hex(digit)),
                    };
                    1
                }
                At::ChunkEnd => {
                    self.at = if bytes[0] == b'\n' { At::ChunkSize(0) } else { At::ChunkEnd };
                    1
                }
                At::Trailer(something) => {
                    self.at = match bytes[0] {
                        b'\n' if !something => At::End,
                        b'\n' => At::Trailer(false),
                        b'\r' => At::Trailer(something),
                        _ => At::Trailer(true),
                    };
                    1
                }
                At::End => panic!("bytes after the end of an answer: {}", String::from_utf8_lossy(bytes)),
            };
            bytes = &bytes[taken..];
        }
        self.at == At::End
    }

    /// As it was sent, with the empty line behind it.
    pub(crate) fn head(&self) -> &[u8] {
        &self.head
    }

    /// `None` as long as too little of the head has come.
    pub(crate) fn status_so_far(&self) -> Option<u16> {
        self.head.get(9..12).and_then(|code| std::str::from_utf8(code).ok()?.parse().ok())
    }

    pub(crate) fn status(&self) -> u16 {
        self.status_so_far()
            .unwrap_or_else(|| panic!("not an answer: {}", String::from_utf8_lossy(&self.head)))
    }

    fn take_head(&mut self, bytes: &[u8]) -> usize {
        let before = self.head.len();
        self.head.extend_from_slice(bytes);
        let from = before.saturating_sub(3);
        let Some(end) = self.head[from..].windows(4).position(|window| window == b"\r\n\r\n") else {
            return bytes.len();
        };
        self.head.truncate(from + end + 4);
        self.at = match (header(&self.head, "content-length"), header(&self.head, "transfer-encoding")) {
            (Some("0"), _) => At::End,
            (Some(length), _) => At::Counted(length.parse().expect("a content-length is a number")),
            (None, Some("chunked")) => At::ChunkSize(0),
            (None, _) => panic!("an answer without an end: {}", String::from_utf8_lossy(&self.head)),
        };
        self.head.len() - before
    }
}

/// A header's value in the head of a request or an answer.
pub(crate) fn header<'h>(head: &'h [u8], name: &str) -> Option<&'h str> {
    head.split(|byte| *byte == b'\n').find_map(|line| {
        let (start, value) = line.split_at_checked(name.len())?;
        let value = start.eq_ignore_ascii_case(name.as_bytes()).then(|| value.strip_prefix(b":"))??;
        Some(std::str::from_utf8(value).ok()?.trim())
    })
}

fn hex(digit: u8) -> usize {
    char::from(digit).to_digit(16).expect("a chunk's size is in hex digits") as usize
}
