//! Lets in those who show the key of an app, and says to the later filters whose it is.
//!
//! Judged on the head alone: nobody who is turned away makes the gateway read a body.

mod credential;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzz;

use std::sync::Arc;

use schemars::JsonSchema;
use serde::Deserialize;
use vllm_gateway_sdk::{
    Apps, BuildCx, BuildError, Error, Exchange, Fact, Filter, Flow, Lookup, Plugin, async_trait,
};

/// Options of `auth`: none. Apps and their keys are kept by the admin API.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Options {}

struct Auth {
    apps: Arc<dyn Apps>,
}

impl Plugin for Auth {
    const NAME: &'static str = "auth";
    const SUMMARY: &'static str = "lets in only requests with the key of an enabled app";
    const PROVIDES: &'static [Fact] = &[Fact::Consumer];
    const REJECTS: &'static [u16] = &[400, 401, 403, 503];
    type Options = Options;

    fn build(Options {}: Options, cx: &BuildCx<'_>) -> Result<Self, BuildError> {
        Ok(Self { apps: cx.apps() })
    }
}

#[async_trait]
impl Filter for Auth {
    async fn on_request(&self, ex: &mut Exchange) -> Result<Flow, Error> {
        let key = credential::of(&ex.request().headers, ex.route().api)?;
        match self.apps.lookup(key) {
            Lookup::Granted(app) => {
                ex.set_consumer(app);
                Ok(Flow::Continue)
            }
            // The refused app is named in the record: its operator wants to know who is still calling.
            Lookup::Disabled(app) => {
                ex.set_consumer(app);
                Err(Error::forbidden(
                    "app_disabled",
                    "the app of this key is disabled: ask the operator to enable it",
                ))
            }
            Lookup::Expired(app) => {
                ex.set_consumer(app);
                Err(Error::forbidden(
                    "app_expired",
                    "the app of this key has expired: ask the operator to extend it",
                ))
            }
            Lookup::Unknown => {
                Err(Error::unauthenticated("the api key is not known here: check it, or ask for a new one"))
            }
            Lookup::Unavailable => {
                let message = "the api key cannot be checked at the moment: try again in a few seconds";
                Err(Error::unavailable("store_unavailable", message))
            }
        }
    }
}

vllm_gateway_sdk::register!(Auth);
