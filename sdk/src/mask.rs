//! Makes text from outside fit for records and logs: bounded, and without anything that looks like a key.

/// At most `limit` bytes of the text, with what looks like a key (`sk-…`) masked and control characters escaped.
pub(crate) fn masked(text: &str, limit: usize) -> String {
    let mut out = String::with_capacity(text.len().min(limit));
    let mut rest = text;
    while let Some(at) = rest.find("sk-") {
        let (before, key) = rest.split_at(at);
        push_printable(&mut out, before);
        let length =
            key.bytes().take_while(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_')).count();
        let starts_a_word = !before.ends_with(|c: char| c.is_ascii_alphanumeric());
        if starts_a_word && length >= 11 {
            out.push_str("sk-***");
        } else {
            push_printable(&mut out, &key[..length]);
        }
        rest = &key[length..];
    }
    push_printable(&mut out, rest);
    if out.len() > limit {
        out.truncate(out.floor_char_boundary(limit));
    }
    out
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
        assert_eq!(masked("task-force-one-two-three", 100), "task-force-one-two-three");
    }

    #[test]
    fn ordinary_text_passes_and_control_characters_are_escaped() {
        assert_eq!(masked("Qwen3-32B", 100), "Qwen3-32B");
        assert_eq!(masked("a\nb", 100), "a\\nb");
        assert_eq!(masked("äöü", 3), "ä");
    }
}
