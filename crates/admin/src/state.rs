//! What the admin side is given by the gateway.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use salvo::http::{Method, StatusCode};
use serde_json::Value;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use vllm_gateway_directory::Directory;
use vllm_gateway_store::Store;

/// Everything that the admin side works with.
pub struct AdminState {
    /// The digest of the admin token.
    pub token: TokenDigest,
    /// Where apps, records and usage are kept.
    pub store: Arc<dyn Store>,
    /// The apps of this gateway's data plane: a change is in force there at once.
    pub directory: Arc<Directory>,
    /// The running gateway.
    pub control: Arc<dyn Control>,
    /// Whether `/metrics` needs the token too.
    pub metrics_auth: bool,
}

/// What the admin side asks of the running gateway.
#[async_trait]
pub trait Control: Send + Sync {
    /// The pipelines, their routes and their filters in order with their options; secrets masked.
    fn pipelines(&self) -> Value;

    /// The upstreams and the health of their endpoints; secrets masked.
    fn upstreams(&self) -> Value;

    /// Adds an endpoint to an upstream, drains it, weighs it or takes it out; gives the upstream as it stands then.
    async fn change_endpoint(&self, upstream: &str, change: EndpointChange) -> Result<Value, ChangeRefused>;

    /// The linked plugins.
    fn plugins(&self) -> Value;

    /// Reads the configuration again and puts it in force; on an error nothing changes, and the diagnostics of
    /// `check` come back. It goes on to its end when the caller is gone.
    async fn reload(&self) -> Result<ReloadDone, Vec<Value>>;

    /// The metrics in Prometheus' text format.
    fn metrics(&self) -> String;

    /// Told of every call, for a counter.
    fn called(&self, _call: &AdminCall<'_>) {}
}

/// What an operator wants of an endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointChange {
    /// Its base URL.
    pub url: String,
    /// What it is to be in; none leaves one that is known as it is.
    pub state: Option<EndpointState>,
    /// Its share of the requests; none leaves it as it is.
    pub weight: Option<u32>,
}

/// Whether an endpoint belongs to its upstream, and gets requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndpointState {
    /// It gets requests.
    Active,
    /// It gets no further ones.
    Drained,
    /// It belongs to the upstream no longer.
    Removed,
}

impl EndpointState {
    pub(crate) const NAMES: [&'static str; 3] = ["active", "drained", "removed"];

    pub(crate) fn from_name(name: &str) -> Option<Self> {
        match name {
            "active" => Some(Self::Active),
            "drained" => Some(Self::Drained),
            "removed" => Some(Self::Removed),
            _ => None,
        }
    }
}

/// Why an endpoint was not changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChangeRefused {
    /// There is no upstream of this name.
    NoSuchUpstream,
    /// The upstream has no endpoint of this URL.
    NoSuchEndpoint,
    /// No endpoint would be left that gets requests.
    LastEndpoint,
    /// The URL cannot be used, and why.
    BadUrl(String),
}

/// What a reload did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReloadDone {
    /// What is in force now, by key path.
    pub changed: Vec<String>,
    /// What will be in force after a restart only.
    pub needs_restart: Vec<String>,
}

/// One call of the admin side, answered.
#[derive(Debug)]
pub struct AdminCall<'a> {
    /// Its method.
    pub method: &'a Method,
    /// What it was answered with.
    pub status: StatusCode,
    /// How long that took.
    pub took: Duration,
}

/// The digest of the admin token, which is all that is kept of it.
#[derive(Clone)]
pub struct TokenDigest([u8; 32]);

/// A token that is too short to be one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShortToken;

impl fmt::Display for ShortToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the admin token has fewer than {} characters: use a long random one", TokenDigest::LEAST)
    }
}

impl std::error::Error for ShortToken {}

impl TokenDigest {
    /// The fewest characters of a token.
    pub const LEAST: usize = 16;

    /// The digest of this token; white space around it does not count.
    pub fn of(token: &str) -> Result<Self, ShortToken> {
        let token = token.trim();
        if token.chars().count() < Self::LEAST { Err(ShortToken) } else { Ok(Self::digest(token)) }
    }

    /// Whether that is the token, in constant time.
    pub(crate) fn is_of(&self, sent: &str) -> bool {
        self.0.ct_eq(&Self::digest(sent).0).into()
    }

    fn digest(token: &str) -> Self {
        Self(Sha256::digest(token).into())
    }
}

impl fmt::Debug for TokenDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenDigest(***)")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_empty_or_short_token_is_refused_also_when_padded() {
        for short in ["", "short", "fifteen-letters", "                    x"] {
            assert_eq!(TokenDigest::of(short).unwrap_err(), ShortToken, "{short}");
        }
    }

    #[test]
    fn a_digest_knows_its_token_and_shows_nothing() {
        let digest = TokenDigest::of("sixteen-letters!\n").unwrap();
        assert!(digest.is_of("sixteen-letters!") && !digest.is_of("sixteen-letters?") && !digest.is_of(""));
        assert_eq!(format!("{digest:?}"), "TokenDigest(***)");
    }
}
