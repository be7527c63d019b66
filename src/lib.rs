//! The gateway in front of vLLM servers: one pipeline, declared in one file.
//!
//! A binary with plugins of its own links them and calls [`main`]; see `examples/custom-gateway`. [`Gateway`] starts
//! one in this process.

mod cli;
mod descriptors;
mod gateway;
mod plugins;
mod proxy;
mod responses;
mod server;
mod telemetry;
mod upstream;

use std::process::ExitCode;

pub use gateway::{Gateway, StartError};
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub use server::fuzz;

/// The commit that this was built from; `unknown` outside of a checkout.
pub(crate) const COMMIT: &str = env!("VLLM_GATEWAY_COMMIT");

/// Runs the command line: what a binary's `main` is.
#[must_use]
pub fn main() -> ExitCode {
    cli::main()
}
