//! Streams of any bytes: the same wherever they are cut, counted the same whether or not something is hidden, and
//! nothing changed but what is to be hidden.

use bytes::Bytes;

use super::{CUT, pieces, rebuilt::assert_rebuilt, shown};
use crate::sse::{Hide, Kind, StreamPlan, StreamReader, UsageKind};
use crate::usage::Usage;

/// One byte says what stream it is and what is hidden, one is `n`, three say where it is cut; the rest is the stream.
pub fn sse(data: &[u8]) {
    let Some(([how, n, cut @ ..], stream)) = data.split_first_chunk::<{ 2 + CUT }>() else { return };
    let plan = plan(*how, *n);
    let (sent, report) = through(&plan, [stream]);
    let (cut_sent, cut_report) = through(&plan, pieces(stream, *cut));
    assert_eq!(shown(&cut_sent), shown(&sent), "cut as {cut:?}");
    assert!(cut_sent == sent, "cut as {cut:?}");
    assert_eq!(cut_report, report, "cut as {cut:?}");

    let watching = StreamPlan { hide: Hide::Nothing, ..plan.clone() };
    let (watched, watched_report) = through(&watching, pieces(stream, *cut));
    assert!(watched == stream, "with nothing hidden, the stream is another: {}", shown(&watched));
    assert_eq!(watched_report, report, "what is counted depends on what is hidden");
    if plan.kind != Kind::OpenAi {
        assert!(sent == stream, "something was hidden from a stream from which nothing ever is");
    }
    assert_rebuilt(plan.hide, stream, &sent);
}

/// Bits: 2 kind · 2 hide · 1 several · 2 fingerprint.
fn plan(how: u8, n: u8) -> StreamPlan {
    let kind = [Kind::OpenAi, Kind::OpenAi, Kind::Responses, Kind::Messages][usize::from(how & 3)];
    let hide = [Hide::All, Hide::Running, Hide::Nothing, Hide::All][usize::from(how >> 2 & 3)];
    let fingerprint = match how >> 5 & 3 {
        0 | 3 => None,
        1 => Some(Bytes::from_static(b"\"vllm-0.32.0-dd8f094b\"")),
        _ => Some(Bytes::new()),
    };
    StreamPlan { kind, hide, several: how & 16 != 0, n: u32::from(n), fingerprint }
}

/// Everything that a reader reports.
#[derive(Debug, PartialEq)]
struct Report {
    usage: (Option<Usage>, UsageKind),
    fingerprint: Option<Bytes>,
    flags: [bool; 3],
    events: [u64; 2],
}

/// What the client gets of these pieces, and everything that the reader reports.
fn through<'a>(plan: &StreamPlan, pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<u8>, Report) {
    let mut reader = StreamReader::new(plan.clone());
    let mut sent = Vec::new();
    for piece in pieces {
        let piece = Bytes::copy_from_slice(piece);
        let out = reader.push(&piece);
        if plan.hide == Hide::Nothing {
            assert_eq!((out.as_ptr(), out.len()), (piece.as_ptr(), piece.len()), "the chunk was copied");
        }
        sent.extend_from_slice(&out);
    }
    sent.extend_from_slice(&reader.finish());
    let report = Report {
        usage: reader.usage(),
        fingerprint: reader.fingerprint().cloned(),
        flags: [reader.first_event_seen(), reader.saw_terminator(), reader.saw_error()],
        events: [reader.delta_events(), reader.unreadable_events()],
    };
    (sent, report)
}
