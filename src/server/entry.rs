//! The way from a connection to the data plane.
//!
//! A request goes to the data plane at once. Only those of web pages, which carry an `Origin`, take the way through
//! salvo's router, where CORS is: for the others it would find the one handler that there is for every path, at a tenth of
//! what a request costs (`docs/performance.md`). What is not of the data plane goes to the router.

use std::{
    future::poll_fn,
    net::IpAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use http::{Request, Response, header::ORIGIN};
use http_body_util::BodyExt;
use salvo::{
    http::ResBody,
    hyper::{self, body::Incoming, server::conn::http1, service::Service},
    rt::tokio::TokioIo,
};
use tokio::io::{AsyncRead, AsyncWrite};

use super::{DataPlane, sent::Sent, serving::Closing, unhurried::Unhurried};

/// The most bytes of a request's line and headers. Where it says something of its own, `hygiene` is stricter.
const MAX_HEAD: usize = 48 * 1024;

/// The longest that a client may be silent inside of a body.
pub(super) const BODY_GAP: Duration = Duration::from_secs(20);

/// Serves a connection until it ends. When the server is to end, the request that is being served is its last.
pub(super) async fn serve<S, R>(stream: S, way: Way<R>, closing: Arc<Closing>)
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
    R: Router,
{
    let mut http = http1::Builder::new();
    // The server's own timer for heads would run between requests, too: `Patient` tells the two apart.
    http.header_read_timeout(None);
    http.max_buf_size(64 * 1024).max_header_size(MAX_HEAD).max_headers(64).half_close(false);
    let mut connection = http.serve_connection(TokioIo::new(stream), way);

    let begun = std::pin::pin!(closing.begun());
    let mut closes = Closes { closing: &closing, begun, asked: false };
    let ended = poll_fn(|cx| match Pin::new(&mut connection).poll(cx) {
        Poll::Ready(ended) => Poll::Ready(Some(ended)),
        Poll::Pending => closes.poll(cx).map(|()| None),
    });
    let ended = match ended.await {
        Some(ended) => ended,
        None => {
            Pin::new(&mut connection).graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection broke");
    }
}

/// Whether the server is to end, for somebody who looks often: it is asked once to wake this task, and from then on costs
/// a glance.
struct Closes<'a, F> {
    closing: &'a Closing,
    begun: Pin<&'a mut F>,
    asked: bool,
}

impl<F: Future<Output = ()>> Closes<'_, F> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.asked && !self.closing.has_begun() {
            return Poll::Pending;
        }
        self.asked = true;
        self.begun.as_mut().poll(cx)
    }
}

/// salvo's router, which has a type that has no name.
pub(super) trait Router:
    Service<Request<Incoming>, Response = Response<ResBody>, Error = hyper::Error, Future: Send + 'static>
{
}

impl<R> Router for R where
    R: Service<Request<Incoming>, Response = Response<ResBody>, Error = hyper::Error, Future: Send + 'static>
{
}

/// The way of the requests of one connection.
pub(super) struct Way<R> {
    pub(super) plane: Option<Arc<DataPlane>>,
    pub(super) peer: IpAddr,
    pub(super) router: R,
}

type Answering = Pin<Box<dyn Future<Output = hyper::Result<Response<Sent>>> + Send>>;

impl<R: Router> Service<Request<Incoming>> for Way<R> {
    type Response = Response<Sent>;
    type Error = hyper::Error;
    type Future = Answering;

    fn call(&self, request: Request<Incoming>) -> Answering {
        match &self.plane {
            Some(plane) if !request.headers().contains_key(ORIGIN) => {
                let (plane, peer) = (Arc::clone(plane), self.peer);
                Box::pin(async move {
                    let (head, body) = request.into_parts();
                    let body = Unhurried::new(body, BODY_GAP).boxed_unsync();
                    let (head, sent) = plane.serve(head, body, peer).await;
                    let mut response = Response::new(sent);
                    *response.status_mut() = head.status;
                    *response.headers_mut() = head.headers;
                    Ok(response)
                })
            }
            _ => {
                let routed = self.router.call(request);
                Box::pin(async move { Ok(routed.await?.map(Sent::Routed)) })
            }
        }
    }
}
