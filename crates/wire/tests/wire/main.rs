//! The readers against recordings of a real vLLM server, cut in every place, and against arbitrary input.
#![allow(clippy::unwrap_used)]

mod answers;
mod edits;
mod forms;
mod ids;
mod recordings;
mod requests;
mod streams;
