//! The gateway as a whole, through real sockets: a client, the gateway, and a simulated vLLM.
#![allow(clippy::unwrap_used, clippy::needless_pass_by_value, clippy::assigning_clones, missing_docs)]

mod bad_input;
mod clients;
mod endings;
mod keys;
mod life;
mod main_job;
mod models;
mod recordings;
mod settings;
mod support;
mod usage;
