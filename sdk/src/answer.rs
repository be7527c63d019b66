//! Reads an answer on its way for its usage and its end, and hides what the client did not ask for.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use vllm_gateway_wire::{
    sse::{Hide, Kind, StreamPlan, StreamReader, UsageKind},
    unary::{BodyReader, usage_of_metadata},
    usage::Usage,
};

use crate::{Answer, TokenSource, Tokens};

/// What the streams of one endpoint carry as `system_fingerprint`, once one has been seen.
#[derive(Debug, Default)]
pub struct Fingerprint(ArcSwapOption<Bytes>);

impl Fingerprint {
    /// The raw JSON value.
    #[must_use]
    pub fn get(&self) -> Option<Bytes> {
        self.0.load().as_deref().cloned()
    }

    /// Forgets it: another server may answer at that address now.
    pub fn forget(&self) {
        self.0.store(None);
    }

    fn learn(&self, seen: &Bytes) {
        if self.0.load().as_deref() != Some(seen) {
            self.0.store(Some(Arc::new(seen.clone())));
        }
    }
}

/// How many choices a stream may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choices {
    /// More than one.
    pub several: bool,
    /// How many belong to one prompt.
    pub n: u32,
}

/// Reads one answer, chunk by chunk.
pub struct AnswerReader {
    form: Form,
    /// The route's streams end with an event that says so.
    terminated: bool,
    /// Whether what it says that it cost is new.
    counts: bool,
}

enum Form {
    Stream(Box<StreamReader>, Kind, Arc<Fingerprint>),
    Whole(BodyReader),
    /// Its usage stood in the head, or it has none.
    Known(Option<Usage>),
}

impl AnswerReader {
    /// For a stream of events.
    #[must_use]
    pub fn stream(answer: Answer, hide: Hide, choices: Choices, fingerprint: Arc<Fingerprint>) -> Self {
        let kind = match answer {
            Answer::Responses | Answer::Stored => Kind::Responses,
            Answer::Messages => Kind::Messages,
            Answer::Completion | Answer::Unary | Answer::Uncounted | Answer::Models => Kind::OpenAi,
        };
        let Choices { several, n } = choices;
        let plan = StreamPlan { kind, hide, several, n, fingerprint: fingerprint.get() };
        let form = Form::Stream(Box::new(StreamReader::new(plan)), kind, fingerprint);
        Self { form, terminated: true, counts: answer != Answer::Stored }
    }

    /// For an answer in one piece; `metadata` is the header that describes embeddings sent as bytes.
    #[must_use]
    pub fn whole(answer: Answer, metadata: Option<&[u8]>) -> Self {
        let form = match (answer, metadata) {
            (Answer::Uncounted | Answer::Stored | Answer::Models, _) => Form::Known(None),
            (_, Some(metadata)) => Form::Known(usage_of_metadata(metadata)),
            (_, None) => Form::Whole(BodyReader::new()),
        };
        Self { form, terminated: false, counts: true }
    }

    /// Reads a chunk; gives what of it, and of what was held before, goes to the client now.
    pub(crate) fn push(&mut self, chunk: &Bytes) -> Bytes {
        match &mut self.form {
            Form::Stream(reader, ..) => reader.push(chunk),
            Form::Whole(reader) => {
                reader.push(chunk);
                chunk.clone()
            }
            Form::Known(_) => chunk.clone(),
        }
    }

    /// Gives what is still held, at the end of what the upstream sent.
    pub(crate) fn finish(&mut self) -> Bytes {
        match &mut self.form {
            Form::Stream(reader, ..) => reader.finish(),
            Form::Whole(_) | Form::Known(_) => Bytes::new(),
        }
    }

    /// Whether the answer is a stream of events.
    pub(crate) fn is_stream(&self) -> bool {
        matches!(self.form, Form::Stream(..))
    }

    /// Whether the client stands between two events of a stream, so that another may follow.
    pub(crate) fn is_between_events(&self) -> bool {
        matches!(&self.form, Form::Stream(reader, ..) if reader.is_between_events())
    }

    /// Whether it is whole only after an event that says so.
    pub(crate) fn needs_terminator(&self) -> bool {
        self.terminated
    }

    /// Whether that event went by.
    pub(crate) fn saw_terminator(&self) -> bool {
        matches!(&self.form, Form::Stream(reader, ..) if reader.saw_terminator())
    }

    /// Whether vLLM told of an error in the stream.
    pub(crate) fn saw_error(&self) -> bool {
        matches!(&self.form, Form::Stream(reader, ..) if reader.saw_error())
    }

