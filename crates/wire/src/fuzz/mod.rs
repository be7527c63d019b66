//! What fuzzing asks of every reader here: a function for each that takes any bytes, and panics where a promise breaks.
//!
//! libFuzzer calls them (`fuzz/`), and so does an ordinary test (`crates/fuzzing`). An input begins with a few bytes
//! that say how it is read, of which the last three say where it is cut.

mod edit;
mod form;
mod json;
mod peek;
mod rebuilt;
mod response_id;
mod sse;
mod unary;

pub use edit::edit;
pub use form::form;
pub use peek::peek;
pub use response_id::response_id;
pub use sse::sse;
pub use unary::unary;

use std::borrow::Cow;

use bytes::Bytes;

/// How many bytes say where an input is cut.
const CUT: usize = 3;

/// The bytes in pieces: of one size, cut in two with an empty piece between, or of sizes that look random.
fn pieces(bytes: &[u8], [kind, a, b]: [u8; CUT]) -> Vec<&[u8]> {
    let seed = usize::from(u16::from_le_bytes([a, b]));
    match kind % 3 {
        0 => bytes.chunks(seed % 97 + 1).collect(),
        1 => {
            let (head, tail) = bytes.split_at(seed.min(bytes.len()));
            vec![head, &[], tail]
        }
        _ => {
            let (mut pieces, mut rest, mut state) = (Vec::new(), bytes, seed);
            while !rest.is_empty() {
                state = state.wrapping_mul(25_173).wrapping_add(13_849) & 0xFFFF;
                let (piece, after) = rest.split_at((state >> 8).pow(2) / 256 % (rest.len() + 1));
                pieces.push(piece);
                // Pieces may be empty, but not for ever.
                let (forced, after) = after.split_at(after.len().min(1));
                pieces.push(forced);
                rest = after;
            }
            pieces
        }
    }
}

/// The pieces as segments of a body, each in memory of its own.
fn segments(bytes: &[u8], cut: [u8; CUT]) -> Vec<Bytes> {
    pieces(bytes, cut).into_iter().map(Bytes::copy_from_slice).collect()
}

/// Asserts that what an edit gave is the body's own memory, but for some short pieces.
fn assert_shared(given: &[Bytes], edited: &[Bytes], new: usize) {
    let is_in = |part: &Bytes, whole: &Bytes| whole.as_ptr_range().contains(&part.as_ptr());
    let copied: usize =
        edited.iter().filter(|part| !given.iter().any(|whole| is_in(part, whole))).map(Bytes::len).sum();
    assert!(copied <= new, "{copied} bytes were made anew, {new} at most may be");
}

/// Text for a message.
fn shown(bytes: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}
