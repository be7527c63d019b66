//! Heads and tails as bytes. Texts carry their length, counts their presence; nothing depends on the order of an enum.

use jiff::Timestamp;
use uuid::Uuid;
use vllm_gateway_record::{Outcome, Progress, Record, RecordView, TokenSource};

/// Longer texts are cut. No field that is billed by comes near it.
const LONGEST: usize = 2048;

/// How much of most texts is kept when there is no room for all of them. With it every record fits into one cell.
pub(crate) const SHORT: usize = 22;

const STREAM: u8 = 1;
const CLOSED: u8 = 1;
const MOVED: u8 = 2;

/// What stands in a tail beside the record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Mark {
    /// The exchange has ended; without it, the process has.
    pub(crate) closed: bool,
    /// The record stood elsewhere before, and may be found there still.
    pub(crate) moved: bool,
}

/// Writes who asked for what. Texts are cut to `longest` bytes.
pub(crate) fn write_head(record: &RecordView<'_>, longest: usize, out: &mut Vec<u8>) {
    out.push(if record.stream { STREAM } else { 0 });
    out.extend_from_slice(record.id.as_bytes());
    out.extend_from_slice(&record.time.as_second().to_le_bytes());
    out.extend_from_slice(&record.time.subsec_nanosecond().to_le_bytes());
    let texts = [
        Some(&record.request_id),
        record.app_id.as_ref(),
        record.org_name.as_ref(),
        record.key_prefix.as_ref(),
        Some(&record.method),
        Some(&record.path),
        record.pipeline.as_ref(),
        record.model.as_ref(),
        record.upstream.as_ref(),
        record.upstream_model.as_ref(),
        Some(&record.client_ip),
        record.user_agent.as_ref(),
    ];
    for (at, text) in texts.into_iter().enumerate() {
        // Cut, these would be of no use: the request's id, the app's, the address.
        let longest = match at {
            0 => longest.max(128),
            1 => longest.max(64),
            10 => longest.max(45),
            _ => longest,
        };
        put_text(text.map(AsRef::as_ref), longest, out);
    }
}

/// Writes how far it has come. Texts are cut to `longest` bytes.
pub(crate) fn write_tail(progress: &Progress<'_>, mark: Mark, longest: usize, out: &mut Vec<u8>) {
    out.push(if mark.closed { CLOSED } else { 0 } | if mark.moved { MOVED } else { 0 });
    out.extend_from_slice(&progress.status.to_le_bytes());
    out.extend_from_slice(&progress.attempts.to_le_bytes());
    out.extend_from_slice(&progress.duration_ms.to_le_bytes());
    out.extend_from_slice(&progress.request_bytes.to_le_bytes());
    out.extend_from_slice(&progress.response_bytes.to_le_bytes());
    let counts = [
        progress.prompt_tokens,
        progress.completion_tokens,
        progress.total_tokens,
        progress.cached_tokens,
        progress.reasoning_tokens,
        progress.ttft_ms,
    ];
    let present = counts.iter().enumerate().map(|(at, count)| u8::from(count.is_some()) << at);
    out.push(present.sum());
    counts.into_iter().flatten().for_each(|count| out.extend_from_slice(&count.to_le_bytes()));
    put_text(Some(progress.outcome.as_str()), LONGEST, out);
    put_text(Some(progress.token_source.as_str()), LONGEST, out);
    put_text(progress.endpoint, longest, out);
    put_text(progress.error_code, longest, out);
}

