//! Compares a rebuilt stream with the one it was rebuilt from, event by event, by other means than the reader's.

use std::collections::BTreeSet;

use memchr::memmem::{find, rfind};

use super::{json::Members, shown};
use crate::sse::Hide;

const USAGE: &[u8] = b"\"usage\":";
const FINGERPRINT: &[u8] = b",\"system_fingerprint\":";

/// Asserts that every event is there in its turn, as it was but for its usage and its fingerprint, or was one that
/// may be dropped. Comments and empty lines may overtake events, and are left out.
///
/// Where a carriage return stands, where events end depends on more than a line; such streams are compared elsewhere.
pub(super) fn assert_rebuilt(hide: Hide, stream: &[u8], sent: &[u8]) {
    if memchr::memchr(b'\r', stream).is_some() {
        return;
    }
    let sent = events(sent);
    // How many of the events that were sent may have been met so far: an event may look like another one, cut.
    let mut met = BTreeSet::from([0]);
    for event in events(stream) {
        let may_drop =
            hide == Hide::All && find(event, USAGE).is_some() && find(event, b"\"choices\":").is_some();
        let sent_now = met.iter().filter(|&&at| sent.get(at).is_some_and(|out| is_made_of(event, out)));
        let now: BTreeSet<_> =
            sent_now.map(|at| at + 1).chain(met.iter().copied().filter(|_| may_drop)).collect();
        assert!(!now.is_empty(), "{hide:?}: lost or changed: {}\nafter {met:?} events", shown(event));
        met = now;
    }
    assert!(met.contains(&sent.len()), "{hide:?}: made up: {:?}", sent.last().map(|event| shown(event)));
}

/// The events of a stream whose lines end with line feeds, each with its blank line; the last may lack it.
fn events(stream: &[u8]) -> Vec<&[u8]> {
    let mut events = Vec::new();
    let (mut start, mut at) = (0, 0);
    for line in stream.split_inclusive(|byte| *byte == b'\n') {
        let is_between = start == at && (line == b"\n" || line.starts_with(b":"));
        at += line.len();
        if is_between {
            start = at;
        } else if line == b"\n" {
            events.push(&stream[start..at]);
            start = at;
        }
    }
    if start < at {
        events.push(&stream[start..at]);
    }
    events
}

/// Whether an event is another one, or that one without its usage, and with a fingerprint.
fn is_made_of(event: &[u8], sent: &[u8]) -> bool {
    let is_made = |sent: &[u8]| sent == event || is_without_usage(event, sent);
    is_made(sent) || without_fingerprint(sent).is_some_and(|bare| is_made(&bare))
}

/// What was sent without the fingerprint at its end.
fn without_fingerprint(sent: &[u8]) -> Option<Vec<u8>> {
    let at = rfind(sent, FINGERPRINT)?;
    let end = sent.strip_suffix(b"}\n\n")?.len();
    Some([sent.get(..at)?, sent.get(end..)?].concat())
}

/// Whether one range of bytes was taken out, usage among them, and the other members are the same.
fn is_without_usage(event: &[u8], sent: &[u8]) -> bool {
    if find(event, USAGE).is_none() || sent.len() + USAGE.len() > event.len() {
        return false;
    }
    let head = event.iter().zip(sent).take_while(|(a, b)| a == b).count();
    let tail = event.iter().rev().zip(sent.iter().rev()).take_while(|(a, b)| a == b).count();
    let members = |event: &[u8]| {
        let data = event.strip_prefix(b"data: ")?;
        Members::of(data.trim_ascii_end())
    };
    let same = match (members(event), members(sent)) {
        (Some(before), Some(after)) => before.without(&["usage"]) == after.without(&["usage"]),
        (Some(_), None) => false,
        (None, _) => true,
    };
    same && head + tail >= sent.len()
}
