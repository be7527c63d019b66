//! The gateway as a whole, through real sockets: a client, the gateway, and a simulated vLLM.
#![allow(clippy::unwrap_used, clippy::needless_pass_by_value, clippy::assigning_clones, missing_docs)]

mod bad_input;
mod by_hand;
mod clients;
mod costs;
mod endings;
mod heartbeat;
mod isolation;
mod keys;
mod life;
mod main_job;
mod models;
mod recordings;
mod remains;
mod reuse;
mod settings;
mod streams;
mod support;
mod tokens;
mod usage;
