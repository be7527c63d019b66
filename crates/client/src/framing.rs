//! Where a body ends, and which of the bytes that come are of it (RFC 9112, sections 6 and 7).

use bytes::{Buf, Bytes, BytesMut};

use crate::error::Malformed;

/// The most bytes of chunk extensions and trailers in a row, without any data between them.
const MOST_BETWEEN: usize = 16 * 1024;

/// How a body is framed, and how far it has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// There is none, or it is over.
    None,
    /// So many bytes are to come.
    Length(u64),
    /// In chunks that tell their sizes.
    Chunked(Chunks),
    /// Until the connection ends.
    Close,
}

impl Framing {
    pub(crate) fn chunked() -> Self {
        Self::Chunked(Chunks { state: State::Size { size: 0, digits: 0 }, between: 0 })
    }

    pub(crate) fn is_over(&self) -> bool {
        matches!(self, Self::None | Self::Length(0) | Self::Chunked(Chunks { state: State::End, .. }))
    }

    /// Bytes that are still to come, where that is known.
    pub(crate) fn left(&self) -> Option<u64> {
        match self {
            Self::None => Some(0),
            Self::Length(left) => Some(*left),
            Self::Chunked(_) | Self::Close => None,
        }
    }

    /// Takes what is of the body off the buffer, in one piece; what stands behind its end stays there.
    pub(crate) fn take(&mut self, buffer: &mut BytesMut) -> Result<Bytes, Malformed> {
        match self {
            Self::None => Ok(Bytes::new()),
            Self::Close => Ok(buffer.split().freeze()),
            Self::Length(left) => {
                let taken = usize::try_from(*left).unwrap_or(usize::MAX).min(buffer.len());
                *left -= taken as u64;
                Ok(buffer.split_to(taken).freeze())
            }
            Self::Chunked(chunks) => chunks.take(buffer),
        }
    }
}

/// A body in chunks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Chunks {
    state: State,
    /// Bytes of extensions and trailers since the last data.
    between: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Size {
        size: u64,
        digits: u8,
    },
    Extension {
        size: u64,
    },
    SizeLf {
        size: u64,
    },
    Data {
        left: u64,
    },
    DataCr,
    DataLf,
    /// A line behind the last chunk; whether anything stands in it.
    Trailer {
        empty: bool,
    },
    TrailerLf {
        empty: bool,
    },
    End,
}

impl Chunks {
    /// Several chunks that came together leave together: the later ones are moved over what stood between them.
    fn take(&mut self, buffer: &mut BytesMut) -> Result<Bytes, Malformed> {
        // Of the buffer: framing [..begin], data [begin..end], framing [end..read], not looked at [read..].
        let (mut begin, mut end, mut read) = (0, 0, 0);
        while let Some(byte) = buffer.get(read).copied() {
            match &mut self.state {
                State::End => break,
                State::Data { left } => {
                    let size = usize::try_from(*left).unwrap_or(usize::MAX).min(buffer.len() - read);
                    *left -= size as u64;
                    if *left == 0 {
                        self.state = State::DataCr;
                    }
                    self.between = 0;
                    if begin == end {
                        (begin, end) = (read, read + size);
                    } else {
                        buffer.copy_within(read..read + size, end);
                        end += size;
                    }
                    read += size;
                }
                _ => {
                    self.state = self.next(byte)?;
                    read += 1;
                }
            }
        }
        if begin == end {
            buffer.advance(read);
            return Ok(Bytes::new());
        }
        buffer.advance(begin);
        let data = buffer.split_to(end - begin).freeze();
        buffer.advance(read - end);
        Ok(data)
    }

    /// The state after one more byte that is not of the data.
    fn next(&mut self, byte: u8) -> Result<State, Malformed> {
        self.between += 1;
        if self.between > MOST_BETWEEN {
            return Err(Malformed("its chunks have too much between them"));
        }
        match (self.state, byte) {
            (State::Size { size, digits }, byte) if byte.is_ascii_hexdigit() => {
                if digits == 15 {
                    return Err(Malformed("a chunk is too large"));
                }
                let digit = char::from(byte).to_digit(16).unwrap_or_default();
                Ok(State::Size { size: size << 4 | u64::from(digit), digits: digits + 1 })
            }
            (State::Size { size, digits: 1.. } | State::Extension { size }, b'\r') => {
                Ok(State::SizeLf { size })
            }
            (State::Size { size, digits: 1.. }, b';' | b' ' | b'\t') => Ok(State::Extension { size }),
            (State::Extension { size }, byte) if byte != b'\n' => Ok(State::Extension { size }),
            (State::SizeLf { size: 0 } | State::TrailerLf { empty: false }, b'\n') => {
                Ok(State::Trailer { empty: true })
            }
            (State::SizeLf { size }, b'\n') => Ok(State::Data { left: size }),
            (State::DataCr, b'\r') => Ok(State::DataLf),
            (State::DataLf, b'\n') => Ok(State::Size { size: 0, digits: 0 }),
            (State::Trailer { empty }, b'\r') => Ok(State::TrailerLf { empty }),
            (State::Trailer { .. }, byte) if byte != b'\n' => Ok(State::Trailer { empty: false }),
            (State::TrailerLf { empty: true }, b'\n') => Ok(State::End),
            _ => Err(Malformed("its chunks are not framed as they must be")),
        }
    }
}
