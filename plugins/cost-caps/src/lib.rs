//! Refuses requests that ask for more than one request may cost, and bounds those that do not say how much they want.

mod caps;
mod options;

use vllm_gateway_sdk::{
    BuildCx, BuildError, Error, Exchange, Filter, Flow, Generates, ModelPlace, Plugin, async_trait,
};

use caps::Caps;
use options::Options;

struct CostCaps(Caps);

impl Plugin for CostCaps {
    const NAME: &'static str = "cost-caps";
    const SUMMARY: &'static str = "refuses requests that ask for more than one may cost";
    const READS_BODY: bool = true;
    const REJECTS: &'static [u16] = &[400, 408, 413, 415, 503];
    const EXAMPLE: &'static str =
        "max_choices = 8\nmax_tokens = 16384\ndefault_max_tokens = 4096\nmax_prompts = 256";
    type Options = Options;

    fn build(options: Options, _: &BuildCx<'_>) -> Result<Self, BuildError> {
        options.caps().map(Self)
    }
}

#[async_trait]
impl Filter for CostCaps {
    async fn on_request(&self, ex: &mut Exchange) -> Result<Flow, Error> {
        let route = ex.route();
        // A list of models has no body.
        if route.model == ModelPlace::None {
            return Ok(Flow::Continue);
        }
        let body = ex.body().await?;
        // What a recording makes of tokens nobody knows; but of it, too, several texts may be asked for, and long ones.
        if let Some(form) = body.form() {
            self.0.check(Generates::Any, &form.cost)?;
        }
        let Some(json) = body.json() else { return Ok(Flow::Continue) };
        self.0.check(route.generates, &json.cost)?;
        if let Some((amount, value)) = self.0.left_open(route.generates, json) {
            ex.set_amount(amount, value);
        }
        Ok(Flow::Continue)
    }
}

vllm_gateway_sdk::register!(CostCaps);
