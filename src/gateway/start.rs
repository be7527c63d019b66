//! How the gateway starts: read, open the store, build, bind, serve.

use std::{
    fmt::Write as _,
    fs,
    io::Write as _,
    net::SocketAddr,
    num::NonZeroUsize,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, anyhow};
use salvo::{Router, Service};
use vllm_gateway_admin::{AdminState, TokenDigest};
use vllm_gateway_config::{Blocks, Config, Diagnostic, Loaded, ServerOptions, StoreOptions};
use vllm_gateway_journal::{RecordWriter, WriterOptions};
use vllm_gateway_sdk::{SecretRef, Services};
use vllm_gateway_store::{SqliteLock, Store};

use super::{
    Current, Drain, Gateway, Membership, Reloader, Runtime, adapters::LiveAdapters, keys, life::Parts, limits,
};
use crate::{
    responses::Responses,
    server::{Bound, DataPlane, Destination, GatewayControl, Manner, Routed, bind, serve, serve_on_threads},
};

/// Why the gateway did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration is not valid; nothing was touched.
    #[error("the configuration is not valid")]
    Invalid(Vec<Diagnostic>),
    /// Something else is in the way.
    #[error(transparent)]
    Failed(#[from] anyhow::Error),
}

impl Gateway {
    /// Starts a gateway from this file, in this process. It serves until [`shutdown`](Gateway::shutdown).
    pub async fn start(path: &Path) -> Result<Self, StartError> {
        // Of two providers in one binary rustls would choose none; a second call finds the first's choice.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let text = fs::read_to_string(path).unwrap_or_default();
        // The store is named in the file, and filters are lent what stands on the store: so first without them.
        let (offline, _) = load(path, &Services::inert())?;
        let lock = lock_store(&offline.store, &offline.base)?;
        let token = admin_token(&offline.admin.token, &offline.base)?;
        let directory = Arc::new(keys::open_directory(&offline, &data_folder(&offline)).await?);
        let store = open_store(&offline.store, &offline.base, directory.is_ready()).await?;
        keys::recognise(&directory, &*store).await?;
        let writer =
            RecordWriter::start(Arc::clone(&store) as _, writer_options(&offline)).context("[journal]")?;
        let adapters = Arc::<LiveAdapters>::default();
        let services = Services {
            apps: Arc::clone(&directory) as _,
            records: Arc::clone(&writer) as _,
            adapters: Arc::clone(&adapters) as _,
        };
        let (config, warnings) = load(path, &services)?;
        warnings.iter().for_each(|warning| tracing::warn!("{warning}"));

        let data = open(config.server.listen.get())?;
        let admin = open(config.admin.listen.get())?;
        let runtime = Runtime::build(config, None)
            .map_err(|(upstream, error)| anyhow!("upstream `{upstream}`: {error}"))?;
        runtime.start(&services);
        let current = Arc::new(Current::new(runtime));
        adapters.begin(&current);
        let reloader = Arc::new(Reloader::new(path.to_owned(), text, Arc::clone(&current), services.clone()));
        let membership = Arc::new(Membership::new(Arc::clone(&current), Arc::clone(&reloader)));
        let runtime = current.load();
        let drain = Arc::new(Drain::new(Arc::clone(&runtime.limits.ending)));
        let (server, admin_options, base) =
            (&runtime.config.server, &runtime.config.admin, &runtime.config.base);
        let control = GatewayControl::new(
            Arc::clone(&current),
            Arc::clone(&reloader),
            Arc::clone(&membership),
            Arc::clone(&writer),
        );
        let state = AdminState {
            token: TokenDigest::of(&token).context("[admin] token")?,
            store: Arc::clone(&store),
            directory: Arc::clone(&directory),
            control: Arc::new(control),
            metrics_auth: admin_options.metrics_auth,
        };
        let (data_address, admin_address) = (data.address, admin.address);
        let destination = Destination { router: vllm_gateway_admin::service(Arc::new(state)), plane: None };
        let write_timeout = server.write_timeout.get();
        let limits = limits::admin();
        let manner = Manner { tls: admin_options.tls.as_ref(), base, limits, write_timeout };
        let admin = serve(admin, destination, &manner).await?;
        let manner = Manner { tls: server.tls.as_ref(), base, limits: limits::data(server), write_timeout };
        let responses = Arc::new(Responses::default());
        let plane = || {
            Arc::new(DataPlane {
                current: Arc::clone(&current),
                services: services.clone(),
                apps: Arc::clone(&directory),
                drain: Arc::clone(&drain),
                responses: Arc::clone(&responses),
            })
        };
        let destination = || to_data_plane(plane(), server);
        let data = serve_on_threads(data, destination, &manner, threads(server)).await?;

        let parts =
            Parts { current, store, directory, writer, reloader, membership, drain, data, admin, lock };
        Ok(Self::new(parts, data_address, admin_address))
    }
}

