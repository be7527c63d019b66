//! Endpoints that come and go while the gateway serves: by REST, by the addresses of a name, by a file.
//!
//! A change puts a new upstream in the place of the one before; requests keep the one that they began with.

use std::{net::IpAddr, path::Path, sync::Arc, time::Duration};

use tokio::{net::lookup_host, time::timeout};
use vllm_gateway_admin::{ChangeRefused, EndpointChange, EndpointState};
use vllm_gateway_config::{EndpointOptions, EndpointUrl, EndpointsFile, UpstreamOptions};

use super::{Current, Reloader, Runtime};
use crate::upstream::{Change, Known, Presence, Roster, Upstream, Upstreams, needs_tls, place};

/// How often files are looked at.
const LOOK: Duration = Duration::from_secs(1);
/// After how many looks names are looked up again.
const RESOLVE: u32 = 10;
/// How long a name or a file may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Changes who belongs to an upstream.
pub(crate) struct Membership {
    current: Arc<Current>,
    reloader: Arc<Reloader>,
}

impl Membership {
    pub(super) fn new(current: Arc<Current>, reloader: Arc<Reloader>) -> Self {
        Self { current, reloader }
    }

    /// Does what an operator asks for. It lasts until the gateway ends, reloads included.
    pub(crate) async fn change(
        &self,
        name: &str,
        change: EndpointChange,
    ) -> Result<Arc<Upstream>, ChangeRefused> {
        let url = EndpointUrl::try_from(change.url).map_err(ChangeRefused::BadUrl)?;
        let _one_at_a_time = self.reloader.hold().await;
        let runtime = self.current.load();
        let (Some(upstream), Some(options)) = (runtime.upstream(name), runtime.config.upstreams.get(name))
        else {
            return Err(ChangeRefused::NoSuchUpstream);
        };
        if url.as_str().starts_with("https:") && !needs_tls(options) {
            let why = "this upstream speaks http only: `gateway.toml` lists no https endpoint for it";
            return Err(ChangeRefused::BadUrl(why.to_owned()));
        }
        let mut roster = upstream.roster.clone();
        let before = roster.changes.get(url.as_str());
        let presence = match change.state {
            Some(EndpointState::Drained) => Presence::Drained,
            Some(EndpointState::Removed) => Presence::Removed,
            None if before.is_some_and(|before| before.presence == Presence::Drained) => Presence::Drained,
            // One that was removed and is named again is a new one.
            None | Some(EndpointState::Active) => Presence::Active,
        };
        let is_known = roster.seats(options).iter().any(|seat| seat.url == url.as_str());
        if presence != Presence::Active && !is_known {
            return Err(ChangeRefused::NoSuchEndpoint);
        }
        let weight = change.weight.or_else(|| roster.changes.get(url.as_str())?.weight);
        roster.changes.remove(url.as_str());
        // What says no more than the file does is no change: from here on the file says it again.
        let is_listed = roster.seats(options).iter().any(|seat| seat.url == url.as_str());
        if presence != Presence::Active || weight.is_some() || !is_listed {
            roster.changes.insert(url.as_str().to_owned(), Change { presence, weight });
        }
        if roster.seats(options).iter().all(|seat| seat.drained) {
            return Err(ChangeRefused::LastEndpoint);
        }
        replace(&runtime, &upstream, options, roster).map_err(ChangeRefused::BadUrl)?;
        tracing::info!(upstream = name, endpoint = url.as_str(), state = ?presence, "an operator changed an endpoint");
        runtime.upstream(name).ok_or(ChangeRefused::NoSuchUpstream)
    }

    /// Follows files and names. Ends with its task.
    pub(super) async fn follow(&self) {
        let mut turn = 0_u32;
        loop {
            self.look(turn.is_multiple_of(RESOLVE)).await;
            tokio::time::sleep(LOOK).await;
            turn = turn.wrapping_add(1);
        }
    }

