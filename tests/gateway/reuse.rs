//! One connection, several requests: the next answer is the right one, or there is none.

use std::time::Duration;

use serde_json::{Value, json};
use vllm_gateway_simulator::{Fault, Junk, Speed};

use crate::{
    by_hand::{ByHand, request},
    support::{PIPELINE, Setup, Stage, at, chat, upstream_of},
};

const CHAT: &str = "/v1/chat/completions";

/// Reads an answer that must be whole, and must be this request's own in every part.
async fn own(client: &mut ByHand, id: &str) -> String {
    let head = client.head().await.unwrap();
    assert_eq!(head.status, 200, "{}", head.text);
    assert!(head.text.contains(&format!("x-request-id: {id}\r\n")), "{}", head.text);
    let (body, ended) = client.rest().await;
    ended.unwrap();
    let ids = body.matches("\"id\":\"chatcmpl-").count();
    assert!(ids > 0 && ids == body.matches(&format!("\"id\":\"chatcmpl-{id}\"")).count(), "{id}: {body}");
    body
}

/// The same of a request that may have met a connection which vLLM was just closing, unannounced. Whether it was begun
/// there nobody can say, so it is not sent again.
async fn own_or_none(client: &mut ByHand, id: &str) {
    let head = client.head().await.unwrap();
    let (body, ended) = client.rest().await;
    ended.unwrap();
    assert!(head.text.contains(&format!("x-request-id: {id}\r\n")), "{}", head.text);
    match head.status {
        200 => assert!(body.contains(&format!("\"id\":\"chatcmpl-{id}\"")), "{body}"),
        _ => assert!(head.status == 502 && body.contains("\"upstream_error\""), "{} {body}", head.text),
    }
}

/// Whether vLLM hangs up behind a whole answer without having said so. A wrong length does that too, of a stream, which
/// declares none and is whole.
fn closes_unannounced(fault: Fault) -> bool {
    matches!(fault, Fault::CloseAfterAnswer | Fault::WrongLength(_))
}

fn streamed() -> Value {
    chat(json!({"stream": true}))
}

#[tokio::test]
async fn requests_sent_during_a_stream_are_answered_after_it_in_their_order() {
    let tick = Duration::from_millis(2);
    let stage = Setup::vllm(at(Speed { ttft: tick, itl: tick, jitter: 0.0 })).start().await;
    let mut client = stage.asked(CHAT, "first", &streamed()).await;
    client.head().await.unwrap();
    client.chunk().await.unwrap();
    client.send(&request(&stage.key, CHAT, "second", &chat(json!({})))).await;
    client.send(&request("sk-live-wrong", CHAT, "third", &streamed())).await;
    client.send(&request(&stage.key, CHAT, "fourth", &streamed())).await;
    let (body, ended) = client.rest().await;
    assert!(ended.is_ok() && body.ends_with("data: [DONE]\n\n") && !body.contains("second"), "{body}");
    own(&mut client, "second").await;
    assert_eq!(client.head().await.unwrap().status, 401, "each request has a key of its own");
    client.rest().await.1.unwrap();
    assert!(own(&mut client, "fourth").await.ends_with("data: [DONE]\n\n"));
    for id in ["first", "second", "fourth"] {
        assert_eq!(stage.record(id).await["outcome"], "finished", "{id}");
    }
}

fn faults() -> Vec<Fault> {
    vec![
        Fault::Reset,
        Fault::Close,
        Fault::NotHttp,
        Fault::Hang,
        Fault::Status(500),
        Fault::HangAfter(2),
        Fault::ResetAfter(2),
        Fault::TruncateAfter(2),
        Fault::GarbageAfter(2),
        Fault::CutInside(2),
        Fault::EndAfter(2),
        Fault::ErrorAfter(2),
        Fault::AbortAfter(2),
        Fault::Junk(Junk::NotSse, 2),
        Fault::Junk(Junk::HugeLine(2 << 20), 2),
        Fault::Split(7),
        Fault::CloseAfterAnswer,
        Fault::WrongLength(7),
        Fault::WrongLength(-7),
    ]
}

/// What may be asked: a stream that is rebuilt, one that passes as it is, a whole answer.
fn bodies() -> [Value; 3] {
    let all = json!({"include_usage": true, "continuous_usage_stats": true});
    [streamed(), chat(json!({"stream": true, "stream_options": all})), chat(json!({}))]
}