/// Reads a record back, its texts where they stand. None if the bytes are no head and tail, which their checksums
/// should have told.
pub(crate) fn read<'a>(head: &'a [u8], tail: &'a [u8]) -> Option<(Record<&'a str>, Mark)> {
    let (mut head, mut tail) = (Reader::new(head), Reader::new(tail));
    let stream = head.array::<1>()?[0] & STREAM != 0;
    let id = Uuid::from_bytes(head.array()?);
    let seconds = i64::from_le_bytes(head.array()?);
    let time = Timestamp::new(seconds, i32::from_le_bytes(head.array()?)).ok()?;
    head.only_texts();
    let request_id = head.text()?.0?;
    let (app_id, org_name, key_prefix) = (head.text()?.0, head.text()?.0, head.text()?.0);
    let (method, path) = (head.text()?.0?, head.text()?.0?);
    let (pipeline, model) = (head.text()?.0, head.text()?.0);
    let (upstream, upstream_model) = (head.text()?.0, head.text()?.0);
    let (client_ip, user_agent) = (head.text()?.0?, head.text()?.0);

    let marks = tail.array::<1>()?[0];
    let mark = Mark { closed: marks & CLOSED != 0, moved: marks & MOVED != 0 };
    let status = u16::from_le_bytes(tail.array()?);
    let attempts = u32::from_le_bytes(tail.array()?);
    let (duration_ms, request_bytes, response_bytes) = (tail.count()?, tail.count()?, tail.count()?);
    let present = tail.array::<1>()?[0];
    let mut counts = [None; 6];
    for (at, count) in counts.iter_mut().enumerate() {
        if present & (1 << at) != 0 {
            *count = Some(tail.count()?);
        }
    }
    let [prompt_tokens, completion_tokens, total_tokens, cached_tokens, reasoning_tokens, ttft_ms] = counts;
    tail.only_texts();
    let outcome = Outcome::from_name(tail.text()?.0?)?;
    let token_source = TokenSource::from_name(tail.text()?.0?)?;
    let (endpoint, error_code) = (tail.text()?.0, tail.text()?.0);
    let record = Record {
        id,
        request_id,
        time,
        app_id,
        org_name,
        key_prefix,
        method,
        path,
        pipeline,
        model,
        upstream,
        endpoint,
        upstream_model,
        stream,
        status,
        outcome,
        error_code,
        prompt_tokens,
        completion_tokens,
        total_tokens,
        cached_tokens,
        reasoning_tokens,
        token_source,
        duration_ms,
        ttft_ms,
        attempts,
        request_bytes,
        response_bytes,
        client_ip,
        user_agent,
    };
    Some((record, mark))
}

/// The length of a text plus one, then the text; zero for none.
fn put_text(text: Option<&str>, longest: usize, out: &mut Vec<u8>) {
    let Some(text) = text else { return out.extend_from_slice(&0_u16.to_le_bytes()) };
    let text = &text[..text.floor_char_boundary(longest.min(LONGEST))];
    let length = u16::try_from(text.len() + 1).expect("cut to 2048 bytes above");
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(text.as_bytes());
}

/// A text that was read, or that it was left out.
struct Text<'a>(Option<&'a str>);

/// Takes values off the front.
struct Reader<'a> {
    bytes: &'a [u8],
    /// What was left of the bytes once, as text, lengths included. Nearly always it is one, and looking at it as a whole
    /// costs much less than text by text.
    whole: Option<&'a str>,
}

impl<'a> Reader<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, whole: None }
    }

    /// Only texts are left.
    fn only_texts(&mut self) {
        self.whole = std::str::from_utf8(self.bytes).ok();
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (first, rest) = self.bytes.split_first_chunk::<N>()?;
        self.bytes = rest;
        Some(*first)
    }

    fn count(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    /// A text that may be missing.
    fn text(&mut self) -> Option<Text<'a>> {
        let length = usize::from(u16::from_le_bytes(self.array()?));
        let Some(length) = length.checked_sub(1) else { return Some(Text(None)) };
        let (text, rest) = self.bytes.split_at_checked(length)?;
        let text = match self.whole {
            Some(whole) => {
                let at = whole.len() - self.bytes.len();
                whole.get(at..at + length)?
            }
            None => std::str::from_utf8(text).ok()?,
        };
        self.bytes = rest;
        Some(Text(Some(text)))
    }
}
