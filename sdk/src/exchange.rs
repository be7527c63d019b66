//! One request on its way through the gateway. It always has exactly one owner: dropping it ends it.

mod mirrored;

use std::{
    net::IpAddr,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{HeaderValue, StatusCode, header, request::Parts};
use http_body::Body as _;
use vllm_gateway_wire::{
    multipart::FormReader,
    peek::{Amount, FieldValue, Peek},
};

use crate::{
    BodyLimits, Consumer, Ending, Error, Facts, Fallback, Head, IncomingBody, ModelPlace, Outcome, Reply,
    RequestBody, RequestId, ResponseFilter, Route, Target, Tokens, Wants,
    body::{self, Judge},
    events::EventReader,
    response::error_event,
};

/// What an exchange begins with.
pub struct Incoming {
    /// The request's head.
    pub head: Parts,
    /// Its body, not yet read.
    pub body: IncomingBody,
    /// The bounds of the body.
    pub limits: Arc<BodyLimits>,
    /// The route of its path.
    pub route: &'static Route,
    /// The pipeline it goes through.
    pub pipeline: Option<Arc<str>>,
    /// The client's address.
    pub client_ip: IpAddr,
    /// `x-request-id`.
    pub request_id: RequestId,
}

/// One request and its response.
///
/// It is owned by the handler's future and then by the response's body. Whoever drops it, and why ever, ends it:
/// every [`ResponseFilter`] is then told, once.
pub struct Exchange {
    head: Parts,
    body: Body,
    limits: Arc<BodyLimits>,
    route: &'static Route,
    amounts: [Option<u32>; Amount::ALL.len()],
    facts: Facts,
    watchers: Vec<Box<dyn ResponseFilter>>,
    wants: Wants,
    events: Option<Box<EventReader>>,
    end: Option<Outcome>,
    /// The head of a stream has gone out before there was an answer.
    early: bool,
}

enum Body {
    Unread(IncomingBody),
    /// Being read, or reading it failed: it has no more bytes than this, if that is known.
    Begun(Option<u64>),
    Read(RequestBody),
    /// Taken, to be sent on.
    Taken,
}

/// What may be left of a request's body for the connection to be used again: more than what comes with a head is not
/// waited for.
const REMAINDER: u64 = 64 * 1024;

impl Body {
    /// Whether so much of it is still to come that its connection closes behind the answer.
    fn is_in_the_way(&self) -> bool {
        let most = match self {
            Self::Unread(incoming) => incoming.size_hint().upper(),
            Self::Begun(most) => *most,
            Self::Read(_) | Self::Taken => return false,
        };
        most.is_none_or(|most| most > REMAINDER)
    }
}

impl Exchange {
    /// An exchange that begins now.
    #[must_use]
    pub fn new(incoming: Incoming) -> Self {
        let Incoming { head, body, limits, route, pipeline, client_ip, request_id } = incoming;
        let facts = Facts::new(&head, request_id, client_ip, pipeline);
        Self {
            head,
            body: Body::Unread(body),
            limits,
            route,
            amounts: [None; Amount::ALL.len()],
            facts,
            watchers: Vec::new(),
            wants: Wants::Nothing,
            events: None,
            end: None,
            early: false,
        }
    }

    /// The request's head: method, URI and headers as the client sent them.
    #[must_use]
    pub fn request(&self) -> &Parts {
        &self.head
    }

    /// The route of the request.
    #[must_use]
    pub fn route(&self) -> &'static Route {
        self.route
    }

    /// What is known so far.
    #[must_use]
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// The whole body. Whoever asks first makes the gateway read it; so authenticate before you ask.
    pub async fn body(&mut self) -> Result<&RequestBody, Error> {
        if let Body::Unread(incoming) = &self.body {
            let begun = Body::Begun(incoming.size_hint().upper());
            let Body::Unread(incoming) = std::mem::replace(&mut self.body, begun) else {
                return Err(Error::internal());
            };
            let judge = self.judge()?;
            let declared = self.head.headers.get(header::CONTENT_LENGTH);
            let declared = declared.and_then(|length| length.to_str().ok()?.parse().ok());
            let read = &mut self.facts.request_bytes;
            let begun = Instant::now();
            self.body = Body::Read(body::read(incoming, judge, declared, &self.limits, read).await?);
            self.facts.body_wait = begun.elapsed();
            self.look_into_body()?;
        }
        match &self.body {
            Body::Read(body) => Ok(body),
            _ => Err(Error::invalid("the request body could not be read")),
        }
    }

    /// The model that the request names; `None` where it is absent, null or empty. Reads the body on first use.
    pub async fn model(&mut self) -> Result<Option<&str>, Error> {
        if self.route.model != ModelPlace::None {
            self.body().await?;
        }
        Ok(self.facts.model.as_deref())
    }

    /// Says who the request acts for.
    pub fn set_consumer(&mut self, consumer: Arc<Consumer>) {
        self.facts.consumer = Some(consumer);
    }

    /// Says which model is meant by a request that names none.
    pub fn set_model(&mut self, model: &str) {
        self.facts.model = Some(model.to_owned());
    }

    /// Says how much the request asks for in this member, whatever its body says: vLLM is sent this amount in its place.
    /// Of several filters that set it, the least counts. Bodies that are no JSON are sent as they are.
    pub fn set_amount(&mut self, amount: Amount, value: u32) {
        let set = &mut self.amounts[amount as usize];
        *set = Some(set.map_or(value, |before| before.min(value)));
    }

    /// Says where the request goes. Refused if its consumer may not use the model that it names.
    pub fn route_to(&mut self, target: Target) -> Result<(), Error> {
        let model = self.facts.model.as_deref().unwrap_or_default();
        if self.facts.consumer.as_ref().is_some_and(|consumer| !consumer.may_use(model)) {
            return Err(Error::model_not_allowed());
        }
        self.facts.target = Some(target);
        Ok(())
    }

    fn judge(&self) -> Result<Judge, Error> {
        let kind = self.head.headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
        let essence = kind.split(|b| *b == b';').next().unwrap_or_default().trim_ascii();
        if self.route.model == ModelPlace::Form {
            let wanted = "this route takes multipart/form-data with a boundary";
            if !essence.eq_ignore_ascii_case(b"multipart/form-data") {
                return Err(Error::unsupported_media_type(wanted));
            }
            let kind = std::str::from_utf8(kind).map_err(|_| Error::unsupported_media_type(wanted))?;
            let reader = FormReader::new(kind).map_err(|e| Error::invalid(e.to_string()))?;
            return Ok(Judge::Form(Box::new(reader)));
        }
        if !essence.eq_ignore_ascii_case(b"application/json") {
            return Err(Error::unsupported_media_type("this route takes application/json"));
        }
        Ok(Judge::Json(Box::new(Peek::new())))
    }

    fn look_into_body(&mut self) -> Result<(), Error> {
        let Body::Read(body) = &self.body else { return Ok(()) };
        let (field, stream) = match (body.json(), body.form()) {
            (Some(json), _) => (json.model.as_ref(), json.stream),
            (_, Some(form)) => (form.model.as_ref(), form.stream),
            (None, None) => (None, false),
        };
        self.facts.stream = stream;
        match field.map(|field| &field.value) {
            Some(FieldValue::Other) => Err(Error::invalid("`model` must be a string").param("model")),
            Some(FieldValue::Text(model)) => {
                self.facts.model = Some(model.clone());
                Ok(())
            }
            Some(FieldValue::Null | FieldValue::Empty) | None => Ok(()),
        }
    }
}

