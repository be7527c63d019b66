//! SGLang's router, in front of a server that speaks as vLLM does.

use std::process::Command;

use super::{Check, Peer, Start, no_headers};
use crate::process::free_port;

pub(crate) const PEER: Peer = Peer {
    name: "sglang-router",
    pins: ("sglang-router.txt", "sglang-router=="),
    runtime: ("python3", "python3"),
    settings: "`--policy round_robin` (with one server there is nothing to choose), `--log-level warn` (no access log), its \
               metrics on, else defaults: retries and circuit breaker on, no authentication",
    ready: "/readiness",
    check: Check::Bytes,
    command,
    headers: no_headers,
};

fn command(start: &Start<'_>) -> Command {
    let (host, port) = (start.address.ip().to_string(), start.address.port().to_string());
    let (upstream, metrics) = (format!("http://{}", start.upstream), free_port().port().to_string());
    let listen = ["launch", "--host", &host, "--port", &port];
    let metrics = ["--prometheus-host", &host, "--prometheus-port", &metrics];
    let serve = ["--worker-urls", &upstream, "--policy", "round_robin", "--log-level", "warn"];
    start.python("smg", &[&listen[..], &metrics[..], &serve[..]].concat())
}
