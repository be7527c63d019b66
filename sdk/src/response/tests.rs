//! When a body may go on, when it may speak for itself, and when it must be silent.
#![allow(clippy::unwrap_used)]

use std::{io, sync::Arc};

use futures_util::{FutureExt, StreamExt, stream};
use http_body::Frame;
use http_body_util::{BodyExt, Empty, StreamBody, combinators::UnsyncBoxBody};
use vllm_gateway_wire::sse::Hide;

use super::*;
use crate::{BodyLimits, Choices, Ending, Incoming, RequestId, Route};

type Upstream = UnsyncBoxBody<Bytes, io::Error>;

fn exchange() -> Exchange {
    let path = "/v1/chat/completions";
    let (head, ()) = http::Request::post(path).body(()).unwrap().into_parts();
    Exchange::new(Incoming {
        head,
        body: Empty::new().map_err(|never| match never {}).boxed_unsync(),
        limits: Arc::new(BodyLimits::new(1, Duration::ZERO, 1, Arc::new(Ending::new(Duration::ZERO)))),
        route: Route::of_path(path).unwrap(),
        pipeline: None,
        client_ip: [127, 0, 0, 1].into(),
        request_id: RequestId::new(),
    })
}

fn frames(pieces: &[&'static str]) -> impl Stream<Item = Result<Frame<Bytes>, io::Error>> + Send + use<> {
    stream::iter(pieces.to_vec()).map(|piece| Ok(Frame::data(Bytes::from_static(piece.as_bytes()))))
}

/// These pieces, then nothing more.
fn silent_after(pieces: &[&'static str]) -> Upstream {
    StreamBody::new(frames(pieces).chain(stream::pending())).boxed_unsync()
}

/// These pieces, then the connection breaks.
fn breaks_after(pieces: &[&'static str]) -> Upstream {
    StreamBody::new(frames(pieces).chain(stream::iter([Err(io::Error::other("broken"))]))).boxed_unsync()
}

fn deadlines() -> Deadlines {
    let total = Instant::now() + Duration::from_secs(600);
    Deadlines { gap: Duration::from_secs(600), total, heartbeat: Some(Duration::from_millis(1)) }
}

fn streaming(upstream: Upstream, hide: Hide, deadlines: Deadlines) -> ResponseBody<Upstream> {
    let choices = Choices { several: false, n: 1 };
    let reader = AnswerReader::stream(Answer::Completion, hide, choices, Arc::default());
    ResponseBody::new(Box::new(exchange()), upstream, reader, None, deadlines)
}

/// What comes of it until it is silent for so long, or talks too much.
async fn until_silent(body: &mut ResponseBody<Upstream>, silence: Duration) -> String {
    let mut out = String::new();
    while out.len() < 10_000
        && let Ok(Some(Ok(chunk))) = tokio::time::timeout(silence, body.next()).await
    {
        out.push_str(std::str::from_utf8(&chunk).unwrap());
    }
    out
}

const LONG: Duration = Duration::from_millis(40);

#[tokio::test]
async fn a_client_that_takes_its_time_meets_the_deadline_though_the_upstream_is_always_ready() {
    let endless = stream::repeat_with(|| Ok(Frame::data(Bytes::from_static(b"data: {}\n\n"))));
    let total = Instant::now() + Duration::from_millis(20);
    let upstream = StreamBody::new(endless).boxed_unsync();
    let mut body = streaming(upstream, Hide::Nothing, Deadlines { total, ..deadlines() });
    let mut last = Bytes::new();
    loop {
        match body.next().await.unwrap() {
            Ok(chunk) => last = chunk,
            Err(BrokenOff) => break,
        }
        assert!(Instant::now() < total + Duration::from_secs(5), "it goes on and on");
    }
    assert!(last.starts_with(b"data: {\"error\"") && last.ends_with(b"}\n\n"), "{last:?}");
}

#[tokio::test]
async fn a_silent_stream_carries_comments_between_its_events_only() {
    for hide in [Hide::Nothing, Hide::All] {
        let whole = "data: {\"choices\":[]}\n\n";
        let mut body = streaming(silent_after(&[whole]), hide, deadlines());
        assert_eq!(body.next().await.unwrap().unwrap(), whole);
        for _ in 0..3 {
            assert_eq!(body.next().await.unwrap().unwrap(), HEARTBEAT);
        }
        assert_eq!(
            body.exchange().facts().response_bytes,
            whole.len() as u64,
            "comments are not the answer's"
        );
    }
    for begun in ["d", "data: {}", "data: {}\n", "event: x\n", "data: {}\r\n", "data: {}\r\n\r", "\u{feff}"] {
        let mut body = streaming(silent_after(&[begun]), Hide::Nothing, deadlines());
        assert_eq!(until_silent(&mut body, LONG).await, begun, "an event that has begun is not interrupted");
    }
}

#[tokio::test]
async fn what_is_held_back_of_an_event_does_not_silence_the_stream() {
    let mut body = streaming(silent_after(&["data: {\"choi"]), Hide::All, deadlines());
    assert_eq!(body.next().await.unwrap().unwrap(), HEARTBEAT);
}

#[tokio::test]
async fn no_comment_follows_the_last_event() {
    let done = "data: [DONE]\n\n";
    let mut body = streaming(silent_after(&[done]), Hide::Nothing, deadlines());
    assert_eq!(until_silent(&mut body, LONG).await, done);
}

#[tokio::test]
async fn a_comment_does_not_put_off_a_deadline() {
    let gap = Duration::from_millis(50);
    let heartbeat = Some(Duration::from_millis(5));
    let mut body = streaming(silent_after(&[]), Hide::Nothing, Deadlines { gap, heartbeat, ..deadlines() });
    let begun = Instant::now();
    let out = until_silent(&mut body, Duration::from_secs(10)).await;
    assert!(out.starts_with(": heartbeat\n\n") && out.contains("\"upstream_timeout\""), "{out}");
    assert!(begun.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn a_silent_answer_that_is_cut_off_says_so_where_it_may() {
    let silent = || Deadlines { heartbeat: None, ..deadlines() };
    for (begun, told) in [(&["data: {}\n\n"][..], true), (&["data: {"][..], false)] {
        let mut body = streaming(silent_after(begun), Hide::Nothing, silent());
        assert_eq!(until_silent(&mut body, LONG).await, begun.concat());
        body.exchange().ending().cut();
        let rest = until_silent(&mut body, Duration::from_secs(10)).await;
        assert_eq!(rest.contains("\"shutting_down\""), told, "{begun:?} then {rest:?}");
    }
}

#[tokio::test]
async fn nothing_is_added_to_whole_answers_and_to_streams_of_declared_length() {
    let whole = AnswerReader::whole(Answer::Completion, None);
    let mut body = ResponseBody::new(Box::new(exchange()), silent_after(&["{"]), whole, None, deadlines());
    assert_eq!(until_silent(&mut body, LONG).await, "{");
    let choices = Choices { several: false, n: 1 };
    let reader = AnswerReader::stream(Answer::Completion, Hide::Nothing, choices, Arc::default());
    let mut body =
        ResponseBody::new(Box::new(exchange()), silent_after(&[": a\n\n"]), reader, Some(100), deadlines());
    assert_eq!(until_silent(&mut body, LONG).await, ": a\n\n");
}

#[tokio::test]
async fn an_upstream_that_speaks_is_not_spoken_over() {
    let events = frames(&["data: {}\n\n"; 20]).then(|frame| async {
        tokio::time::sleep(Duration::from_millis(2)).await;
        frame
    });
    let upstream = StreamBody::new(events.chain(stream::pending())).boxed_unsync();
    let heartbeat = Some(Duration::from_secs(600));
    let mut body = streaming(upstream, Hide::Nothing, Deadlines { heartbeat, ..deadlines() });
    for _ in 0..20 {
        assert_eq!(body.next().await.unwrap().unwrap(), "data: {}\n\n");
    }
    assert!(body.next().now_or_never().is_none());
}

/// A client takes `data: [DONE]` for the end, whatever the blank line behind it is followed by.
#[tokio::test]
async fn an_event_that_lacks_its_blank_line_is_not_completed_by_the_word_of_the_break() {
    for begun in ["data: {}\n", "data: [DONE]\n", "event: message_stop\n", "data: [DONE]\r\n", "data: [DON"] {
        let mut body = streaming(breaks_after(&[begun]), Hide::Nothing, deadlines());
        assert_eq!(body.next().await.unwrap().unwrap(), begun);
        assert!(body.next().await.unwrap().is_err(), "{begun:?}");
    }
    for begun in ["data: {}\n\n", ": comment\n", "data: {}\r\n\r\ndata: 1\n\n"] {
        let mut body = streaming(breaks_after(&[begun]), Hide::Nothing, deadlines());
        assert_eq!(body.next().await.unwrap().unwrap(), begun);
        let told = body.next().await.unwrap().unwrap();
        assert!(told.starts_with(b"data: {\"error\""), "{begun:?}: {told:?}");
        assert!(body.next().await.unwrap().is_err(), "{begun:?}");
    }
}

#[tokio::test]
async fn an_answer_that_ends_before_its_declared_length_has_broken_and_nothing_fills_it_up() {
    let ends_after = |pieces: &[&'static str]| StreamBody::new(frames(pieces)).boxed_unsync();
    let whole = AnswerReader::whole(Answer::Completion, None);
    let mut body = ResponseBody::new(Box::new(exchange()), ends_after(&["{}"]), whole, Some(3), deadlines());
    assert_eq!(body.next().await.unwrap().unwrap(), "{}");
    assert!(body.next().await.unwrap().is_err());
    for broken in [ends_after(&["data: {}\n\n"]), breaks_after(&["data: {}\n\n"])] {
        let choices = Choices { several: false, n: 1 };
        let reader = AnswerReader::stream(Answer::Completion, Hide::Nothing, choices, Arc::default());
        let mut body = ResponseBody::new(Box::new(exchange()), broken, reader, Some(100), deadlines());
        assert_eq!(body.next().await.unwrap().unwrap(), "data: {}\n\n");
        assert!(body.next().await.unwrap().is_err());
    }
}

#[tokio::test]
async fn a_body_of_no_bytes_is_whole_before_anybody_asks_for_it() {
    for reader in [
        AnswerReader::whole(Answer::Completion, None),
        AnswerReader::stream(Answer::Completion, Hide::All, Choices { several: false, n: 1 }, Arc::default()),
    ] {
        let body = ResponseBody::new(Box::new(exchange()), silent_after(&[]), reader, Some(0), deadlines());
        assert!(body.exchange().has_ended());
    }
}
