//! Finds members in an event's JSON without parsing it.
//!
//! A key with its quotes cannot stand inside a JSON string, where quotes are escaped; what must be proven is
//! how deep it stands, and the rest of the event proves that by the brackets it closes.

use std::ops::Range;
use std::sync::LazyLock;

use memchr::memchr2;
use memchr::memmem::Finder;

/// A search that is prepared once for the process.
pub(super) type Needle = LazyLock<Finder<'static>>;

pub(super) static USAGE: Needle = LazyLock::new(|| Finder::new("\"usage\":"));
pub(super) static CHOICES: Needle = LazyLock::new(|| Finder::new("\"choices\":"));
pub(super) static FIRST_INDEX: Needle = LazyLock::new(|| Finder::new("\"choices\":[{\"index\":"));
pub(super) static FINISHED: Needle = LazyLock::new(|| Finder::new("\"finish_reason\":\""));
pub(super) static ABORTED: Needle = LazyLock::new(|| Finder::new("\"finish_reason\":\"abort\""));
pub(super) static FINGERPRINT: Needle = LazyLock::new(|| Finder::new("\"system_fingerprint\":"));
pub(super) static DELTA: Needle = LazyLock::new(|| Finder::new("\"delta\":{"));
pub(super) static TEXT: Needle = LazyLock::new(|| Finder::new("\"text\":\""));

/// How many places in one event are looked at before it counts as unreadable.
const MAX_CANDIDATES: usize = 8;

/// The places just after a key (and the white space that follows it), with the key's own place.
fn places<'a>(json: &'a [u8], key: &'a Finder<'static>) -> impl Iterator<Item = (usize, usize)> + 'a {
    key.find_iter(json)
        .filter(|&at| at > 0 && json[at - 1] != b'\\')
        .take(MAX_CANDIDATES)
        .map(|at| (at, skip_space(json, at + key.needle().len())))
}

/// An object and its key.
pub(super) struct Member {
    pub(super) key: usize,
    pub(super) value: Range<usize>,
}

/// The `usage` object that stands inside of exactly so many others.
pub(super) fn usage(json: &[u8], depth: u32) -> Option<Member> {
    places(json, &USAGE).filter(|&(_, at)| json.get(at) == Some(&b'{')).find_map(|(key, at)| {
        let end = object_end(json, at)?;
        (closes(json, end)? == depth).then_some(Member { key, value: at..end })
    })
}

/// Whether the top-level `choices` is an empty array.
pub(super) fn no_choices(json: &[u8]) -> bool {
    places(json, &CHOICES).any(|(_, at)| {
        let rest = json[at..].strip_prefix(b"[").map(<[u8]>::trim_ascii_start);
        let rest = rest.and_then(|rest| rest.strip_prefix(b"]"));
        rest.is_some_and(|rest| closes(json, json.len() - rest.len()) == Some(1))
    })
}

/// The top-level string `system_fingerprint`, with its quotes.
pub(super) fn fingerprint(json: &[u8]) -> Option<&[u8]> {
    places(json, &FINGERPRINT).filter(|&(_, at)| json.get(at) == Some(&b'"')).find_map(|(_, at)| {
        let end = string_end(json, at + 1)?;
        (closes(json, end)? == 1).then(|| &json[at..end])
    })
}

/// The top-level string `type`, without its quotes.
pub(super) fn kind(json: &[u8]) -> Option<&[u8]> {
    const KEY: &[u8] = b"\"type\":";
    // vLLM writes it first or last; what lies between may hold many others.
    let first = json.starts_with(b"{\"type\":").then_some(1);
    let at = first.or_else(|| memchr::memmem::rfind(json, KEY))?;
    let at = skip_space(json, at + KEY.len());
    (json.get(at) == Some(&b'"')).then_some(())?;
    let end = string_end(json, at + 1)?;
    (first.is_some() || closes(json, end)? == 1).then(|| &json[at + 1..end - 1])
}

/// The digits just after this place, as a number.
pub(super) fn digits(json: &[u8], at: usize) -> Option<u32> {
    let rest = json.get(at..)?;
    let len = rest.iter().take(10).take_while(|byte| byte.is_ascii_digit()).count();
    std::str::from_utf8(&rest[..len]).ok()?.parse().ok()
}

pub(super) fn skip_space(json: &[u8], at: usize) -> usize {
    let rest = json.get(at..).unwrap_or_default();
    json.len() - rest.trim_ascii_start().len()
}

/// Just past the bracket that closes the one at this place.
fn object_end(json: &[u8], mut at: usize) -> Option<usize> {
    let mut level = 0_u32;
    loop {
        match json.get(at)? {
            b'"' => {
                at = string_end(json, at + 1)?;
                continue;
            }
            b'{' | b'[' => level += 1,
            b'}' | b']' => {
                level = level.checked_sub(1)?;
                if level == 0 {
                    return Some(at + 1);
                }
            }
            _ => {}
        }
        at += 1;
    }
}

/// How many brackets the rest of the event closes that it did not open. `None` if it is cut short.
fn closes(json: &[u8], mut at: usize) -> Option<u32> {
    let (mut level, mut closed) = (0_u32, 0_u32);
    while let Some(byte) = json.get(at) {
        match byte {
            b'"' => {
                at = string_end(json, at + 1)?;
                continue;
            }
            b'{' | b'[' => level += 1,
            b'}' | b']' if level > 0 => level -= 1,
            b'}' | b']' => closed += 1,
            _ => {}
        }
        at += 1;
    }
    // An event that was cut off does not end with the bracket of its object.
    (level == 0 && json.trim_ascii_end().ends_with(b"}")).then_some(closed)
}

/// Just past the quote that closes the string whose text begins at this place.
fn string_end(json: &[u8], mut at: usize) -> Option<usize> {
    loop {
        let stop = at + memchr2(b'"', b'\\', json.get(at..)?)?;
        if json[stop] == b'"' {
            return Some(stop + 1);
        }
        at = stop + 2;
    }
}
