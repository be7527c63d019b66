//! The door of a listener: lets clients in while there is room, and says to the others that there is none.

mod crowd;
mod turned_away;

use std::{
    fs::File,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures_util::FutureExt;
use salvo::{
    conn::{Accepted, Acceptor, ConnCtrl, Holding, StraightStream, tcp::TcpCoupler},
    fuse::{ArcFusePolicy, FuseAction, FuseInfo, TransProto},
    http::{Version, uri::Scheme},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    time::sleep,
};

pub(crate) use crowd::Limits;
use crowd::{Crowd, Full, Seat};
use turned_away::TurnedAway;

use crate::{descriptors, telemetry::metrics::metrics};

/// How long it waits where the system has no descriptor for it, and none was put aside.
const BREATH: Duration = Duration::from_millis(10);

/// What the doors of one listener share: each of the threads that serve it has one.
#[derive(Clone)]
pub(crate) struct Entrance {
    crowd: Arc<Crowd>,
    turned_away: TurnedAway,
}

impl Entrance {
    /// The entrance of a listener with these limits. Where clients speak TLS, those who find no room hear nothing: that
    /// would cost a handshake.
    pub(crate) fn new(limits: Limits, tls: bool) -> Self {
        let turned_away = TurnedAway::new(limits.lingering, (!tls).then_some(limits.says));
        Self { crowd: Crowd::new(limits), turned_away }
    }
}

/// Accepts connections.
pub(crate) struct Door {
    socket: TcpListener,
    holdings: Vec<Holding>,
    crowd: Arc<Crowd>,
    turned_away: TurnedAway,
    /// A descriptor put aside. When the process has no other left, a client gets this one to hear so, instead of
    /// waiting for nobody knows what.
    spare: Option<File>,
}

impl Door {
    /// A door of this port.
    pub(crate) fn new(socket: TcpListener, entrance: Entrance) -> io::Result<Self> {
        let holding = Holding {
            local_addr: socket.local_addr()?.into(),
            http_versions: vec![Version::HTTP_11],
            http_scheme: Scheme::HTTP,
        };
        let Entrance { crowd, turned_away } = entrance;
        Ok(Self { socket, holdings: vec![holding], crowd, turned_away, spare: spare().ok() })
    }

    /// The next client for whom there is room.
    async fn next(&mut self) -> io::Result<(Guest, SocketAddr)> {
        loop {
            let (stream, peer) = match self.socket.accept().await {
                Ok(accepted) => accepted,
                Err(error) if descriptors::are_used_up(&error) => {
                    self.make_way().await;
                    continue;
                }
                // The client has left while it waited: the next one may be there.
                Err(error) if is_of_the_client(&error) => continue,
                Err(error) => return Err(error),
            };
            match self.crowd.enter(peer.ip()) {
                Ok(seat) => return Ok((Guest { stream, _seat: seat }, peer)),
                Err(full) => {
                    metrics().connection_shed(self.crowd.limits().listener, full.as_str());
                    self.turned_away.let_go(stream);
                }
            }
        }
    }

    /// The process has no descriptor left: who waits first hears so by the one that was put aside.
    async fn make_way(&mut self) {
        if self.spare.take().is_some()
            && let Some(Ok((stream, _))) = self.socket.accept().now_or_never()
        {
            metrics().connection_shed(self.crowd.limits().listener, Full::Descriptors.as_str());
            self.turned_away.part(&stream);
        }
        self.spare = spare().ok();
        if self.spare.is_none() {
            tracing::warn!(
                listener = self.crowd.limits().listener,
                "the process has no file descriptor left: clients wait"
            );
            sleep(BREATH).await;
        }
    }
}

fn spare() -> io::Result<File> {
    File::open("/dev/null")
}

fn is_of_the_client(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted)
}

impl Acceptor for Door {
    type Coupler = TcpCoupler<Self::Stream>;
    type Stream = StraightStream<Guest>;

    fn holdings(&self) -> &[Holding] {
        &self.holdings
    }

    async fn accept(
        &mut self,
        fuse: Option<ArcFusePolicy>,
    ) -> io::Result<Accepted<Self::Coupler, Self::Stream>> {
        loop {
            let (guest, peer) = self.next().await?;
            let local_addr = self.socket.local_addr()?.into();
            let conn_ctrl = ConnCtrl::new();
            let (fuse_config, observer) = match &fuse {
                Some(policy) => {
                    let info =
                        FuseInfo { trans_proto: TransProto::Tcp, remote_addr: peer.into(), local_addr };
                    match policy.decide(&info).await {
                        FuseAction::Accept(config) => (Some(config), policy.observe(&info, &conn_ctrl)),
                        FuseAction::Reject => continue,
                    }
                }
                None => (None, None),
            };
            return Ok(Accepted {
                coupler: TcpCoupler::new(),
                stream: StraightStream::new(guest, fuse_config, conn_ctrl.clone(), observer),
                fuse_config,
                conn_ctrl,
                local_addr: self.socket.local_addr()?.into(),
                remote_addr: peer.into(),
                http_scheme: Scheme::HTTP,
            });
        }
    }
}

/// A client's connection, and the seat that it has until it is closed.
pub(crate) struct Guest {
    // Dropped first: the seat is free when the descriptor is.
    stream: TcpStream,
    _seat: Seat,
}

impl AsyncRead for Guest {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Guest {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
