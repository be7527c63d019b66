//! Streams of other shapes than vLLM's usual ones, and when bytes go out.
#![allow(clippy::unwrap_used)]

use super::*;

const HEAD: &str = r#"data: {"id":"c","object":"chat.completion.chunk","model":"m","choices":"#;
const FINGERPRINT: &str = "\"vllm-0.32.0-dd8f094b\"";

fn delta(index: u32, text: &str) -> String {
    format!("{HEAD}[{{\"index\":{index},\"delta\":{{\"content\":\"{text}\"}},\"finish_reason\":null}}]}}\n\n")
}

fn finish(index: u32) -> String {
    format!("{HEAD}[{{\"index\":{index},\"delta\":{{}},\"finish_reason\":\"stop\"}}]}}\n\n")
}

fn with_fingerprint(event: &str) -> String {
    event.replace("}]}\n", &format!("}}],\"system_fingerprint\":{FINGERPRINT}}}\n"))
}

fn usage() -> String {
    format!(
        "{HEAD}[],\"usage\":{{\"prompt_tokens\":3,\"total_tokens\":8,\"completion_tokens\":5}},\"system_fingerprint\":{FINGERPRINT}}}\n\n"
    )
}

const DONE: &str = "data: [DONE]\n\n";

fn reader(hide: Hide, several: bool) -> StreamReader {
    StreamReader::new(StreamPlan { hide, several, ..StreamPlan::watch(Kind::OpenAi) })
}

fn push(reader: &mut StreamReader, chunk: &str) -> String {
    String::from_utf8(reader.push(&Bytes::copy_from_slice(chunk.as_bytes())).to_vec()).unwrap()
}

fn finish_text(reader: &mut StreamReader) -> String {
    String::from_utf8(reader.finish().to_vec()).unwrap()
}

fn is_send<T: Send>() {}

#[test]
fn a_reader_is_small() {
    assert!(size_of::<StreamReader>() < 1024, "{} bytes", size_of::<StreamReader>());
    is_send::<StreamReader>();
}

#[test]
fn with_nothing_to_hide_the_very_chunk_goes_out_at_once() {
    let mut reader = reader(Hide::Nothing, false);
    for chunk in ["data: {\"cho", "ices\":[]", "}\n\nda", ": x\n\n\r\n", "\u{FEFF}"] {
        let chunk = Bytes::copy_from_slice(chunk.as_bytes());
        let sent = reader.push(&chunk);
        assert_eq!((sent.as_ptr(), sent.len()), (chunk.as_ptr(), chunk.len()));
    }
    assert!(reader.finish().is_empty());
}

#[test]
fn each_event_goes_out_with_its_last_byte_and_only_the_finish_event_waits() {
    let mut reader = reader(Hide::All, false);
    let first = delta(0, "a");
    assert_eq!(push(&mut reader, &first[..20]), "");
    assert_eq!(push(&mut reader, &first[20..first.len() - 1]), "");
    assert_eq!(push(&mut reader, "\n"), first);
    assert_eq!(push(&mut reader, &finish(0)), "");
    assert_eq!(push(&mut reader, &usage()), with_fingerprint(&finish(0)));
    assert_eq!(push(&mut reader, DONE), DONE);
    assert_eq!(finish_text(&mut reader), "");
}

#[test]
fn comments_and_empty_lines_go_out_at_once_even_past_what_waits() {
    let mut reader = reader(Hide::All, false);
    assert_eq!(push(&mut reader, ": keep-alive\n\n"), ": keep-alive\n\n");
    assert_eq!(push(&mut reader, &finish(0)), "");
    assert_eq!(push(&mut reader, ": keep-alive\n"), ": keep-alive\n");
    assert_eq!(push(&mut reader, "\n"), "\n");
    assert_eq!(push(&mut reader, &usage()), with_fingerprint(&finish(0)));
}

