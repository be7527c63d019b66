//! Starts the gateway; a binary with plugins of its own looks the same, see `examples/custom-gateway`.

use std::process::ExitCode;

fn main() -> ExitCode {
    vllm_gateway::main()
}
