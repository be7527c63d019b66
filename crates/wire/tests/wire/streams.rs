//! Streams: hiding gives back what a client would have had without the gateway, however the bytes are cut.

use bytes::Bytes;
use proptest::prelude::*;
use vllm_gateway_wire::{
    sse::{Hide, Kind, StreamPlan, StreamReader, UsageKind},
    usage::Usage,
};

use crate::recordings::{alike, answer, engine_killed, events};

const FINGERPRINT: &[u8] = b"\"vllm-0.32.0-dd8f094b\"";

/// Every recorded stream: its kind and whether it has several choices.
const STREAMS: [(&str, Kind, bool); 25] = [
    ("a03-chat-stream", Kind::OpenAi, false),
    ("a04-chat-stream-include-usage", Kind::OpenAi, false),
    ("a05-chat-stream-continuous-usage", Kind::OpenAi, false),
    ("a05b-chat-stream-continuous-usage-only", Kind::OpenAi, false),
    ("a06-chat-stream-n2-include-usage", Kind::OpenAi, true),
    ("a06c-chat-stream-n2", Kind::OpenAi, true),
    ("a06d-chat-stream-n2-stop-early", Kind::OpenAi, true),
    ("a06e-chat-stream-n2-continuous-usage", Kind::OpenAi, true),
    ("a07b-chat-logprobs-stream", Kind::OpenAi, false),
    ("a08e-chat-tools-named-stream", Kind::OpenAi, false),
    ("a10b-completions-stream", Kind::OpenAi, false),
    ("a10c-completions-stream-include-usage", Kind::OpenAi, false),
    ("a10d-completions-stream-continuous-usage", Kind::OpenAi, false),
    ("a10h-completions-list-prompt-stream", Kind::OpenAi, true),
    ("a10l-completions-list-prompt-stream-no-usage", Kind::OpenAi, true),
    ("a17b-responses-stream", Kind::Responses, false),
    ("a18b-messages-stream", Kind::Messages, false),
    ("a21e-stream-options-unknown-key", Kind::OpenAi, false),
    ("a30f-return-token-ids-stream", Kind::OpenAi, false),
    ("b04-forced-usage-stream", Kind::OpenAi, false),
    ("b05c-prompt-tokens-details-stream", Kind::OpenAi, false),
    ("b07b-reasoning-parser-stream", Kind::OpenAi, false),
    ("w03-transcription-stream", Kind::OpenAi, false),
    ("w03b-transcription-stream-usage", Kind::OpenAi, false),
    ("w03c-transcription-stream-continuous-usage", Kind::OpenAi, false),
];

/// Recorded streams of requests that did not ask for usage, and whether they have several choices.
const PLAIN: [(&str, bool); 9] = [
    ("a03-chat-stream", false),
    ("a06c-chat-stream-n2", true),
    ("a06d-chat-stream-n2-stop-early", true),
    ("a07b-chat-logprobs-stream", false),
    ("a08e-chat-tools-named-stream", false),
    ("a10b-completions-stream", false),
    ("a10l-completions-list-prompt-stream-no-usage", true),
    ("a30f-return-token-ids-stream", false),
    ("w03-transcription-stream", false),
];

fn plan(kind: Kind, hide: Hide, several: bool) -> StreamPlan {
    StreamPlan { hide, several, ..StreamPlan::watch(kind) }
}

fn known(mut plan: StreamPlan) -> StreamPlan {
    plan.fingerprint = Some(Bytes::from_static(FINGERPRINT));
    plan
}

/// What the client gets of these chunks, and the reader after their end.
fn through<'a>(plan: StreamPlan, chunks: impl IntoIterator<Item = &'a [u8]>) -> (Vec<u8>, StreamReader) {
    let mut reader = StreamReader::new(plan);
    let mut sent = Vec::new();
    for chunk in chunks {
        sent.extend_from_slice(&reader.push(&Bytes::copy_from_slice(chunk)));
    }
    sent.extend_from_slice(&reader.finish());
    (sent, reader)
}

/// Everything that a reader reports.
fn report(reader: &StreamReader) -> impl PartialEq + std::fmt::Debug + use<> {
    (
        (reader.usage(), reader.fingerprint().cloned(), reader.first_event_seen()),
        (reader.saw_terminator(), reader.saw_error(), reader.delta_events(), reader.unreadable_events()),
    )
}

