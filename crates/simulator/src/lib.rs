//! A simulated vLLM server that behaves as a real one (0.32.0) was recorded: tokens, timing, faults and all.
//!
//! ```no_run
//! # async fn example() -> std::io::Result<()> {
//! use vllm_gateway_simulator::{Fault, Options, Simulator};
//!
//! let simulator = Simulator::start(Options::default()).await?;
//! simulator.inject_once(Fault::ResetAfter(3));
//! // … ask http://{simulator.addr}/v1/chat/completions …
//! for generation in simulator.ledger() {
//!     println!("{} cost {} tokens: {:?}", generation.id, generation.completion_tokens, generation.ended);
//! }
//! simulator.shutdown().await;
//! # Ok(())
//! # }
//! ```
//!
//! **What is real.** Routes, statuses, error texts, the order of JSON keys and their nulls, the framing of
//! streams (one event, one HTTP chunk, headers before the first token), keep-alive, queueing, what a leaving
//! client causes, what happens when the engine dies or is stopped.
//!
//! **What is not.** The tokenizer and the text. A known word is one token, anything else one for every three
//! bytes; answers are words drawn by the request's `seed` and its prompt, so the same request gets the same
//! answer. Log probabilities, embeddings and scores are made up the same way. Where no recording shows how vLLM
//! answers, the answer is 501 and says so.
//!
//! One process can run any number of simulators; they share nothing.

mod api;
mod connection;
mod door;
mod engine;
mod error;
mod fault;
mod gate;
mod http1;
mod json;
mod ledger;
mod metrics;
mod options;
pub mod recording;
mod replay;
mod response_store;
mod router;
mod seen;
mod shared;
mod simulator;
mod text;

pub use fault::{Fault, FaultError, Junk, Rule};
pub use ledger::{End, Generation};
pub use options::{AutoTools, Options, Speed, Tasks};
pub use recording::{Recording, load};
pub use seen::Seen;
pub use simulator::{Connections, Door, Simulator};
