//! What fuzzing asks of masking: whatever stands around a key, records show none, and no more text than they may.
//!
//! libFuzzer calls this (`fuzz/`), and so does an ordinary test (`crates/fuzzing`).

use crate::mask::{masked, masked_wholly};

/// One byte is the limit; the rest is text from outside.
pub fn mask(data: &[u8]) {
    let Some((limit, text)) = data.split_first() else { return };
    let Ok(text) = std::str::from_utf8(text) else { return };
    let limit = 4 * usize::from(*limit);
    for (shown, wholly) in [(masked(text, limit), false), (masked_wholly(text, limit), true)] {
        assert!(shown.len() <= limit, "{} bytes of {limit}: {shown}", shown.len());
        assert!(!shown.contains(char::is_control), "{shown:?}");
        assert!(!has_key(&shown, wholly), "{shown}");
        let may_hide = text.contains('-') || text.len() >= 32;
        if text.len() <= limit && !may_hide && !text.contains(char::is_control) {
            assert_eq!(shown, text, "nothing was to be masked");
        }
    }
}

/// Whether a key of this gateway stands here, or its digits, with their dashes or without.
fn has_key(text: &str, digits_alone: bool) -> bool {
    const DIGITS: &str = "00000000-0000-0000-0000-000000000000";
    let text = text.to_ascii_lowercase();
    let fits = |text: &str| {
        text.len() >= DIGITS.len()
            && text.bytes().zip(DIGITS.bytes()).all(|(byte, digit)| match digit {
                b'-' => byte == b'-',
                _ => byte.is_ascii_hexdigit(),
            })
    };
    let is_row = |text: &str| text.bytes().take_while(u8::is_ascii_hexdigit).count() >= 32;
    let found = |(at, _): (usize, char)| {
        let rest = &text[at..];
        rest.strip_prefix("sk-live-").is_some_and(fits) || (digits_alone && (fits(rest) || is_row(rest)))
    };
    text.char_indices().any(found)
}
