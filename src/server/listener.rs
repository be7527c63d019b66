//! Opens ports and serves on them, with the bounds that a server on a network needs.

use std::{io, net::SocketAddr, path::Path, time::Duration};

use salvo::{
    Listener, Service,
    conn::{
        Acceptor,
        rustls::{Keycert, RustlsConfig, RustlsListener},
        tcp::TcpAcceptor,
    },
    fuse::FuseConfig,
    server::{Server, ServerHandle},
};
use tokio::{
    net::{TcpListener, TcpSocket},
    task::JoinHandle,
};
use vllm_gateway_config::TlsOptions;

/// A port that is open and not served yet.
pub(crate) struct Bound {
    socket: TcpListener,
    pub(crate) address: SocketAddr,
}

/// A port that is being served.
pub(crate) struct Serving {
    pub(crate) handle: ServerHandle,
    pub(crate) task: JoinHandle<()>,
}

/// Opens the port.
pub(crate) fn bind(address: SocketAddr) -> io::Result<Bound> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    // Inherited by accepted sockets. Without it a lone stream stalls by 40 ms.
    socket.set_nodelay(true)?;
    socket.bind(address)?;
    let socket = socket.listen(4096)?;
    Ok(Bound { address: socket.local_addr()?, socket })
}

impl Listener for Bound {
    type Acceptor = TcpAcceptor;

    async fn try_bind(self) -> salvo::Result<TcpAcceptor> {
        Ok(self.socket.try_into()?)
    }
}

/// Serves the port until the handle says otherwise.
pub(crate) async fn serve(
    bound: Bound,
    service: Service,
    tls: Option<&TlsOptions>,
    base: &Path,
    most: usize,
) -> anyhow::Result<Serving> {
    let Some(tls) = tls else {
        return Ok(run(bound.try_bind().await?, service, most));
    };
    let read = |path: &Path| {
        let path = base.join(path);
        std::fs::read(&path).map_err(|error| anyhow::anyhow!("cannot read `{}`: {error}", path.display()))
    };
    let config = RustlsConfig::new(Keycert::new().cert(read(&tls.cert)?).key(read(&tls.key)?));
    // Built once more here, because the listener would only log what is wrong with it.
    let _: rustls::ServerConfig = config.clone().try_into()?;
    Ok(run(RustlsListener::new(config, bound).try_bind().await?, service, most))
}

fn run<A: Acceptor + Send + 'static>(acceptor: A, service: Service, most: usize) -> Serving {
    let fuse = FuseConfig::disabled()
        .with_tls_handshake_timeout(Duration::from_secs(10))
        .with_http1_header_timeout(Duration::from_secs(15))
        .with_write_stall_timeout(Duration::from_secs(30))
        .with_request_body_timeout(Duration::from_secs(20));
    let mut server = Server::new(acceptor).fuse_config(fuse).max_connections(most);
    server.http1_mut().max_buf_size(64 * 1024).max_headers(64).half_close(false);
    let handle = server.handle();
    let task = tokio::spawn(async move {
        if let Err(error) = server.try_serve(service).await {
            tracing::error!(%error, "the listener stopped");
        }
    });
    Serving { handle, task }
}
