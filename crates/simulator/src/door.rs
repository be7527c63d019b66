//! The listening socket: accepting, refusing and coming back on the same port.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::time::sleep;

use crate::connection::serve;
use crate::shared::{OpenConnection, Shared};
use crate::simulator::Door;

/// How many connections may wait to be accepted.
pub(crate) const BACKLOG: u32 = 4096;

/// A port that is ours, listened on or only held.
enum Port {
    Listening(TcpListener),
    /// Bound without listening: connections are refused, and nobody else can take it meanwhile.
    Held(TcpSocket),
}

/// Meets new connections until the simulator stops. Tells `met` of each change of the door once it is done.
pub(crate) async fn open(
    shared: Arc<Shared>,
    listener: TcpListener,
    addr: SocketAddr,
    met: watch::Sender<()>,
) {
    let mut port = Port::Listening(listener);
    let mut door = shared.door.subscribe();
    while !shared.is_stopping() {
        let wanted = *door.borrow_and_update();
        port = match moved(port, wanted, addr) {
            Ok(port) => port,
            Err(error) => {
                tracing::error!(%addr, %error, "the simulator lost its port");
                return;
            }
        };
        met.send_replace(());
        match &port {
            Port::Held(_) => {
                if door.changed().await.is_err() {
                    return;
                }
            }
            Port::Listening(listener) => loop {
                tokio::select! {
                    biased;
                    _ = door.changed() => break,
                    accepted = listener.accept() => match accepted {
                        Ok((socket, _)) => meet(&shared, socket, wanted),
                        // Out of file descriptors, as a rule: others have to close first.
                        Err(error) => {
                            tracing::warn!(%error, "the simulator cannot accept");
                            sleep(Duration::from_millis(20)).await;
                        }
                    },
                }
            },
        }
    }
}

fn moved(port: Port, wanted: Door, addr: SocketAddr) -> io::Result<Port> {
    match (port, wanted) {
        (Port::Listening(listener), Door::Refuse) => {
            drop(listener);
            let socket = if addr.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
            socket.set_reuseaddr(true)?;
            socket.bind(addr)?;
            Ok(Port::Held(socket))
        }
        (Port::Held(socket), Door::Open | Door::Stall | Door::Reset) => {
            Ok(Port::Listening(socket.listen(BACKLOG)?))
        }
        (port, _) => Ok(port),
    }
}

fn meet(shared: &Arc<Shared>, socket: TcpStream, door: Door) {
    // Each event has to leave by itself.
    let _ = socket.set_nodelay(true);
    let open = OpenConnection::new(shared);
    let shared = shared.clone();
    match door {
        Door::Open | Door::Refuse => {
            tokio::spawn(serve(shared, socket, open));
        }
        Door::Stall => {
            let mut hang_ups = shared.hang_ups.subscribe();
            tokio::spawn(async move {
                if !shared.is_stopping() {
                    let _ = hang_ups.changed().await;
                }
                drop((socket, open));
            });
        }
        Door::Reset => {
            let _ = socket.set_zero_linger();
        }
    }
}
