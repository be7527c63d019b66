//! What an event tells: usage, output, errors, the end.

use std::ops::Range;

use bytes::Bytes;

use super::event::Event;
use super::json::{self, DELTA, FIRST_INDEX, Member, TEXT, USAGE};
use super::last_words::LastWords;
use super::tally::Last;
use super::{Kind, StreamReader};
use crate::usage::Usage;

/// A fingerprint longer than this is none that vLLM makes.
const MAX_FINGERPRINT: usize = 256;

/// What an event is, as far as hiding depends on it.
pub(super) enum Seen {
    /// `[DONE]`, or an error.
    End,
    /// The event with no choices and the whole request's usage; whether it is spelled as vLLM spells it.
    Usage { known_shape: bool },
    /// Output, with the place of the running usage in its data, comma included, if it can be taken out.
    Output { running: Option<Range<usize>> },
    /// Something else.
    Other,
}

impl StreamReader {
    pub(super) fn read(&mut self, event: &Event<'_>) -> Seen {
        match self.plan.kind {
            Kind::OpenAi => return self.read_openai(event),
            Kind::Responses => self.read_response(event),
            Kind::Messages => self.read_message(event),
        }
        Seen::Other
    }

    /// Reads no more than the name of an event that is too long to be read.
    pub(super) fn read_name(&mut self, event: &Event<'_>) {
        match event.name {
            // What its client has sent comes back in it, be it ever so long, and the usage behind that.
            Some(name) if self.plan.kind == Kind::Responses && ends_response(name) => {
                self.last_words = Some(LastWords::default());
            }
            Some(b"message_stop") if self.plan.kind == Kind::Messages => self.terminator = true,
            _ => {}
        }
    }

    /// Reads the end of the event that was too long to be read, and with which the response ends.
    pub(super) fn read_last_words(&mut self) {
        if let Some(words) = self.last_words.take() {
            self.terminator = true;
            self.done = words.usage();
        }
    }

    fn read_openai(&mut self, event: &Event<'_>) -> Seen {
        let data = event.data.as_ref();
        if data == b"[DONE]" {
            self.terminator = true;
            return Seen::End;
        }
        if event.name == Some(b"error") || is_error(data) {
            self.error = true;
            return Seen::End;
        }
        if !data.starts_with(b"{") {
            return Seen::Other;
        }
        let usage = json::usage(data, 1);
        if let Some(usage) = &usage
            && json::no_choices(data)
        {
            self.done = Usage::read(&data[usage.value.clone()]);
            self.learn(data);
            let compact = memchr::memmem::find(data, b"\"choices\":[]").is_some();
            return Seen::Usage { known_shape: compact && is_compact(usage) };
        }
        self.delta_events += 1;
        self.started = self.started || bears_output(data);
        let Some(usage) = usage else { return Seen::Output { running: None } };
        let raw = &data[usage.value.clone()];
        if self.plan.several {
            let index = FIRST_INDEX.find(data).map(|at| at + FIRST_INDEX.needle().len());
            let index = index.and_then(|at| json::digits(data, at)).unwrap_or_default();
            self.choices.keep(index, self.plan.n, raw);
        } else {
            self.last.keep(raw);
        }
        Seen::Output { running: removable(data, &usage) }
    }

    fn read_response(&mut self, event: &Event<'_>) {
        let data = event.data.as_ref();
        let name = event.name.or_else(|| json::kind(data)).unwrap_or_default();
        if ends_response(name) {
            self.terminator = true;
            self.done = json::usage(data, 2).and_then(|usage| Usage::read(&data[usage.value]));
        } else if name == b"error" || is_error(data) {
            self.error = true;
        } else if name.ends_with(b".delta") {
            self.delta_events += 1;
            self.started = true;
        }
    }

    fn read_message(&mut self, event: &Event<'_>) {
        let data = event.data.as_ref();
        let usage_at = |depth| json::usage(data, depth).and_then(|usage| Usage::read(&data[usage.value]));
        match event.name.or_else(|| json::kind(data)).unwrap_or_default() {
            b"message_start" => {
                // Read at once: it comes once, and is asked for with every chunk.
                if let Some(usage) = usage_at(2) {
                    self.last = Last::Read(usage);
                }
            }
            b"content_block_delta" => {
                self.delta_events += 1;
                self.started = true;
            }
            b"message_delta" => {
                if let Some(usage) = usage_at(1) {
                    self.done = Some(self.last.usage().unwrap_or_default().then(usage));
                }
            }
            b"message_stop" => self.terminator = true,
            b"error" => self.error = true,
            _ => self.error |= is_error(data),
        }
    }

    /// Notes the fingerprint that stands on the usage event, or that there is none.
    fn learn(&mut self, data: &[u8]) {
        let found = json::fingerprint(data).unwrap_or_default();
        // Transcriptions never have one, whatever the other routes of their server do.
        let silent = found.is_empty() && memchr::memmem::find(data, b"\"object\":\"transcription").is_some();
        if silent || found.len() > MAX_FINGERPRINT {
            return;
        }
        self.learned = true;
        if self.plan.fingerprint.as_deref() != Some(found) {
            self.plan.fingerprint = Some(Bytes::copy_from_slice(found));
        }
    }
}

fn ends_response(name: &[u8]) -> bool {
    matches!(name, b"response.completed" | b"response.failed" | b"response.incomplete")
}

/// vLLM's error event, in the spelling of this and of older versions.
fn is_error(data: &[u8]) -> bool {
    if let Some(rest) = data.strip_prefix(b"{\"error\":") {
        return !rest.trim_ascii_start().starts_with(b"null");
    }
    data.starts_with(b"{\"object\":\"error\"") || data.starts_with(b"{\"object\": \"error\"")
}

/// Whether an event of chat, completions or transcription has more to say than that the answer begins or ends.
fn bears_output(data: &[u8]) -> bool {
    const NOTHING: [&[u8]; 5] = [
        b"}",
        b"\"content\":\"\"}",
        b"\"role\":\"assistant\"}",
        b"\"role\":\"assistant\",\"content\":\"\"}",
        b"\"role\":\"assistant\",\"content\":null}",
    ];
    if let Some(at) = DELTA.find(data) {
        let delta = &data[at + DELTA.needle().len()..];
        return !NOTHING.iter().any(|nothing| delta.starts_with(nothing));
    }
    TEXT.find(data).is_none_or(|at| data.get(at + TEXT.needle().len()) != Some(&b'"'))
}

/// Whether nothing stands between the key and its value.
fn is_compact(usage: &Member) -> bool {
    usage.value.start == usage.key + USAGE.needle().len()
}

/// What to take out so that the event is as it would be without running usage.
fn removable(data: &[u8], usage: &Member) -> Option<Range<usize>> {
    let (key, end) = (usage.key, usage.value.end);
    match (data.get(key.checked_sub(1)?)?, data.get(end)?) {
        _ if !is_compact(usage) => None,
        (b',', _) => Some(key - 1..end),
        (b'{', b',') => Some(key..end + 1),
        (b'{', b'}') => Some(key..end),
        _ => None,
    }
}
