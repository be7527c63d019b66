//! What the scanner accepts, refuses and remembers.
#![allow(clippy::unwrap_used)]

use super::*;

fn peek(body: impl AsRef<[u8]>) -> Result<Peeked, PeekError> {
    let mut peek = Peek::new();
    peek.feed(body.as_ref())?;
    peek.finish()
}

fn message(body: impl AsRef<[u8]>) -> String {
    peek(body).unwrap_err().to_string()
}

#[test]
fn each_malformation_is_named_with_its_place() {
    for (body, expected) in [
        ("  \n", "the body is empty: a JSON object is expected"),
        ("\u{FEFF}", "the body is empty: a JSON object is expected"),
        (" 17", "the body must be a JSON object: something else begins at byte 1"),
        ("x", "malformed JSON at byte 0: expected a JSON object"),
        ("{\"a\":1}x", "malformed JSON at byte 7: expected the end of the body"),
        ("{\"a\":1}{}", "malformed JSON at byte 7: expected the end of the body"),
        ("{,", "malformed JSON at byte 1: expected a key in double quotes, or }"),
        ("{\"a\":1,}", "malformed JSON at byte 7: expected a key in double quotes"),
        ("{\"a\" 1}", "malformed JSON at byte 5: expected a colon"),
        ("{\"a\":}", "malformed JSON at byte 5: expected a value"),
        ("{\"a\":[1,]}", "malformed JSON at byte 8: expected a value"),
        ("{\"a\":[1}", "malformed JSON at byte 7: expected a comma or ]"),
        ("{\"a\":1]", "malformed JSON at byte 6: expected a comma or }"),
        ("{\"a\":01}", "malformed JSON at byte 6: expected a comma or }"),
        ("{\"a\":1.}", "malformed JSON at byte 7: expected a digit"),
        ("{\"a\":-}", "malformed JSON at byte 6: expected a digit"),
        ("{\"a\":1e+}", "malformed JSON at byte 8: expected a digit"),
        ("{\"a\":+1}", "malformed JSON at byte 5: expected a value"),
        ("{\"a\":.5}", "malformed JSON at byte 5: expected a value"),
        ("{\"a\":nul}", "malformed JSON at byte 8: expected true, false, null, NaN or Infinity"),
        ("{\"a\":truex}", "malformed JSON at byte 9: expected a comma or }"),
        ("{'a':1}", "malformed JSON at byte 1: expected a key in double quotes, or }"),
        (
            "{\"a\":\"\\x\"}",
            "malformed JSON at byte 7: expected one of \" \\ / b f n r t u after a backslash",
        ),
        ("{\"a\":\"\\u12G4\"}", "malformed JSON at byte 10: expected four hexadecimal digits after \\u"),
        ("{\"a\":\"b\nc\"}", "malformed JSON at byte 7: expected no bare control character in a string"),
        ("{\"a\":\"bc", "malformed JSON at byte 8: the body ends too early"),
        ("{\"a\":1} /* */", "malformed JSON at byte 8: expected the end of the body"),
        ("\u{FEFF}\u{FEFF}{}", "malformed JSON at byte 3: expected a JSON object"),
    ] {
        assert_eq!(message(body), expected, "{body:?}");
    }
}

#[test]
fn valid_json_of_every_kind_passes() {
    for body in [
        "{}",
        " {\t} \r\n",
        "{\"\":{\"\":[]}}",
        r#"{"a":[0,-0,1.5,1e5,-1E-5,0.0e+0,true,false,null,"",[],{}]}"#,
        r#"{"a":"\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00"}"#,
        r#"{"a":[NaN,Infinity,-Infinity]}"#,
        r#"{"a":"\ud800"}"#,
        "{\"ä😀\u{7f}\":\"ü\u{10FFFF}\"}",
        "\u{FEFF}{\"a\":1}",
    ] {
        assert!(peek(body).is_ok(), "{body}");
    }
}

#[test]
fn text_that_is_not_utf8_is_refused_wherever_it_is_cut() {
    for bad in [
        &b"\xFF"[..],
        b"\xC3",
        b"\xC3\"",
        b"\xC3\x01",
        b"\xE2\x82",
        b"\xC0\x80",
        b"\xED\xA0\x80",
        b"\xF4\x90\x80\x80",
        b"\xF0\x9F\x98",
        b"\xE2\x82\\u0041",
        b"\x80",
    ] {
        let body = [b"{\"a\":\"\xC3\xA4", bad, b"b\"}"].concat();
        assert_eq!(peek(&body), Err(PeekError::NotUtf8 { at: 8 }), "{bad:?}");
        for size in 1..body.len() {
            let mut peek = Peek::new();
            let result = body.chunks(size).try_for_each(|piece| peek.feed(piece));
            assert_eq!(result, Err(PeekError::NotUtf8 { at: 8 }), "{bad:?} in pieces of {size}");
            assert_eq!(peek.feed(b"}"), result, "an error stays");
        }
    }
}

