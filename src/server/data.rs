//! The data plane: from the head of a request to an exchange, and from its answer back.

use std::{net::IpAddr, panic::AssertUnwindSafe, pin::pin, sync::Arc};

use futures_util::FutureExt;
use http::{
    HeaderMap, HeaderValue, Method, StatusCode,
    header::{CONNECTION, CONTENT_TYPE},
    request::Parts,
};
use http_body_util::BodyExt;
use salvo::{Depot, FlowCtrl, Handler, Request, Response, async_trait};
use vllm_gateway_directory::Directory;
use vllm_gateway_sdk::{
    Answer, Api, DurationText, Error, Exchange, Facts, Head, Incoming, IncomingBody, Outcome, Reply,
    RequestId, Route, Services,
};

use super::{hygiene, ip_of, models, sent::Sent};
use crate::{
    gateway::{Current, Drain, Runtime},
    proxy::{Answered, dispatch, dispatch_stored},
    responses::Responses,
    telemetry::metrics::{Measure, metrics},
};

/// Serves OpenAI clients.
pub(crate) struct DataPlane {
    pub(crate) current: Arc<Current>,
    pub(crate) services: Services,
    pub(crate) apps: Arc<Directory>,
    pub(crate) drain: Arc<Drain>,
    /// One table for all threads.
    pub(crate) responses: Arc<Responses>,
}

/// The data plane behind salvo's router.
pub(crate) struct Routed(pub(crate) Arc<DataPlane>);

#[async_trait]
impl Handler for Routed {
    async fn handle(&self, req: &mut Request, _: &mut Depot, res: &mut Response, _: &mut FlowCtrl) {
        if res.status_code.is_some() {
            // A browser's preflight, which the CORS hoop has answered.
            return;
        }
        let body = req.take_body().map_err(Into::into).boxed_unsync();
        let peer = ip_of(req.remote_addr());
        let (head, sent) = self.0.serve(head_of(req), body, peer).await;
        res.status_code = Some(head.status);
        res.headers_mut().extend(head.headers);
        res.body = sent.into();
    }
}

impl DataPlane {
    /// Serves one request, whose connection comes from this address.
    pub(super) async fn serve(&self, head: Parts, body: IncomingBody, peer: IpAddr) -> (Head, Sent) {
        let request_id = request_id(&head.headers);
        let id_header = HeaderValue::from_str(request_id.as_str());
        // What a filter does wrong is caught nearer to it; this is for the gateway's own mistakes.
        let answered = {
            // It stays where it is: it holds the whole way of a request, and would be copied into each wrapper.
            let answer = pin!(self.answer(head, body, peer.to_canonical(), request_id));
            AssertUnwindSafe(answer).catch_unwind().await
        };
        let (mut head, sent) =
            match answered.unwrap_or_else(|_panic| Answered::Reply(Error::internal().reply(Api::OpenAi))) {
                Answered::Reply(Reply { mut head, body }) => {
                    let json = || HeaderValue::from_static("application/json");
                    head.headers.entry(CONTENT_TYPE).or_insert_with(json);
                    (head, Sent::Whole(body))
                }
                Answered::Response(head, body) => (head, Sent::Upstream(body)),
                Answered::Early(head, body) => (head, Sent::Early(body)),
            };
        if let Ok(id) = id_header {
            head.headers.insert("x-request-id", id);
        }
        (head, sent)
    }

