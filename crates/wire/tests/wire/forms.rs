//! Forms: the fields are found wherever they stand and however the body is cut, and changed in place.

use proptest::prelude::*;
use vllm_gateway_wire::{
    multipart::{Form, FormReader, MultipartError, ask_for_usage, rename_model},
    peek::Lax,
};

use crate::edits::segments;

const TYPE: &str = "multipart/form-data; boundary=------------------------757865b471daedd1";
const BOUNDARY: &str = "------------------------757865b471daedd1";

fn read<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Result<Form, MultipartError> {
    let mut reader = FormReader::new(TYPE).unwrap();
    for piece in pieces {
        reader.feed(piece)?;
    }
    reader.finish()
}

/// A form as curl writes it; the file comes first.
fn form(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut body = part(
        "Content-Disposition: form-data; name=\"file\"; filename=\"tone.wav\"\r\nContent-Type: audio/wav",
        &tone(),
    );
    for (name, value) in fields {
        body.extend(part(&format!("Content-Disposition: form-data; name=\"{name}\""), value.as_bytes()));
    }
    close(body)
}

fn part(headers: &str, value: &[u8]) -> Vec<u8> {
    [format!("--{BOUNDARY}\r\n{headers}\r\n\r\n").as_bytes(), value, b"\r\n"].concat()
}

fn close(mut body: Vec<u8>) -> Vec<u8> {
    body.extend_from_slice(format!("--{BOUNDARY}--\r\n").as_bytes());
    body
}

/// Bytes that try to look like a boundary, and like fields.
fn tone() -> Vec<u8> {
    let mut tone = b"RIFF\r\n\r\r\n--\r\n------------------------757865b471daedd\r\n-----".to_vec();
    tone.extend_from_slice(b"\r\r\n-\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nnot-this\r\n");
    tone.extend((0..600_u16).map(|n| (n % 251) as u8));
    tone
}

#[test]
fn fields_after_a_file_are_read_wherever_the_form_is_cut() {
    let body = form(&[
        ("model", "whisper-tiny"),
        ("language", "en"),
        ("stream", "true"),
        ("stream_include_usage", ""),
    ]);
    let whole = read([body.as_slice()]).unwrap();
    assert_eq!((whole.model_name(), whole.stream, whole.parts), (Some("whisper-tiny"), true, 5));
    assert_eq!(&body[whole.model.clone().unwrap().range], b"whisper-tiny");
    assert_eq!(whole.include_usage.as_ref().unwrap().value, Lax::Null);
    assert!(body[whole.close..].starts_with(format!("--{BOUNDARY}--").as_bytes()));
    assert_eq!(whole.body_len, body.len());
    for cut in 0..=body.len() {
        let (head, tail) = body.split_at(cut);
        assert_eq!(read([head, tail]).as_ref(), Ok(&whole), "cut at {cut}");
    }
    for size in 1..80 {
        assert_eq!(read(body.chunks(size)).as_ref(), Ok(&whole), "in pieces of {size}");
    }
}

#[test]
fn a_streamed_transcription_asks_for_usage() {
    for (fields, added) in [
        (
            &[("model", "w"), ("stream", "true")][..],
            &[("stream_include_usage", "true"), ("stream_continuous_usage_stats", "true")][..],
        ),
        (&[("stream_include_usage", "true"), ("stream", "1")], &[("stream_continuous_usage_stats", "true")]),
    ] {
        let body = form(fields);
        let spliced = ask_for_usage(&read([body.as_slice()]).unwrap()).apply(&segments(&body, 50)).concat();
        assert_eq!(
            String::from_utf8_lossy(&spliced),
            String::from_utf8_lossy(&form(&[fields, added].concat()))
        );
    }
    let body =
        form(&[("stream_include_usage", "false"), ("stream", "on"), ("stream_continuous_usage_stats", "")]);
    let spliced = ask_for_usage(&read([body.as_slice()]).unwrap()).apply(&segments(&body, 50)).concat();
    assert!(
        spliced
            == form(&[
                ("stream_include_usage", "true"),
                ("stream", "on"),
                ("stream_continuous_usage_stats", "true")
            ])
    );
}

#[test]
fn a_form_that_does_not_stream_or_that_vllm_refuses_stays_as_it_is() {
    for fields in [
        &[("model", "w")][..],
        &[("stream", "true"), ("stream", "false")],
        &[("stream", "true"), ("stream", "")],
        &[("stream", "true"), ("stream_include_usage", "maybe")],
    ] {
        assert!(ask_for_usage(&read([form(fields).as_slice()]).unwrap()).is_empty(), "{fields:?}");
    }
}