/// The engine's side: what the gateway does with an exchange, and filters do not.
impl Exchange {
    /// Lets this object follow the response.
    pub fn watch(&mut self, watcher: Box<dyn ResponseFilter>) {
        self.wants = self.wants.max(watcher.wants());
        self.watchers.push(watcher);
    }

    /// The last moment before an upstream is called. An error refuses the request, and so does a panic.
    pub fn before_upstream(&mut self) -> Result<(), Error> {
        let Self { watchers, facts, .. } = self;
        let asked = || watchers.iter_mut().rev().try_for_each(|watcher| watcher.before_upstream(facts));
        catch_unwind(AssertUnwindSafe(asked)).unwrap_or_else(|_panic| {
            tracing::error!(request_id = facts.request_id(), "a filter panicked in before_upstream");
            Err(Error::internal())
        })
    }

    /// What filters have set of the body.
    pub fn amounts(&self) -> impl Iterator<Item = (Amount, u32)> {
        Amount::ALL.into_iter().zip(self.amounts).filter_map(|(amount, set)| Some((amount, set?)))
    }

    /// An attempt at this endpoint begins.
    pub fn attempt(&mut self, endpoint: &Arc<str>) {
        self.facts.endpoint = Some(Arc::clone(endpoint));
        self.facts.attempts += 1;
        let Self { watchers, facts, .. } = self;
        for watcher in watchers.iter_mut().rev() {
            if catch_unwind(AssertUnwindSafe(|| watcher.on_attempt(facts))).is_err() {
                tracing::error!(request_id = facts.request_id(), "a filter panicked in on_attempt");
            }
        }
    }