    /// Whether vLLM ended it because it ends itself.
    pub(crate) fn was_aborted(&self) -> bool {
        matches!(&self.form, Form::Stream(reader, ..) if reader.was_aborted())
    }

    /// What a stream that still runs has counted so far, if it says so; cheap enough for every chunk.
    pub(crate) fn running(&self) -> Option<Tokens> {
        let Form::Stream(reader, kind, _) = &self.form else { return None };
        if !self.counts {
            return None;
        }
        let (usage, source) = stream_tokens(reader.running_usage(), reader.delta_events(), *kind);
        Some(Tokens { usage: usage.filter(is_believable)?, source })
    }

    /// What was counted so far. Keeps what was learned of the endpoint, too.
    pub(crate) fn tokens(&mut self) -> Tokens {
        let (usage, source) = match &mut self.form {
            Form::Stream(reader, kind, fingerprint) => {
                if let Some(seen) = reader.fingerprint() {
                    fingerprint.learn(seen);
                }
                stream_tokens(reader.usage(), reader.delta_events(), *kind)
            }
            Form::Whole(reader) => (reader.usage(), TokenSource::Usage),
            Form::Known(usage) => (*usage, TokenSource::Usage),
        };
        usage
            .filter(|usage| self.counts && is_believable(usage))
            .map_or_else(Tokens::default, |usage| Tokens { usage, source })
    }
}

/// Counts beyond this are no counts, and no store need be able to add them up.
const MOST: u64 = 1 << 40;

fn is_believable(usage: &Usage) -> bool {
    let counts = [usage.prompt, usage.completion, usage.total, usage.cached, usage.reasoning];
    counts.into_iter().flatten().all(|count| count < MOST)
}

fn stream_tokens(told: (Option<Usage>, UsageKind), events: u64, kind: Kind) -> (Option<Usage>, TokenSource) {
    match (told, kind) {
        ((usage, UsageKind::Final), _) => (usage, TokenSource::Usage),
        ((usage, UsageKind::Running), Kind::OpenAi) => (usage, TokenSource::Partial),
        ((_, UsageKind::None), Kind::OpenAi) => (None, TokenSource::None),
        // These two have no running usage: counting their events is the best there is.
        ((begun, _), Kind::Responses | Kind::Messages) => {
            if events == 0 && begun.is_none() {
                return (None, TokenSource::None);
            }
            let begun = begun.unwrap_or_default();
            let total = begun.prompt.map(|prompt| prompt.saturating_add(events));
            (Some(Usage { completion: Some(events), total, ..begun }), TokenSource::Estimated)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens_of(answer: &'static str) -> Tokens {
        let mut reader = AnswerReader::whole(Answer::Unary, None);
        reader.push(&Bytes::from_static(answer.as_bytes()));
        reader.tokens()
    }

    #[test]
    fn counts_are_read() {
        let tokens = tokens_of(r#"{"usage":{"prompt_tokens":3,"total_tokens":5,"completion_tokens":2}}"#);
        assert_eq!((tokens.usage.prompt, tokens.usage.completion), (Some(3), Some(2)));
        assert_eq!(tokens.source, TokenSource::Usage);
    }

    #[test]
    fn what_was_counted_when_it_was_made_is_not_counted_again() {
        const EVENT: &str = "event: response.completed\ndata: {\"response\":{\"id\":\"resp_1\",\"usage\":{\"input_tokens\":3,\
            \"output_tokens\":2,\"total_tokens\":5}},\"sequence_number\":9,\"type\":\"response.completed\"}\n\n";
        let choices = Choices { several: false, n: 1 };
        for (answer, counted) in [(Answer::Responses, Some(5)), (Answer::Stored, None)] {
            let mut reader = AnswerReader::stream(answer, Hide::Nothing, choices, Arc::default());
            reader.push(&Bytes::from_static(EVENT.as_bytes()));
            assert!(reader.saw_terminator());
            assert_eq!(reader.running().and_then(|tokens| tokens.usage.total), counted, "{answer:?}");
            assert_eq!(reader.tokens().usage.total, counted, "{answer:?}");
        }
        let mut reader = AnswerReader::whole(Answer::Stored, None);
        reader
            .push(&Bytes::from_static(br#"{"usage":{"input_tokens":3,"output_tokens":2,"total_tokens":5}}"#));
        assert_eq!(reader.tokens(), Tokens::default());
    }

    #[test]
    fn counts_that_cannot_be_are_dropped_and_do_no_harm() {
        let tokens = tokens_of(
            r#"{"usage":{"prompt_tokens":9223372036854775808,"total_tokens":1,"completion_tokens":1}}"#,
        );
        assert_eq!(tokens, Tokens::default());
    }
}
