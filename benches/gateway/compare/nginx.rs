//! nginx as a bare reverse proxy: the measure of the others.

use std::{fmt::Write, net::SocketAddr, path::Path, process::Command};

use super::cpu::tree;

/// What to say of the settings beside the figures.
pub(crate) const SETTINGS: &str = "`proxy_pass` over HTTP/1.1 with kept connections, `worker_processes 1`, access log (`combined`), \
     `proxy_buffering off` (events leave as they come), else Debian's defaults";

pub(crate) fn command(folder: &Path, address: SocketAddr, upstreams: &[SocketAddr]) -> Command {
    let file = folder.join("nginx.conf");
    std::fs::write(&file, config(folder, address, upstreams)).unwrap();
    let mut command = Command::new("nginx");
    command.arg("-p").arg(folder).arg("-c").arg(file);
    command
}

fn config(folder: &Path, address: SocketAddr, upstreams: &[SocketAddr]) -> String {
    let folder = folder.display();
    // A worker of another user could not write to this folder.
    let user = if rustix::process::getuid().is_root() { "user root;" } else { "" };
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("    {kind}_temp_path {folder}/{kind};\n"))
        .concat();
    let mut servers = String::new();
    for upstream in upstreams {
        writeln!(servers, "        server {upstream};").unwrap();
    }
    let kept = 1024.max(2 * upstreams.len());
    format!(
        "daemon off;
{user}
worker_processes 1;
worker_rlimit_nofile 65536;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 16384; }}
http {{
{temporary}    access_log {folder}/access.log;
    keepalive_requests 1000000000;
    client_max_body_size 32m;
    upstream vllm {{
{servers}        keepalive {kept};
        keepalive_requests 1000000000;
    }}
    server {{
        listen {address} backlog=4096;
        location / {{
            proxy_pass http://vllm;
            proxy_http_version 1.1;
            proxy_set_header Connection \"\";
            proxy_buffering off;
        }}
    }}
}}
"
    )
}

/// The one process that this master has started.
pub(crate) fn worker(master: u32) -> u32 {
    for _ in 0..500 {
        if let [_, worker] = tree(master)[..] {
            return worker;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    panic!("nginx has not started its worker")
}
