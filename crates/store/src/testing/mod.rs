//! A real MongoDB server for tests, of this crate and of the gateway (feature `testing`).
//!
//! [`mongodb()`] is one server for the whole test process, [`MongoServer::start_own`] one that a test may
//! stop, stall or start again. A server never outlives the process that started it, however that ends: see
//! `guard`. Each test takes a database of its own from [`MongoServer::database`].
//!
//! With `TEST_MONGODB_URI` set, the shared server is that one. Else `mongod` is the one of `TEST_MONGOD`, or
//! the one that `scripts/test-tools` has installed. A missing server is a failure that says so.

mod guard;
mod hurried;

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use mongodb::bson::{Document, doc};
use tempfile::TempDir;

use self::guard::Guard;
pub use self::hurried::open_sqlite_within;

const REPLICA_SET: &str = "rs0";

/// How a server of one's own is started.
#[derive(Clone, Debug, Default)]
pub struct MongoOptions {
    /// As a replica set of one node, which has transactions, retryable writes and elections.
    pub replica_set: bool,
    /// Further arguments of `mongod`.
    pub args: Vec<String>,
}

/// A MongoDB server, with fail points enabled if it was started here.
pub struct MongoServer {
    /// Where to connect.
    pub uri: String,
    own: Option<Own>,
}

struct Own {
    guard: Option<Guard>,
    port: u16,
    options: MongoOptions,
    // Removed last: fields are dropped in their order.
    folder: TempDir,
}

/// The server that all tests of this process share; started by the first that asks.
///
/// # Panics
///
/// When there is none and none can be started.
pub fn mongodb() -> &'static MongoServer {
    static SHARED: OnceLock<MongoServer> = OnceLock::new();
    SHARED.get_or_init(|| match std::env::var("TEST_MONGODB_URI") {
        Ok(uri) if !uri.is_empty() => MongoServer { uri, own: None },
        _ => MongoServer::start_own(MongoOptions::default()),
    })
}

impl MongoServer {
    /// Starts a server of one's own, which is gone when this is dropped.
    ///
    /// # Panics
    ///
    /// When it cannot be started; the message says what to do.
    #[must_use]
    pub fn start_own(options: MongoOptions) -> Self {
        let folder =
            TempDir::with_prefix("vllm-gateway-mongod-").expect("a test machine has a temporary folder");
        let (guard, port) = Guard::start(&mongod(), folder.path(), &arguments(folder.path(), 0, &options));
        let set = if options.replica_set { format!("?replicaSet={REPLICA_SET}") } else { String::new() };
        let uri = format!("mongodb://127.0.0.1:{port}/{set}");
        if options.replica_set {
            initiate(port);
        }
        Self { uri, own: Some(Own { guard: Some(guard), port, options, folder }) }
    }

    /// A name for a database that no other test has.
    #[must_use]
    pub fn database(&self, test: &str) -> String {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let short: String = test.chars().filter(char::is_ascii_alphanumeric).take(30).collect();
        format!("t_{short}_{}_{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed))
    }

    /// Stops the server's process where it is: it answers nothing, and its connections stay open.
    pub fn stall(&self) {
        self.signal("STOP");
    }

    /// Lets a stalled server go on.
    pub fn resume(&self) {
        self.signal("CONT");
    }

    /// Kills the server as a power cut would. Its data stay for [`restart`](Self::restart).
    pub fn kill(&mut self) {
        let own = self.own.as_mut().expect("only a server that a test has started itself can be killed");
        if let Some(guard) = own.guard.take() {
            guard.kill();
        }
    }

    /// Starts a killed server again, on the same port and with its data.
    pub fn restart(&mut self) {
        self.kill();
        let own = self.own.as_mut().expect("`kill` has looked");
        let arguments = arguments(own.folder.path(), own.port, &own.options);
        let (guard, _) = Guard::start(&mongod(), own.folder.path(), &arguments);
        own.guard = Some(guard);
    }

    fn signal(&self, signal: &str) {
        let own = self.own.as_ref().expect("only a server that a test has started itself can be stopped");
        let guard = own.guard.as_ref().expect("the server has been killed");
        let sent = Command::new("kill").arg(format!("-{signal}")).arg(guard.pid().to_string()).status();
        assert!(sent.is_ok_and(|status| status.success()), "the server is gone already");
    }
}

impl fmt::Debug for MongoServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The address in TEST_MONGODB_URI may hold a password.
        f.debug_struct("MongoServer").field("own", &self.own.is_some()).finish_non_exhaustive()
    }
}

