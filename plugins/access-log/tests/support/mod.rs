//! Filters that misbehave, to stand beside the access log.
#![allow(dead_code, reason = "each test file uses a part of this")]

use schemars::JsonSchema;
use serde::Deserialize;
use vllm_gateway_access_log as _;
use vllm_gateway_auth as _;
use vllm_gateway_model_route as _;
use vllm_gateway_sdk::{
    BuildCx, BuildError, Bytes, Error, Event, Exchange, Facts, Filter, Flow, Head, Outcome, Plugin, Reply,
    ResponseFilter, Wants, async_trait,
    http::StatusCode,
    register,
    testkit::{self, Gateway},
};

/// A pipeline with these filters, an app named `acme`, and tables for those that have options.
pub(crate) fn gateway(filters: &str, options: &str) -> Gateway {
    testkit::pipeline(&format!("filters = [{filters}]\n{options}")).app("acme", |app| app)
}

/// The pipeline that the reference configuration has.
pub(crate) fn reference() -> Gateway {
    gateway(r#""access-log", "auth", "model-route""#, "[model-route]\nmodels = { \"Qwen3-32B\" = \"vllm\" }")
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Options {
    /// The hook to panic in.
    hook: Hook,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Hook {
    Request,
    BeforeUpstream,
    Head,
    Chunk,
    Event,
    Last,
    Complete,
}

/// Panics in the hook that it is told.
struct Panics(Hook);

impl Plugin for Panics {
    const NAME: &'static str = "panics";
    const SUMMARY: &'static str = "panics in the hook that it is told";
    type Options = Options;

    fn build(options: Options, _: &BuildCx<'_>) -> Result<Self, BuildError> {
        Ok(Self(options.hook))
    }
}

#[async_trait]
impl Filter for Panics {
    async fn on_request(&self, _: &mut Exchange) -> Result<Flow, Error> {
        self.now(Hook::Request);
        Ok(Flow::Watch(Box::new(Self(self.0))))
    }
}

impl Panics {
    fn now(&self, hook: Hook) {
        assert!(self.0 != hook, "this filter panics in {hook:?}, as it was told to");
    }
}

impl ResponseFilter for Panics {
    fn before_upstream(&mut self, _: &Facts) -> Result<(), Error> {
        self.now(Hook::BeforeUpstream);
        Ok(())
    }
    fn on_head(&mut self, _: &mut Head, _: &Facts) {
        self.now(Hook::Head);
    }
    fn wants(&self) -> Wants {
        Wants::Events
    }
    fn on_chunk(&mut self, _: &mut Bytes, _: &Facts) {
        self.now(Hook::Chunk);
    }
    fn on_event(&mut self, _: &Event, _: &Facts) {
        self.now(Hook::Event);
    }
    fn on_last(&mut self, _: &Facts, _: Outcome) {
        self.now(Hook::Last);
    }
    fn on_complete(self: Box<Self>, _: &Facts, _: Outcome) {
        self.now(Hook::Complete);
    }
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct NoOptions {}

/// Answers by itself.
struct Answers;

impl Plugin for Answers {
    const NAME: &'static str = "answers";
    const SUMMARY: &'static str = "answers by itself";
    type Options = NoOptions;

    fn build(NoOptions {}: NoOptions, _: &BuildCx<'_>) -> Result<Self, BuildError> {
        Ok(Self)
    }
}

#[async_trait]
impl Filter for Answers {
    async fn on_request(&self, _: &mut Exchange) -> Result<Flow, Error> {
        Ok(Flow::Reply(Reply::text(StatusCode::OK, "from memory")))
    }
}

/// Refuses at the last moment before the upstream is called.
struct Hesitates;

impl Plugin for Hesitates {
    const NAME: &'static str = "hesitates";
    const SUMMARY: &'static str = "refuses at the last moment";
    type Options = NoOptions;

    fn build(NoOptions {}: NoOptions, _: &BuildCx<'_>) -> Result<Self, BuildError> {
        Ok(Self)
    }
}

#[async_trait]
impl Filter for Hesitates {
    async fn on_request(&self, _: &mut Exchange) -> Result<Flow, Error> {
        Ok(Flow::Watch(Box::new(Self)))
    }
}

impl ResponseFilter for Hesitates {
    fn before_upstream(&mut self, _: &Facts) -> Result<(), Error> {
        Err(Error::rate_limited("not now", 7))
    }
}

register!(Panics);
register!(Answers);
register!(Hesitates);
