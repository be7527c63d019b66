//! The real OpenAI and Anthropic clients, as users drive them.

use std::process::Stdio;

use vllm_gateway_simulator::Speed;

use crate::support::{MODEL, Setup, at};

async fn run(script: &str, server: &str) {
    let tick = std::time::Duration::from_millis(2);
    let vllm = at(Speed { ttft: tick, itl: tick, jitter: 0.0 });
    let stage = Setup { vllm, server: server.into(), ..Setup::default() }.start().await;
    let packages = std::env::var("TEST_PYTHONPATH")
        .unwrap_or_else(|_| concat!(env!("CARGO_MANIFEST_DIR"), "/.test-tools/python").into());
    let script = format!("{}/tests/clients/{script}", env!("CARGO_MANIFEST_DIR"));
    let done = tokio::process::Command::new("python3")
        .arg(script)
        .env("PYTHONPATH", packages)
        .env("BASE_URL", stage.url(""))
        .env("API_KEY", &stage.key)
        .env("MODEL", MODEL)
        .stdin(Stdio::null())
        .output()
        .await
        .unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success(), "run `scripts/test-tools` if a module is missing:\n{said}");
    stage.settled().await;
}

#[tokio::test]
async fn the_openai_client_finds_what_it_expects() {
    run("openai_client.py", "").await;
}

#[tokio::test]
async fn the_anthropic_client_finds_what_it_expects() {
    run("anthropic_client.py", "").await;
}

/// A comment between any two events, and more of them before the first.
#[tokio::test]
async fn the_clients_take_no_notice_of_comments() {
    run("openai_client.py", "heartbeat = \"1ms\"").await;
    run("anthropic_client.py", "heartbeat = \"1ms\"").await;
}
