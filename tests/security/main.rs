//! The rules of docs/security.md, tried through real sockets: nobody gets in, nothing gets out, nothing waits for ever.
#![allow(clippy::unwrap_used, missing_docs)]

mod apart;
mod dependencies;
mod descriptors;
mod environment;
mod floods;
mod framing;
mod headers;
mod page;
mod process;
mod secrets;
mod upstream;
mod waits;
mod walk;

/// The stage of `tests/gateway`, of which not everything is used here.
#[allow(dead_code, clippy::needless_pass_by_value, clippy::assigning_clones)]
#[path = "../gateway/support.rs"]
mod support;