/// The stream that vLLM would have sent, had the gateway asked for usage: running usage on each event, and the
/// fingerprint on the usage event.
fn as_if_asked(plain: &[u8]) -> Vec<u8> {
    const FIELD: &str = ",\"system_fingerprint\":\"vllm-0.32.0-dd8f094b\"";
    let has_fingerprint = String::from_utf8_lossy(plain).contains(FIELD);
    let mut asked = Vec::new();
    for (count, event) in events(plain).iter().enumerate() {
        if event == "data: [DONE]\n\n" {
            let first = &events(plain)[0];
            let head = &first[..first.find("\"choices\"").unwrap()];
            let fingerprint = if has_fingerprint { FIELD } else { "" };
            let usage = r#"{"prompt_tokens":17,"total_tokens":116,"completion_tokens":99}"#;
            asked.push(format!("{head}\"choices\":[],\"usage\":{usage}{fingerprint}}}\n\n{event}"));
            continue;
        }
        let event = event.replace(FIELD, "");
        let (choices, rest) = event.split_at(event.rfind("}]").unwrap() + 2);
        let total = 17 + count;
        asked.push(format!(
            "{choices},\"usage\":{{\"prompt_tokens\":17,\"total_tokens\":{total},\"completion_tokens\":{count},\"completion_tokens_details\":null}}{rest}"
        ));
    }
    asked.concat().into_bytes()
}

/// The stream with other line ends: those of each event as this says for its place, counted from the end.
fn with_ends(stream: &[u8], ends: impl Fn(usize) -> &'static str) -> Vec<u8> {
    let events = events(stream);
    let last = events.len() - 1;
    let framed = events.iter().enumerate().map(|(at, event)| {
        let event = event.strip_suffix("\n\n").unwrap();
        format!("{event}{}", ends(last - at))
    });
    framed.collect::<String>().into_bytes()
}

fn tokens(prompt: u64, completion: u64) -> Usage {
    Usage {
        prompt: Some(prompt),
        completion: Some(completion),
        total: Some(prompt + completion),
        ..Usage::default()
    }
}

#[test]
fn every_recording_reads_the_same_wherever_it_is_cut_in_two() {
    for (name, kind, several) in STREAMS {
        let stream = answer(name);
        for hide in [Hide::Nothing, Hide::All] {
            let (sent, reader) = through(plan(kind, hide, several), [stream.as_slice()]);
            for cut in 1..stream.len() {
                let (head, tail) = stream.split_at(cut);
                let (cut_sent, cut_reader) = through(plan(kind, hide, several), [head, tail]);
                assert!(sent == cut_sent, "{name} {hide:?} cut at {cut}");
                assert_eq!(report(&reader), report(&cut_reader), "{name} {hide:?} cut at {cut}");
            }
        }
    }
}

#[test]
fn every_recording_reads_the_same_in_pieces_of_any_size() {
    for (name, kind, several) in STREAMS {
        let stream = answer(name);
        for hide in [Hide::Nothing, Hide::Running, Hide::All] {
            let (sent, reader) = through(plan(kind, hide, several), [stream.as_slice()]);
            for size in [1, 2, 3, 5, 17, 64, 257, 1000] {
                let (cut_sent, cut_reader) = through(plan(kind, hide, several), stream.chunks(size));
                assert!(sent == cut_sent, "{name} {hide:?} in pieces of {size}");
                assert_eq!(report(&reader), report(&cut_reader), "{name} {hide:?} in pieces of {size}");
            }
        }
    }
}

#[test]
fn a_client_that_asked_for_no_usage_gets_the_plain_stream_byte_for_byte() {
    for (name, several) in PLAIN {
        let plain = answer(name);
        let asked = as_if_asked(&plain);
        for plan in [plan(Kind::OpenAi, Hide::All, several), known(plan(Kind::OpenAi, Hide::All, several))] {
            // Where no fingerprint comes, as from transcriptions, none may be made up for a single choice.
            let (sent, reader) = through(plan.clone(), [asked.as_slice()]);
            assert_eq!(String::from_utf8_lossy(&sent), String::from_utf8_lossy(&plain), "{name}");
            assert_eq!(reader.usage(), (Some(tokens(17, 99)), UsageKind::Final), "{name}");
            for cut in 1..asked.len() {
                let (head, tail) = asked.split_at(cut);
                assert!(through(plan.clone(), [head, tail]).0 == plain, "{name} cut at {cut}");
            }
        }
    }
}

