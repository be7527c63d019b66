//! `[admin]`: the listener for the admin REST and the metrics.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use vllm_gateway_sdk::SecretRef;

use crate::{ListenAddr, TlsOptions};

/// The listener for the admin REST and the metrics. A change of any of its options needs a restart.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AdminOptions {
    /// Where operators connect. An address that other machines can reach needs `allow_public`.
    pub listen: ListenAddr,
    /// What operators authenticate with, as a bearer token. A file that does not exist is made at the first start.
    pub token: SecretRef,
    /// Whether `/metrics` needs the token, too.
    pub metrics_auth: bool,
    /// Confirms that `listen` may be an address that other machines can reach.
    pub allow_public: bool,
    /// Serves HTTPS with this certificate; without it, HTTP.
    pub tls: Option<TlsOptions>,
}

impl AdminOptions {
    /// The fewest characters of the token.
    pub const SHORTEST_TOKEN: usize = 16;
}

impl Default for AdminOptions {
    fn default() -> Self {
        Self {
            listen: ListenAddr::from(std::net::SocketAddr::from(([127, 0, 0, 1], 8081))),
            token: SecretRef::File("data/admin.token".to_owned()),
            metrics_auth: false,
            allow_public: false,
            tls: None,
        }
    }
}
