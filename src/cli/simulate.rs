//! `vllm-gateway simulate`: the simulated vLLM alone.

use std::{net::SocketAddr, num::NonZeroU32, time::Duration};

use anyhow::Context;
use vllm_gateway_sdk::DurationText;
use vllm_gateway_simulator::{Options, Simulator, Speed, Tasks};

use super::{Failure, address::address, complain, runtime};

/// Options of `simulate`.
#[derive(clap::Args)]
pub(super) struct Args {
    /// Where it is served.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8000", value_parser = address)]
    listen: SocketAddr,
    /// A model that it serves; may be given several times. The first is the name in its answers.
    #[arg(long = "model", value_name = "NAME", default_value = "Qwen3-32B")]
    models: Vec<String>,
    /// The most tokens of an answer; a request may ask for fewer.
    #[arg(long, value_name = "N", default_value_t = 64)]
    tokens: usize,
    /// Time to the first token.
    #[arg(long, value_name = "DUR", default_value = "50ms", value_parser = DurationText::parse)]
    ttft: Duration,
    /// Time between tokens; 0s is as fast as possible.
    #[arg(long, value_name = "DUR", default_value = "20ms", value_parser = DurationText::parse)]
    itl: Duration,
    /// Tokens of prompts that it computes a second, one prompt after another, before the time to the first token; what is
    /// in its prefix cache costs nothing. Without it, prompts take no time.
    #[arg(long, value_name = "N")]
    prefill_rate: Option<NonZeroU32>,
    /// Serves embeddings, scores, classes and speech, too, where vLLM serves one kind of model only.
    #[arg(long)]
    all_tasks: bool,
    /// An API key that it asks for; may be given several times.
    #[arg(long = "api-key", value_name = "KEY")]
    api_keys: Vec<String>,
    /// Requests that run at once; more wait.
    #[arg(long, value_name = "N")]
    max_num_seqs: Option<usize>,
    /// Requests that may wait; more are refused with 503.
    #[arg(long, value_name = "N")]
    max_num_queued_reqs: Option<usize>,
    /// The name of a LoRA adapter that it serves, too; may be given several times.
    #[arg(long = "adapter", value_name = "NAME")]
    adapters: Vec<String>,
    /// Development mode: it can be put to sleep (POST /sleep) and woken (POST /wake_up).
    #[arg(long)]
    dev_mode: bool,
    /// Keeps responses, so that GET /v1/responses/{id} finds them.
    #[arg(long)]
    response_store: bool,
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let runtime = runtime()?;
    runtime.block_on(async {
        let simulator = Simulator::start(options(args))
            .await
            .with_context(|| format!("cannot serve on {}", args.listen))?;
        complain(&format!("a simulated vLLM serves {} on http://{}", args.models.join(", "), simulator.addr));
        tokio::signal::ctrl_c().await?;
        simulator.shutdown().await;
        Ok(())
    })
}

fn options(args: &Args) -> Options {
    let usual = Options::default();
    Options {
        listen: args.listen,
        models: args.models.clone(),
        tokens: args.tokens,
        speed: Speed { ttft: args.ttft, itl: args.itl, jitter: 0.0 },
        prefill: args.prefill_rate.map_or(usual.prefill, |rate| Duration::from_secs(1) / rate.get()),
        tasks: if args.all_tasks { Tasks::ALL } else { usual.tasks },
        api_keys: args.api_keys.clone(),
        max_num_seqs: args.max_num_seqs.unwrap_or(usual.max_num_seqs),
        max_num_queued_reqs: args.max_num_queued_reqs,
        adapters: args.adapters.clone(),
        dev_mode: args.dev_mode,
        response_store: args.response_store,
        // Nobody asks this process what it has seen: it may run for days.
        keep_requests: 0,
        keep_generations: 0,
        ..usual
    }
}
