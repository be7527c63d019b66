//! One call: a connection that waits or a new one, the request, the head of the answer.

use std::{
    future::poll_fn,
    io,
    sync::Arc,
    task::{Context, Poll, ready},
};

use http::{HeaderMap, HeaderName, StatusCode};

use crate::{
    Body, Connector, Origin, Request, SendError,
    connection::Connection,
    head::{self, Head},
};

/// An answer whose head is there.
#[derive(Debug)]
pub struct Response {
    /// Its status; no interim one, but 101.
    pub status: StatusCode,
    /// The headers that were asked for.
    pub headers: HeaderMap,
    /// The body.
    pub body: Body,
}

/// Sends a request and waits for the head of its answer, of which the headers in `keep` are kept.
///
/// There is no deadline but the one for connecting: whoever calls has one for the whole. Dropping the future closes the
/// connection. Nothing is sent twice.
pub async fn send(
    connector: &Connector,
    origin: &Arc<Origin>,
    mut request: Request,
    keep: &[HeaderName],
) -> Result<Response, SendError> {
    let mut connection = match origin.pool.take() {
        Some(connection) => connection,
        None => connector.connect(origin).await.map_err(SendError::Connect)?,
    };
    let mut sending = Progress::Begun;
    let head = poll_fn(|cx| poll_head(&mut connection, &mut request, &mut sending, keep, cx)).await?;
    let reusable = head.keeps && sending == Progress::Sent;
    let home = reusable.then(|| (Arc::clone(origin), connector.most_idle));
    let body = Body::new(connection, head.framing, home);
    Ok(Response { status: head.status, headers: head.headers, body })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Progress {
    Begun,
    Sent,
    /// The server takes no more; it may have said why.
    Refused,
}

fn poll_head(
    connection: &mut Connection,
    request: &mut Request,
    sending: &mut Progress,
    keep: &[HeaderName],
    cx: &mut Context<'_>,
) -> Poll<Result<Head, SendError>> {
    if *sending == Progress::Begun {
        match request.poll_send(connection, cx) {
            Poll::Ready(Ok(())) => *sending = Progress::Sent,
            Poll::Ready(Err(_)) => *sending = Progress::Refused,
            // A server may answer before it has read everything, and then read no more.
            Poll::Pending => {}
        }
    }
    loop {
        match ready!(connection.poll_fill(cx)) {
            Ok(0) => return Poll::Ready(Err(SendError::Broke(io::ErrorKind::UnexpectedEof.into()))),
            Ok(_) => {}
            Err(error) => return Poll::Ready(Err(SendError::Broke(error))),
        }
        if let Some(head) = head::take(&mut connection.buffer, keep)? {
            return Poll::Ready(Ok(head));
        }
    }
}
