//! One server: where it is, and the connections to it that wait for their next use.

use std::net::IpAddr;

use http::Uri;

use crate::pool::Pool;

/// One server.
#[derive(Debug)]
pub struct Origin {
    /// A name, or an address without brackets.
    pub(crate) host: Box<str>,
    /// Where to connect to, if that is known better than by the name.
    at: Option<IpAddr>,
    pub(crate) port: u16,
    pub(crate) tls: bool,
    /// As in `Host`: with the port, where the URL names one.
    pub(crate) authority: Box<str>,
    /// What every path begins with; empty, or a slash and something behind it.
    pub(crate) prefix: Box<str>,
    pub(crate) pool: Pool,
}

/// The URL names no server that could be called.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is no URL of a server, like http://10.0.0.11:8000")]
pub struct BadUrl(Box<str>);

impl Origin {
    /// The server with this base URL: `http` or `https`, a host, perhaps a port and a path.
    pub fn new(url: &str) -> Result<Self, BadUrl> {
        let bad = || BadUrl(url.into());
        let uri: Uri = url.parse().map_err(|_| bad())?;
        let tls = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(bad()),
        };
        let authority = uri.authority().ok_or_else(bad)?;
        let host = authority.host();
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        if host.is_empty() || authority.as_str().contains('@') || uri.query().is_some() {
            return Err(bad());
        }
        let port = uri.port_u16().unwrap_or(if tls { 443 } else { 80 });
        Ok(Self {
            host: host.into(),
            at: None,
            port,
            tls,
            authority: authority.as_str().into(),
            prefix: uri.path().trim_end_matches('/').into(),
            pool: Pool::default(),
        })
    }

    /// The same, at this address of several that its name has.
    #[must_use]
    pub fn at(self, address: IpAddr) -> Self {
        Self { at: Some(address), ..self }
    }

    /// Its address, if that is known: then there is nothing to resolve.
    pub(crate) fn address(&self) -> Option<IpAddr> {
        self.at.or_else(|| self.host.parse().ok())
    }

    /// Closes the connections that have waited for too long.
    pub fn tidy(&self) {
        self.pool.tidy();
    }

    /// Connections that wait for their next use.
    #[must_use]
    pub fn idle(&self) -> usize {
        self.pool.len()
    }
}
