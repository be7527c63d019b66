//! A gateway with all that comes with vllm-gateway, and the hello plugin beside it.

use vllm_gateway_hello as _; // registers the plugins of this crate

fn main() -> std::process::ExitCode {
    vllm_gateway::main()
}
