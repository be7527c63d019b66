//! Addresses as they are given to commands.

use std::net::SocketAddr;

/// Reads an address. `localhost` is the one name that is known without asking.
pub(super) fn address(text: &str) -> Result<SocketAddr, String> {
    let numeric = text.strip_prefix("localhost:").map(|port| format!("127.0.0.1:{port}"));
    let address = numeric.as_deref().unwrap_or(text).parse();
    address.map_err(|_| "write an address and a port, like 127.0.0.1:8000".to_owned())
}
