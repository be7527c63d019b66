//! litellm's proxy: the one most often put in front of vLLM.

use std::process::Command;

use super::{Check, Peer, Start, no_headers};

pub(crate) const PEER: Peer = Peer {
    name: "litellm",
    pins: ("litellm.txt", "litellm[proxy]=="),
    runtime: ("python3", "python3"),
    settings: "one worker of uvicorn, `hosted_vllm`, a master key that every request is checked against, no database, no \
               callbacks, no retries, `LITELLM_MODE=PRODUCTION`, `LITELLM_LOG=ERROR` (no access log), prices from its own \
               package. It writes bodies anew, so its clients compare the text and count events, not bytes",
    ready: "/health/readiness",
    check: Check::Text,
    command,
    headers: no_headers,
};

fn command(start: &Start<'_>) -> Command {
    let file = start.folder.join("litellm.yaml");
    std::fs::write(&file, config(start)).unwrap();
    let (host, port) = (start.address.ip().to_string(), start.address.port().to_string());
    let file = file.display().to_string();
    let words = ["--config", &file, "--host", &host, "--port", &port, "--num_workers", "1"];
    let mut command = start.python("litellm", &words);
    command.envs([
        ("LITELLM_MASTER_KEY", start.key),
        ("LITELLM_MODE", "PRODUCTION"),
        ("LITELLM_LOG", "ERROR"),
    ]);
    // Else it fetches lists of prices and headers from elsewhere when it starts.
    for list in ["MODEL_COST_MAP", "ANTHROPIC_BETA_HEADERS", "BLOG_POSTS"] {
        command.env(format!("LITELLM_LOCAL_{list}"), "True");
    }
    command
}

fn config(start: &Start<'_>) -> String {
    let Start { upstream, model, .. } = start;
    format!(
        "model_list:
  - model_name: {model}
    litellm_params:
      model: hosted_vllm/{model}
      api_base: http://{upstream}/v1
      api_key: none
router_settings:
  num_retries: 0
"
    )
}