    /// The request goes to this fallback instead, unless its consumer may not use that model; says whether it does. The
    /// model keeps the name that the client gave it, also where it named none to the upstream.
    pub fn fall_back_to(&mut self, fallback: &Fallback) -> bool {
        if self.facts.consumer.as_ref().is_some_and(|consumer| !consumer.may_use(&fallback.model)) {
            return false;
        }
        let mut target = fallback.target.clone();
        target.model.get_or_insert_with(|| Arc::clone(&fallback.model));
        self.facts.target = Some(target);
        self.facts.fallbacks += 1;
        true
    }

    /// A stream begins with this comment, before an upstream has answered.
    pub fn begin_early(&mut self, comment: &Bytes) {
        self.early = true;
        self.facts.response_bytes += comment.len() as u64;
    }

    /// Whether a stream has begun before an upstream has answered: then the client was sent 200, whatever comes.
    #[must_use]
    pub fn has_begun_early(&self) -> bool {
        self.early
    }

    /// The answer is asked for as a stream by something else than the body.
    pub fn asks_for_stream(&mut self) {
        self.facts.stream = true;
    }

    /// The upstream's head arrived, that long after it was first asked.
    pub fn answered(&mut self, wait: Duration) {
        self.facts.upstream_wait = wait;
    }

    /// The head of the response is about to go out. After a panic of a filter it must not: answer with the error.
    pub fn respond(&mut self, head: &mut Head) -> Result<(), Error> {
        catch_unwind(AssertUnwindSafe(|| self.show_head(head))).map_err(|_panic| self.panicked("on_head"))?;
        self.close_behind(head);
        Ok(())
    }

    fn show_head(&mut self, head: &mut Head) {
        let Self { watchers, facts, .. } = self;
        facts.status = Some(head.status);
        let kind = head.headers.get(header::CONTENT_TYPE);
        if self.wants == Wants::Events
            && kind.is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"))
        {
            self.events = Some(Box::default());
        }
        watchers.iter_mut().rev().for_each(|watcher| watcher.on_head(head, facts));
        facts.status = Some(if self.early { StatusCode::OK } else { head.status });
    }

    fn panicked(&mut self, hook: &str) -> Error {
        tracing::error!(request_id = self.facts.request_id(), "a filter panicked in {hook}");
        Error::internal()
    }

    /// Some bytes of the body are about to go out.
    pub fn chunk(&mut self, chunk: &mut Bytes) {
        if self.facts.first_byte.is_none() {
            self.facts.first_byte = Some(Instant::now());
        }
        if self.wants > Wants::Nothing {
            self.show(chunk);
        }
        self.facts.response_bytes += chunk.len() as u64;
    }

    fn show(&mut self, chunk: &mut Bytes) {
        let Self { watchers, facts, events, .. } = self;
        if let Some(events) = events {
            for event in events.push(chunk) {
                let wanting = watchers.iter_mut().rev().filter(|watcher| watcher.wants() == Wants::Events);
                wanting.for_each(|watcher| watcher.on_event(&event, facts));
            }
        }
        let wanting = watchers.iter_mut().rev().filter(|watcher| watcher.wants() > Wants::Nothing);
        wanting.for_each(|watcher| watcher.on_chunk(chunk, facts));
    }

    /// How it ends is settled, and its last bytes are about to go out. The first word counts.
    pub fn last(&mut self, outcome: Outcome) {
        if self.end.is_some() {
            return;
        }
        let Self { watchers, facts, .. } = self;
        for watcher in watchers.iter_mut().rev() {
            // It is settled how it ends, and one that has closed its books must not have lied.
            if catch_unwind(AssertUnwindSafe(|| watcher.on_last(facts, outcome))).is_err() {
                tracing::error!(request_id = facts.request_id(), "a filter panicked in on_last");
            }
        }
        self.end = Some(outcome);
    }

