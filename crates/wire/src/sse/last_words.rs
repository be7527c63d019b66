//! The end of an event that is too long to be held.

use super::json;
use crate::usage::Usage;

/// How much of it is held: what vLLM writes from `usage` on takes a few hundred bytes.
const MOST: usize = 64 * 1024;

/// The last bytes of an event.
#[derive(Debug, Default)]
pub(super) struct LastWords(Vec<u8>);

impl LastWords {
    /// The next piece of the event.
    pub(super) fn push(&mut self, piece: &[u8]) {
        let piece = &piece[piece.len().saturating_sub(MOST)..];
        // Moved once in so many bytes, not with every piece.
        if self.0.len() + piece.len() > 2 * MOST {
            self.0.drain(..self.0.len().saturating_sub(MOST));
        }
        self.0.extend_from_slice(piece);
    }

    /// The usage of a response, two brackets deep, if it stands there: how deep it is, what follows it proves.
    pub(super) fn usage(&self) -> Option<Usage> {
        json::usage(&self.0, 2).and_then(|usage| Usage::read(&self.0[usage.value]))
    }
}
