//! One connection: request after request, until somebody closes it.

use std::future::pending;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::Method;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::api::{Cx, Reply, handle};
use crate::error::{ApiError, ENGINE_DIED};
use crate::fault::{After, Before};
use crate::gate;
use crate::http1::{
    Answer, Common, HeadError, Inbox, Interrupt, RequestHead, Wire, drain, read_body, read_head,
};
use crate::router::{Route, handler};
use crate::seen::Seen;
use crate::shared::{Load, OpenConnection, Shared};

/// Serves a connection to its end.
pub(crate) async fn serve(shared: Arc<Shared>, socket: TcpStream, open: OpenConnection) {
    let mut hang_ups = shared.hang_ups.subscribe();
    if shared.is_stopping() {
        // Accepted in the last moment: the signal was given before anybody here listened for it.
        return;
    }
    let mut connection =
        Connection { shared: &shared, socket: &socket, inbox: Inbox::default(), number: open.number };
    tokio::select! {
        biased;
        _ = hang_ups.changed() => {}
        () = connection.converse() => {}
    }
}

struct Connection<'c> {
    shared: &'c Arc<Shared>,
    socket: &'c TcpStream,
    inbox: Inbox,
    number: u64,
}

/// Whether the connection can go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    Request,
    Close,
}

impl Connection<'_> {
    async fn converse(&mut self) {
        let mut idle = None;
        loop {
            match read_head(&mut self.inbox, self.socket, idle).await {
                Ok(head) => {
                    if self.exchange(head).await == Next::Close {
                        return;
                    }
                }
                Err(HeadError::Closed) => return,
                Err(HeadError::Invalid) => return self.refuse().await,
            }
            // Only between requests: the first may take its time.
            idle = Some(self.shared.options.keep_alive);
        }
    }

    /// What uvicorn says to bytes that are not HTTP (r09).
    async fn refuse(&mut self) {
        let plan = crate::fault::Plan::default();
        let mut wire = Wire::new(self.socket, &plan, Common { close: true, ..Common::default() });
        let body = "Invalid HTTP request received.";
        let length = ("content-length", body.len().to_string());
        let answer = Answer { vary: false, ..Answer::text(400, body) };
        // Here, and only here, the type comes before the length.
        let head = String::from_utf8_lossy(&answer.head(&wire.common, 0))
            .replace("content-length: 0\r\n", "")
            .replace("connection:", &format!("{}: {}\r\nconnection:", length.0, length.1));
        let _ = wire.raw(&[head.as_bytes(), body.as_bytes()].concat()).await;
    }

    async fn exchange(&mut self, head: RequestHead) -> Next {
        let received_at = Instant::now();
        let shared = self.shared;
        let plan = match shared.faults.plan(&head, shared.options.faults_by_header) {
            Ok(plan) => plan,
            Err(error) => return self.misspelled(&error.to_string()).await,
        };
        let mut wire = Wire::new(self.socket, &plan, gate::common(shared, &head));
        wire.head_only = head.method == Method::HEAD;
        let replay = shared.current_replay();
        let passed = gate::pass(shared, &head);

        // What is answered by the head alone leaves the body where it is.
        let unread = replay.is_none() && passed.is_err();
        let body = if unread {
            Bytes::new()
        } else {
            if head.expects_continue() && wire.raw(b"HTTP/1.1 100 Continue\r\n\r\n").await.is_err() {
                return Next::Close;
            }
            match read_body(&mut self.inbox, self.socket, head.framing).await {
                Ok(body) => body,
                Err(_) => return Next::Close,
            }
        };
        shared.seen.add(|| Seen {
            method: head.method.clone(),
            path: head.target.clone(),
            minor_version: head.minor_version,
            headers: head.headers.clone(),
            head: head.raw.clone(),
            body: body.clone(),
            received_at,
            connection: self.number,
        });
        shared.changed.notify_waiters();

        let cx = Cx { shared, head: &head, body, plan: &plan };
        let work = async {
            let work = match (&replay, passed) {
                (Some(replay), _) => replay.play(&cx, &mut wire).await,
                (None, passed) => respond(&cx, passed, &mut wire).await,
            };
            match work {
                Err(Interrupt::Trip(after)) => carry_out(after, &mut wire, self.socket).await,
                Err(Interrupt::Gone) => Next::Close,
                Ok(()) => Next::Request,
            }
        };
        let next = tokio::select! {
            biased;
            () = self.inbox.gone(self.socket) => Next::Close,
            next = work => next,
        };
        let ends = head.wants_close() || plan.close_after_answer || plan.wrong_length != 0;
        if next == Next::Close || ends {
            return Next::Close;
        }
        if unread {
            // Without its `100 Continue` the client may or may not send the body: no telling what comes next.
            if head.expects_continue() {
                return Next::Close;
            }
            // A body that does not come keeps the connection no longer than silence would.
            let rest = drain(&mut self.inbox, self.socket, head.framing);
            if !matches!(timeout(shared.options.keep_alive, rest).await, Ok(Ok(()))) {
                return Next::Close;
            }
        }
        Next::Request
    }

    async fn misspelled(&mut self, error: &str) -> Next {
        let plan = crate::fault::Plan::default();
        let mut wire = Wire::new(self.socket, &plan, Common { close: true, ..Common::default() });
        let _ = wire.answer(&ApiError::bad(format!("x-simulate: {error}")).answer()).await;
        Next::Close
    }
}

