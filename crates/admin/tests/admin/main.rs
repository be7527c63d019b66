//! The admin side through real sockets, on real stores.
#![allow(clippy::unwrap_used, missing_docs)]

mod apps;
mod document;
mod errors;
mod gate;
mod logs;
mod secrets;
mod support;
mod system;
mod two_gateways;