#[test]
fn a_stream_whose_lines_end_otherwise_hides_the_same_wherever_it_is_cut() {
    // One with one choice and one with several; below, all of them are cut at random.
    for (name, several) in
        [("a10b-completions-stream", false), ("a10l-completions-list-prompt-stream-no-usage", true)]
    {
        for end in ["\r\n\r\n", "\r\r"] {
            let plain = with_ends(&answer(name), |_| end);
            let asked = with_ends(&as_if_asked(&answer(name)), |_| end);
            for cut in 0..asked.len() {
                let (head, tail) = asked.split_at(cut);
                let (sent, reader) = through(plan(Kind::OpenAi, Hide::All, several), [head, tail]);
                assert!(sent == plain, "{name} {end:?} cut at {cut}");
                assert_eq!(reader.usage(), (Some(tokens(17, 99)), UsageKind::Final), "{name} {end:?}");
            }
        }
    }
}

proptest! {
    // A blank line of both bytes is not mixed in behind a lone line feed: once lines have ended with a carriage
    // return alone, one that is followed by a line feed is seen too late.
    #[test]
    fn line_ends_may_change_from_event_to_event(
        which in 0..PLAIN.len(),
        ends in prop::collection::vec(
            prop::sample::select(vec!["\n\n", "\r\n\r\n", "\r\r", "\r\n\n", "\n\r", "\r\n\r"]), 1..9),
        size in 1_usize..400,
    ) {
        let (name, several) = PLAIN[which];
        let end = |from_last: usize| ends[from_last % ends.len()];
        let asked = with_ends(&as_if_asked(&answer(name)), end);
        // The usage event stands before the last one: without it the others are one place nearer to the end.
        let plain = with_ends(&answer(name), |place| end(if place == 0 { 0 } else { place + 1 }));
        let (sent, reader) = through(plan(Kind::OpenAi, Hide::All, several), asked.chunks(size));
        prop_assert_eq!(String::from_utf8_lossy(&sent), String::from_utf8_lossy(&plain));
        prop_assert_eq!(reader.usage(), (Some(tokens(17, 99)), UsageKind::Final));
    }
}

#[test]
fn a_usage_event_with_the_metrics_of_the_request_is_hidden_as_a_whole() {
    for name in
        ["b04-forced-usage-stream", "b05c-prompt-tokens-details-stream", "b07b-reasoning-parser-stream"]
    {
        let stream = answer(name);
        assert!(String::from_utf8_lossy(&stream).contains("\"metrics\":{"), "{name}");
        let (sent, _) = through(plan(Kind::OpenAi, Hide::All, false), [stream.as_slice()]);
        let sent = String::from_utf8(sent).unwrap();
        assert!(!sent.contains("\"metrics\"") && !sent.contains("\"usage\""), "{name}: {sent}");
        assert_eq!(events(sent.as_bytes()).len(), events(&stream).len() - 1, "{name}");
    }
}

#[test]
fn the_recorded_pairs_agree() {
    let pairs = [
        (Hide::All, "a05-chat-stream-continuous-usage", "a03-chat-stream"),
        (Hide::All, "a04-chat-stream-include-usage", "a03-chat-stream"),
        (Hide::Running, "a05-chat-stream-continuous-usage", "a04-chat-stream-include-usage"),
        (Hide::Running, "a04-chat-stream-include-usage", "a04-chat-stream-include-usage"),
        (Hide::All, "w03c-transcription-stream-continuous-usage", "w03-transcription-stream"),
        (Hide::Running, "w03c-transcription-stream-continuous-usage", "w03b-transcription-stream-usage"),
    ];
    for (hide, asked, plain) in pairs {
        let (sent, _) = through(plan(Kind::OpenAi, hide, false), [answer(asked).as_slice()]);
        assert_eq!(alike(&sent), alike(&answer(plain)), "{hide:?} of {asked}");
    }
}

#[test]
fn the_recorded_pair_with_two_choices_agrees_but_for_how_the_choices_interleave() {
    for plan in [plan(Kind::OpenAi, Hide::All, true), known(plan(Kind::OpenAi, Hide::All, true))] {
        let (sent, reader) = through(plan, [answer("a06e-chat-stream-n2-continuous-usage").as_slice()]);
        let (mut sent, mut plain) = (alike(&sent), alike(&answer("a06c-chat-stream-n2")));
        sent.sort_unstable();
        plain.sort_unstable();
        assert_eq!(sent, plain);
        assert_eq!(reader.usage(), (Some(tokens(17, 16)), UsageKind::Final));
    }
}

