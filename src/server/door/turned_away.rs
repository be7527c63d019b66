//! Those for whom there is no room: they hear so, and a few of them at a time are given the time to hear it.

use std::{io::ErrorKind, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::Semaphore,
    time::timeout,
};

/// How long a client may take to hear that there is no room.
const PATIENCE: Duration = Duration::from_secs(1);
/// The most that is read of what it sends meanwhile.
const MOST: u64 = 64 * 1024;

#[derive(Clone)]
pub(super) struct TurnedAway {
    lingering: Arc<Semaphore>,
    says: Option<fn() -> Vec<u8>>,
}

impl TurnedAway {
    /// So many at a time are told so; without a word, their connections are only closed.
    pub(super) fn new(most: usize, says: Option<fn() -> Vec<u8>>) -> Self {
        Self { lingering: Arc::new(Semaphore::new(most)), says }
    }

    /// Tells this client. A connection that is closed while the client still sends is reset, and then the client may
    /// never see what it was told: so what it sends is read first, if there are not too many of its kind.
    pub(super) fn let_go(&self, mut stream: TcpStream) {
        let Some(says) = self.says else { return };
        let Ok(place) = Arc::clone(&self.lingering).try_acquire_owned() else {
            self.part(&stream);
            return;
        };
        tokio::spawn(async move {
            let farewell = async {
                stream.write_all(&says()).await?;
                stream.shutdown().await?;
                tokio::io::copy(&mut (&mut stream).take(MOST), &mut tokio::io::sink()).await
            };
            let _ = timeout(PATIENCE, farewell).await;
            drop((stream, place));
        });
    }

    /// Tells this client what can be told without waiting.
    pub(super) fn part(&self, stream: &TcpStream) {
        let Some(says) = self.says else { return };
        let mut sent = [0; 4096];
        while matches!(stream.try_read(&mut sent), Ok(1..)) {}
        match stream.try_write(&says()) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => tracing::debug!(%error, "a client that found no room has left"),
        }
    }
}
