//! What no text of a form may hold: characters that make it look other than it is, and a key.

/// What every key of this gateway begins with.
const KEY: &str = "sk-live-";
/// The characters after that which are no secret: they are shown as `keyPrefix`.
const SHOWN: usize = 8;

/// What is wrong with this line of text.
pub(crate) fn fault_of_line(text: &str) -> Option<&'static str> {
    if text.chars().any(char::is_control) { Some("must not hold control characters") } else { hidden(text) }
}

/// What is wrong with this note, which may have several lines.
pub(crate) fn fault_of_note(text: &str) -> Option<&'static str> {
    let is_bad = |c: char| c.is_control() && !matches!(c, '\n' | '\t');
    if text.chars().any(is_bad) {
        Some("must not hold control characters other than line feeds and tabs")
    } else {
        hidden(text)
    }
}

fn hidden(text: &str) -> Option<&'static str> {
    if text.chars().any(misleads) {
        return Some(
            "must not hold characters that turn the direction of the text or break its line unseen \
             (U+2028 to U+202E, U+2066 to U+2069)",
        );
    }
    holds_key(text).then_some(
        "must not hold a key, which nobody but its owner may know: name it by its first 16 characters",
    )
}

/// Embeddings, overrides and isolates, by which a text is shown in another order than it has; and the separators
/// of lines and paragraphs. The marks that only say of which direction a neutral character is are left alone:
/// names in Arabic and Hebrew need them.
fn misleads(c: char) -> bool {
    matches!(c, '\u{2028}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
}

/// Whether more of a key stands here than its prefix.
fn holds_key(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    lower.match_indices(KEY).any(|(at, _)| {
        let rest = lower.get(at + KEY.len()..).unwrap_or_default();
        rest.chars().take_while(|c| c.is_ascii_hexdigit() || *c == '-').count() > SHOWN
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_names_and_notes_pass() {
        for text in [
            "Acme",
            "名前",
            "شركة \u{200F}(ABC)",
            "sk-live-01234567 is the old one",
            "task-force",
            "sk-live-…",
        ] {
            assert_eq!((fault_of_line(text), fault_of_note(text)), (None, None), "{text}");
        }
        assert_eq!(fault_of_note("first line\n\tsecond"), None);
    }

    #[test]
    fn what_misleads_is_refused() {
        for text in [
            "a\u{202E}b",
            "a\u{2066}b",
            "a\u{2069}",
            "a\u{2028}b",
            "\u{202A}",
            "a\0b",
            "a\u{85}b",
            "a\rb",
            "\u{1b}[2J",
        ] {
            assert!(fault_of_line(text).is_some() && fault_of_note(text).is_some(), "{text:?}");
        }
        assert!(fault_of_line("a\nb").is_some(), "a name has one line");
    }

    #[test]
    fn a_key_is_refused_whole_or_in_part() {
        let key = "sk-live-01234567-89ab-cdef-0011-223344556677";
        for text in [
            key.to_owned(),
            key.to_uppercase(),
            format!("x{key}y"),
            format!("sk-live-0 {key}"),
            key[..20].to_owned(),
        ] {
            assert!(fault_of_note(&text).is_some_and(|fault| fault.contains("key")), "{text}");
        }
    }
}