#[test]
fn a_neighbour_that_is_no_usage_event_releases_the_finish_event_as_it_is() {
    for neighbour in [delta(0, "more"), "event: x\ndata: y\n\n".to_owned(), DONE.to_owned()] {
        let mut reader = reader(Hide::All, false);
        assert_eq!(push(&mut reader, &finish(0)), "");
        assert_eq!(push(&mut reader, &neighbour), finish(0) + &neighbour);
    }
}

#[test]
fn of_several_choices_events_wait_in_order_until_the_fingerprint_is_known() {
    let mut reader = reader(Hide::All, true);
    assert_eq!(push(&mut reader, &delta(0, "a")), delta(0, "a"));
    assert_eq!(push(&mut reader, &finish(0)), "");
    assert_eq!(push(&mut reader, &delta(1, "b")), "");
    assert_eq!(push(&mut reader, &finish(1)), "");
    let expected = with_fingerprint(&finish(0)) + &delta(1, "b") + &with_fingerprint(&finish(1));
    assert_eq!(push(&mut reader, &usage()), expected);
    assert_eq!(reader.fingerprint().unwrap(), FINGERPRINT.as_bytes());
}

#[test]
fn of_several_choices_no_event_waits_once_the_fingerprint_is_known() {
    for (known, expected) in [(FINGERPRINT, with_fingerprint(&finish(0))), ("", finish(0))] {
        let plan = StreamPlan {
            hide: Hide::All,
            several: true,
            n: 2,
            fingerprint: Some(Bytes::copy_from_slice(known.as_bytes())),
            ..StreamPlan::watch(Kind::OpenAi)
        };
        let mut reader = StreamReader::new(plan);
        assert_eq!(push(&mut reader, &finish(0)), expected);
        assert_eq!(push(&mut reader, &delta(1, "b")), delta(1, "b"));
        assert_eq!(push(&mut reader, &(usage() + DONE)), DONE);
    }
}

#[test]
fn too_much_that_waits_goes_out_without_the_fingerprint() {
    let mut reader = reader(Hide::All, true);
    assert_eq!(push(&mut reader, &finish(0)), "");
    let event = delta(1, &"x".repeat(300_000));
    let sent: String = (0..4).map(|_| push(&mut reader, &event)).collect();
    assert_eq!(sent, finish(0) + &event.repeat(4));
    assert_eq!(push(&mut reader, &finish(1)), finish(1), "nor does anything wait again");
    assert_eq!(push(&mut reader, &(usage() + DONE)), DONE);
}

#[test]
fn events_are_changed_and_dropped_however_their_lines_end() {
    for end in ["\r\n", "\r"] {
        let framed = |event: &str| event.replace('\n', end);
        let mut one = reader(Hide::All, false);
        assert_eq!(push(&mut one, &framed(&delta(0, "a"))), framed(&delta(0, "a")), "{end:?}");
        assert_eq!(push(&mut one, &framed(&finish(0))), "", "{end:?}");
        assert_eq!(push(&mut one, &framed(": keep-alive\n")), framed(": keep-alive\n"), "{end:?}");
        assert_eq!(push(&mut one, &framed(&usage())), framed(&with_fingerprint(&finish(0))), "{end:?}");
        assert_eq!(push(&mut one, &framed(DONE)), framed(DONE), "{end:?}");
        assert!(one.saw_terminator() && one.usage().1 == UsageKind::Final, "{end:?}");

        let mut several = reader(Hide::All, true);
        several.plan.fingerprint = Some(Bytes::from_static(FINGERPRINT.as_bytes()));
        let running = finish(0).replace("}]}\n", "}],\"usage\":{\"completion_tokens\":5}}\n");
        assert_eq!(push(&mut several, &framed(&running)), framed(&with_fingerprint(&finish(0))), "{end:?}");
    }
}