async fn impatient() -> Stage {
    let rest = PIPELINE.replace(
        "[upstreams.main]",
        "[upstreams.main]\nfirst_byte_timeout = \"300ms\"\ngap_timeout = \"300ms\"",
    );
    Setup::rest(&rest).start().await
}

#[tokio::test]
async fn after_any_fault_the_next_answer_on_the_connection_is_right_or_the_connection_is_closed() {
    let stage = impatient().await;
    for fault in faults() {
        for body in bodies() {
            stage.vllm.inject_once(fault);
            let mut client = stage.asked(CHAT, "first", &body).await;
            let ended = match client.head().await {
                Ok(_) => client.rest().await.1,
                Err(broke) => Err(broke),
            };
            if ended.is_ok() {
                client.send(&request(&stage.key, CHAT, "second", &streamed())).await;
                own(&mut client, "second").await;
            } else {
                let rest = client.closed().await;
                assert!(!rest.contains("HTTP/1.1"), "{fault}: {rest}");
            }
            // Nor has the connection to vLLM been left in the middle of something.
            own(&mut stage.asked(CHAT, "third", &streamed()).await, "third").await;
        }
    }
    stage.settled().await;
}

#[tokio::test]
async fn what_was_sent_ahead_is_answered_rightly_or_not_at_all() {
    let stage = impatient().await;
    for fault in faults() {
        for body in bodies() {
            stage.vllm.inject_once(fault);
            let mut client = stage.by_hand().await;
            let mut both = request(&stage.key, CHAT, "first", &body);
            both.extend(request(&stage.key, CHAT, "second", &streamed()));
            client.send(&both).await;
            let ended = match client.head().await {
                Ok(_) => client.rest().await.1,
                Err(broke) => Err(broke),
            };
            if ended.is_err() {
                let rest = client.closed().await;
                assert!(!rest.contains("HTTP/1.1"), "{fault}: {rest}");
            } else if closes_unannounced(fault) {
                own_or_none(&mut client, "second").await;
            } else {
                own(&mut client, "second").await;
            }
        }
    }
    stage.settled().await;
}

#[tokio::test]
async fn a_refusal_closes_its_connection_where_much_of_the_body_is_left_and_says_so() {
    let stage = Setup::default().start().await;
    // Judged by its key alone, and by its body as far as that came.
    let (small, large) = (json!({"model": 1}), json!({"model": 1, "x": "y".repeat(100 << 10)}));
    for (key, status, body, closes) in [
        ("sk-live-wrong", 401, &small, false),
        ("sk-live-wrong", 401, &large, true),
        (stage.key.as_str(), 400, &small, false),
    ] {
        let mut client = stage.by_hand().await;
        client.send(&request(key, CHAT, "first", body)).await;
        let head = client.head().await.unwrap();
        assert_eq!(head.status, status, "{}", head.text);
        assert_eq!(head.text.contains("connection: close\r\n"), closes, "{}", head.text);
        client.rest().await.1.unwrap();
        if !closes {
            client.send(&request(&stage.key, CHAT, "second", &streamed())).await;
            own(&mut client, "second").await;
        }
    }
}

/// An upstream that sends an answer nobody asked for: it must not become the answer to the next request.
#[tokio::test]
async fn what_an_upstream_sends_beyond_its_answer_reaches_nobody() {
    const BEYOND: &str =
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 10\r\n\r\n\"SMUGGLED\"";
    let answers = [
        format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{{}}{BEYOND}"),
        format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n\
             2\r\n{{}}\r\n0\r\n\r\n{BEYOND}"
        ),
        format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n\
             e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n{BEYOND}"
        ),
        format!("HTTP/1.1 204 No Content\r\n\r\n{BEYOND}"),
    ];
    for answer in answers {
        let upstream = upstream_of(answer.clone()).await;
        let rest = PIPELINE
            .replace("{vllm}", &format!("http://{upstream}"))
            .replace("[upstreams.main]", "[upstreams.main]\nfirst_byte_timeout = \"5s\"");
        let stage = Setup::rest(&rest).start().await;
        for _ in 0..4 {
            let answer = stage.chat(json!({"stream": answer.contains("event-stream")})).await;
            assert!(answer.status().is_success(), "{}", answer.status());
            let text = answer.text().await.unwrap();
            assert!(!text.contains("SMUGGLED"), "{text}");
        }
    }
}