#[test]
fn a_model_is_renamed_or_added() {
    for (before, after) in [
        (&[("model", "a"), ("stream", "1")][..], &[("model", "b"), ("stream", "1")][..]),
        (&[("model", "")], &[("model", "b")]),
        (&[("language", "en")], &[("language", "en"), ("model", "b")]),
        (&[("model", "b")], &[("model", "b")]),
    ] {
        let body = form(before);
        let edits = rename_model(&read([body.as_slice()]).unwrap(), "b").unwrap();
        assert!(edits.apply(&segments(&body, 33)).concat() == form(after), "{before:?}");
    }
    let empty = close(Vec::new());
    let edits = rename_model(&read([empty.as_slice()]).unwrap(), "b").unwrap();
    let spliced = edits.apply(&segments(&empty, 9)).concat();
    assert_eq!(read([spliced.as_slice()]).unwrap().model_name(), Some("b"));
    let smuggled = format!("b\r\n--{BOUNDARY}--");
    assert_eq!(
        rename_model(&read([empty.as_slice()]).unwrap(), &smuggled),
        Err(MultipartError::UnwritableName)
    );
}

#[test]
fn what_two_parsers_could_read_differently_is_refused() {
    let disposition = |rest: &str| part(&format!("Content-Disposition: form-data; {rest}"), b"w");
    for (part, expected) in [
        (
            disposition("name=\"model\"; filename=\"x\""),
            "form field \"model\": it must be a plain field, not a file",
        ),
        (
            disposition("name=model; filename*=utf-8''x"),
            "form field \"model\": it must be a plain field, not a file",
        ),
        (disposition("name=\"a\"; name=\"model\""), "the field's name is given twice"),
        (disposition("name=\"a\"; NAME=\"model\""), "the field's name is given twice"),
        (disposition("name*=utf-8''model"), "an extended parameter is not understood"),
        (disposition("name*0=mo; name*1=del"), "an extended parameter is not understood"),
        (disposition("name=\"mo\\del\""), "the field's name holds a backslash"),
        (disposition("name=<model>"), "a parameter is malformed"),
        (disposition("x=\"\\\\\"; name=\"model\""), "a quoted value ends with a backslash"),
        (disposition("name=\"model"), "a quote is not closed"),
        (disposition("filename=\"x\""), "the field's name is missing"),
        (
            part("Content-Disposition: attachment; name=\"model\"", b"w"),
            "content-disposition is not form-data",
        ),
        (part("Content-Type: text/plain", b"w"), "content-disposition is missing"),
        (
            part(
                "Content-Disposition: form-data; name=\"a\"\r\ncontent-disposition: form-data; name=\"model\"",
                b"w",
            ),
            "content-disposition stands twice",
        ),
        (
            part("Content-Disposition: form-data; name=\"model\"\r\nContent-Transfer-Encoding: base64", b"w"),
            "form field \"model\": it must not have a content-transfer-encoding",
        ),
        (part("Content-Disposition: form-data;\r\n name=\"model\"", b"w"), "a line is not a header"),
        (part("Content-Disposition : form-data; name=\"model\"", b"w"), "a header's name is malformed"),
        (part("Content-Disposition: form-data; name=\"x\"\nX: \"", b"w"), "there is a control character"),
        (part("", b"w"), "content-disposition is missing"),
        (
            part("Content-Disposition: form-data; name=\"model\"", b"\xFF"),
            "form field \"model\": it is not UTF-8",
        ),
        (
            [disposition("name=\"model\""), disposition("name=\"model\"")].concat(),
            "duplicate form field \"model\"",
        ),
    ] {
        let message = read([close(part.clone()).as_slice()]).unwrap_err().to_string();
        assert!(message.contains(expected), "{message:?} of {:?}", String::from_utf8_lossy(&part));
    }
}

#[test]
fn ways_of_writing_that_real_clients_use_are_read() {
    for headers in [
        "Content-Disposition: form-data; name=\"model\"",
        "content-disposition:form-data;name=model",
        "Content-Disposition: form-data; name=\"model\"\r\nContent-Type: text/plain; charset=UTF-8\r\nContent-Transfer-Encoding: 8bit",
        "Content-Type: text/plain\r\nContent-Length: 1\r\nContent-Disposition: Form-Data; Name=\"model\";",
    ] {
        assert_eq!(
            read([close(part(headers, b"w")).as_slice()]).unwrap().model_name(),
            Some("w"),
            "{headers}"
        );
    }
    let file = "Content-Disposition: form-data; name=\"file\"; filename=\"a\\\"b; name=.wav\"; filename*=UTF-8''%C3%A4.wav";
    assert_eq!(read([close(part(file, b"x")).as_slice()]).unwrap().model, None);
}