fn mongod() -> PathBuf {
    if let Some(path) = std::env::var_os("TEST_MONGOD").filter(|path| !path.is_empty()) {
        return path.into();
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let path = root.join(".test-tools/mongod/fiftyone/db/bin/mongod");
    assert!(
        path.exists(),
        "these tests need a MongoDB server: run `scripts/test-tools` at the root of the repository, which installs one \
         for tests, or set TEST_MONGODB_URI (a server to use) or TEST_MONGOD (a mongod to start)"
    );
    path
}

fn arguments(folder: &Path, port: u16, options: &MongoOptions) -> Vec<String> {
    let mut arguments: Vec<String> = [
        "--bind_ip",
        "127.0.0.1",
        "--nounixsocket",
        "--wiredTigerCacheSizeGB",
        "0.25",
        "--networkMessageCompressors",
        "disabled",
        "--wiredTigerEngineConfigString",
        "log=(prealloc=false,file_max=10MB)",
        "--setParameter",
        "diagnosticDataCollectionEnabled=false",
        "--setParameter",
        "ttlMonitorSleepSecs=1",
        "--setParameter",
        "enableTestCommands=1",
    ]
    .map(str::to_owned)
    .into();
    arguments.extend(["--port".into(), port.to_string(), "--dbpath".into(), folder.display().to_string()]);
    if options.replica_set {
        arguments.extend(["--replSet".into(), REPLICA_SET.into()]);
    }
    arguments.extend(options.args.iter().cloned());
    arguments
}

/// Makes a replica set of the server on that port and waits for its first election.
fn initiate(port: u16) {
    let host = format!("127.0.0.1:{port}");
    let config = doc! { "_id": REPLICA_SET, "members": [{ "_id": 0, "host": &host }] };
    let work = async move {
        let client =
            mongodb::Client::with_uri_str(format!("mongodb://{host}/?directConnection=true")).await?;
        let admin = client.database("admin");
        admin.run_command(doc! { "replSetInitiate": config }).await?;
        loop {
            let hello: Document = admin.run_command(doc! { "hello": 1 }).await?;
            if hello.get_bool("isWritablePrimary").unwrap_or(false) {
                return Ok::<_, mongodb::error::Error>(());
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    // On a thread and a runtime of its own: whoever asks may be on a runtime that must not wait for itself.
    let done = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a test machine can start a runtime").block_on(work)
    });
    done.join().expect("the driver does not panic").expect("a new server can become a replica set");
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Stdio;

    /// Whether a process of that id exists.
    fn exists(pid: u32) -> bool {
        let asked = Command::new("kill").arg("-0").arg(pid.to_string()).stderr(Stdio::null()).status();
        asked.is_ok_and(|status| status.success())
    }

    #[test]
    fn a_server_is_gone_when_it_is_dropped_even_if_it_was_stalled() {
        let server = MongoServer::start_own(MongoOptions::default());
        let own =
            server.own.as_ref().map(|own| (own.guard.as_ref().map(Guard::pid), own.folder.path().to_owned()));
        let Some((Some(pid), folder)) = own else { panic!("it was started here") };
        assert!(exists(pid) && folder.exists());
        server.stall();
        drop(server);
        assert!(!exists(pid) && !folder.exists());
    }
}
