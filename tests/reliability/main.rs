//! No record is lost: the real process is killed, starved and cut off from its store, and three ledgers have to agree.
//!
//! Long runs, with figures for `docs/reliability.md`: `LONG=1 cargo test --test reliability -- --nocapture`; with `GATEWAY`, the
//! gateway is that program instead of the one just built.
#![allow(clippy::unwrap_used, clippy::print_stderr, clippy::assigning_clones, missing_docs)]

mod clients;
mod crash_loop;
mod disk;
mod judge;
mod ledgers;
mod mongo;
mod outages;
mod quota;
mod random;
mod refusals;
mod site;
mod sse;
mod stops;
