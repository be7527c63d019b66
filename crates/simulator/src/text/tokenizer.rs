//! Text to tokens and back.

use super::vocabulary::{id_of, mark_at, word};

/// Ids from here on hold up to three bytes themselves: their number in the top byte, then the bytes.
const PACKED: u32 = 2 << 24;

/// One token after the other.
struct Tokens<'t> {
    text: &'t str,
    /// What is left of a piece that is no word.
    piece: &'t [u8],
}

impl<'t> Tokens<'t> {
    fn new(text: &'t str) -> Self {
        Self { text, piece: &[] }
    }
}

impl Iterator for Tokens<'_> {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        if self.piece.is_empty() {
            if self.text.is_empty() {
                return None;
            }
            let length = mark_at(self.text).map_or_else(|| piece_length(self.text.as_bytes()), str::len);
            let (piece, rest) = self.text.split_at(self.text.ceil_char_boundary(length));
            self.text = rest;
            if let Some(id) = id_of(piece) {
                return Some(id);
            }
            self.piece = piece.as_bytes();
        }
        let (bytes, rest) = self.piece.split_at(self.piece.len().min(3));
        self.piece = rest;
        Some(packed(bytes))
    }
}

/// How long the piece is that `text` begins with: a space with the word after it, or one character that
/// belongs to no word. A piece is bounded, so that a text without spaces does not become one lookup.
fn piece_length(text: &[u8]) -> usize {
    const LONGEST: usize = 24;
    let in_word = |byte: &u8| byte.is_ascii_alphabetic() || *byte >= 0x80;
    let space = usize::from(text.first() == Some(&b' '));
    let letters = text[space..].iter().take(LONGEST).take_while(|byte| in_word(byte)).count();
    if letters > 0 {
        return space + letters;
    }
    // `\n\n`, ` "`, ` (` and the like are words as well.
    let pair = text.get(..2).and_then(|pair| std::str::from_utf8(pair).ok());
    if pair.and_then(id_of).is_some() { 2 } else { 1 }
}

fn packed(bytes: &[u8]) -> u32 {
    match *bytes {
        [one] => u32::from(one),
        [one, two] => 2 << 24 | u32::from(one) << 16 | u32::from(two) << 8,
        [one, two, three] => 3 << 24 | u32::from(one) << 16 | u32::from(two) << 8 | u32::from(three),
        _ => 0,
    }
}

/// The tokens of a text.
pub(crate) fn tokenize(text: &str) -> Vec<u32> {
    Tokens::new(text).collect()
}

/// The text of tokens; what is not UTF-8 becomes U+FFFD, as with vLLM.
pub(crate) fn decode(ids: &[u32]) -> String {
    let mut bytes = Vec::with_capacity(ids.len() * 4);
    ids.iter().for_each(|id| append(*id, &mut bytes));
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Adds the bytes of one token, which need not be whole characters.
pub(crate) fn append(id: u32, bytes: &mut Vec<u8>) {
    if let Some(word) = word(id) {
        bytes.extend_from_slice(word.as_bytes());
    } else if id >= PACKED {
        let [number, packed @ ..] = id.to_be_bytes();
        bytes.extend_from_slice(&packed[..usize::from(number).min(3)]);
    } else if let Ok(byte) = u8::try_from(id) {
        bytes.push(byte);
    } else {
        bytes.extend_from_slice("\u{fffd}".as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(text: &str) -> usize {
        Tokens::new(text).count()
    }

    #[test]
    fn tokens_can_be_undone() {
        for text in [
            "",
            "Hello there",
            "Say hello\n\n to 漢字 🙂🙂 \"x\\y\"",
            "<|im_start|>user\nhi<|im_end|>\n",
            "a  b   c",
            " ",
        ] {
            assert_eq!(decode(&tokenize(text)), text);
        }
    }

    #[test]
    fn words_and_marks_are_one_token_each() {
        assert_eq!(count(" the world"), 2);
        assert_eq!(count("<|im_start|>user\n"), 3);
        assert_eq!(count("xyzxyz"), 2);
    }

    #[test]
    fn a_long_text_without_spaces_is_counted_in_linear_time() {
        assert_eq!(count(&"x".repeat(6_000_000)), 2_000_000);
    }

    #[test]
    fn unknown_ids_are_replacement_characters_and_never_a_panic() {
        assert_eq!(decode(&[40, 41, 200_000]), "()\u{fffd}");
        assert_eq!(decode(&[u32::MAX]), "\u{fffd}".repeat(3));
    }
}
