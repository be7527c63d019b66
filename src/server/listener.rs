//! Opens ports and serves on them, with the bounds that a server on a network needs.

use std::{io, net::SocketAddr, num::NonZeroUsize, path::Path, sync::Arc, time::Duration};

use futures_util::{FutureExt, future::BoxFuture};
use salvo::{
    Listener, Service,
    conn::rustls::{Keycert, RustlsConfig, RustlsListener},
};
use tokio::net::{TcpListener, TcpSocket};
use vllm_gateway_config::TlsOptions;

use super::{
    DataPlane, Serving,
    door::{Door, Entrance, Limits},
    reception::receive,
    serving::Closing,
    threads,
};

/// A port that is open and not served yet.
pub(crate) struct Bound {
    pub(super) socket: TcpListener,
    pub(crate) address: SocketAddr,
}

/// How a port is served.
pub(crate) struct Manner<'a> {
    pub(crate) tls: Option<&'a TlsOptions>,
    /// What the paths of TLS are relative to.
    pub(crate) base: &'a Path,
    pub(crate) limits: Limits,
    pub(crate) write_timeout: Duration,
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

/// A port with a door.
struct Guarded {
    socket: TcpListener,
    entrance: Entrance,
}

impl Listener for Guarded {
    type Acceptor = Door;

    async fn try_bind(self) -> salvo::Result<Door> {
        Ok(Door::new(self.socket, self.entrance)?)
    }
}

/// What the requests of a port come to.
pub(crate) struct Destination {
    pub(crate) router: Service,
    /// What most of them come to without the router, where there is a data plane.
    pub(crate) plane: Option<Arc<DataPlane>>,
}

/// Serves the port on the runtime of the caller.
pub(crate) async fn serve(
    bound: Bound,
    destination: Destination,
    manner: &Manner<'_>,
) -> anyhow::Result<Serving> {
    let plan = Plan::new(&bound, manner)?;
    let closing = Arc::<Closing>::default();
    let receiving = plan.open(bound.socket, destination, Arc::clone(&closing)).await?;
    Ok(Serving::new(closing, tokio::spawn(receiving)))
}

/// Serves the port on so many threads, each with a runtime of its own: a connection stays on one of them, with all that
/// is done for it, and shares nothing with those on the others.
pub(crate) async fn serve_on_threads(
    bound: Bound,
    destination: impl Fn() -> Destination,
    manner: &Manner<'_>,
    threads: NonZeroUsize,
) -> anyhow::Result<Serving> {
    let plan = Plan::new(&bound, manner)?;
    // One socket for all: whoever has time takes the next connection.
    let socket = bound.socket.into_std()?;
    let mut serving = Serving::default();
    for number in 0..threads.get() {
        let thread = async { threads::start(number, socket.try_clone()?, plan.clone(), destination()).await };
        match thread.await {
            Ok(thread) => serving.join(thread),
            Err(error) => {
                // Those that serve already would go on with nobody to stop them.
                serving.stop_forceful();
                return Err(error);
            }
        }
    }
    Ok(serving)
}

/// What is decided of a port before it is served.
#[derive(Clone)]
pub(super) struct Plan {
    tls: Option<RustlsConfig>,
    entrance: Entrance,
    write_timeout: Duration,
}

impl Plan {
    fn new(bound: &Bound, manner: &Manner<'_>) -> anyhow::Result<Self> {
        if let Err(error) = expect_signs_of_life(&bound.socket, manner.write_timeout) {
            tracing::warn!(%error, "clients that vanish without a word are found by deadlines only");
        }
        let tls = manner.tls.map(|tls| certificate(tls, manner.base)).transpose()?;
        let entrance = Entrance::new(manner.limits, tls.is_some());
        Ok(Self { tls, entrance, write_timeout: manner.write_timeout })
    }

    /// Opens the port; what is given back serves it until it closes.
    pub(super) async fn open(
        self,
        socket: TcpListener,
        destination: Destination,
        closing: Arc<Closing>,
    ) -> salvo::Result<BoxFuture<'static, ()>> {
        let guarded = Guarded { socket, entrance: self.entrance };
        Ok(match self.tls {
            Some(tls) => {
                let acceptor = RustlsListener::new(tls, guarded).try_bind().await?;
                receive(acceptor, destination, self.write_timeout, closing).boxed()
            }
            None => receive(guarded.try_bind().await?, destination, self.write_timeout, closing).boxed(),
        })
    }
}

fn certificate(tls: &TlsOptions, base: &Path) -> anyhow::Result<RustlsConfig> {
    let read = |path: &Path| {
        let path = base.join(path);
        std::fs::read(&path).map_err(|error| anyhow::anyhow!("cannot read `{}`: {error}", path.display()))
    };
    let config = RustlsConfig::new(Keycert::new().cert(read(&tls.cert)?).key(read(&tls.key)?));
    // Built once more here, because the listener would only log what is wrong with it.
    let _: rustls::ServerConfig = config.clone().try_into()?;
    Ok(config)
}

/// Has the system watch over the connections of this port: one whose other end has vanished shows no sign of life, and
/// without being asked for one it would not be missed while there is nothing to send. Inherited by accepted sockets.
///
/// The system gives a connection up that owes an answer when its patience ends, however often it has asked. So it asks
/// four times before: a lost packet, or many connections that are asked at once, must cost nobody a connection.
#[cfg(target_os = "linux")]
fn expect_signs_of_life(socket: &TcpListener, patience: Duration) -> io::Result<()> {
    use rustix::net::sockopt;
    // The system counts these in seconds, of which it takes no more.
    let seconds = |wait: Duration| wait.clamp(Duration::from_secs(1), Duration::from_secs(32_767));
    sockopt::set_tcp_user_timeout(socket, u32::try_from(patience.as_millis()).unwrap_or(u32::MAX))?;
    sockopt::set_tcp_keepidle(socket, seconds(patience / 3))?;
    sockopt::set_tcp_keepintvl(socket, seconds(patience / 6))?;
    Ok(sockopt::set_socket_keepalive(socket, true)?)
}

#[cfg(not(target_os = "linux"))]
fn expect_signs_of_life(_: &TcpListener, _: Duration) -> io::Result<()> {
    Err(io::Error::other("not known how to on this system"))
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    #![allow(clippy::unwrap_used)]

    use rustix::net::sockopt;
    use tokio::net::TcpStream;

    use super::*;

    #[tokio::test]
    async fn the_system_watches_over_every_accepted_connection() {
        let bound = bind(([127, 0, 0, 1], 0).into()).unwrap();
        expect_signs_of_life(&bound.socket, Duration::from_secs(30)).unwrap();
        let _client = TcpStream::connect(bound.address).await.unwrap();
        let (accepted, _) = bound.socket.accept().await.unwrap();
        assert_eq!(sockopt::tcp_user_timeout(&accepted).unwrap(), 30_000);
        // Asked after 10, 15, 20 and 25 s.
        assert_eq!(sockopt::tcp_keepidle(&accepted).unwrap(), Duration::from_secs(10));
        assert_eq!(sockopt::tcp_keepintvl(&accepted).unwrap(), Duration::from_secs(5));
        assert!(sockopt::socket_keepalive(&accepted).unwrap());
    }
}
