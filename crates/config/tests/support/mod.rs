//! Small plugins under the names of the real ones, so that these tests hold whatever the real ones can.
#![allow(dead_code)] // every test binary takes a part of it only

use std::collections::BTreeMap;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use vllm_gateway_sdk::{
    BuildCx, BuildError, DurationText, Error, Exchange, Fact, Filter, Flow, ModelOffer, Plugin, SecretRef,
    Target, register,
};

/// A filter of the kind named by the type, which does nothing with requests.
macro_rules! passes {
    ($filter:ident) => {
        #[async_trait]
        impl Filter for $filter {
            async fn on_request(&self, _: &mut Exchange) -> Result<Flow, Error> {
                Ok(Flow::Continue)
            }
        }
    };
}

#[derive(Deserialize, JsonSchema, Default)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct LogOptions {
    /// How long records are kept; without it, for ever.
    retention: Option<DurationText>,
}
pub(crate) struct Log;
passes!(Log);
impl Plugin for Log {
    const NAME: &'static str = "access-log";
    const SUMMARY: &'static str = "Writes one record for each request";
    const OBSERVES: bool = true;
    const ONCE: bool = true;
    const EXAMPLE: &'static str = "retention = \"90d\"";
    type Options = LogOptions;
    fn build(_: LogOptions, _: &BuildCx<'_>) -> Result<Self, BuildError> {
        Ok(Self)
    }
}
register!(Log);

#[derive(Deserialize, JsonSchema, Default)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct AuthOptions {}
pub(crate) struct Auth;
passes!(Auth);
impl Plugin for Auth {
    const NAME: &'static str = "auth";
    const SUMMARY: &'static str = "Asks each request for the key of an app";
    const PROVIDES: &'static [Fact] = &[Fact::Consumer];
    const REJECTS: &'static [u16] = &[401, 403];
    type Options = AuthOptions;
    fn build(_: AuthOptions, _: &BuildCx<'_>) -> Result<Self, BuildError> {
        Ok(Self)
    }
}
register!(Auth);

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct OidcOptions {
    /// Who signs the tokens.
    issuer: String,
    /// Proves to the issuer who asks.
    client_secret: SecretRef,
}
pub(crate) struct Oidc;
passes!(Oidc);
impl Plugin for Oidc {
    const NAME: &'static str = "oidc";
    const SUMMARY: &'static str = "Asks each request for a token of somebody else's";
    const PROVIDES: &'static [Fact] = &[Fact::Consumer];
    const REJECTS: &'static [u16] = &[401];
    type Options = OidcOptions;
    fn build(_: OidcOptions, _: &BuildCx<'_>) -> Result<Self, BuildError> {
        Ok(Self)
    }
}
register!(Oidc);

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct LimitOptions {
    /// How many requests a consumer has in each minute.
    requests_per_minute: u32,
    /// How many of them at once.
    #[serde(default)]
    burst: u32,
}
pub(crate) struct Limit;
passes!(Limit);
impl Plugin for Limit {
    const NAME: &'static str = "rate-limit";
    const SUMMARY: &'static str = "Limits how many requests a consumer has";
    const REQUIRES: &'static [Fact] = &[Fact::Consumer];
    const REJECTS: &'static [u16] = &[429];
    const EXAMPLE: &'static str = "requests_per_minute = 600";
    type Options = LimitOptions;
    fn build(options: LimitOptions, cx: &BuildCx<'_>) -> Result<Self, BuildError> {
        if options.burst > options.requests_per_minute {
            return Err(cx.at(["burst"], "must not be above `requests_per_minute`"));
        }
        Ok(Self)
    }
}
register!(Limit);

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RouteOptions {
    /// The upstream of each model.
    models: BTreeMap<String, String>,
}
pub(crate) struct Routing(Vec<ModelOffer>);
impl Plugin for Routing {
    const NAME: &'static str = "model-route";
    const SUMMARY: &'static str = "Chooses the upstream by the model";
    const PROVIDES: &'static [Fact] = &[Fact::Target];
    const REJECTS: &'static [u16] = &[404];
    const EXAMPLE: &'static str = "models = { \"Qwen3-32B\" = \"qwen3-32b\" }";
    type Options = RouteOptions;
    fn build(options: RouteOptions, cx: &BuildCx<'_>) -> Result<Self, BuildError> {
        let offer = |(model, upstream): (String, String)| {
            let upstream = cx.upstream(&upstream).map_err(|error| error.at(["models", &model]))?;
            Ok(ModelOffer::new(model, Target::upstream(upstream)))
        };
        options.models.into_iter().map(offer).collect::<Result<_, _>>().map(Self)
    }
}
#[async_trait]
impl Filter for Routing {
    async fn on_request(&self, _: &mut Exchange) -> Result<Flow, Error> {
        Ok(Flow::Continue)
    }
    fn models(&self) -> Vec<ModelOffer> {
        self.0.clone()
    }
}
register!(Routing);
