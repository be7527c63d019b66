//! vLLM's own router.

use std::process::Command;

use super::{Check, Peer, Start, no_headers};
use crate::process::free_port;

pub(crate) const PEER: Peer = Peer {
    name: "vllm-router",
    pins: ("vllm-router.txt", "vllm-router=="),
    runtime: ("python3", "python3"),
    settings: "`--policy round_robin` (with one server there is nothing to choose, so no tree of prompts is kept), \
               `--log-level warning` (no access log), its metrics on, else defaults: retries and circuit breaker on, no \
               authentication",
    ready: "/readiness",
    check: Check::Bytes,
    command,
    headers: no_headers,
};

fn command(start: &Start<'_>) -> Command {
    let (host, port) = (start.address.ip().to_string(), start.address.port().to_string());
    let (upstream, metrics) = (format!("http://{}", start.upstream), free_port().port().to_string());
    let listen = ["--host", &host, "--port", &port, "--prometheus-port", &metrics];
    let serve = ["--worker-urls", &upstream, "--policy", "round_robin", "--log-level", "warning"];
    // It looks whether its server is there before it serves, and by default takes half a minute between two looks.
    let begin = ["--worker-startup-check-interval", "1"];
    start.python("vllm-router", &[&listen[..], &serve[..], &begin[..]].concat())
}