#[test]
fn completions_lose_their_running_usage_and_nothing_else() {
    // Tokens fall into events differently from run to run (a10b, a10d), so the text is compared.
    let text = |stream: &[u8]| {
        let text = |event: &String| Some(event.split("\"text\":\"").nth(1)?.split("\",").next()?.to_owned());
        events(stream).iter().filter_map(text).collect::<String>()
    };
    let asked = answer("a10d-completions-stream-continuous-usage");
    let plain = answer("a10b-completions-stream");
    let (sent, _) = through(plan(Kind::OpenAi, Hide::All, false), [asked.as_slice()]);
    assert_eq!(text(&sent), text(&plain));
    assert!(!String::from_utf8_lossy(&sent).contains("usage"));
    let last = |stream: &[u8]| {
        alike(stream).iter().rev().nth(1).unwrap().split("\"logprobs\"").nth(1).map(str::to_owned)
    };
    assert_eq!(last(&sent), last(&plain), "the finish event has its fingerprint back");
}

#[test]
fn usage_of_each_kind_of_stream_is_read() {
    let with = |usage: Usage, cached, reasoning| Usage { cached, reasoning, ..usage };
    for (name, kind, several, expected) in [
        ("a04-chat-stream-include-usage", Kind::OpenAi, false, tokens(17, 8)),
        ("a06-chat-stream-n2-include-usage", Kind::OpenAi, true, tokens(17, 16)),
        ("a10h-completions-list-prompt-stream", Kind::OpenAi, true, tokens(11, 8)),
        ("a17b-responses-stream", Kind::Responses, false, with(tokens(17, 4), Some(0), Some(0))),
        ("a18b-messages-stream", Kind::Messages, false, tokens(17, 8)),
        ("b05c-prompt-tokens-details-stream", Kind::OpenAi, false, with(tokens(195, 2), Some(128), Some(2))),
        ("w03b-transcription-stream-usage", Kind::OpenAi, false, tokens(104, 1)),
    ] {
        let (_, reader) = through(plan(kind, Hide::Nothing, several), [answer(name).as_slice()]);
        assert_eq!(reader.usage(), (Some(expected), UsageKind::Final), "{name}");
        assert!(reader.saw_terminator() && !reader.saw_error(), "{name}");
    }
    let (_, reader) = through(plan(Kind::OpenAi, Hide::All, false), [answer("a03-chat-stream").as_slice()]);
    assert_eq!(reader.usage(), (None, UsageKind::None));
}

#[test]
fn a_stream_left_midway_counts_what_it_had() {
    let stream = answer("a05-chat-stream-continuous-usage");
    let chunks = events(&stream);
    for (count, hide) in [(4, Hide::All), (4, Hide::Nothing), (9, Hide::Running)] {
        let (_, reader) =
            through(plan(Kind::OpenAi, hide, false), chunks[..count].iter().map(String::as_bytes));
        assert_eq!(reader.usage(), (Some(tokens(17, count as u64 - 1)), UsageKind::Running));
        assert_eq!(reader.running_usage(), reader.usage());
        assert!(!reader.saw_terminator());
    }
}

#[test]
fn a_stream_of_two_choices_left_midway_counts_the_last_figure_of_each() {
    let chunks = events(&answer("a06e-chat-stream-n2-continuous-usage"));
    let (_, reader) = through(plan(Kind::OpenAi, Hide::All, true), chunks[..6].iter().map(String::as_bytes));
    // Choice 0 stood at 3 tokens, choice 1 at 2; n = 1 was not told, so the prompts are taken as two.
    assert_eq!(reader.usage(), (Some(tokens(34, 5)), UsageKind::Running));
    let told = StreamPlan { n: 2, ..plan(Kind::OpenAi, Hide::All, true) };
    let (_, reader) = through(told, chunks[..6].iter().map(String::as_bytes));
    assert_eq!(reader.usage(), (Some(tokens(17, 5)), UsageKind::Running));
}

