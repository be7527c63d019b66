//! `[server]`: the listener that apps talk to.

use std::{num::NonZeroUsize, path::PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use vllm_gateway_sdk::{DurationText, SizeText};

use super::at_least_one;
use crate::{ListenAddr, Network, Origin};

/// The listener for OpenAI clients.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ServerOptions {
    /// Where OpenAI clients connect. A change needs a restart.
    pub listen: ListenAddr,
    /// Serves HTTPS with this certificate; without it, HTTP. A change needs a restart.
    pub tls: Option<TlsOptions>,
    /// How many threads serve clients; without it, one for each processor that the process may use. A change needs a
    /// restart.
    pub threads: Option<NonZeroUsize>,
    /// The largest request body; a larger one is answered with 413.
    pub max_body_size: SizeText,
    /// How long a client may take to send its whole request body; then it is answered with 408.
    pub body_timeout: DurationText,
    /// How long a client may take nothing of an answer that waits for it, or show no sign of life at all; then its
    /// connection is cut off and its request ends. A change needs a restart.
    pub write_timeout: DurationText,
    /// After which silence a stream carries a comment (`: heartbeat`), which clients skip: it keeps proxies in between
    /// from giving up, and finds clients that have vanished. Without it there are none.
    pub heartbeat: Option<DurationText>,
    /// How much memory all request bodies together may take; beyond it new requests are answered with 503.
    /// A change needs a restart.
    pub body_memory: SizeText,
    /// How many clients may be connected at the same time; beyond it they are answered with 503. Where the system
    /// allows the process fewer open files, so do they. A change needs a restart.
    #[serde(deserialize_with = "at_least_one")]
    #[schemars(range(min = 1))]
    pub max_connections: usize,
    /// How many of them may come from one address; without it, any number. Not for a gateway behind a load balancer,
    /// whose address all clients have. A change needs a restart.
    pub max_connections_per_client: Option<NonZeroUsize>,
    /// How long requests that are being served may go on after SIGTERM. A change needs a restart.
    pub shutdown_grace: DurationText,
    /// Proxies in front of the gateway: from them, and from nobody else, `x-forwarded-for` is believed.
    pub trusted_proxies: Vec<Network>,
    /// Lets web pages call the gateway from a browser; without it they cannot. A change needs a restart.
    pub cors: Option<CorsOptions>,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self {
            listen: ListenAddr::from(std::net::SocketAddr::from(([0, 0, 0, 0], 8080))),
            tls: None,
            threads: None,
            max_body_size: SizeText::mebibytes(32),
            body_timeout: DurationText::seconds(60),
            write_timeout: DurationText::seconds(30),
            heartbeat: None,
            body_memory: SizeText::mebibytes(512),
            max_connections: 16_384,
            max_connections_per_client: None,
            shutdown_grace: DurationText::seconds(30),
            trusted_proxies: Vec::new(),
            cors: None,
        }
    }
}

/// A certificate and its key.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TlsOptions {
    /// PEM file with the certificate and the chain behind it.
    pub cert: PathBuf,
    /// PEM file with the private key.
    pub key: PathBuf,
}

/// Which web pages may call the gateway.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CorsOptions {
    /// The origins of these pages; `"*"` allows every page.
    #[schemars(length(min = 1))]
    pub origins: Vec<Origin>,
}