#[test]
fn depth_64_passes_and_more_is_refused_at_once() {
    let nested = |open: &str, depth: usize| format!("{{\"a\":{}", open.repeat(depth));
    let whole = format!("{}{}}}", nested("[", 63), "]".repeat(63));
    assert!(peek(whole).is_ok());
    for depth in [64, 10_000] {
        assert_eq!(message(nested("[", depth)), "nesting deeper than 64 levels at byte 68");
    }
    assert!(matches!(peek(nested("{\"a\":", 10_000)), Err(PeekError::TooDeep { .. })));
}

#[test]
fn a_second_model_is_refused_however_it_is_spelled() {
    for body in [
        r#"{"model":"a","model":"a"}"#,
        r#"{"model":"a","x":{},"mod\u0065l":"b"}"#,
        r#"{"\u006d\u006f\u0064\u0065\u006c":null,"model":"b"}"#,
    ] {
        assert!(matches!(peek(body), Err(PeekError::DuplicateModel { .. })), "{body}");
    }
    let nested = peek(r#"{"x":{"model":"a","model":"b"},"model":"c","Model":"d","model ":1}"#).unwrap();
    assert_eq!(nested.model_name(), Some("c"));
}

#[test]
fn the_model_is_unescaped_and_its_place_known() {
    let body = r#"{ "m\u006fdel" : "Qwen\/3 \u00e4\ud83d\ude00\n" }"#;
    let peeked = peek(body).unwrap();
    assert_eq!(peeked.model_name(), Some("Qwen/3 ä😀\n"));
    assert_eq!(&body[peeked.model.unwrap().range], r#""Qwen\/3 \u00e4\ud83d\ude00\n""#);
    for (value, expected) in [
        ("null", FieldValue::Null),
        ("\"\"", FieldValue::Empty),
        ("17", FieldValue::Other),
        ("NaN", FieldValue::Other),
        ("true", FieldValue::Other),
        ("[\"a\"]", FieldValue::Other),
        ("{\"model\":\"a\"}", FieldValue::Other),
    ] {
        let body = format!("{{\"model\":{value}}}");
        let field = peek(&body).unwrap().model.unwrap();
        assert_eq!((field.value, &body[field.range]), (expected, value));
    }
    assert_eq!(peek("{}").unwrap().model, None);
}

#[test]
fn a_model_that_cannot_be_a_name_is_refused() {
    assert_eq!(peek(r#"{"model":"a\ud800"}"#), Err(PeekError::ModelNotText));
    let named = |len: usize| peek(format!("{{\"model\":\"{}\"}}", "m".repeat(len)));
    assert_eq!(named(MAX_SCALAR - 2).unwrap().model_name().map(str::len), Some(MAX_SCALAR - 2));
    assert_eq!(named(MAX_SCALAR - 1), Err(PeekError::ModelTooLong));
}

#[test]
fn stream_is_read_as_loosely_as_vllm_reads_it() {
    for yes in [
        "true",
        "1",
        "1.0",
        "1e0",
        "10e-1",
        "\"true\"",
        "\"TRUE\"",
        "\"True\"",
        "\"1\"",
        "\"on\"",
        "\"Yes\"",
        "\"t\"",
        "\"y\"",
        "\"tru\\u0065\"",
    ] {
        assert!(peek(format!("{{\"stream\":{yes}}}")).unwrap().stream, "{yes}");
    }
    for no in [
        "false",
        "null",
        "0",
        "0.0",
        "-0.0",
        "2",
        "-1",
        "1.5",
        "\"\"",
        "\"false\"",
        "\" true\"",
        "\"1.0\"",
        "[true]",
        "{\"a\":true}",
        "NaN",
        "Infinity",
        "\"\\ud800\"",
        "10000000000000000000000",
    ] {
        assert!(!peek(format!("{{\"stream\":{no}}}")).unwrap().stream, "{no}");
    }
    assert!(peek(r#"{"stream":false,"stream":true}"#).unwrap().stream, "the last counts");
    assert!(!peek(r#"{"stream":true,"stre\u0061m":false}"#).unwrap().stream, "the last counts");
    assert!(!peek(r#"{"x":{"stream":true},"y":["stream",true]}"#).unwrap().stream);
}

#[test]
fn what_the_client_asked_for_itself_is_known() {
    let wants = |options: &str| {
        let peeked = peek(format!("{{\"stream_options\":{options}}}")).unwrap();
        (peeked.wants_usage(), peeked.wants_running_usage())
    };
    assert_eq!(wants("null"), (false, false));
    assert_eq!(wants("{}"), (false, false));
    assert_eq!(wants("[{\"include_usage\":true}]"), (false, false));
    assert_eq!(wants(r#"{"include_usage":true}"#), (true, false));
    assert_eq!(wants(r#"{"include_usage":"yes","continuous_usage_stats":1}"#), (true, true));
    assert_eq!(wants(r#"{"continuous_usage_stats":true}"#), (false, false), "alone it does nothing");
    assert_eq!(wants(r#"{"include_usage":true,"include_usage":false}"#), (false, false));
    assert_eq!(wants(r#"{"a":{"include_usage":true}}"#), (false, false));
    let again = peek(r#"{"stream_options":{"include_usage":true},"stream_options":null}"#).unwrap();
    assert!(!again.wants_usage(), "the last counts");
}

#[test]
fn several_choices_are_foreseen() {
    let choices = |members: &str| peek(format!("{{{members}}}")).unwrap();
    for several in [
        r#""n":2"#,
        r#""n":2.0"#,
        r#""n":"3""#,
        r#""n":1e3"#,
        r#""prompt":["a","b"]"#,
        r#""prompt":[[1,2],[3]]"#,
        r#""prompt":["a",[1]]"#,
        r#""prompt_embeds":["a","b"]"#,
        r#""prompt":"a","prompt_embeds":"b""#,
        r#""prompt":"a","prompt":["a","b"]"#,
    ] {
        assert_eq!(choices(several).choices, Choices::Several, "{several}");
    }
    for one in [
        r#""n":1"#,
        r#""n":null"#,
        r#""n":true"#,
        r#""n":0"#,
        r#""n":-3"#,
        r#""n":[2]"#,
        r#""prompt":"a""#,
        r#""prompt":["a"]"#,
        r#""prompt":[1,2,3]"#,
        r#""prompt":[[1,2,[3]]]"#,
        r#""prompt":{"id":["a","b"]}"#,
        r#""prompt":["a","b"],"prompt":"a""#,
        r#""input":["a","b"]"#,
        r#""x":{"n":5}"#,
    ] {
        assert_eq!(choices(one).choices, Choices::One, "{one}");
    }
    assert_eq!(choices(r#""n":4,"prompt":["a","b"]"#).n, 4);
    assert_eq!(choices(r#""n":1e300"#).n, u32::MAX);
}

#[test]
fn the_members_that_tell_routes_apart_are_noted() {
    let members = peek(r#"{"messages":[],"query":"a","x":{"input":1}}"#).unwrap().members;
    assert!(members.has(Member::Messages) && members.has(Member::Query));
    assert!(!members.has(Member::Input) && !members.has(Member::Prompt));
    let members = peek(r#"{"prompt":null,"prompt_embeds":1,"input":[],"documents":[]}"#).unwrap().members;
    for member in [Member::Prompt, Member::PromptEmbeds, Member::Input, Member::Documents] {
        assert!(members.has(member), "{member:?}");
    }
}

#[test]
fn a_key_of_any_length_is_passed_over() {
    let long = "k".repeat(3 * MAX_SCALAR);
    let peeked = peek(format!("{{\"{long}\":1,\"model\":\"a\",\"stream\":true}}")).unwrap();
    assert_eq!((peeked.model_name(), peeked.stream), (Some("a"), true));
}

/// Python reads `1.000…` as true, however many zeros there are.
#[test]
fn a_value_that_is_too_long_to_be_read_is_refused_where_it_matters() {
    let zeros = |count: usize| format!("1.{}", "0".repeat(count));
    let stream = |value: &str| peek(format!("{{\"stream\":{value}}}")).map(|peeked| peeked.stream);
    assert_eq!(stream(&zeros(MAX_SCALAR - 2)), Ok(true));
    let too_long = zeros(MAX_SCALAR - 1);
    assert_eq!(stream(&too_long), Err(PeekError::TooLong { name: "stream" }));
    for name in ["n", "max_tokens"] {
        assert_eq!(peek(format!("{{\"{name}\":{too_long}}}")).unwrap_err(), PeekError::TooLong { name },);
    }
    for name in ["include_usage", "continuous_usage_stats"] {
        let body = format!("{{\"stream_options\":{{\"a\":1,\"{name}\":{too_long}}}}}");
        assert_eq!(peek(body).unwrap_err(), PeekError::TooLong { name });
    }
    let elsewhere = peek(format!("{{\"temperature\":{too_long},\"stream_options\":{{\"x\":{too_long}}}}}"));
    assert!(elsewhere.is_ok());
    assert_eq!(stream("[[]]"), Ok(false), "vLLM refuses it");
}

#[test]
fn amounts_are_read_as_loosely_as_vllm_reads_them_and_never_as_too_little() {
    let most = |value: &str| {
        peek(format!("{{\"max_tokens\":{value}}}")).unwrap().cost.amount(Amount::MaxTokens).most
    };
    assert_eq!(most("null"), None);
    for (value, asked) in [
        ("4096", 4096),
        ("4096.0", 4096),
        ("4096.5", 4097),
        ("40.96e2", 4096),
        ("\"4096\"", 4096),
        ("\" +4_096.00\\n\"", 4096),
        ("\"4\\u003096\"", 4096),
        ("true", 1),
        ("false", 0),
        ("0", 0),
        ("-1", 0),
        ("-Infinity", 0),
        ("4294967296", 1 << 32),
        ("1e30", u64::MAX),
        ("1e999", u64::MAX),
        ("99999999999999999999999", u64::MAX),
        ("Infinity", u64::MAX),
        ("NaN", u64::MAX),
        ("\"nan\"", u64::MAX),
        ("\"many\"", u64::MAX),
        ("\"\"", u64::MAX),
        ("\"\\ud800\"", u64::MAX),
        ("[1]", u64::MAX),
        ("{\"max_tokens\":1}", u64::MAX),
    ] {
        assert_eq!(most(value), Some(asked), "{value}");
    }
}

#[test]
fn of_an_amount_that_stands_several_times_the_largest_and_the_last_place_are_known() {
    let body = r#"{"max_tokens":9,"max\u005ftokens":70000, "x":{"max_tokens":1e9},"max_tokens" : null }"#;
    let peeked = peek(body).unwrap();
    let asked = peeked.cost.amount(Amount::MaxTokens);
    let last = asked.last.clone().unwrap();
    assert_eq!((asked.most, last.value, &body[last.range]), (Some(70_000), None, "null"));
    assert!(asked.is_open() && asked.is_zero_or_open());
    for (body, open, zero_or_open) in [
        ("{}", true, true),
        (r#"{"max_tokens":null}"#, true, true),
        (r#"{"max_tokens":null,"max_tokens":0}"#, false, true),
        (r#"{"max_tokens":0,"max_tokens":5}"#, false, false),
        (r#"{"max_tokens":"five"}"#, false, false),
    ] {
        let peeked = peek(body).unwrap();
        let asked = peeked.cost.amount(Amount::MaxTokens);
        assert_eq!((asked.is_open(), asked.is_zero_or_open()), (open, zero_or_open), "{body}");
    }
}

#[test]
fn each_amount_and_each_list_has_a_key_of_its_own() {
    for amount in Amount::ALL {
        let peeked = peek(format!("{{\"{}\":7}}", amount.name())).unwrap();
        for other in Amount::ALL {
            assert_eq!(
                peeked.cost.amount(other).most,
                (other == amount).then_some(7),
                "{amount:?} {other:?}"
            );
        }
    }
    for list in List::ALL {
        let peeked = peek(format!("{{\"{}\":[[1],[2],[3]]}}", list.name())).unwrap();
        for other in List::ALL {
            assert_eq!(peeked.cost.listed(other), if other == list { 3 } else { 0 }, "{list:?} {other:?}");
        }
    }
}

#[test]
fn prompts_are_counted_in_every_form_that_a_list_has() {
    let listed =
        |list: List, value: &str| peek(format!("{{\"{}\":{value}}}", list.name())).unwrap().cost.listed(list);
    for (value, count) in [
        ("null", 0),
        ("\"a\"", 1),
        ("[]", 0),
        ("[1,2,3]", 0),
        ("[\"a\",\"b\"]", 2),
        ("[[1,2],[3],[\"a\",\"b\"]]", 3),
        ("[{\"content\":[\"a\",\"b\"]},\"c\"]", 2),
        ("{\"text\":\"a\"}", 1),
        ("{\"content\":[{\"text\":[1,2,3]},{},\"c\"],\"x\":5,\"y\":{\"z\":\"q\"}}", 3),
    ] {
        assert_eq!(listed(List::Documents, value), count, "{value}");
        assert_eq!(listed(List::Input, value), count, "{value}");
    }
    assert_eq!(listed(List::Messages, r#"[{"role":"user"},{"role":"user"}]"#), 0, "one conversation");
    assert_eq!(listed(List::Messages, r#"[[{"role":"user"}],[{"role":"user"},{}]]"#), 2);
    let twice = peek(r#"{"prompt":["a","b","c"],"prom\u0070t":"a"}"#).unwrap();
    assert_eq!((twice.cost.listed(List::Prompt), twice.choices), (3, Choices::One));
}