#[test]
fn an_engine_that_dies_is_told_byte_for_byte() {
    let mut chunks = events(&answer("a05-chat-stream-continuous-usage"));
    let error = String::from_utf8(engine_killed()).unwrap();
    chunks.splice(5.., [error.clone(), "data: [DONE]\n\n".to_owned()]);
    for hide in [Hide::Nothing, Hide::Running, Hide::All] {
        let (sent, reader) = through(plan(Kind::OpenAi, hide, false), chunks.iter().map(String::as_bytes));
        assert!(String::from_utf8(sent).unwrap().ends_with(&format!("{error}data: [DONE]\n\n")));
        assert!(reader.saw_error() && reader.saw_terminator());
        assert_eq!(reader.usage(), (Some(tokens(17, 4)), UsageKind::Running));
    }
}

#[test]
fn what_waits_goes_out_as_it_is_when_an_error_or_the_end_comes_instead() {
    let chunks = events(&answer("a06e-chat-stream-n2-continuous-usage"));
    // Both choices have finished; the usage event would be next.
    let finished = &chunks[..chunks.len() - 2];
    let without_usage = |event: &String| {
        let at = event.find(",\"usage\"").unwrap();
        let end = event[at..].find('}').unwrap() + at + 1;
        [&event[..at], &event[end..]].concat()
    };
    let expected = finished.iter().map(without_usage).collect::<Vec<_>>().concat();
    for ending in ["", "data: [DONE]\n\n", "data: {\"error\": {\"code\": 500}}\n\n", "data: {\"choi"] {
        for several in [true, false] {
            let stream = finished.iter().map(String::as_bytes).chain([ending.as_bytes()]);
            let (sent, _) = through(plan(Kind::OpenAi, Hide::All, several), stream);
            assert_eq!(String::from_utf8(sent).unwrap(), format!("{expected}{ending}"), "{several} {ending}");
        }
    }
}

#[test]
fn responses_and_messages_pass_untouched_whatever_should_be_hidden() {
    for (name, kind) in [("a17b-responses-stream", Kind::Responses), ("a18b-messages-stream", Kind::Messages)]
    {
        let stream = answer(name);
        let (sent, _) = through(plan(kind, Hide::All, true), [stream.as_slice()]);
        assert!(sent == stream, "{name}");
    }
}

#[test]
fn output_events_are_counted_where_there_is_no_running_usage() {
    for (name, kind, deltas) in
        [("a17b-responses-stream", Kind::Responses, 2), ("a18b-messages-stream", Kind::Messages, 7)]
    {
        let (_, reader) = through(plan(kind, Hide::Nothing, false), [answer(name).as_slice()]);
        assert_eq!(reader.delta_events(), deltas, "{name}");
    }
    // Left before its end, a messages stream still knows its input.
    let chunks = events(&answer("a18b-messages-stream"));
    let (_, reader) =
        through(plan(Kind::Messages, Hide::Nothing, false), chunks[..5].iter().map(String::as_bytes));
    assert_eq!(reader.usage(), (Some(tokens(17, 0)), UsageKind::Running));
    assert_eq!(reader.delta_events(), 3);
}

#[test]
fn the_first_output_is_noticed_when_it_comes() {
    for (name, kind, at) in [
        ("a03-chat-stream", Kind::OpenAi, 1),
        ("a08e-chat-tools-named-stream", Kind::OpenAi, 1),
        ("a10b-completions-stream", Kind::OpenAi, 0),
        ("a17b-responses-stream", Kind::Responses, 4),
        ("a18b-messages-stream", Kind::Messages, 2),
        ("b05c-prompt-tokens-details-stream", Kind::OpenAi, 1),
    ] {
        let mut reader = StreamReader::new(plan(kind, Hide::Nothing, false));
        for (index, event) in events(&answer(name)).into_iter().enumerate() {
            reader.push(&Bytes::from(event));
            assert_eq!(reader.first_event_seen(), index >= at, "{name} event {index}");
        }
    }
}

#[test]
fn the_fingerprint_is_learned_from_the_usage_event_only() {
    let learn = |name| {
        let (_, reader) = through(plan(Kind::OpenAi, Hide::All, false), [answer(name).as_slice()]);
        reader.fingerprint().cloned()
    };
    assert_eq!(learn("a04-chat-stream-include-usage").as_deref(), Some(FINGERPRINT));
    assert_eq!(learn("a03-chat-stream"), None, "no usage event came");
    assert_eq!(learn("w03b-transcription-stream-usage"), None, "transcriptions never have one");
}
