//! Makes text from outside fit for records and logs: bounded, and without anything that looks like a key.

use std::{borrow::Cow, ops::Range};

/// What every key begins with.
const PREFIX: &str = "sk-";

/// What stands behind `sk-live-`: hexadecimal digits in groups of these lengths.
const GROUPS: [usize; 5] = [8, 4, 4, 4, 12];

/// So many hexadecimal digits in a row are a key without its dashes, or an admin token as the gateway makes it.
const RUN: usize = 32;

/// So near to its beginning a key has digits.
const NEAR: usize = 64;

/// At most `limit` bytes of the text, with what looks like a key masked and control characters escaped.
///
/// That is `sk-…` wherever it stands, in letters of any case.
pub(crate) fn masked(text: &str, limit: usize) -> Cow<'_, str> {
    mask(text, limit, has_beginning(text.as_bytes()), key_at)
}

/// The same, and the digits of a key without its beginning are masked too.
///
/// A UUID looks the same, so this is for text in which nobody needs one: see `docs/security.md`.
pub(crate) fn masked_wholly(text: &str, limit: usize) -> Cow<'_, str> {
    let suspicious = has_beginning(text.as_bytes()) || has_row(text.as_bytes());
    mask(text, limit, suspicious, |bytes, at| {
        key_at(bytes, at).or_else(|| digits_at(bytes, at)).or_else(|| run_at(bytes, at))
    })
}

/// What is masked, and what is written in its place.
type Found = (Range<usize>, &'static str);

/// Most texts have nothing to mask, and are not copied: nothing is looked for in them where `suspicious` is not set.
fn mask(
    text: &str,
    limit: usize,
    suspicious: bool,
    found: impl Fn(&[u8], usize) -> Option<Found>,
) -> Cow<'_, str> {
    let has_key = suspicious && (0..text.len()).any(|at| found(text.as_bytes(), at).is_some());
    if !has_key && text.len() <= limit && text.bytes().all(|b| matches!(b, b' '..=b'~')) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len().min(limit));
    let mut rest = text;
    while let Some((place, mask)) = (0..rest.len()).find_map(|at| found(rest.as_bytes(), at)) {
        push_printable(&mut out, &rest[..place.start]);
        out.push_str(mask);
        rest = &rest[place.end..];
    }
    push_printable(&mut out, rest);
    if out.len() > limit {
        out.truncate(out.floor_char_boundary(limit));
    }
    Cow::Owned(out)
}

/// Whether `sk-` stands anywhere.
fn has_beginning(bytes: &[u8]) -> bool {
    memchr::memchr_iter(b'-', bytes)
        .any(|at| bytes.get(..=at).is_some_and(|bytes| ends_with_ignoring_case(bytes, PREFIX)))
}

fn ends_with_ignoring_case(bytes: &[u8], text: &str) -> bool {
    bytes.len().checked_sub(text.len()).is_some_and(|at| bytes[at..].eq_ignore_ascii_case(text.as_bytes()))
}

/// Whether so many hexadecimal digits and dashes stand in a row that the digits of a key could be among them.
fn has_row(bytes: &[u8]) -> bool {
    bytes.len() >= RUN && bytes.split(|b| !b.is_ascii_hexdigit() && *b != b'-').any(|row| row.len() >= RUN)
}

/// Whether something begins at this place that looks like a key. Behind a letter it must have digits too:
/// `task-force-alpha` is no key.
fn key_at(bytes: &[u8], at: usize) -> Option<Found> {
    let tail = bytes.get(at..)?;
    let (prefix, tail) = tail.split_at_checked(PREFIX.len())?;
    if !prefix.eq_ignore_ascii_case(PREFIX.as_bytes()) {
        return None;
    }
    let within = |tail: &[u8]| {
        tail.iter().take_while(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_')).count()
    };
    let inside_a_word = at > 0 && bytes[at - 1].is_ascii_alphanumeric();
    // Not to its end before it is a key: of `xsk-xsk-…` every fourth byte would be followed to there.
    let near = &tail[..tail.len().min(NEAR)];
    let near = &near[..within(near)];
    let is_key = near.len() >= 8 && (!inside_a_word || near.iter().any(u8::is_ascii_digit));
    is_key.then(|| (at..at + PREFIX.len() + within(tail), "sk-***"))
}

/// Whether the digits of a key begin at this place, whatever stands before and after them.
fn digits_at(bytes: &[u8], at: usize) -> Option<Found> {
    let mut end = at;
    for (number, length) in GROUPS.into_iter().enumerate() {
        if number > 0 {
            (bytes.get(end)? == &b'-').then_some(())?;
            end += 1;
        }
        let group = bytes.get(end..end + length)?;
        group.iter().all(u8::is_ascii_hexdigit).then_some(())?;
        end += length;
    }
    Some((at..end, "***"))
}

/// Whether a long row of hexadecimal digits begins at this place.
fn run_at(bytes: &[u8], at: usize) -> Option<Found> {
    if at > 0 && bytes[at - 1].is_ascii_hexdigit() {
        return None;
    }
    let length = bytes.get(at..)?.iter().take_while(|b| b.is_ascii_hexdigit()).count();
    (length >= RUN).then_some((at..at + length, "***"))
}

fn push_printable(out: &mut String, text: &str) {
    for c in text.chars() {
        if c.is_control() { out.extend(c.escape_default()) } else { out.push(c) }
    }
}

#[cfg(test)]
mod tests {
    use super::{masked, masked_wholly};

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
    fn text_that_is_full_of_beginnings_takes_no_longer_than_other_text() {
        let begun = std::time::Instant::now();
        let text = "xsk-".repeat(64 << 10);
        assert_eq!(masked_wholly(&text, 256), text[..256]);
        // Looking at every beginning to the end takes minutes.
        assert!(begun.elapsed() < std::time::Duration::from_secs(10), "{:?}", begun.elapsed());
    }

    #[test]
    fn the_digits_of_a_key_are_masked_where_no_uuid_is_needed() {
        let digits = "01234567-89ab-CDEF-0011-223344556677";
        assert_eq!(masked_wholly(digits, 100), "***");
        assert_eq!(masked_wholly(&format!("/v1/{digits}/x"), 100), "/v1/***/x");
        assert_eq!(masked_wholly(&format!("é{digits}é abc{digits}def"), 100), "é***é abc***def");
        assert_eq!(masked_wholly(&format!("sk-live-{digits} {digits}"), 100), "sk-*** ***");
        assert_eq!(masked(digits, 100), digits, "a request id is often a UUID");
        for other in
            ["01234567-89ab-cdef-0011-22334455667", "01234567-89ab-cdef-0011_223344556677", "abc-def"]
        {
            assert_eq!(masked_wholly(other, 100), other);
        }
    }

    #[test]
    fn an_admin_token_and_the_digits_of_a_key_without_dashes_are_masked() {
        let token = "0123456789abcdef".repeat(4);
        assert_eq!(masked_wholly(&token, 100), "***");
        assert_eq!(masked_wholly(&format!("/x/{token}/y-{}", &token[..32]), 100), "/x/***/y-***");
        assert_eq!(masked_wholly(&token[..31], 100), &token[..31]);
        assert_eq!(masked(&token, 100), token, "a request id often has 32 digits");
    }

    #[test]
    fn ordinary_text_passes_and_control_characters_are_escaped() {
        assert_eq!(masked("Qwen3-32B", 100), "Qwen3-32B");
        assert_eq!(masked("a\nb", 100), "a\\nb");
        assert_eq!(masked("äöü", 3), "ä");
    }
}
