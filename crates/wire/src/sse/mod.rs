//! Follows a stream of events on its way to the client, counts what it tells, and hides what was not asked for.
//!
//! Nothing hidden: the client gets the very chunks that came, at once. Something hidden: events are rebuilt in
//! one buffer that is used again once it was written. Either way no event is parsed that tells nothing.

mod event;
mod framing;
mod hide;
mod json;
mod last_words;
mod read;
mod tally;
#[cfg(test)]
mod tests;

use bytes::{Bytes, BytesMut};

use crate::usage::Usage;
use event::{Event, is_filler};
use framing::Framing;
use hide::Waiting;
use last_words::LastWords;
use tally::{Choices, Last};

/// The longest event that is read, and held back until it is complete. What is longer passes as it comes.
pub const MAX_EVENT: usize = 1 << 20;

/// The size to which buffers return after a huge event.
const USUAL_BUFFER: usize = 64 << 10;

/// The least room that the outgoing buffer asks for: some events' worth.
const MIN_BUFFER: usize = 2048;

/// Which kind of stream it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Chat, completions and transcriptions: `data:` lines only, ended by `[DONE]`.
    OpenAi,
    /// `/v1/responses`: named events, ended by `response.completed` and its like. Nothing is ever hidden.
    Responses,
    /// `/v1/messages`: named events, ended by `message_stop`. Nothing is ever hidden.
    Messages,
}

/// What the gateway asked of vLLM that the client did not, and so must not see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hide {
    /// The client asked for all of it (or the server sends it whether asked or not).
    Nothing,
    /// The client asked for usage at the end: running usage is taken out of the events before.
    Running,
    /// The client asked for none: running usage is taken out, the usage event dropped, and the event with the
    /// finish reason gets the `system_fingerprint` back that moved to the usage event.
    All,
}

impl Hide {
    /// What to hide from a client that asked for this itself.
    pub fn for_client(wants_usage: bool, wants_running_usage: bool) -> Self {
        match (wants_usage, wants_running_usage) {
            (true, true) => Self::Nothing,
            (true, false) => Self::Running,
            (false, _) => Self::All,
        }
    }
}

/// How a stream is to be followed.
#[derive(Debug, Clone)]
pub struct StreamPlan {
    /// Which kind of stream it is.
    pub kind: Kind,
    /// What to hide.
    pub hide: Hide,
    /// Whether there may be more than one choice.
    pub several: bool,
    /// How many choices belong to one prompt (`n`); matters only for the prompt tokens of a stream that broke.
    pub n: u32,
    /// What is known of the endpoint's `system_fingerprint`: the raw JSON string, or empty if it sends none.
    pub fingerprint: Option<Bytes>,
}

impl StreamPlan {
    /// Hides nothing and expects one choice.
    pub fn watch(kind: Kind) -> Self {
        Self { kind, hide: Hide::Nothing, several: false, n: 1, fingerprint: None }
    }
}

/// How good a stream's usage is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UsageKind {
    /// vLLM's own figures of the whole request.
    Final,
    /// The last figures before the stream stopped.
    Running,
    /// There are none.
    None,
}

/// Follows one stream.
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own about the stream")]
pub struct StreamReader {
    plan: StreamPlan,
    framing: Framing,
    /// The beginning of an event whose end has not come yet.
    carry: Vec<u8>,
    /// Set while an event goes by that is too long to be held.
    oversized: bool,
    /// The end of it, as far as it is there, where it is the one that says what a response cost.
    last_words: Option<LastWords>,
    /// What goes to the client next, where something is hidden.
    out: BytesMut,
    /// Events that wait for the fingerprint.
    waiting: Waiting,
    /// Whether the fingerprint was seen in this stream, or seen to be missing.
    learned: bool,
    last: Last,
    choices: Choices,
    done: Option<Usage>,
    terminator: bool,
    error: bool,
    aborted: bool,
    started: bool,
    delta_events: u64,
    unreadable: u64,
}

impl StreamReader {
    /// A reader at the start of a stream.
    pub fn new(mut plan: StreamPlan) -> Self {
        if plan.kind != Kind::OpenAi {
            plan.hide = Hide::Nothing;
            plan.several = false;
        }
        Self {
            plan,
            framing: Framing::new(),
            carry: Vec::new(),
            oversized: false,
            last_words: None,
            out: BytesMut::new(),
            waiting: Waiting::default(),
            learned: false,
            last: Last::None,
            choices: Choices::default(),
            done: None,
            terminator: false,
            error: false,
            aborted: false,
            started: false,
            delta_events: 0,
            unreadable: 0,
        }
    }

    /// Takes the next chunk and gives what the client should get now: nothing if all of it waits.
    pub fn push(&mut self, chunk: &Bytes) -> Bytes {
        if self.plan.hide == Hide::Nothing {
            self.follow(chunk);
            return chunk.clone();
        }
        let needed = self.carry.len() + chunk.len();
        if self.out.capacity() < needed {
            self.out.reserve(needed.max(MIN_BUFFER));
        }
        self.follow(chunk);
        let ready = self.out.split().freeze();
        if needed > USUAL_BUFFER {
            // A buffer that one huge event made is not kept for the rest of the stream.
            self.out = BytesMut::new();
        }
        ready
    }

