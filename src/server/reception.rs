//! Takes the connections of a port, and serves each of them until it ends.

use std::{sync::Arc, time::Duration};

use salvo::{
    conn::{Accepted, Acceptor},
    fuse::{ArcFusePolicy, FuseConfig},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    task::JoinSet,
    time::sleep,
};

use super::{
    Destination,
    entry::{self, BODY_GAP, Way},
    ip_of,
    patience::Patient,
    serving::Closing,
};

/// How long it waits after a connection that could not be taken.
const BREATH: Duration = Duration::from_millis(10);
/// The longest that a handshake of TLS may take.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// Takes and serves connections until the port is closed, and those that are left then as long as they may.
pub(super) async fn receive<A>(
    mut acceptor: A,
    destination: Destination,
    write_timeout: Duration,
    closing: Arc<Closing>,
) where
    A: Acceptor + Send,
    A::Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let fuse: ArcFusePolicy = Arc::new(
        FuseConfig::disabled()
            .with_tls_handshake_timeout(HANDSHAKE)
            .with_write_stall_timeout(write_timeout)
            .with_request_body_timeout(BODY_GAP),
    );
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            () = closing.begun() => break,
            // What has ended is let go, and its memory with it.
            Some(_) = connections.join_next() => {}
            accepted = acceptor.accept(Some(Arc::clone(&fuse))) => match accepted {
                Ok(accepted) => {
                    connections.spawn(connection(accepted, &destination, &closing));
                }
                Err(error) => {
                    tracing::error!(%error, "a connection could not be taken");
                    sleep(BREATH).await;
                }
            },
        }
    }
    drop(acceptor);
    tokio::select! {
        () = async { while connections.join_next().await.is_some() {} } => {}
        () = closing.is_now() => {}
    }
}

fn connection<A>(
    accepted: Accepted<A, A::Stream>,
    destination: &Destination,
    closing: &Arc<Closing>,
) -> impl Future<Output = ()> + Send + use<A>
where
    A: salvo::conn::Coupler,
    A::Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let Accepted { stream, fuse_config, conn_ctrl, local_addr, remote_addr, http_scheme, .. } = accepted;
    let peer = ip_of(&remote_addr);
    let Destination { router, plane } = destination;
    let router = router.hyper_handler(local_addr, remote_addr, http_scheme, fuse_config, conn_ctrl, None);
    entry::serve(Patient::new(stream), Way { plane: plane.clone(), peer, router }, Arc::clone(closing))
}
