//! The connection to MongoDB: its options, the deadline of every operation, and errors without secrets.

use std::fmt;
use std::future::IntoFuture;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use mongodb::bson::Document;
use mongodb::error::{Error, ErrorKind, WriteFailure};
use mongodb::options::{
    Acknowledgment, ClientOptions, ConnectionString, ReadConcern, ReadPreference, SelectionCriteria,
    WriteConcern,
};
use mongodb::{Client, ClientSession, Collection};
use tokio::sync::OnceCell;

use super::secret::Uri;
use crate::StoreError;

/// Each operation in all, the search for a server included: the driver has no timeout on sockets and its
/// queue.
const OPERATION: Duration = Duration::from_secs(5);
const SERVER_SELECTION: Duration = Duration::from_secs(2);
const CONNECT: Duration = Duration::from_secs(2);
/// The server ends a read by itself before we stop waiting for it.
pub(super) const LONGEST_READ: Duration = Duration::from_secs(4);
const LARGEST_POOL: u32 = 32;

/// Error codes of a server that is going away, busy, or not ours to write to: the same call may succeed
/// later.
const TRANSIENT: [i32; 28] = [
    6, 7, 13, 18, 24, 50, 64, 89, 91, 100, 112, 117, 133, 134, 189, 225, 246, 262, 317, 358, 384, 9001,
    10107, 11600, 11602, 13435, 13436, 14031,
];
const DUPLICATE_KEY: i32 = 11_000;
const MAX_TIME_EXPIRED: i32 = 50;
const UNAUTHORIZED: [i32; 2] = [13, 18];

/// A client that is made when it is first needed: looking up `mongodb+srv://` needs DNS, which may be away
/// too.
pub(super) struct Connection {
    uri: Uri,
    database: String,
    client: OnceCell<Client>,
    closed: AtomicBool,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("uri", &self.uri)
            .field("database", &self.database)
            .finish_non_exhaustive()
    }
}

impl Connection {
    /// Checks the address and the name of the database; nothing is connected yet.
    pub(super) fn new(uri: &str, database: &str) -> Result<Self, StoreError> {
        // The parser's own text is left out: it may quote a password that was not percent-encoded.
        ConnectionString::parse(uri).map_err(|_| {
            StoreError::invalid(
                "store.uri is not a MongoDB address: expected mongodb://user:password@host:27017/?options, special \
                 characters in user and password percent-encoded",
            )
        })?;
        let forbidden = ['/', '\\', '.', ' ', '"', '$', '*', '<', '>', ':', '|', '?', '\0'];
        if database.is_empty() || database.len() > 63 || database.contains(forbidden) {
            return Err(StoreError::invalid(format!(
                "store.database {database:?} cannot name a MongoDB database: 1 to 63 letters, digits, `_` and `-`"
            )));
        }
        Ok(Self {
            uri: Uri::new(uri),
            database: database.to_owned(),
            client: OnceCell::new(),
            closed: AtomicBool::new(false),
        })
    }

    async fn client(&self) -> Result<&Client, StoreError> {
        if self.is_closed() {
            return Err(StoreError::unavailable("the store is closed"));
        }
        let made = self.client.get_or_try_init(|| async {
            let mut options = ClientOptions::parse(self.uri.expose()).await?;
            set(&mut options);
            Client::with_options(options)
        });
        within(made).await?.map_err(|error| self.failed("connecting", &error))
    }

    pub(super) async fn collection(&self, name: &str) -> Result<Collection<Document>, StoreError> {
        Ok(self.client().await?.database(&self.database).collection(name))
    }

    /// A session in which later reads see what earlier ones saw.
    pub(super) async fn session(&self) -> Result<ClientSession, StoreError> {
        let client = self.client().await?;
        self.run("starting a session", client.start_session()).await
    }

    pub(super) async fn command(&self, what: &str, command: Document) -> Result<Document, StoreError> {
        let database = self.client().await?.database(&self.database);
        self.run(what, database.run_command(command)).await
    }

    /// Runs one operation within its deadline; `what` says in an error which one it was.
    pub(super) async fn run<T, F>(&self, what: &str, operation: F) -> Result<T, StoreError>
    where
        F: IntoFuture<Output = Result<T, Error>>,
    {
        self.raw(operation).await?.map_err(|error| self.failed(what, &error))
    }

    /// As [`run`](Self::run), for a caller that looks at the driver's error itself.
    pub(super) async fn raw<T, F>(&self, operation: F) -> Result<Result<T, Error>, StoreError>
    where
        F: IntoFuture<Output = Result<T, Error>>,
    {
        within(operation.into_future()).await
    }

