//! MongoDB that misbehaves on command: stalled, killed, failing, and reached through a relay that loses answers.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use mongodb::{
    Client,
    bson::{Document, doc},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
};
use vllm_gateway_store::testing::{MongoOptions, MongoServer, mongodb};

/// The server that the tests of this process share.
pub(crate) async fn shared() -> &'static MongoServer {
    tokio::task::spawn_blocking(mongodb).await.unwrap()
}

/// A server of one's own, to be stalled and killed.
pub(crate) async fn own() -> MongoServer {
    tokio::task::spawn_blocking(|| MongoServer::start_own(MongoOptions::default())).await.unwrap()
}

/// Runs a command on a database of this server.
pub(crate) async fn run(uri: &str, database: &str, command: Document) {
    let client = Client::with_uri_str(uri).await.unwrap();
    client.database(database).run_command(command).await.unwrap();
}

/// Makes the server fail inserts; `mode` and `how` as its `failCommand` takes them.
pub(crate) async fn fail_inserts(uri: &str, mode: Document, how: Document) {
    let mut data = doc! { "failCommands": ["insert"] };
    data.extend(how);
    run(uri, "admin", doc! { "configureFailPoint": "failCommand", "mode": mode, "data": data }).await;
}

pub(crate) async fn fail_no_more(uri: &str) {
    run(uri, "admin", doc! { "configureFailPoint": "failCommand", "mode": "off" }).await;
}

/// Between the gateway and a server: it can lose the answer to an insert, and the connection with it, after the server
/// has carried the insert out. So a failover looks that comes between a write and its answer.
pub(crate) struct Relay {
    pub(crate) uri: String,
    lose: Arc<AtomicUsize>,
}

impl Relay {
    pub(crate) async fn new(server: &MongoServer) -> Self {
        let to = server.uri.trim_start_matches("mongodb://").trim_end_matches('/').to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let uri = format!("mongodb://{}/", listener.local_addr().unwrap());
        let lose = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&lose);
        tokio::spawn(async move {
            while let Ok((from, _)) = listener.accept().await {
                let server = TcpStream::connect(&to).await.unwrap();
                tokio::spawn(relay(from, server, Arc::clone(&counter)));
            }
        });
        Self { uri, lose }
    }

    /// Loses the answers to the next inserts.
    pub(crate) fn lose(&self, answers: usize) {
        self.lose.store(answers, Ordering::SeqCst);
    }

    /// How many answers are still to be lost.
    pub(crate) fn left(&self) -> usize {
        self.lose.load(Ordering::SeqCst)
    }
}

async fn relay(gateway: TcpStream, server: TcpStream, lose: Arc<AtomicUsize>) {
    let (mut from_gateway, mut to_gateway) = gateway.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    // A driver waits for the answer before it sends the next command, so one message is answered at a time.
    while let Some(asked) = message(&mut from_gateway).await {
        let insert = asked.windows(8).any(|bytes| bytes == b"\x02insert\0");
        if to_server.write_all(&asked).await.is_err()
            || !answer(&mut from_server, &mut to_gateway, insert, &lose).await
        {
            return;
        }
    }
}

/// Passes one answer on; false when the connections are to be closed.
async fn answer(from: &mut OwnedReadHalf, to: &mut OwnedWriteHalf, insert: bool, lose: &AtomicUsize) -> bool {
    loop {
        let Some(answer) = message(from).await else { return false };
        let lost =
            || lose.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok();
        if insert && lost() {
            return false;
        }
        if to.write_all(&answer).await.is_err() {
            return false;
        }
        // `moreToCome`: a server that reports changes of itself goes on answering one question.
        if answer.get(16).is_none_or(|flags| flags & 2 == 0) {
            return true;
        }
    }
}

/// One message of the wire protocol: its first four bytes are its length.
async fn message(from: &mut OwnedReadHalf) -> Option<Vec<u8>> {
    let mut length = [0; 4];
    from.read_exact(&mut length).await.ok()?;
    let mut bytes = vec![0; usize::try_from(u32::from_le_bytes(length)).unwrap()];
    bytes[..4].copy_from_slice(&length);
    from.read_exact(&mut bytes[4..]).await.ok()?;
    Some(bytes)
}
