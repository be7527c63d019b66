//! Which server gets the next request, and what clients notice of it: `cargo bench --bench balancing`.
//!
//! Starts eight simulated vLLMs of different speeds in this process and the gateway as a process of its own, once for
//! each policy and trace, and replays the same trace for all policies: requests arrive when the trace says, however slow
//! the answers are. The servers sleep instead of computing, so two cores are enough; the share of them that was busy is
//! printed, and where it is large the figures say more about the machine than about a policy.
//!
//! - `--policies round-robin,prefix`, `--traces shared,slow`, `--seconds 60`, `--rounds 1`, `--seed 1` choose;
//! - `--load 0.65` is which part of what the fleet can do arrives, `--rate 20` sets the requests per second instead;
//! - `--weighted` tells the gateway how fast each server is, by the weights of the endpoints;
//! - `--upstream 'KEY = VALUE'` adds a line to the gateway's `[upstreams.fleet]`;
//! - `--write` puts the tables into `docs/balancing.md`;
//! - `--smoke` takes seconds and fails where a request fails without need;
//! - `--program PATH` measures another build of the gateway.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    missing_docs
)]

mod args;
mod client;
mod figures;
mod fleet;
mod gateway;
mod machine;
mod outcome;
mod plan;
mod random;
mod replay;
mod report;
mod trace;

use std::process::ExitCode;

use tokio::signal::unix::{SignalKind, signal};

use args::Args;
use gateway::{Gateway, NotStarted};
use plan::Plan;
use report::Results;

fn main() -> ExitCode {
    // `cargo test --all-targets` runs this, too, without what `cargo bench` says: building is what it should prove.
    if !std::env::args().any(|arg| arg == "--bench") {
        return ExitCode::SUCCESS;
    }
    // reqwest was built without a provider of its own, and this process has none yet.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let done = Args::read().and_then(|args| Plan::from(&args)).and_then(|plan| {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        runtime.map_err(|error| error.to_string())?.block_on(until_told(plan))
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Runs, and ends early when told to: what was started is dropped on the way out, and ends with it.
async fn until_told(plan: Plan) -> Result<(), String> {
    let mut terminate = signal(SignalKind::terminate()).map_err(|error| error.to_string())?;
    tokio::select! {
        done = run(plan) => done,
        _ = tokio::signal::ctrl_c() => Err("interrupted".to_owned()),
        _ = terminate.recv() => Err("terminated".to_owned()),
    }
}

async fn run(plan: Plan) -> Result<(), String> {
    let mut results = Results::new(&plan);
    for round in 0..plan.rounds {
        for (number, kind) in plan.traces.iter().enumerate() {
            let trace = plan.trace(*kind, round);
            for policy in &plan.policies {
                if results.is_missing(policy) {
                    continue;
                }
                eprint!("round {}, trace `{}`, policy `{policy}` … ", round + 1, kind.name());
                let fleet = fleet::Fleet::start().await?;
                let gateway = match Gateway::start(&plan, policy, &fleet.servers).await {
                    Ok(gateway) => gateway,
                    Err(NotStarted::Unknown) => {
                        eprintln!("not there yet");
                        results.miss(policy);
                        continue;
                    }
                    Err(NotStarted::Failed(why)) => return Err(why),
                };
                let figures = replay::replay(&trace, &fleet, &gateway).await?;
                eprintln!("{}", figures.line());
                results.add(number, policy, figures);
                fleet.stop().await;
            }
        }
    }
    let text = results.text();
    println!("{text}");
    if plan.write {
        report::write(&text)?;
    }
    if plan.smoke { results.judge() } else { Ok(()) }
}