/// The configuration, and what may be wrong with it all the same.
fn load(path: &Path, services: &Services) -> Result<(Config, Vec<Diagnostic>), StartError> {
    let loaded = Config::load(path, services, None);
    let in_the_way = loaded.in_the_way_of(Blocks::Start);
    let Loaded { config, diagnostics } = loaded;
    match config {
        Some(config) if in_the_way.is_empty() => Ok((config, diagnostics)),
        _ => Err(StartError::Invalid(in_the_way)),
    }
}

/// How many threads serve clients.
fn threads(server: &ServerOptions) -> NonZeroUsize {
    server.threads.unwrap_or_else(|| std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN))
}

fn to_data_plane(plane: Arc<DataPlane>, server: &ServerOptions) -> Destination {
    // One handler for every path and method, on purpose: it must see what it refuses, to record it, and it compares
    // paths byte by byte, where the router decodes them. TRACE and CONNECT are refused by its first check.
    let router = Service::new(Router::with_path("{**path}").goal(Routed(Arc::clone(&plane))));
    let router = match &server.cors {
        Some(cors) => router.hoop(crate::server::cors(cors)),
        None => router,
    };
    Destination { router, plane: Some(plane) }
}

/// The right to run on the embedded store, which one gateway has at a time: the apps that it knows, and the files
/// beside the store, are its own.
fn lock_store(options: &StoreOptions, base: &Path) -> anyhow::Result<Option<SqliteLock>> {
    match options {
        StoreOptions::Sqlite(sqlite) => {
            Ok(Some(vllm_gateway_store::lock_sqlite(&base.join(&sqlite.path)).context("[store] path")?))
        }
        StoreOptions::Mongodb(_) => Ok(None),
    }
}

/// A store that can be waited for is, where keys are known meanwhile. Else a database that cannot be opened is an error
/// that an operator sees at once.
async fn open_store(options: &StoreOptions, base: &Path, keys_known: bool) -> anyhow::Result<Arc<dyn Store>> {
    match options {
        StoreOptions::Sqlite(sqlite) => {
            let path = base.join(&sqlite.path);
            let opened: Result<Arc<dyn Store>, _> = if keys_known {
                vllm_gateway_store::open_sqlite_later(&path).await
            } else {
                vllm_gateway_store::open_sqlite(&path).await.map(|store| Arc::new(store) as _)
            };
            opened.with_context(|| format!("cannot open the store `{}`", path.display()))
        }
        StoreOptions::Mongodb(mongodb) => {
            let uri = mongodb.uri.read(base).context("[store] uri")?;
            Ok(Arc::new(
                vllm_gateway_store::connect_mongodb(&uri, &mongodb.database).await.context("[store]")?,
            ))
        }
    }
}

fn writer_options(config: &Config) -> WriterOptions {
    let folder = data_folder(config);
    let journal = &config.journal;
    WriterOptions {
        journal: journal.path.as_ref().map_or_else(|| folder.join("journal"), |path| config.base.join(path)),
        folder,
        max_size: journal.max_size.bytes(),
        sync_every: journal.sync_every.get(),
    }
}

/// Where the gateway keeps files of its own: beside the embedded store, else beside `gateway.toml`.
fn data_folder(config: &Config) -> PathBuf {
    match &config.store {
        StoreOptions::Sqlite(sqlite) => {
            config.base.join(&sqlite.path).parent().map_or_else(|| config.base.clone(), Path::to_owned)
        }
        StoreOptions::Mongodb(_) => config.base.join("data"),
    }
}

/// The admin token. One that is to be in a file is made when the file is missing.
fn admin_token(secret: &SecretRef, base: &Path) -> anyhow::Result<String> {
    if let SecretRef::File(path) = secret {
        let path = base.join(path);
        if !path.exists() {
            make_token(&path)
                .with_context(|| format!("cannot make the admin token in `{}`", path.display()))?;
            tracing::info!(path = %path.display(), "made the admin token");
        }
    }
    secret.read(base).context("[admin] token")
}

fn make_token(path: &Path) -> anyhow::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    let mut random = [0; 32];
    getrandom::fill(&mut random)?;
    let mut token = String::new();
    for byte in random {
        write!(token, "{byte:02x}")?;
    }
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    writeln!(file, "{token}")?;
    Ok(file.sync_all()?)
}

fn open(address: SocketAddr) -> anyhow::Result<Bound> {
    bind(address).with_context(|| format!("cannot listen on {address}"))
}