/// Answers a request, with what a fault puts in front of it.
async fn respond(cx: &Cx<'_>, passed: Result<Route, Answer>, wire: &mut Wire<'_>) -> Result<(), Interrupt> {
    if let Some(delay) = cx.plan.delay {
        sleep(delay).await;
    }
    match cx.plan.before {
        Some(Before::Hang) => pending().await,
        Some(Before::Reset) => return Err(Interrupt::Trip(After::Reset)),
        Some(Before::Close) => return Err(Interrupt::Gone),
        Some(Before::NotHttp) => {
            wire.raw(b"\x16\x03\x01 this is not HTTP\r\n\r\n").await?;
            return Err(Interrupt::Gone);
        }
        None => {}
    }
    let reply = match (cx.plan.status, passed) {
        (Some(status), _) => Reply::of(ApiError::scripted(status).answer()),
        (None, Err(answer)) => Reply::of(answer),
        (None, Ok(route)) => {
            let counted = cx.shared.options.load_tracking && cx.head.method == Method::POST;
            let _load = counted.then(|| Load::new(&cx.shared.metrics));
            handle(cx, route, wire).await?
        }
    };
    let Some(mut answer) = reply.answer else {
        cx.shared.metrics.answered(handler(&cx.shared.options, &cx.head.path), cx.head.method.as_str(), 200);
        return Ok(());
    };
    if let Some((_, After::Error)) = cx.plan.after {
        answer = ApiError::internal(ENGINE_DIED).answer();
    }
    cx.shared.metrics.answered(
        handler(&cx.shared.options, &cx.head.path),
        cx.head.method.as_str(),
        answer.status,
    );
    wire.answer(&answer).await?;
    if let Some(live) = reply.live {
        live.all_sent();
    }
    Ok(())
}

/// Does what a tripped fault wants done to the connection.
async fn carry_out(after: After, wire: &mut Wire<'_>, socket: &TcpStream) -> Next {
    let streaming = wire.is_streaming();
    let done = match after {
        After::End if streaming => wire.finish_events().await.map(|()| Next::Request),
        After::Error if streaming => wire.finish_with_error(ENGINE_DIED).await.map(|()| Next::Request),
        _ => wire.flush().await.map(|()| Next::Close),
    };
    match after {
        After::Hang => pending().await,
        After::Reset => {
            let _ = socket.set_zero_linger();
        }
        _ => {}
    }
    done.unwrap_or(Next::Close)
}
