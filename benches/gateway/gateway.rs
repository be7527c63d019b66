//! The gateway that is measured: the pipeline of the default `gateway.toml`, nothing switched off.

use std::{
    fmt::Write,
    net::SocketAddr,
    path::Path,
    process::Command,
    time::{Duration, SystemTime},
};

use sha2::{Digest, Sha256};

use crate::call;

/// What to say of the settings beside the figures.
pub(crate) const SETTINGS: &str = "`access-log` with its journal, SQLite, `auth`, `model-route`, usage asked for, counted and hidden, metrics: the \
     pipeline of the default `gateway.toml`; its figures hold what it takes to store the records";

/// Keys of the many apps that clients use.
const USED: usize = 1_000;

pub(crate) fn command(
    program: &str,
    folder: &Path,
    data: SocketAddr,
    admin: SocketAddr,
    models: &[(String, Vec<SocketAddr>)],
) -> Command {
    let file = folder.join("gateway.toml");
    std::fs::write(&file, config(data, admin, models)).unwrap();
    let mut command = Command::new(program);
    command.arg("-c").arg(file);
    command
}

/// The configuration with these models, each with an upstream of these endpoints.
pub(crate) fn config(data: SocketAddr, admin: SocketAddr, models: &[(String, Vec<SocketAddr>)]) -> String {
    let (mut routes, mut upstreams) = (String::new(), String::new());
    for (number, (model, endpoints)) in models.iter().enumerate() {
        write!(routes, "\"{model}\" = \"upstream-{number}\", ").unwrap();
        let urls = endpoints.iter().map(|endpoint| format!("{{ url = \"http://{endpoint}\" }}"));
        let urls = urls.collect::<Vec<_>>().join(", ");
        writeln!(upstreams, "[upstreams.upstream-{number}]\nendpoints = [{urls}]").unwrap();
    }
    let routes = routes.trim_end_matches(", ");
    format!(
        r#"[server]
listen = "{data}"
[admin]
listen = "{admin}"
[pipelines.default]
filters = ["access-log", "auth", "model-route"]
[filters.access-log]
[filters.auth]
[filters.model-route]
models = {{ {routes} }}
{upstreams}"#
    )
}

/// Makes an app through the admin side and gives its key.
pub(crate) async fn create_app(admin: SocketAddr, folder: &Path) -> String {
    let token = std::fs::read_to_string(folder.join("data/admin.token")).unwrap();
    let app = call::post(admin, "/api/apps", token.trim(), r#"{"orgName":"bench"}"#).await;
    app["apiKey"].as_str().unwrap().to_owned()
}

/// Waits until the gateway knows its apps.
pub(crate) async fn wait_until_ready(data: SocketAddr) {
    while call::get(data, "/ready").await.unwrap().0 != 200 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Waits until the gateway knows this key: it is ready with what it knew when it ended, and reads the rest meanwhile.
pub(crate) async fn wait_until_known(data: SocketAddr, key: &str) {
    let request = format!("GET /v1/models HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {key}\r\n\r\n");
    while call::send(data, request.as_bytes()).await.unwrap().status != 200 {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Records that the store does not have yet.
pub(crate) async fn records_waiting(admin: SocketAddr) -> u64 {
    let (_, page) = call::get(admin, "/metrics").await.unwrap();
    let name = "vllm_gateway_access_log_records_pending ";
    page.lines().find_map(|line| line.strip_prefix(name)).unwrap().parse().unwrap()
}

/// Puts so many more apps into the store of a gateway that does not run, past the admin side, which would make a copy
/// of all apps for each; gives the keys of some.
pub(crate) fn add_apps(folder: &Path, apps: usize) -> Vec<String> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_micros();
    let now = i64::try_from(now).unwrap();
    let mut database = rusqlite::Connection::open(folder.join("data/gateway.db")).unwrap();
    let transaction = database.transaction().unwrap();
    let revision: i64 = transaction.query_row("SELECT revision FROM store", [], |row| row.get(0)).unwrap();
    let mut keys = Vec::new();
    {
        let app =
            "INSERT INTO apps (id, org_name, org_name_folded, key_prefix, status, create_time, revision)
                   VALUES (?1, ?2, ?2, ?3, 'enabled', ?4, ?5)";
        let mut app = transaction.prepare(app).unwrap();
        let key = "INSERT INTO app_keys (digest, app_id, place, prefix) VALUES (?1, ?2, 0, ?3)";
        let mut key_of = transaction.prepare(key).unwrap();
        for number in 0..apps {
            let key = format!("sk-live-{number:08x}-0000-4000-8000-{number:012x}");
            let (id, prefix) = (format!("app-{number}"), &key[..16]);
            let revision = revision + 1 + i64::try_from(number).unwrap();
            app.execute(rusqlite::params![id, format!("org {number}"), prefix, now, revision]).unwrap();
            key_of.execute(rusqlite::params![Sha256::digest(&key).as_slice(), id, prefix]).unwrap();
            if number % (apps / USED).max(1) == 0 {
                keys.push(key);
            }
        }
    }
    let revision = revision + i64::try_from(apps).unwrap();
    transaction.execute("UPDATE store SET revision = ?1", [revision]).unwrap();
    transaction.commit().unwrap();
    keys
}
