//! How connections are made: the name is resolved, its addresses are tried, TLS is spoken where the URL says so.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use rustls_platform_verifier::BuilderVerifierExt;
use tokio::{
    net::{TcpStream, lookup_host},
    time::{Instant, timeout, timeout_at},
};
use tokio_rustls::TlsConnector;

use crate::{
    Origin,
    connection::{Connection, Io},
};

/// How connections to the servers of one upstream are made.
#[derive(Clone)]
pub struct Connector {
    /// How long it may take, name and TLS included.
    timeout: Duration,
    /// How many connections to one server may wait for their next use.
    pub(crate) most_idle: usize,
    /// None if no server of the upstream speaks TLS.
    tls: Option<TlsConnector>,
}

/// Why TLS cannot be spoken.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The file of the private CA holds no certificates.
    #[error("there is no certificate in it that could be used")]
    NoCertificate,
    /// The library, or the system's list of authorities, says no.
    #[error(transparent)]
    Rustls(#[from] rustls::Error),
}

impl Connector {
    /// Without TLS.
    #[must_use]
    pub fn plain(timeout: Duration, most_idle: usize) -> Self {
        Self { timeout, most_idle, tls: None }
    }

    /// With TLS: servers must have a certificate of an authority in `ca`, in PEM, and of no other; without it, of one that
    /// the system trusts.
    pub fn tls(timeout: Duration, most_idle: usize, ca: Option<&[u8]>) -> Result<Self, TlsError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        let config = match ca {
            Some(pem) => config.with_root_certificates(authorities(pem)?),
            None => config.with_platform_verifier()?,
        };
        let tls = Some(TlsConnector::from(Arc::new(config.with_no_client_auth())));
        Ok(Self { timeout, most_idle, tls })
    }

    pub(crate) async fn connect(&self, origin: &Origin) -> io::Result<Connection> {
        let deadline = Instant::now() + self.timeout;
        let late = |_| io::Error::new(io::ErrorKind::TimedOut, "it took too long");
        timeout_at(deadline, self.connect_by(deadline, origin)).await.map_err(late)?
    }

    async fn connect_by(&self, deadline: Instant, origin: &Origin) -> io::Result<Connection> {
        let socket = match origin.address() {
            Some(ip) => TcpStream::connect((ip, origin.port)).await?,
            None => {
                let addresses: Vec<_> = lookup_host((&*origin.host, origin.port)).await?.collect();
                first_of(addresses, deadline).await?
            }
        };
        socket.set_nodelay(true)?;
        if !origin.tls {
            return Ok(Connection::new(Io::Plain(socket)));
        }
        let tls = self.tls.as_ref().ok_or_else(|| io::Error::other("this upstream was built without TLS"))?;
        let name = ServerName::try_from(&*origin.host).map_err(io::Error::other)?.to_owned();
        Ok(Connection::new(Io::Tls(Box::new(tls.connect(name, socket).await?))))
    }
}

/// The first of the addresses that answers. Each gets its share of the time, so that one that is silent does not keep the
/// next from its turn.
async fn first_of(addresses: Vec<SocketAddr>, deadline: Instant) -> io::Result<TcpStream> {
    let mut error = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    let count = addresses.len();
    for (tried, address) in addresses.into_iter().enumerate() {
        let left = deadline.saturating_duration_since(Instant::now());
        let share = left / u32::try_from(count - tried).unwrap_or(u32::MAX);
        match timeout(share, TcpStream::connect(address)).await {
            Ok(Ok(socket)) => return Ok(socket),
            Ok(Err(why)) => error = why,
            Err(_elapsed) => error = io::ErrorKind::TimedOut.into(),
        }
    }
    Err(error)
}

fn authorities(pem: &[u8]) -> Result<RootCertStore, TlsError> {
    let mut store = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        store.add(certificate.map_err(|_| TlsError::NoCertificate)?)?;
    }
    if store.is_empty() { Err(TlsError::NoCertificate) } else { Ok(store) }
}