    /// Whether any filter follows the chunks.
    pub(crate) fn is_followed(&self) -> bool {
        self.wants > Wants::Nothing
    }

    /// Answers by the gateway itself. A filter that panics on it makes it a 500.
    #[must_use]
    pub fn reply(&mut self, reply: Reply, outcome: Outcome) -> Reply {
        match catch_unwind(AssertUnwindSafe(|| self.show_reply(reply, outcome))) {
            Ok(reply) => reply,
            Err(_panic) => {
                let error = self.panicked("a reply");
                self.refuse_unseen(&error)
            }
        }
    }

    fn show_reply(&mut self, mut reply: Reply, outcome: Outcome) -> Reply {
        self.show_head(&mut reply.head);
        self.close_behind(&mut reply.head);
        if !reply.body.is_empty() {
            self.chunk(&mut reply.body);
        }
        // That a refusal took some time to write says nothing of a model.
        self.facts.first_byte = None;
        self.last(outcome);
        reply
    }

    /// Answers with an error, in the shape of the route's API.
    #[must_use]
    pub fn refuse(&mut self, error: &Error) -> Reply {
        self.facts.error_code = error.code().cloned();
        let reply = if self.early {
            Reply::events(error_event(error, self.route.api, self.route.answer))
        } else {
            error.reply(self.route.api)
        };
        self.reply(reply, error.ends_as())
    }

    /// The same without showing the answer to the filters, one of which has just panicked.
    #[must_use]
    pub fn refuse_unseen(&mut self, error: &Error) -> Reply {
        let mut reply = error.reply(self.route.api);
        self.close_behind(&mut reply.head);
        self.facts.refused(error);
        if self.early {
            reply = Reply::events(error_event(error, self.route.api, self.route.answer));
            self.facts.status = Some(reply.head.status);
        }
        self.facts.first_byte = None;
        self.facts.response_bytes = reply.body.len() as u64;
        self.end = Some(error.ends_as());
        reply
    }

    /// Says that the connection closes behind this answer, where the server will close it: a client that is not told would
    /// send its next request into nothing.
    fn close_behind(&self, head: &mut Head) {
        if self.body.is_in_the_way() {
            head.headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
    }

    /// Says how the exchange ends. The first word counts.
    pub fn end(&mut self, outcome: Outcome) {
        self.end.get_or_insert(outcome);
    }

    /// Says with which code a response broke that had already begun.
    pub fn failed_with(&mut self, code: &'static str) {
        self.facts.error_code.get_or_insert(code.into());
    }

    /// Whether it has been said how it ends.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.end.is_some()
    }

    /// Says what was counted.
    pub fn count(&mut self, tokens: Tokens) {
        self.facts.tokens = tokens;
    }

    /// How long reading the body may take.
    pub(crate) fn body_deadline(&self) -> Duration {
        self.limits.deadline
    }

    /// The end of the gateway that serves it.
    #[must_use]
    pub fn ending(&self) -> &Ending {
        &self.limits.ending
    }

    /// The body, if it has been read. It is let go, and its memory with it, once nothing more is to be sent.
    pub fn take_body(&mut self) -> Option<RequestBody> {
        match std::mem::replace(&mut self.body, Body::Taken) {
            Body::Read(body) => Some(body),
            other => {
                self.body = other;
                None
            }
        }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let panicking = std::thread::panicking();
        let outcome = match self.end {
            Some(outcome) => outcome,
            // Nothing has gone out yet, so the server answers with 500.
            None if panicking && self.facts.status.is_none() => {
                self.facts.refused(&Error::internal());
                Outcome::Replied
            }
            None if panicking => Outcome::GatewayError,
            // A copy has no client that could have gone.
            None if self.ending().is_cut() || self.facts.is_mirrored() => Outcome::Interrupted,
            None => Outcome::ClientGone,
        };
        let facts = &self.facts;
        while let Some(watcher) = self.watchers.pop() {
            // One plugin's panic must cost neither another its record nor, while unwinding, the process.
            if catch_unwind(AssertUnwindSafe(|| watcher.on_complete(facts, outcome))).is_err() {
                tracing::error!(request_id = facts.request_id(), "a filter panicked in on_complete");
            }
        }
    }
}