    /// Ends the stream and gives what was still held. An event without its blank line goes out as it is.
    pub fn finish(&mut self) -> Bytes {
        let rest = std::mem::take(&mut self.carry);
        if !rest.is_empty() {
            self.read(&Event::parse(&rest));
        }
        // Too long to be held, and without its blank line: it is whole if it says what the response cost.
        if self.last_words.as_ref().is_some_and(|words| words.usage().is_some()) {
            self.read_last_words();
        }
        self.release();
        if self.plan.hide != Hide::Nothing {
            self.out.extend_from_slice(&rest);
        }
        self.out.split().freeze()
    }

    /// Whether the route's own end came: `[DONE]`, `response.completed`, `.failed`, `.incomplete`, `message_stop`.
    pub fn saw_terminator(&self) -> bool {
        self.terminator
    }

    /// Whether the client stands between two events: none has gone out in part.
    pub fn is_between_events(&self) -> bool {
        if self.plan.hide == Hide::Nothing { self.framing.is_between() } else { !self.oversized }
    }

    /// Whether vLLM sent an error event.
    pub fn saw_error(&self) -> bool {
        self.error
    }

    /// Whether vLLM ended a choice since it was told to end itself: `finish_reason` is `abort`. Looked for where all usage
    /// is hidden, so that the events that end a choice are looked at anyway.
    pub fn was_aborted(&self) -> bool {
        self.aborted
    }

    /// Whether output has come, for the time to the first token.
    pub fn first_event_seen(&self) -> bool {
        self.started
    }

    /// How many events carried output. On the OpenAI routes: events other than the usage event and errors.
    pub fn delta_events(&self) -> u64 {
        self.delta_events
    }

    /// How many events were too long to be read.
    pub fn unreadable_events(&self) -> u64 {
        self.unreadable
    }

    /// The stream's `system_fingerprint` as the next [`StreamPlan::fingerprint`]: the raw JSON string, empty if
    /// the usage event came without one. `None` before that event, or if there is no saying.
    pub fn fingerprint(&self) -> Option<&Bytes> {
        self.plan.fingerprint.as_ref().filter(|_| self.learned)
    }

    /// What a stream that still runs has told of its usage by now. Unlike [`usage`](Self::usage) it parses nothing, and
    /// of running usage it finds the tokens of prompt and answer only.
    pub fn running_usage(&self) -> (Option<Usage>, UsageKind) {
        if self.done.is_some() {
            return (self.done, UsageKind::Final);
        }
        let running = if self.plan.several { self.choices.usage() } else { self.last.figures() };
        (running, if running.is_some() { UsageKind::Running } else { UsageKind::None })
    }

    /// The usage as far as it is known, and how far that is.
    pub fn usage(&self) -> (Option<Usage>, UsageKind) {
        if self.done.is_some() {
            return (self.done, UsageKind::Final);
        }
        let running = if self.plan.several { self.choices.usage() } else { self.last.usage() };
        (running, if running.is_some() { UsageKind::Running } else { UsageKind::None })
    }

    /// Goes through a chunk, event by event.
    fn follow(&mut self, chunk: &[u8]) {
        let mut rest = chunk;
        while let Some(end) = self.framing.end(rest) {
            let (event, tail) = rest.split_at(end);
            rest = tail;
            if self.oversized {
                self.oversized = false;
                self.overhear(event);
                self.read_last_words();
                self.put(event);
            } else if self.carry.is_empty() {
                self.event(event);
            } else {
                self.carry.extend_from_slice(event);
                let mut whole = std::mem::take(&mut self.carry);
                self.event(&whole);
                whole.clear();
                whole.shrink_to(USUAL_BUFFER);
                self.carry = whole;
            }
        }
        self.hold(rest);
    }

    /// Keeps the beginning of an event, or gives up on it if it grows too long.
    fn hold(&mut self, rest: &[u8]) {
        if self.oversized {
            self.overhear(rest);
            return self.put(rest);
        }
        if self.carry.len() + rest.len() <= MAX_EVENT {
            return self.carry.extend_from_slice(rest);
        }
        self.carry.extend_from_slice(rest);
        let head = std::mem::take(&mut self.carry);
        self.unreadable += 1;
        self.started = true;
        self.oversized = true;
        // Its name comes first and may still say that the stream ends with it.
        self.read_name(&Event::parse(&head));
        self.overhear(&head);
        self.release();
        self.put(&head);
    }

    /// A piece of an event that is too long goes by.
    fn overhear(&mut self, piece: &[u8]) {
        if let Some(words) = &mut self.last_words {
            words.push(piece);
        }
    }

    fn event(&mut self, bytes: &[u8]) {
        if is_filler(bytes) {
            return self.put(bytes);
        }
        let event = Event::parse(bytes);
        let seen = self.read(&event);
        if self.plan.hide != Hide::Nothing {
            self.hide(bytes, event.tail, seen);
        }
    }
}
