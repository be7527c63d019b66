//! Rebuilds a stream without what the client did not ask for.

use super::event::DATA_AT;
use super::json::{FINGERPRINT, FINISHED};
use super::read::Seen;
use super::{Hide, StreamReader};

/// How much may wait for the usage event. Beyond that the client gets its events without the fingerprint.
const MAX_WAITING: usize = 1 << 20;

/// What follows the data of a plain finish event from its last brace on.
const TAIL: usize = b"}\n\n".len();

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

    /// Sends, changes, holds or drops an event. Only plain ones are changed or dropped.
    pub(super) fn hide(&mut self, event: &[u8], plain: bool, seen: Seen) {
        let all = self.plan.hide == Hide::All;
        match seen {
            Seen::Usage { known_shape: true } if plain && all => self.settle(),
            Seen::End | Seen::Usage { .. } => {
                self.release();
                self.out.extend_from_slice(event);
            }
            Seen::Output { running } if plain => {
                let cut = running.map_or(0..0, |range| range.start + DATA_AT..range.end + DATA_AT);
                let parts = [&event[..cut.start], &event[cut.end..]];
                if all && is_finish(parts) {
                    self.finish_event(parts);
                } else {
                    self.pass(parts);
                }
            }
            Seen::Output { .. } | Seen::Other => self.pass([event, b""]),
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
    fn finish_event(&mut self, parts: [&[u8]; 2]) {
        if !self.plan.several {
            self.release();
        } else if self.waiting.given_up || self.plan.fingerprint.is_some() {
            let known = self.plan.fingerprint.clone().unwrap_or_default();
            let [first, second] = parts;
            // The usage may have been the last member, so that the second part is the tail alone.
            let (body, tail) = second.split_at(second.len() - TAIL);
            self.out.extend_from_slice(first);
            self.out.extend_from_slice(body);
            put_fingerprint(&mut |bytes| self.out.extend_from_slice(bytes), &known);
            return self.out.extend_from_slice(tail);
        }
        let len: usize = parts.iter().map(|part| part.len()).sum();
        self.waiting.marks.push(self.waiting.events.len() + len - TAIL);
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
fn is_finish([first, second]: [&[u8]; 2]) -> bool {
    let has = |needle: &memchr::memmem::Finder<'_>| {
        needle.find(first).is_some() || (!second.is_empty() && needle.find(second).is_some())
    };
    second.ends_with(b"}\n\n") && has(&FINISHED) && !has(&FINGERPRINT)
}
