//! Takes one request through the engine, in the place of server, client and upstream.

use std::{
    future::{Future, pending},
    net::{IpAddr, Ipv4Addr},
    panic::AssertUnwindSafe,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use futures_util::{FutureExt, StreamExt};
use http::{HeaderMap, StatusCode, header::CONTENT_TYPE};
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use serde_json::{Value, json};
use tokio::sync::Notify;
use uuid::Uuid;
use vllm_gateway_wire::sse::Hide;

use super::{Gateway, Request, Run, request::Stays};
use crate::{
    Answer, AnswerReader, BodyLimits, Choices, Deadlines, Ending, Error, Exchange, Fingerprint, Head,
    Incoming, Outcome, Reply, RequestId, ResponseBody, Route, Target,
};

type Body = ResponseBody<UnsyncBoxBody<bytes::Bytes, std::io::Error>>;

/// What a handler gives the server.
enum Answered {
    Whole(Reply),
    Body(Head, Box<Body>, Option<usize>),
}

pub(super) async fn send(gateway: &Gateway, request: Request) -> Run {
    let stays = request.stays;
    let limits = Arc::new(BodyLimits::new(
        1 << 20,
        Duration::from_secs(5),
        1 << 24,
        Arc::new(Ending::new(Duration::ZERO)),
    ));
    let ex = exchange(request, Arc::clone(&limits));
    let id = ex.facts().id();
    let called = Notify::new();
    // Like a server, drops the handler where it stands once its client has left.
    let answered = tokio::select! {
        biased;
        answered = guarded(handle(gateway, ex, stays, &called)) => Some(answered),
        () = called.notified() => None,
    };
    let mut run = Run {
        status: 499,
        headers: HeaderMap::new(),
        chunks: Vec::new(),
        broke: false,
        logged: Vec::new(),
        error_code: String::new(),
    };
    match answered {
        None => {}
        Some(Answered::Whole(reply)) => {
            begin(&mut run, reply.head);
            run.chunks.push(text(&reply.body));
        }
        Some(Answered::Body(head, body, length)) => {
            begin(&mut run, head);
            read(&mut run, body, length, stays, &limits).await;
        }
    }
    run.error_code = error_code(&run.body());
    run.logged = logged(gateway, id);
    run
}

fn exchange(request: Request, limits: Arc<BodyLimits>) -> Exchange {
    let Request { method, path, headers, body, .. } = request;
    let mut head =
        http::Request::builder().method(method).uri(&path).body(()).expect("a path, written in a test");
    *head.headers_mut() = headers;
    let (head, ()) = head.into_parts();
    let route = Route::of_path(head.uri.path()).unwrap_or_else(|| panic!("no route has the path {path}"));
    Exchange::new(Incoming {
        head,
        body: Full::new(body).map_err(|never| match never {}).boxed_unsync(),
        limits,
        route,
        pipeline: Some("test".into()),
        client_ip: IpAddr::V4(Ipv4Addr::LOCALHOST),
        request_id: RequestId::given(format!("test-{}", Uuid::new_v4())),
    })
}

/// A panic that escapes costs its request only, as in the server.
async fn guarded(handler: impl Future<Output = Answered>) -> Answered {
    let caught = AssertUnwindSafe(handler).catch_unwind().await;
    caught.unwrap_or_else(|_panic| Answered::Whole(Error::internal().reply(crate::Api::OpenAi)))
}

async fn handle(gateway: &Gateway, mut ex: Exchange, stays: Stays, called: &Notify) -> Answered {
    if let Some(reply) = gateway.pipeline.request(&mut ex).await {
        return Answered::Whole(reply);
    }
    if ex.route().answer == Answer::Models {
        let reply = list_of_models(gateway, &ex);
        return Answered::Whole(ex.reply(reply, Outcome::Replied));
    }
    let hide = match call(gateway, &mut ex).await {
        Ok(hide) => hide,
        Err(error) => return Answered::Whole(ex.refuse(&error)),
    };
    if stays == Stays::UntilCalled {
        called.notify_one();
        pending::<()>().await;
    }
    let upstream = &gateway.upstream;
    if !upstream.reachable {
        return Answered::Whole(ex.refuse(&Error::upstream("the upstream could not be reached")));
    }
    ex.answered(Duration::ZERO);
    let mut head = upstream.head.clone();
    let reader = reader(&ex, &head, hide);
    if let Err(error) = ex.respond(&mut head) {
        return Answered::Whole(ex.refuse_unseen(&error));
    }
    let length = upstream.length;
    // Short enough for a test that waits for it, long enough for all others on a busy machine.
    let deadlines = Deadlines {
        gap: Duration::from_millis(200),
        total: Instant::now() + Duration::from_secs(30),
        heartbeat: None,
    };
    let left = length.map(|length| length as u64);
    Answered::Body(
        head,
        Box::new(ResponseBody::new(Box::new(ex), upstream.body(), reader, left, deadlines)),
        length,
    )
}

/// Everything up to the moment at which the upstream has the request. Says what the client did not ask for.
async fn call(gateway: &Gateway, ex: &mut Exchange) -> Result<Hide, Error> {
    let body = ex.body().await?;
    let hide = match (body.json(), body.form()) {
        (Some(json), _) => Hide::for_client(json.wants_usage(), json.wants_running_usage()),
        (None, Some(form)) => Hide::for_client(form.wants_usage(), form.wants_running_usage()),
        (None, None) => Hide::Nothing,
    };
    if ex.facts().target().is_none() {
        ex.route_to(Target::upstream(Arc::clone(&gateway.default_upstream)))?;
    }
    ex.before_upstream()?;
    ex.attempt(&"http://vllm.test:8000".into());
    gateway.calls.fetch_add(1, Ordering::Relaxed);
    Ok(hide)
}

fn reader(ex: &Exchange, head: &Head, hide: Hide) -> AnswerReader {
    let streams =
        head.headers.get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"));
    if streams {
        AnswerReader::stream(
            ex.route().answer,
            hide,
            Choices { several: false, n: 1 },
            Arc::new(Fingerprint::default()),
        )
    } else {
        AnswerReader::whole(ex.route().answer, None)
    }
}

fn list_of_models(gateway: &Gateway, ex: &Exchange) -> Reply {
    let consumer = ex.facts().consumer();
    let offers = gateway.models();
    let allowed = offers.iter().filter(|offer| consumer.is_none_or(|consumer| consumer.may_use(&offer.name)));
    let data: Vec<_> = allowed.map(|offer| json!({"id": offer.name, "object": "model"})).collect();
    Reply::json(StatusCode::OK, json!({"object": "list", "data": data}).to_string())
}

fn begin(run: &mut Run, head: Head) {
    run.status = head.status.as_u16();
    run.headers = head.headers;
}

/// Reads as a server does: a body of declared length is not asked again once its last byte is there.
async fn read(run: &mut Run, mut body: Box<Body>, length: Option<usize>, stays: Stays, limits: &BodyLimits) {
    let mut bytes = 0;
    while stays != Stays::ForChunks(run.chunks.len()) && length.is_none_or(|length| bytes < length) {
        if stays == Stays::UntilCut(run.chunks.len()) {
            limits.ending.cut();
        }
        match body.next().await {
            Some(Ok(chunk)) => {
                bytes += chunk.len();
                run.chunks.push(text(&chunk));
            }
            Some(Err(_broken_off)) => run.broke = true,
            None => break,
        }
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// From the whole body, or from the last event of a stream.
fn error_code(body: &str) -> String {
    let last = body.trim_end().rsplit("data: ").next().unwrap_or_default();
    let said: Value = serde_json::from_str(last).unwrap_or_default();
    said["error"]["code"].as_str().unwrap_or_default().to_owned()
}

fn logged(gateway: &Gateway, id: Uuid) -> Vec<crate::Record> {
    gateway.logged().into_iter().filter(|record| record.id == id).collect()
}