#[test]
fn the_metrics_of_a_request_go_with_the_usage_event_that_carries_them() {
    let metrics = "\"metrics\":{\"time_to_first_token_ms\":12.4,\"tokens_per_second\":92.4}";
    let mut reader = reader(Hide::All, false);
    assert_eq!(push(&mut reader, &finish(0)), "");
    let event = usage().replace("}\n\n", &format!(",{metrics}}}\n\n"));
    assert_eq!(push(&mut reader, &event), with_fingerprint(&finish(0)));
    let alone = format!("{HEAD}[],{metrics}}}\n\n");
    assert_eq!(push(&mut reader, &alone), alone, "what is no usage event is not ours to drop");
}

#[test]
fn a_finish_event_that_has_a_fingerprint_already_does_not_wait() {
    let mut reader = reader(Hide::All, false);
    let finish = with_fingerprint(&finish(0));
    assert_eq!(push(&mut reader, &finish), finish);
    assert_eq!(push(&mut reader, &usage()), "");
}

#[test]
fn usage_as_the_first_or_only_member_is_taken_out_whole() {
    for (event, expected) in [
        (
            "{\"usage\":{\"completion_tokens\":1},\"choices\":[{\"index\":0}]}",
            "{\"choices\":[{\"index\":0}]}",
        ),
        ("{\"usage\":{\"completion_tokens\":1}}", "{}"),
        (
            "{\"a\":{\"usage\":{\"x\":1}},\"usage\":{\"y\":\"}\\\"{\"},\"b\":1}",
            "{\"a\":{\"usage\":{\"x\":1}},\"b\":1}",
        ),
    ] {
        let mut reader = reader(Hide::All, false);
        assert_eq!(push(&mut reader, &format!("data: {event}\n\n")), format!("data: {expected}\n\n"));
    }
}

#[test]
fn what_only_looks_like_usage_stays() {
    for event in [
        r#"{"choices":[{"delta":{"content":",\"usage\":{\"prompt_tokens\":1}"}}]}"#,
        r#"{"choices":[{"delta":{"x":1,"usage":{"prompt_tokens":1}}}]}"#,
        r#"{"x\"usage":{"prompt_tokens":1},"choices":[{}]}"#,
        r#"{"choices":[{}],"usage":null}"#,
        r#"{"choices":[{}],"usage":{"prompt_tokens":1}"#,
        r#"{"choices":[{}],"usage":{"prompt_tokens":1}}}"#,
    ] {
        let mut reader = reader(Hide::All, false);
        let event = format!("data: {event}\n\n");
        assert_eq!(push(&mut reader, &event), event);
        assert_eq!(reader.usage(), (None, UsageKind::None), "{event}");
    }
}

#[test]
fn other_shapes_pass_untouched_and_are_read() {
    let spaced = usage().replace("\":", "\": ").replace(",\"", ", \"");
    let several_lines = usage().replace(",\"usage\"", ",\ndata: \"usage\"");
    for event in [
        spaced,
        several_lines,
        format!("\u{FEFF}{}", usage()),
        format!("event: chunk\nid: 1\n{}", usage()),
        usage().replace("data: ", "data:"),
        usage().replace("\n\n", "\n: comment\n\n"),
    ] {
        for hide in [Hide::Nothing, Hide::Running, Hide::All] {
            let mut reader = reader(hide, false);
            let sent = push(&mut reader, &event) + &finish_text(&mut reader);
            assert_eq!(sent, event, "{hide:?}");
            let usage = reader.usage();
            assert_eq!(
                (usage.0.and_then(|usage| usage.total), usage.1),
                (Some(8), UsageKind::Final),
                "{event}"
            );
        }
    }
}

#[test]
fn an_unterminated_last_event_goes_out_as_it_is_and_is_read() {
    for hide in [Hide::Nothing, Hide::All] {
        let mut reader = reader(hide, false);
        let sent = push(&mut reader, &delta(0, "a")) + &push(&mut reader, "data: [DONE]");
        assert!(!reader.saw_terminator());
        assert_eq!(sent + &finish_text(&mut reader), delta(0, "a") + "data: [DONE]");
        assert!(reader.saw_terminator());
    }
}