#[test]
fn bounds_are_kept() {
    let field = "Content-Disposition: form-data; name=\"x\"";
    let many = |parts| read([close((0..parts).flat_map(|_| part(field, b"")).collect()).as_slice()]);
    assert_eq!(many(64).unwrap().parts, 64);
    assert_eq!(many(65), Err(MultipartError::TooManyParts));
    let model = |len| {
        read([close(part("Content-Disposition: form-data; name=\"model\"", &vec![b'm'; len])).as_slice()])
    };
    assert_eq!(model(4096).unwrap().model_name().map(str::len), Some(4096));
    assert!(matches!(model(4097), Err(MultipartError::ValueTooLong { .. })));
    let long = format!("{field}\r\nX: {}", "y".repeat(9000));
    assert!(matches!(read([close(part(&long, b"")).as_slice()]), Err(MultipartError::HeadersTooLong { .. })));
}

#[test]
fn a_form_that_is_cut_off_or_followed_by_more_is_refused() {
    let body = form(&[("model", "w")]);
    let end = body.len() - 2;
    for len in 0..end {
        assert!(read([&body[..len]]).is_err(), "{len} bytes");
    }
    assert!(read([&body[..end]]).is_ok(), "the last line end may be missing");
    let more = [body.as_slice(), b"x"].concat();
    assert!(read([more.as_slice()]).unwrap_err().to_string().contains("nothing after the last boundary"));
    let odd =
        [part("Content-Disposition: form-data; name=\"x\"", b""), format!("--{BOUNDARY}x").into_bytes()]
            .concat();
    assert!(read([odd.as_slice()]).unwrap_err().to_string().contains("a line end or -- after a boundary"));
}

#[test]
fn a_content_type_must_name_one_plain_boundary() {
    let boundary = |kind: &str| FormReader::new(kind).map(|_| ()).map_err(|error| error.to_string());
    for good in [
        "multipart/form-data; boundary=x",
        "Multipart/Form-Data;boundary=\"a b(c)\"; charset=UTF-8",
        "multipart/form-data; charset=utf-8; boundary=----WebKitFormBoundary7MA4YWxkTrZu0gW",
    ] {
        assert_eq!(boundary(good), Ok(()), "{good}");
    }
    for (bad, expected) in [
        ("", "malformed"),
        ("application/json", "multipart/form-data is expected"),
        ("multipart/form-data", "the boundary is missing"),
        ("multipart/form-data; boundary=", "malformed"),
        ("multipart/form-data; boundary=\"\"", "1 to 70"),
        ("multipart/form-data; boundary=a; boundary=b", "given twice"),
        ("multipart/form-data; boundary=a; Boundary=a", "given twice"),
        ("multipart/form-data; boundary*=utf-8''a", "extended"),
        ("multipart/form-data; boundary=\"a\r\nb\"", "must not"),
        ("multipart/form-data; boundary=\"a \"", "must not"),
        ("multipart/form-data; boundary=a; charset=latin-1", "must be utf-8"),
        ("multipart/form-data; boundary=a b", "malformed"),
    ] {
        let message = boundary(bad).unwrap_err();
        assert!(message.contains(expected), "{message:?} of {bad:?}");
    }
    assert!(boundary(&format!("multipart/form-data; boundary={}", "x".repeat(71))).is_err());
}

proptest! {
    #[test]
    fn any_content_is_passed_over_and_any_cut_is_the_same(
        content in prop::collection::vec(prop_oneof![
            Just(b"\r\n--".to_vec()), Just(b"\r".to_vec()), Just(b"\r\n------------------------7578".to_vec()),
            prop::collection::vec(any::<u8>(), 0..20),
        ], 0..8),
        model in "[a-zA-Z0-9/._ -]{0,20}",
        size in 1_usize..60,
    ) {
        let file = part("Content-Disposition: form-data; name=\"file\"; filename=\"f\"", &content.concat());
        let body = close([file, part("Content-Disposition: form-data; name=\"model\"", model.as_bytes())].concat());
        let whole = read([body.as_slice()]).unwrap();
        prop_assert_eq!(&read(body.chunks(size)).unwrap(), &whole);
        prop_assert_eq!(whole.model_name().unwrap_or_default(), model);
    }

    #[test]
    fn no_bytes_at_all_make_it_panic(bytes: Vec<u8>, size in 1_usize..9) {
        let body = [part("Content-Disposition: form-data; name=\"model\"", b"w"), bytes].concat();
        prop_assert_eq!(read(body.chunks(size)), read([body.as_slice()]));
    }
}
