//! Makes text from outside fit for records and logs: bounded, and without anything that looks like a key.

/// What every key begins with.
const PREFIX: &str = "sk-";

/// At most `limit` bytes of the text, with what looks like a key masked and control characters escaped.
///
/// That is `sk-…` wherever it stands, in letters of any case.
pub(crate) fn masked(text: &str, limit: usize) -> String {
    let mut out = String::with_capacity(text.len().min(limit));
    let mut rest = text;
    while let Some(at) = find_key(rest) {
        let (before, key) = rest.split_at(at);
        push_printable(&mut out, before);
        out.push_str("sk-***");
        rest = key.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'));
    }
    push_printable(&mut out, rest);
    if out.len() > limit {
        out.truncate(out.floor_char_boundary(limit));
    }
    out
}

/// Where something begins that looks like a key.
fn find_key(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    (0..bytes.len()).find(|&at| {
        let Some(tail) = bytes.get(at..) else { return false };
        let starts =
            tail.get(..PREFIX.len()).is_some_and(|start| start.eq_ignore_ascii_case(PREFIX.as_bytes()));
        starts && is_long(&tail[PREFIX.len()..], at > 0 && bytes[at - 1].is_ascii_alphanumeric())
    })
}

/// Whether this goes on like a key. Behind a letter it must have digits too: `task-force-alpha` is no key.
fn is_long(tail: &[u8], inside_a_word: bool) -> bool {
    let length = tail.iter().take_while(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_')).count();
    let key = &tail[..length];
    length >= 8 && (!inside_a_word || key.iter().any(u8::is_ascii_digit))
}

fn push_printable(out: &mut String, text: &str) {
    for c in text.chars() {
        if c.is_control() { out.extend(c.escape_default()) } else { out.push(c) }
    }
}

#[cfg(test)]
mod tests {
    use super::masked;

    #[test]
    fn what_looks_like_a_key_is_masked_wherever_it_stands() {
        let key = "sk-live-00000000-1111-2222-3333-444444444444";
        assert_eq!(masked(&format!("/v1/{key}/x"), 100), "/v1/sk-***/x");
        assert_eq!(masked(&format!("{key} {key}"), 100), "sk-*** sk-***");
        assert_eq!(masked(&format!("xx{key}yy"), 100), "xxsk-***");
        assert_eq!(masked(&key.to_uppercase(), 100), "sk-***");
        assert_eq!(masked("task-force-one-two-three", 100), "task-force-one-two-three");
    }

    #[test]
    fn ordinary_text_passes_and_control_characters_are_escaped() {
        assert_eq!(masked("Qwen3-32B", 100), "Qwen3-32B");
        assert_eq!(masked("a\nb", 100), "a\\nb");
        assert_eq!(masked("äöü", 3), "ä");
    }
}