#[test]
fn an_event_too_long_to_hold_passes_as_it_comes_and_the_stream_goes_on() {
    let huge = delta(0, &"x".repeat(2 * MAX_EVENT));
    for hide in [Hide::Nothing, Hide::All] {
        let mut reader = reader(hide, false);
        let mut sent = push(&mut reader, &finish(0));
        for piece in huge.as_bytes().chunks(50_000) {
            sent += &push(&mut reader, std::str::from_utf8(piece).unwrap());
        }
        assert_eq!(sent, finish(0) + &huge);
        assert_eq!(reader.unreadable_events(), 1);
        push(&mut reader, &usage());
        assert_eq!(reader.usage().1, UsageKind::Final);
        assert_eq!(reader.push(&Bytes::from_static(DONE.as_bytes())), DONE);
        assert!(reader.saw_terminator());
    }
}

#[test]
fn a_final_event_too_long_to_hold_still_ends_its_stream() {
    let mut reader = StreamReader::new(StreamPlan::watch(Kind::Responses));
    let event = format!("event: response.completed\ndata: {{\"x\":\"{}\"}}\n\n", "y".repeat(2 * MAX_EVENT));
    event.as_bytes().chunks(70_000).for_each(|piece| drop(reader.push(&Bytes::copy_from_slice(piece))));
    assert!(reader.saw_terminator());
    assert_eq!(reader.usage(), (None, UsageKind::None));
}

/// vLLM gives back what it was sent, metadata and tools included, before it says what the response cost.
#[test]
fn what_a_response_cost_is_read_however_long_its_last_event_is() {
    let request = |forged: &str| {
        format!(
            "\"metadata\":{{\"x\":\"{}{forged}\"}},\"tools\":[{{\"usage\":{{\"input_tokens\":1}}}}]",
            "y".repeat(2 * MAX_EVENT)
        )
    };
    let usage = "\"usage\":{\"input_tokens\":30000,\"output_tokens\":4000,\"total_tokens\":34000}";
    for forged in ["", "\\\"usage\\\":{\\\"input_tokens\\\":2}"] {
        let event = format!(
            "event: response.completed\ndata: {{\"type\":\"response.completed\",\"response\":{{{},{usage},\"user\":null}}}}\n\n",
            request(forged)
        );
        for size in [event.len(), 70_000, 1_000_000] {
            let mut reader = StreamReader::new(StreamPlan::watch(Kind::Responses));
            for piece in event.as_bytes().chunks(size) {
                assert!(!reader.saw_terminator(), "the figures are not there yet");
                reader.push(&Bytes::copy_from_slice(piece));
            }
            assert!(reader.saw_terminator());
            let (figures, kind) = reader.usage();
            let figures = figures.unwrap();
            assert_eq!(
                (figures.prompt, figures.completion, kind),
                (Some(30_000), Some(4_000), UsageKind::Final)
            );
        }
        for (left_out, is_whole) in [(2, true), (3, false), (100, false)] {
            let mut reader = StreamReader::new(StreamPlan::watch(Kind::Responses));
            let cut = &event.as_bytes()[..event.len() - left_out];
            cut.chunks(70_000).for_each(|piece| drop(reader.push(&Bytes::copy_from_slice(piece))));
            reader.finish();
            assert_eq!(reader.saw_terminator(), is_whole, "without its last {left_out} bytes");
        }
    }
}

