//! haproxy as a bare reverse proxy, where it is installed.

use std::{net::SocketAddr, path::Path, process::Command};

/// What to say of the settings beside the figures.
pub(crate) const SETTINGS: &str =
    "`mode http`, `http-reuse always`, `nbthread 1`, `option httplog` into a file";

pub(crate) fn command(folder: &Path, address: SocketAddr, upstream: SocketAddr) -> Command {
    let file = folder.join("haproxy.cfg");
    std::fs::write(&file, config(address, upstream)).unwrap();
    let mut command = Command::new("haproxy");
    command.arg("-db").arg("-f").arg(file);
    command
}

fn config(address: SocketAddr, upstream: SocketAddr) -> String {
    format!(
        "global
    nbthread 1
    maxconn 8192
    # Its standard output is a file.
    log stdout format raw local0
defaults
    mode http
    log global
    option httplog
    http-reuse always
    timeout connect 5s
    timeout client 10m
    timeout server 10m
frontend clients
    bind {address} backlog 4096
    default_backend vllm
backend vllm
    server vllm {upstream} pool-max-conn 1024
"
    )
}