    /// What the driver said, by what the caller can do about it, with the secrets of the address masked.
    pub(super) fn failed(&self, what: &str, error: &Error) -> StoreError {
        let sorted = match error.kind.as_ref() {
            ErrorKind::ServerSelection { .. }
            | ErrorKind::Io(_)
            | ErrorKind::DnsResolve { .. }
            | ErrorKind::ConnectionPoolCleared { .. } => {
                StoreError::unavailable(format!("MongoDB cannot be reached ({what})"))
            }
            ErrorKind::Authentication { .. } => {
                StoreError::unavailable("MongoDB refused the credentials of store.uri")
            }
            ErrorKind::Shutdown => StoreError::unavailable("the store is closed"),
            ErrorKind::Write(WriteFailure::WriteConcernError(_)) => StoreError::unavailable(format!(
                "MongoDB could not make a write durable on most of its members ({what})"
            )),
            ErrorKind::Write(WriteFailure::WriteError(error)) => by_code(what, error.code),
            ErrorKind::Command(error) => by_code(what, error.code),
            _ if error.contains_label("RetryableWriteError") => {
                StoreError::unavailable(format!("MongoDB broke off ({what})"))
            }
            _ => StoreError::internal(format!("MongoDB refused an operation ({what})")),
        };
        sorted.because(self.uri.masked(&short(&error.kind.to_string())))
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    pub(super) async fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
        if let Some(client) = self.client.get()
            && tokio::time::timeout(OPERATION, client.clone().shutdown()).await.is_err()
        {
            tracing::warn!("MongoDB operations were still under way when the store was closed");
        }
    }
}

/// The driver's words without what it adds for its own developers: the whole topology, where a server was sought, is
/// shortened to why each could not be had.
fn short(said: &str) -> String {
    let own = |text: &str| text.split(", labels: ").next().unwrap_or(text).to_owned();
    let Some((reason, topology)) = said.split_once(" Topology: ") else { return own(said) };
    let mut reasons: Vec<String> = Vec::new();
    for cause in topology.split("Error: Kind: ").skip(1).map(own) {
        if !reasons.contains(&cause) {
            reasons.push(cause);
        }
    }
    let reason = reason.trim_end_matches('.');
    if reasons.is_empty() { reason.to_owned() } else { format!("{reason}: {}", reasons.join("; ")) }
}

/// What the gateway relies on goes before what the address says.
fn set(options: &mut ClientOptions) {
    options.app_name.get_or_insert_with(|| "vllm-gateway".to_owned());
    options.write_concern = Some(
        WriteConcern::builder()
            .w(Acknowledgment::Majority)
            .journal(true)
            .w_timeout(Duration::from_secs(5))
            .build(),
    );
    options.read_concern = Some(ReadConcern::majority());
    options.selection_criteria = Some(SelectionCriteria::ReadPreference(ReadPreference::Primary));
    options.server_selection_timeout = Some(SERVER_SELECTION);
    options.connect_timeout = Some(CONNECT);
    options.max_pool_size = Some(
        options.max_pool_size.filter(|&size| size > 0).map_or(LARGEST_POOL, |size| size.min(LARGEST_POOL)),
    );
    options.min_pool_size = options.min_pool_size.map(|size| size.min(LARGEST_POOL));
}

async fn within<T>(operation: impl Future<Output = T>) -> Result<T, StoreError> {
    tokio::time::timeout(OPERATION, operation).await.map_err(|_| {
        StoreError::unavailable(format!("MongoDB did not answer within {} s", OPERATION.as_secs()))
    })
}

fn by_code(what: &str, code: i32) -> StoreError {
    match code {
        DUPLICATE_KEY => StoreError::conflict("it exists already"),
        MAX_TIME_EXPIRED => StoreError::too_slow(LONGEST_READ),
        code if UNAUTHORIZED.contains(&code) => StoreError::unavailable(format!(
            "the MongoDB user of store.uri lacks the right ({what}): give it readWrite"
        )),
        code if is_transient(code) => StoreError::unavailable(format!("MongoDB cannot do it now ({what})")),
        _ => StoreError::internal(format!("MongoDB refused an operation ({what})")),
    }
}

/// Whether an error with that code says something about the server, not about the document.
pub(super) fn is_transient(code: i32) -> bool {
    TRANSIENT.contains(&code)
}

pub(super) const fn is_duplicate(code: i32) -> bool {
    code == DUPLICATE_KEY
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_driver_says_is_shortened_to_its_reasons() {
        let said = "Server selection timeout: No available servers. Topology: { Type: ReplicaSetNoPrimary, Set Name: rs0, \
                    Servers: [ { Address: a:1, Type: Unknown, Error: Kind: I/O error: Connection refused (os error 111), \
                    labels: {\"RetryableWriteError\"}, source: None }, { Address: b:1, Type: Unknown, Error: Kind: I/O \
                    error: Connection refused (os error 111), labels: {}, source: None } ] }";
        assert_eq!(
            short(said),
            "Server selection timeout: No available servers: I/O error: Connection refused (os error 111)"
        );
        assert_eq!(short("I/O error: broken pipe"), "I/O error: broken pipe");
        let unknown = "Server selection timeout: None of the servers is there. Topology: { Type: Unknown }";
        assert_eq!(short(unknown), "Server selection timeout: None of the servers is there");
    }

    #[tokio::test]
    async fn a_server_that_is_away_is_told_in_one_short_line() {
        let connection = Connection::new("mongodb://127.0.0.1:1/", "gateway").map_err(|_| ()).ok();
        let asked = async { connection?.command("asking", mongodb::bson::doc! { "ping": 1 }).await.err() };
        let said = asked.await.map(|error| error.full()).unwrap_or_default();
        assert!(said.contains("cannot be reached") && said.contains("Connection refused"), "{said}");
        assert!(!said.contains("labels") && !said.contains('{') && said.len() < 200, "{said}");
    }
}