    async fn answer(&self, head: Parts, body: IncomingBody, peer: IpAddr, request_id: RequestId) -> Answered {
        let runtime = self.current.load();
        let client_ip = runtime.client_ip(peer, &head.headers);
        let sound = hygiene::check(&head);
        let is_sound = sound.is_ok();
        if is_sound && head.method == Method::GET {
            match head.uri.path() {
                "/health" => return Answered::Reply(Reply::json(StatusCode::OK, r#"{"status":"ok"}"#)),
                "/ready" => return Answered::Reply(self.ready().await),
                _ => {}
            }
        }
        let placed = match sound {
            _ if self.drain.ending().has_begun() => Err(draining()),
            Ok(()) => place(&runtime, &head),
            Err(error) => Err(error),
        };
        let (route, pipeline) = match placed {
            Ok(placed) => placed,
            Err(error) => {
                let mut reply =
                    self.refuse_before_pipeline(&runtime, &head, client_ip, request_id, &error).await;
                metrics().refused(reply.head.status.as_u16());
                if !is_sound {
                    // Whoever is in front of the gateway may see its end elsewhere: nothing behind it is read.
                    reply.head.headers.insert(CONNECTION, HeaderValue::from_static("close"));
                }
                return Answered::Reply(reply);
            }
        };
        let mut ex = Box::new(Exchange::new(Incoming {
            head,
            body,
            limits: Arc::clone(&runtime.limits),
            route,
            pipeline: Some(Arc::clone(&pipeline.name)),
            client_ip,
            request_id,
        }));
        ex.watch(Box::new(Measure::new(&self.drain)));
        if let Some(reply) = pipeline.request(&mut ex).await {
            return Answered::Reply(reply);
        }
        if route.answer == Answer::Models {
            let reply = models::list(&runtime, pipeline, models::Asked::of(&ex)).await;
            return Answered::Reply(match reply {
                Ok(reply) => ex.reply(reply, Outcome::Replied),
                Err(error) => ex.refuse(&error),
            });
        }
        let heartbeat = runtime.config.server.heartbeat.map(DurationText::get);
        if route.answer == Answer::Stored {
            return Box::pin(dispatch_stored(ex, &runtime, &self.responses, heartbeat)).await;
        }
        let upstream = ex.facts().target().and_then(|target| runtime.upstream(&target.upstream));
        match upstream {
            Some(upstream) => dispatch(ex, &upstream, &runtime, &self.responses, heartbeat).await,
            None => {
                tracing::error!(pipeline = &*pipeline.name, "no filter said where the request goes");
                Answered::Reply(ex.refuse(&Error::internal()))
            }
        }
    }

    async fn ready(&self) -> Reply {
        if self.drain.ending().has_begun() {
            return draining().reply(Api::OpenAi);
        }
        if !self.apps.is_ready() {
            let message =
                "the apps are not known: the store was never read, or too long ago ([store] max_staleness)";
            return Error::unavailable("not_ready", message).reply(Api::OpenAi);
        }
        // Whoever cannot be recorded is refused. The ticket gives its room back when it is dropped.
        if self.current.load().keeps_records
            && let Err(full) = self.services.records.ticket().await
        {
            return full.reply(Api::OpenAi);
        }
        Reply::json(StatusCode::OK, r#"{"status":"ready"}"#)
    }

    /// A request that no pipeline sees has a record all the same, where any are kept.
    async fn refuse_before_pipeline(
        &self,
        runtime: &Runtime,
        head: &Parts,
        client_ip: IpAddr,
        request_id: RequestId,
        error: &Error,
    ) -> Reply {
        let api = if head.uri.path().starts_with("/v1/messages") { Api::Anthropic } else { Api::OpenAi };
        if !runtime.keeps_records {
            return error.reply(api);
        }
        match self.services.records.ticket().await {
            Ok(mut ticket) => {
                let mut facts = Facts::new(head, request_id, client_ip, None);
                facts.refused(error);
                ticket.close(&facts, Outcome::Replied);
                error.reply(api)
            }
            Err(full) => full.reply(api),
        }
    }
}

fn place<'a>(
    runtime: &'a Runtime,
    head: &Parts,
) -> Result<(&'static Route, &'a Arc<vllm_gateway_sdk::Pipeline>), Error> {
    let route = Route::of_path(head.uri.path()).ok_or_else(Error::not_found)?;
    let pipeline = runtime.pipeline_of(route).ok_or_else(Error::not_found)?;
    if !route.takes(&head.method) {
        return Err(Error::method_not_allowed(route.allow()));
    }
    Ok((route, pipeline))
}

fn draining() -> Error {
    Error::unavailable("draining", "the gateway is shutting down: ask another one")
}

fn head_of(req: &mut Request) -> Parts {
    let mut head = http::Request::new(()).into_parts().0;
    head.version = req.version();
    head.method = std::mem::take(req.method_mut());
    head.uri = std::mem::take(req.uri_mut());
    head.headers = std::mem::take(req.headers_mut());
    head
}

/// The client's own id, if it is a sane one; else a new one. A key that somebody put there by mistake is none: ids go to
/// vLLM, into logs, and back.
fn request_id(headers: &HeaderMap) -> RequestId {
    let mut given = headers.get_all("x-request-id").iter();
    let sane = |id: &&str| {
        (1..=128).contains(&id.len())
            && id.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b':'))
            && !id.as_bytes().windows(8).any(|part| part.eq_ignore_ascii_case(b"sk-live-"))
    };
    match (given.next().and_then(|id| id.to_str().ok()).filter(sane), given.next()) {
        (Some(id), None) => RequestId::given(id),
        _ => RequestId::new(),
    }
}
