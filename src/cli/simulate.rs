//! `vllm-gateway simulate`: the simulated vLLM alone.

use std::time::Duration;

use anyhow::Context;
use vllm_gateway_simulator::{Options, Simulator};

use super::{Failure, complain, runtime};

/// Options of `simulate`.
#[derive(clap::Args)]
pub(super) struct Args {
    /// Where it is served.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8000")]
    listen: String,
    /// A model that it serves; may be given several times. The first is the name in its answers.
    #[arg(long = "model", value_name = "NAME", default_value = "Qwen3-32B")]
    models: Vec<String>,
    /// Tokens of an answer, where the request does not say how many.
    #[arg(long, value_name = "N", default_value_t = 64)]
    tokens: u32,
    /// Time to the first token.
    #[arg(long, value_name = "DUR", default_value = "50ms", value_parser = humantime::parse_duration)]
    ttft: Duration,
    /// Time between tokens; 0s is as fast as possible.
    #[arg(long, value_name = "DUR", default_value = "20ms", value_parser = humantime::parse_duration)]
    itl: Duration,
    /// An API key that it asks for; may be given several times.
    #[arg(long = "api-key", value_name = "KEY")]
    api_keys: Vec<String>,
    /// Requests that run at once; more wait.
    #[arg(long, value_name = "N")]
    max_num_seqs: Option<usize>,
    /// Requests that may wait; more are refused with 503.
    #[arg(long, value_name = "N")]
    max_num_queued_reqs: Option<usize>,
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let runtime = runtime()?;
    runtime.block_on(async {
        let simulator = Simulator::start(options(args)).await.with_context(|| format!("cannot serve on {}", args.listen))?;
        complain(&format!("a simulated vLLM serves {} on http://{}", args.models.join(", "), simulator.addr()));
        tokio::signal::ctrl_c().await?;
        simulator.shutdown().await;
        Ok(())
    })
}

fn options(args: &Args) -> Options {
    Options {
        listen: args.listen.clone(),
        models: args.models.clone(),
        tokens: args.tokens,
        ttft: args.ttft,
        itl: args.itl,
        api_keys: args.api_keys.clone(),
        ..Options::default()
    }
}
