//! Rebuilds a stream without what the client did not ask for.
//!
//! The usage event is dropped as a whole. A server with per-request metrics writes its `metrics` there too
//! (recordings b04, b05c, b07b), and nowhere else in a stream: vLLM mounts them on the usage event only, so who
//! did not ask for usage would not have got them either. No recording shows a server that has these metrics and
//! is not made to report usage in every stream; should one send an event with `metrics` and without `usage`, it
//! passes like any event that is not known.

use super::event::DATA_AT;
use super::json::{ABORTED, FINGERPRINT, FINISHED};
use super::read::Seen;
use super::{Hide, StreamReader};

/// How much may wait for the usage event. Beyond that the client gets its events without the fingerprint.
const MAX_WAITING: usize = 1 << 20;

/// Events that wait, as they will be sent but for the fingerprint.
#[derive(Default)]
pub(super) struct Waiting {
    events: Vec<u8>,
    /// Where in `events` a fingerprint belongs, in order.
    marks: Vec<usize>,
    /// Set once too much had to wait.
    given_up: bool,
}

impl StreamReader {
    /// Sends an event, or a part of one, past all that waits.
    pub(super) fn put(&mut self, bytes: &[u8]) {
        if self.plan.hide != Hide::Nothing {
            self.out.extend_from_slice(bytes);
        }
    }

    /// Sends, changes, holds or drops an event. Only plain ones are changed or dropped; `tail` is the length of
    /// the line ends of such a one.
    pub(super) fn hide(&mut self, event: &[u8], tail: Option<usize>, seen: Seen) {
        let all = self.plan.hide == Hide::All;
        match (seen, tail) {
            (Seen::Usage { known_shape: true }, Some(_)) if all => self.settle(),
            (Seen::End | Seen::Usage { .. }, _) => {
                self.release();
                self.out.extend_from_slice(event);
            }
            (Seen::Output { running }, Some(tail)) => {
                let cut = running.map_or(0..0, |range| range.start + DATA_AT..range.end + DATA_AT);
                let parts = [&event[..cut.start], &event[cut.end..]];
                if all && is_finish(parts, tail) {
                    self.finish_event(parts, tail);
                } else {
                    self.pass(parts);
                }
            }
            (Seen::Output { .. } | Seen::Other, _) => self.pass([event, b""]),
        }
    }

    /// Sends an event in its turn.
    fn pass(&mut self, parts: [&[u8]; 2]) {
        if self.waiting.events.is_empty() {
            return parts.iter().for_each(|part| self.out.extend_from_slice(part));
        }
        if self.plan.several {
            return self.wait(parts);
        }
        // With one choice the finish event waits for its neighbour only, and this is none that it waits for.
        self.release();
        self.pass(parts);
    }

    /// Sends the event that ends a choice, with the fingerprint that it would have without a usage event.
    fn finish_event(&mut self, parts: [&[u8]; 2], tail: usize) {
        self.aborted |= parts.iter().any(|part| ABORTED.find(part).is_some());
        // From the last brace on: the fingerprint goes before it.
        let tail = tail + 1;
        if !self.plan.several {
            self.release();
        } else if self.waiting.given_up || self.plan.fingerprint.is_some() {
            let known = self.plan.fingerprint.clone().unwrap_or_default();
            let [first, second] = parts;
            // The usage may have been the last member, so that the second part is the rest alone.
            let (body, rest) = second.split_at(second.len() - tail);
            self.out.extend_from_slice(first);
            self.out.extend_from_slice(body);
            put_fingerprint(&mut |bytes| self.out.extend_from_slice(bytes), &known);
            return self.out.extend_from_slice(rest);
        }
        let len: usize = parts.iter().map(|part| part.len()).sum();
        self.waiting.marks.push(self.waiting.events.len() + len - tail);
        self.wait(parts);
    }

    fn wait(&mut self, parts: [&[u8]; 2]) {
        parts.iter().for_each(|part| self.waiting.events.extend_from_slice(part));
        if self.waiting.events.len() > MAX_WAITING {
            self.waiting.given_up = true;
            self.release();
        }
    }

    /// Sends what waits as it is: no usage event came.
    pub(super) fn release(&mut self) {
        self.waiting.marks.clear();
        if !self.waiting.events.is_empty() {
            self.settle();
        }
    }

    /// Sends what waits, with the fingerprint of this very stream where it belongs.
    fn settle(&mut self) {
        let fingerprint = self.fingerprint().cloned().unwrap_or_default();
        let mut from = 0;
        for &mark in &self.waiting.marks {
            self.out.extend_from_slice(&self.waiting.events[from..mark]);
            put_fingerprint(&mut |bytes| self.out.extend_from_slice(bytes), &fingerprint);
            from = mark;
        }
        self.out.extend_from_slice(&self.waiting.events[from..]);
        self.waiting.events = Vec::new();
        self.waiting.marks = Vec::new();
    }
}

fn put_fingerprint(put: &mut impl FnMut(&[u8]), fingerprint: &[u8]) {
    if !fingerprint.is_empty() {
        put(b",\"system_fingerprint\":");
        put(fingerprint);
    }
}

/// Whether a choice ends with this event, and the fingerprint can be appended to it and is not there already.
fn is_finish([first, second]: [&[u8]; 2], tail: usize) -> bool {
    let has = |needle: &memchr::memmem::Finder<'_>| {
        needle.find(first).is_some() || (!second.is_empty() && needle.find(second).is_some())
    };
    let data = second.len().checked_sub(tail).and_then(|end| second.get(..end));
    data.is_some_and(|data| data.ends_with(b"}")) && has(&FINISHED) && !has(&FINGERPRINT)
}
