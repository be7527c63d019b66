//! The ids of responses: found where vLLM writes them, however the answer is cut, and nowhere else.

use proptest::prelude::*;
use vllm_gateway_wire::response_id::{IdReader, LONGEST, is_id};

use crate::recordings::answer;

fn read<'a>(mut reader: IdReader, pieces: impl IntoIterator<Item = &'a [u8]>) -> Option<String> {
    pieces.into_iter().find_map(|piece| reader.push(piece))
}

#[test]
fn the_ids_of_the_recordings_are_found_wherever_they_are_cut() {
    let (whole, stream) = (answer("a17-responses"), answer("a17b-responses-stream"));
    for (body, make, id) in [
        (whole, IdReader::whole as fn() -> IdReader, "resp_bc638b7f1409d052"),
        (stream, IdReader::stream, "resp_800c867362d15797"),
    ] {
        for cut in 0..body.len().min(200) {
            let (head, tail) = body.split_at(cut);
            assert_eq!(read(make(), [head, tail]).as_deref(), Some(id), "cut at {cut}");
        }
        for size in [1, 2, 3, 7, 100] {
            assert_eq!(read(make(), body.chunks(size)).as_deref(), Some(id), "in pieces of {size}");
        }
        assert_eq!(read(make(), [&body[..20]]), None, "an id is none before its end");
    }
}

#[test]
fn comments_and_names_of_events_may_stand_before_the_first_data() {
    let rest = "data:{ \"response\" : {\"id\":\t\"resp_1\",";
    for before in [
        "",
        "\n",
        ": keep-alive\n\n",
        ": a\r\n\r\n: b\r\revent: response.created\r\n",
        "dat\n",
        "id: data:\n",
    ] {
        let stream = format!("{before}{rest}");
        assert_eq!(read(IdReader::stream(), [stream.as_bytes()]).as_deref(), Some("resp_1"), "{before:?}");
    }
}

#[test]
fn an_id_that_stands_elsewhere_or_is_none_is_not_believed() {
    let long = "a".repeat(LONGEST + 1);
    for body in [
        r#"{"metadata":{"id":"resp_1"},"id":"resp_2"}"#,
        r#"{"object":"response","id":"resp_1"}"#,
        r#"[{"id":"resp_1"}]"#,
        r#"{"id":null}"#,
        r#"{"id":""}"#,
        r#"{"id":"../x"}"#,
        r#"{"id":"resp_1\n"}"#,
        r#"{"id":"résp"}"#,
        r#"{"id" "resp_1"}"#,
        &format!(r#"{{"id":"{long}"}}"#),
    ] {
        assert_eq!(read(IdReader::whole(), [body.as_bytes()]), None, "{body}");
        let stream = format!("data: {{\"response\":{body}\n\n");
        assert_eq!(read(IdReader::stream(), [stream.as_bytes()]), None, "{stream}");
    }
    for stream in [
        "data: {\"type\":\"error\"}\n\ndata: {\"response\":{\"id\":\"resp_1\"}}\n\n",
        "data: {\"response\":\ndata: {\"id\":\"resp_1\"}}\n\n",
        "data: \n\ndata: {\"response\":{\"id\":\"resp_1\"}}\n\n",
        "{\"response\":{\"id\":\"resp_1\"}}",
    ] {
        assert_eq!(read(IdReader::stream(), [stream.as_bytes()]), None, "{stream}");
    }
    assert!(is_id(&long[1..]) && !is_id(&long) && !is_id("") && !is_id("a/b") && !is_id("a%62"));
}

proptest! {
    #[test]
    fn any_bytes_have_the_same_id_in_whatever_pieces_they_come(
        before in "(: [a-z ]{0,9}\n){0,3}",
        way in prop_oneof!["data: [{]\"response\":[{]\"id\":\"", "[{]\"id\":\"", "[\"{}:id ]{0,12}"],
        id in prop_oneof!["[A-Za-z0-9_-]{1,40}", "[ -~]{0,40}"],
        after in prop::collection::vec(any::<u8>(), 0..40),
        sizes in prop::collection::vec(1_usize..9, 1..20),
    ) {
        let body = [before.as_bytes(), way.as_bytes(), id.as_bytes(), b"\"", &after].concat();
        for make in [IdReader::whole, IdReader::stream] {
            let whole = read(make(), [&body[..]]);
            let (mut rest, mut pieces) = (&body[..], Vec::new());
            for size in sizes.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (piece, others) = rest.split_at((*size).min(rest.len()));
                pieces.push(piece);
                rest = others;
            }
            prop_assert_eq!(read(make(), pieces), whole.clone());
            if let Some(found) = whole {
                prop_assert!(is_id(&found));
                if is_id(&id) && way.ends_with('"') && way.len() > 2 {
                    prop_assert_eq!(found, id.clone());
                }
            }
        }
    }
}