    async fn look(&self, resolves: bool) {
        let config = self.current.load();
        let followed = |options: &UpstreamOptions| {
            options.endpoints_file.is_some() || options.endpoints.iter().any(|endpoint| endpoint.resolve)
        };
        for (name, options) in config.config.upstreams.iter().filter(|(_, options)| followed(options)) {
            let Some(upstream) = config.upstream(name) else { continue };
            let mut found = upstream.roster.clone();
            if resolves {
                resolve(&mut found, options).await;
            }
            match read(options, &config.config.base).await {
                Some(Ok(file)) => found.file = file,
                Some(Err(why)) if resolves => {
                    tracing::warn!(upstream = name, "`endpoints_file` is not used as it stands: {why}");
                }
                Some(Err(_)) | None => {}
            }
            if found != upstream.roster {
                self.put(name, &found).await;
            }
        }
    }

    /// Puts in force what was found, unless the upstream is gone meanwhile.
    async fn put(&self, name: &str, found: &Roster) {
        let _one_at_a_time = self.reloader.hold().await;
        let runtime = self.current.load();
        let (Some(upstream), Some(options)) = (runtime.upstream(name), runtime.config.upstreams.get(name))
        else {
            return;
        };
        // What an operator changed while it was looked up stays.
        let changes = upstream.roster.changes.clone();
        let roster = Roster { changes, ..found.clone() };
        if roster == upstream.roster {
            return;
        }
        let seats = roster.seats(options);
        if seats.iter().all(|seat| seat.drained) {
            tracing::warn!(
                upstream = name,
                "no endpoint would be left that gets requests: those before stay"
            );
            return;
        }
        match replace(&runtime, &upstream, options, roster) {
            Ok(()) => tracing::info!(upstream = name, endpoints = seats.len(), "endpoints have changed"),
            Err(why) => tracing::warn!(upstream = name, "endpoints stay as they are: {why}"),
        }
    }
}

fn replace(
    runtime: &Runtime,
    upstream: &Upstream,
    options: &UpstreamOptions,
    roster: Roster,
) -> Result<(), String> {
    let all = runtime.upstreams();
    let changed =
        upstream.with_roster(options, roster, &Known { before: Some(&all), built: &Upstreams::new() });
    runtime.replace(changed.map_err(|error| error.to_string())?);
    Ok(())
}

/// Reads the file of endpoints, if there is one; where the disk takes its time, nobody else waits for it.
async fn read(options: &UpstreamOptions, base: &Path) -> Option<Result<Vec<EndpointOptions>, String>> {
    let path = base.join(options.endpoints_file.as_ref()?);
    let read = tokio::task::spawn_blocking(move || EndpointsFile::read(&path).map(|file| file.endpoints));
    match timeout(PATIENCE, read).await {
        Ok(read) => Some(read.unwrap_or_else(|error| Err(error.to_string()))),
        Err(_elapsed) => Some(Err("it cannot be read in time".to_owned())),
    }
}

/// Looks up the names. One that cannot be looked up keeps its addresses.
async fn resolve(roster: &mut Roster, options: &UpstreamOptions) {
    let listed: Vec<EndpointOptions> = options.endpoints.iter().chain(&roster.file).cloned().collect();
    for endpoint in listed.into_iter().filter(|endpoint| endpoint.resolve) {
        let Some((host, port)) = place(endpoint.url.as_str()) else { continue };
        match timeout(PATIENCE, lookup_host((host, port))).await {
            Ok(Ok(found)) => {
                let mut addresses: Vec<IpAddr> = found.map(|address| address.ip()).collect();
                // Servers of names give them in another order each time.
                addresses.sort_unstable();
                addresses.dedup();
                if !addresses.is_empty() {
                    roster.addresses.insert(endpoint.url.clone(), addresses);
                }
            }
            Ok(Err(error)) => tracing::warn!(host, %error, "a name cannot be looked up: its addresses stay"),
            Err(_elapsed) => tracing::warn!(host, "a name was not looked up in time: its addresses stay"),
        }
    }
}
