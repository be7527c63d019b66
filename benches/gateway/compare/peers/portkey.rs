//! Portkey's gateway on node.

use std::{net::SocketAddr, process::Command};

use super::{Check, Peer, Start};

pub(crate) const PEER: Peer = Peer {
    name: "portkey",
    pins: ("portkey.json", "\"@portkey-ai/gateway\": \""),
    runtime: ("node", "nodejs"),
    settings: "`NODE_ENV=production`, `--headless` (without its console, which keeps every request), one process of node, \
               provider `openai` with the mock as its host, named in headers of each request; no access log, no \
               authentication, no cache; `@hono/node-server` of its lock file",
    ready: "/",
    check: Check::Bytes,
    command,
    headers,
};

/// It takes no address: it listens on all that the machine has.
fn command(start: &Start<'_>) -> Command {
    let mut command = Command::new("node");
    let program = start.installed.join("node_modules/@portkey-ai/gateway/build/start-server.js");
    command.arg(program).arg("--headless").arg(format!("--port={}", start.address.port()));
    command.env("NODE_ENV", "production");
    command
}

/// It has no configuration of its own: each request says where it is to go.
fn headers(upstream: SocketAddr) -> String {
    format!("x-portkey-provider: openai\r\nx-portkey-custom-host: http://{upstream}/v1\r\n")
}
