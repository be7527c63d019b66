//! What of a record nobody searches by, in one blob: a row of few columns is written in half the time.
//!
//! A byte for the version, four bytes of flags, then numbers in groups of seven bits, then texts behind their lengths;
//! what the flags do not announce is left out. A later version may only be longer, or have another number.

use vllm_gateway_record::{Record, TokenSource};

const VERSION: u8 = 1;

const STREAM: u32 = 1 << 31;
/// Two bits: where the counts come from.
const SOURCE: u32 = 29;

/// Writes it to the end of `out`.
pub(super) fn write(record: &Record<&str>, out: &mut Vec<u8>) {
    let counts = [
        record.prompt_tokens,
        record.completion_tokens,
        record.total_tokens,
        record.cached_tokens,
        record.reasoning_tokens,
        record.ttft_ms,
    ];
    let texts = [
        record.org_name,
        record.key_prefix,
        record.pipeline,
        record.upstream,
        record.endpoint,
        record.upstream_model,
        record.error_code,
        record.user_agent,
    ];
    let mut flags = if record.stream { STREAM } else { 0 } | code(record.token_source) << SOURCE;
    let present = counts.iter().map(Option::is_some).chain(texts.iter().map(Option::is_some));
    for (bit, present) in present.enumerate() {
        flags |= u32::from(present) << bit;
    }
    out.push(VERSION);
    out.extend_from_slice(&flags.to_le_bytes());
    for number in [record.duration_ms, record.attempts.into(), record.request_bytes, record.response_bytes] {
        put_number(number, out);
    }
    counts.into_iter().flatten().for_each(|count| put_number(count, out));
    for text in [record.method, record.path, record.client_ip].into_iter().chain(texts.into_iter().flatten())
    {
        put_number(text.len() as u64, out);
        out.extend_from_slice(text.as_bytes());
    }
}

/// Reads it into a record that has the columns already. None if this version did not write it.
pub(super) fn read(bytes: &[u8], columns: Record) -> Option<Record> {
    let (&VERSION, bytes) = bytes.split_first()? else { return None };
    let (flags, bytes) = bytes.split_first_chunk::<4>()?;
    let flags = u32::from_le_bytes(*flags);
    let mut bytes = Reader(bytes);
    let mut bits = (0..14).map(|bit| flags & 1 << bit != 0);
    let mut present = || bits.next().unwrap_or(false);
    let (duration_ms, attempts) = (bytes.number()?, u32::try_from(bytes.number()?).ok()?);
    let (request_bytes, response_bytes) = (bytes.number()?, bytes.number()?);
    let mut counts = [None; 6];
    for count in &mut counts {
        *count = if present() { Some(bytes.number()?) } else { None };
    }
    let (method, path, client_ip) = (bytes.text()?, bytes.text()?, bytes.text()?);
    let mut texts = [const { None }; 8];
    for text in &mut texts {
        *text = if present() { Some(bytes.text()?) } else { None };
    }
    let [prompt_tokens, completion_tokens, total_tokens, cached_tokens, reasoning_tokens, ttft_ms] = counts;
    let [org_name, key_prefix, pipeline, upstream, endpoint, upstream_model, error_code, user_agent] = texts;
    Some(Record {
        org_name,
        key_prefix,
        method,
        path,
        pipeline,
        upstream,
        endpoint,
        upstream_model,
        stream: flags & STREAM != 0,
        error_code,
        prompt_tokens,
        completion_tokens,
        total_tokens,
        cached_tokens,
        reasoning_tokens,
        token_source: source(flags >> SOURCE & 3)?,
        duration_ms,
        ttft_ms,
        attempts,
        request_bytes,
        response_bytes,
        client_ip,
        user_agent,
        ..columns
    })
}

fn code(source: TokenSource) -> u32 {
    match source {
        TokenSource::Usage => 1,
        TokenSource::Partial => 2,
        TokenSource::Estimated => 3,
        // `None`, and what a later version may know and this one does not.
        _ => 0,
    }
}

fn source(code: u32) -> Option<TokenSource> {
    TokenSource::ALL.into_iter().find(|source| self::code(*source) == code)
}

fn put_number(mut number: u64, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    out.push(number.to_le_bytes()[0]);
}

/// Takes values off the front.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn number(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let (&byte, rest) = self.0.split_first()?;
            self.0 = rest;
            let bits = u64::from(byte & 0x7F);
            if bits << shift >> shift != bits {
                return None;
            }
            number |= bits << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    fn text(&mut self) -> Option<String> {
        let length = usize::try_from(self.number()?).ok()?;
        let (text, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        std::str::from_utf8(text).ok().map(str::to_owned)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use jiff::Timestamp;
    use uuid::Uuid;
    use vllm_gateway_record::Outcome;

    use super::*;

    fn bare() -> Record {
        Record::bare(Uuid::from_u128(1), "r".into(), Timestamp::UNIX_EPOCH, Outcome::Finished)
    }

    fn written(record: &Record) -> Vec<u8> {
        let mut bytes = Vec::new();
        write(&record.borrowed(), &mut bytes);
        bytes
    }

    /// One with something in each place, and others with one thing each.
    fn records() -> Vec<Record> {
        let full = Record {
            org_name: Some("o".into()),
            key_prefix: Some("k".into()),
            method: "POST".into(),
            path: "/v1".into(),
            pipeline: Some("p".into()),
            upstream: Some("u".into()),
            endpoint: Some("e".into()),
            upstream_model: Some("um".into()),
            stream: true,
            error_code: Some("ä\u{0}".into()),
            prompt_tokens: Some(127),
            completion_tokens: Some(128),
            total_tokens: Some(1 << 40),
            cached_tokens: Some(0),
            reasoning_tokens: Some(u64::MAX),
            token_source: TokenSource::Usage,
            duration_ms: u64::MAX,
            ttft_ms: Some(3),
            attempts: u32::MAX,
            request_bytes: 16_383,
            response_bytes: 16_384,
            client_ip: "::1".into(),
            user_agent: Some("x".repeat(2_000)),
            ..bare()
        };
        let sources = TokenSource::ALL.map(|token_source| Record { token_source, ..bare() });
        let mut all = vec![
            bare(),
            Record { org_name: Some(String::new()), ..bare() },
            Record { user_agent: Some("a".into()), ..bare() },
            Record { ttft_ms: Some(1), prompt_tokens: Some(2), ..bare() },
            full,
        ];
        all.extend(sources);
        all
    }

    #[test]
    fn the_rest_comes_back_as_it_was_written() {
        for record in records() {
            assert_eq!(read(&written(&record), bare()), Some(record));
        }
    }

    #[test]
    fn what_is_cut_or_of_another_version_is_not_read() {
        for record in records() {
            let bytes = written(&record);
            for end in 0..bytes.len() {
                assert_eq!(read(&bytes[..end], bare()), None, "{end} of {}", bytes.len());
            }
            assert_eq!(read(&[&[VERSION + 1], &bytes[1..]].concat(), bare()), None);
        }
        let endless = [&[VERSION, 0, 0, 0, 0][..], &[0xFF; 11]].concat();
        assert_eq!(read(&endless, bare()), None);
    }
}
