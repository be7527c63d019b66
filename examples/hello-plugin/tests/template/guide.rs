//! The pieces of code that the guide shows beside the template, compiled and run.

use std::sync::{
    Arc, Once, Weak,
    atomic::{AtomicU32, Ordering},
};

use vllm_gateway_sdk::{
    BuildCx, BuildError, Error, Exchange, Fact, Filter, Flow, ModelOffer, Plugin, Reply, Services, Target,
    async_trait,
    http::{HeaderValue, StatusCode},
    register, testkit,
};

use crate::GUIDE;

const SOURCE: &str = include_str!("guide.rs");

#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct Options {
    /// The one model.
    model: String,
    /// Where it is served.
    upstream: String,
}

/// Routes one model, and is closed to others.
struct Only {
    offer: ModelOffer,
    begun: Once,
    state: Arc<AtomicU32>,
}

impl Plugin for Only {
    const NAME: &'static str = "only";
    const SUMMARY: &'static str = "routes one model";
    const PROVIDES: &'static [Fact] = &[Fact::Target];
    const REJECTS: &'static [u16] = &[200, 403];
    type Options = Options;
    fn build(options: Options, cx: &BuildCx<'_>) -> Result<Self, BuildError> {
        let upstream = cx.upstream(&options.upstream).map_err(|error| error.at(["upstream"]))?;
        let offer = ModelOffer::new(options.model, Target::upstream(upstream));
        Ok(Self { offer, begun: Once::new(), state: Arc::default() })
    }
}

#[async_trait]
impl Filter for Only {
    async fn on_request(&self, ex: &mut Exchange) -> Result<Flow, Error> {
        match ex.model().await? {
            Some("closed") => {
                let mut reply = Reply::json(StatusCode::OK, r#"{"status":"closed on Sundays"}"#); // or Reply::text(…)
                reply.head.headers.insert("x-day", HeaderValue::from_static("sunday"));
                Ok(Flow::Reply(reply))
            }
            Some(model) if *model == *self.offer.name => {
                ex.route_to(self.offer.target.clone())?;
                Ok(Flow::Continue)
            }
            _ => Err(Error::forbidden("outside_hours", "come back at 8")),
        }
    }

    fn models(&self) -> Vec<ModelOffer> {
        vec![self.offer.clone()]
    }

    fn on_start(&self, _: &Services) {
        self.begun.call_once(|| {
            tokio::spawn(look_after(Arc::downgrade(&self.state)));
        });
    }
}

register!(Only);

async fn look_after(state: Weak<AtomicU32>) {
    tokio::task::yield_now().await;
    if let Some(state) = state.upgrade() {
        state.fetch_add(1, Ordering::SeqCst);
    }
}

const PIPELINE: &str = "filters = [\"only\"]\n[only]\nmodel = \"m\"\nupstream = \"vllm\"";

#[test]
fn the_guide_shows_code_that_is_compiled_here() {
    let unindented = |text: &str| text.lines().map(str::trim).collect::<Vec<_>>().join("\n");
    let (_, chapter) = GUIDE.split_once("## What else a filter can do\n").unwrap_or_default();
    let (chapter, _) = chapter.split_once("\n## ").unwrap_or_default();
    let pieces: Vec<&str> =
        chapter.split("```rust\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert_eq!(pieces.len(), 5);
    for piece in pieces {
        assert!(unindented(SOURCE).contains(&unindented(piece)), "tests/template/guide.rs has not:\n{piece}");
    }
}

#[tokio::test]
async fn a_filter_answers_refuses_and_routes() {
    let gateway = testkit::pipeline(PIPELINE);
    let run = gateway.send(testkit::chat("closed")).await;
    assert_eq!((run.status(), run.header("x-day")), (200, Some("sunday")));
    assert_eq!(run.body(), r#"{"status":"closed on Sundays"}"#);
    let run = gateway.send(testkit::chat("another")).await;
    assert_eq!((run.status(), run.error_code()), (403, "outside_hours"));
    assert_eq!(gateway.upstream_calls(), 0);
    assert_eq!(gateway.send(testkit::chat("m")).await.status(), 200);
    assert_eq!(gateway.upstream_calls(), 1);
}

#[tokio::test]
async fn a_filter_says_which_models_it_routes_and_knows_a_wrong_upstream() {
    let models = testkit::pipeline(PIPELINE).models();
    assert_eq!(models.iter().map(|offer| &*offer.name).collect::<Vec<_>>(), ["m"]);
    let problems = testkit::problems(&PIPELINE.replace("vllm", "vlm"));
    assert_eq!(problems, ["4:12: no upstream named `vlm` (did you mean `vllm`?)"]);
}

#[tokio::test]
async fn work_begins_once_however_often_a_configuration_comes_into_force() {
    let services = Services::inert();
    let options = Options { model: "m".to_owned(), upstream: "vllm".to_owned() };
    let only = Only::build(options, &BuildCx::new("only", &services, &["vllm"])).unwrap();
    only.on_start(&services);
    only.on_start(&services);
    // On this runtime of one thread, tasks that were spawned run before one that yields goes on.
    for _ in 0..4 {
        tokio::task::yield_now().await;
    }
    assert_eq!(only.state.load(Ordering::SeqCst), 1);
}
