//! Adds a greeting header to every response.
use vllm_gateway_sdk::{BuildCx, BuildError, Error, Exchange, Facts, Filter, Flow, Head};
use vllm_gateway_sdk::{Plugin, ResponseFilter, async_trait, http::HeaderValue};

#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct Options {
    /// Value of the `x-hello` response header.
    greeting: String,
}
struct Hello(HeaderValue);
impl Plugin for Hello {
    const NAME: &'static str = "hello";
    const SUMMARY: &'static str = "adds a greeting header to every response";
    type Options = Options;
    fn build(options: Options, cx: &BuildCx<'_>) -> Result<Self, BuildError> {
        let greeting = options.greeting.parse();
        Ok(Self(greeting.map_err(|_| cx.at(["greeting"], "a header value cannot hold this"))?))
    }
}
#[async_trait]
impl Filter for Hello {
    async fn on_request(&self, _: &mut Exchange) -> Result<Flow, Error> {
        Ok(Flow::Watch(Box::new(Greet(self.0.clone()))))
    }
}
struct Greet(HeaderValue);
impl ResponseFilter for Greet {
    fn on_head(&mut self, head: &mut Head, _: &Facts) {
        head.headers.append("x-hello", self.0.clone());
    }
}
vllm_gateway_sdk::register!(Hello);