#[test]
fn each_spelling_of_an_error_event_is_noticed_and_no_other() {
    for event in [
        "data: {\"error\": {\"message\": \"m\", \"code\": 500}}\n\n",
        "data: {\"error\":{\"message\":\"m\"}}\n\n",
        "data: {\"object\": \"error\", \"message\": \"m\"}\n\n",
        "event: error\ndata: {}\n\n",
    ] {
        let mut reader = reader(Hide::All, false);
        assert_eq!(push(&mut reader, event), event);
        assert!(reader.saw_error(), "{event}");
    }
    for (kind, event) in [
        (Kind::Messages, "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"x\"}}\n\n"),
        (Kind::Messages, "data: {\"type\":\"error\",\"error\":{\"type\":\"x\"}}\n\n"),
        (Kind::Responses, "data: {\"error\": {\"message\": \"m\"}}\n\n"),
        (Kind::Responses, "event: error\ndata: {\"type\":\"error\"}\n\n"),
    ] {
        let mut reader = StreamReader::new(StreamPlan::watch(kind));
        push(&mut reader, event);
        assert!(reader.saw_error(), "{event}");
    }
    let mut reader = reader(Hide::All, false);
    push(&mut reader, "data: {\"error\":null,\"choices\":[{}]}\n\n");
    push(&mut reader, &delta(0, "data: {\\\"error\\\":{}}"));
    assert!(!reader.saw_error());
}

#[test]
fn responses_end_by_name_or_by_type() {
    for ending in ["response.completed", "response.failed", "response.incomplete"] {
        for event in [
            format!("event: {ending}\ndata: {{}}\n\n"),
            format!(
                "data: {{\"response\":{{\"output\":[{{\"type\":\"message\"}}]}},\"type\":\"{ending}\"}}\n\n"
            ),
            format!(
                "data: {{\"type\":\"{ending}\",\"response\":{{\"output\":[{{\"type\":\"message\"}}]}}}}\n\n"
            ),
        ] {
            let mut reader = StreamReader::new(StreamPlan::watch(Kind::Responses));
            push(&mut reader, &event);
            assert!(reader.saw_terminator(), "{event}");
        }
    }
    let mut reader = StreamReader::new(StreamPlan::watch(Kind::Responses));
    push(&mut reader, "event: response.output_item.done\ndata: {\"type\":\"response.completed.not\"}\n\n");
    push(&mut reader, DONE);
    assert!(!reader.saw_terminator());
}

#[test]
fn a_thousand_choices_add_up() {
    let mut reader =
        StreamReader::new(StreamPlan { several: true, n: 500, ..StreamPlan::watch(Kind::OpenAi) });
    for round in 1..3 {
        for index in 0..1000 {
            let prompt = if index < 500 { 7 } else { 11 };
            let event = format!(
                "{HEAD}[{{\"index\":{index},\"delta\":{{}}}}],\"usage\":{{\"prompt_tokens\":{prompt},\"total_tokens\":9,\"completion_tokens\":{},\"completion_tokens_details\":{{\"reasoning_tokens\":1}}}}}}\n\n",
                round * 10
            );
            push(&mut reader, &event);
        }
    }
    push(
        &mut reader,
        &format!("{HEAD}[{{\"index\":4294967295}}],\"usage\":{{\"completion_tokens\":1}}}}\n\n"),
    );
    let expected = Usage {
        prompt: Some(18),
        completion: Some(20_000),
        total: Some(20_018),
        cached: None,
        reasoning: Some(1000),
    };
    assert_eq!(reader.usage(), (Some(expected), UsageKind::Running));
}

#[test]
fn a_running_usage_of_unusual_length_is_kept_too() {
    let mut reader = reader(Hide::All, false);
    let details = format!("{{\"note\":\"{}\"}}", "x".repeat(300));
    let event = format!(
        "{HEAD}[{{}}],\"usage\":{{\"prompt_tokens\":1,\"completion_tokens\":2,\"more\":{details}}}}}\n\n"
    );
    assert_eq!(push(&mut reader, &event), format!("{HEAD}[{{}}]}}\n\n"));
    assert_eq!(reader.usage().0.unwrap().total, Some(3));
}
