//! Upstreams: named pools of vLLM servers, and the choice of one of them for each attempt.

mod catalogue;
mod client;
mod endpoint;
mod key;
mod lease;
mod roster;
mod sleep;
mod verdict;
mod watch;

use std::{
    collections::HashMap,
    num::NonZeroU32,
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use http::HeaderValue;
use tokio::task::AbortHandle;
use vllm_gateway_client::Connector;
use vllm_gateway_config::{
    Balance, HealthOptions, QueueOptions, RetryOn, SessionBy, UpstreamOptions, WhenAsleep,
};
use vllm_gateway_fleet::{Fleet, Line, Member, Policy, PrefixTable, Sleepers, Tolerance};

pub(crate) use catalogue::{Catalogue, Entry};
pub(crate) use client::{ClientError, needs_tls};
pub(crate) use endpoint::Endpoint;
pub(crate) use key::pieces;
pub(crate) use lease::{CopyPlace, Lease, NoSlot};
use roster::Seat;
pub(crate) use roster::{Change, Presence, Roster, place};

/// All upstreams, by their names.
pub(crate) type Upstreams = HashMap<Arc<str>, Arc<Upstream>>;

/// A named pool of endpoints that serve the same models.
pub(crate) struct Upstream {
    pub(crate) name: Arc<str>,
    /// Who belongs to it, beside what `gateway.toml` lists.
    pub(crate) roster: Roster,
    pub(crate) endpoints: Vec<Arc<Endpoint>>,
    /// The same endpoints as balancing sees them, in the same order.
    pub(crate) fleet: Fleet,
    policy: Policy,
    balance: Balance,
    session_by: Vec<SessionBy>,
    max_concurrent: Option<NonZeroU32>,
    /// Outlives reloads, and so does the line.
    running: Arc<lease::Running>,
    pub(crate) line: Arc<Line>,
    pub(crate) queue: QueueOptions,
    health: HealthOptions,
    when_asleep: WhenAsleep,
    sleepers: Arc<sleep::Needed>,
    /// The tasks that look at its endpoints.
    watchers: Mutex<Vec<AbortHandle>>,
    pub(crate) retry_on: Vec<RetryOn>,
    retry_budget: u32,
    /// How requests reach it.
    pub(crate) connector: Connector,
    /// For what is asked of it now and then, beside the requests.
    pub(crate) client: reqwest::Client,
    /// Sent to vLLM instead of the client's key.
    pub(crate) authorization: Option<HeaderValue>,
    pub(crate) first_byte_timeout: Duration,
    pub(crate) gap_timeout: Duration,
    pub(crate) total_timeout: Duration,
    /// The server reports running usage in every stream, asked or not, so clients expect to see it.
    pub(crate) forces_usage: bool,
    pub(crate) catalogue: Catalogue,
}

/// How an upstream is reached.
struct Ways {
    connector: Connector,
    client: reqwest::Client,
    authorization: Option<HeaderValue>,
}

/// What there is already, and is to be kept.
pub(crate) struct Known<'a> {
    /// What there was before.
    pub(crate) before: Option<&'a Upstreams>,
    /// What has been built of the same configuration.
    pub(crate) built: &'a Upstreams,
}

impl Known<'_> {
    /// The endpoint of this URL, in whatever upstream, so that all count on it together.
    fn endpoint(&self, url: &str) -> Option<Arc<Endpoint>> {
        let all = self.built.values().chain(self.before.into_iter().flat_map(HashMap::values));
        let mut endpoints = all.flat_map(|upstream| &upstream.endpoints);
        endpoints.find(|endpoint| &*endpoint.url == url).cloned()
    }

    fn upstream(&self, name: &str) -> Option<&Upstream> {
        self.before?.get(name).map(AsRef::as_ref)
    }
}

impl Upstream {
    /// Builds the pool. What is known of it and of its endpoints, by their URLs, is kept.
    pub(crate) fn build(
        name: &str,
        options: &UpstreamOptions,
        base: &Path,
        known: &Known<'_>,
    ) -> Result<Self, ClientError> {
        let before = known.upstream(name);
        let mut roster = before.map(|before| before.roster.clone()).unwrap_or_default();
        roster.read_file(options, base).map_err(ClientError::Endpoints)?;
        let ways = Ways {
            connector: client::connector(options, base)?,
            client: client::build(options, base)?,
            authorization: client::authorization(options, base)?,
        };
        Self::with(name, options, roster, ways, known)
    }

    /// The same upstream with other members.
    pub(crate) fn with_roster(
        &self,
        options: &UpstreamOptions,
        roster: Roster,
        known: &Known<'_>,
    ) -> Result<Self, ClientError> {
        let ways = Ways {
            connector: self.connector.clone(),
            client: self.client.clone(),
            authorization: self.authorization.clone(),
        };
        Self::with(&self.name, options, roster, ways, known)
    }

    fn with(
        name: &str,
        options: &UpstreamOptions,
        roster: Roster,
        ways: Ways,
        known: &Known<'_>,
    ) -> Result<Self, ClientError> {
        let before = known.upstream(name);
        let Ways { connector, client, authorization } = ways;
        let seats = roster.seats(options);
        let endpoint = |seat: &Seat| match known.endpoint(&seat.url) {
            Some(endpoint) => Ok(endpoint),
            None => Endpoint::new(&seat.url, seat.resolved.as_ref()).map(Arc::new),
        };
        let endpoints: Vec<_> = seats.iter().map(endpoint).collect::<Result<_, _>>()?;
        let most = options.max_concurrent_per_endpoint.map(NonZeroU32::get);
        let members = endpoints.iter().zip(&seats).map(|(endpoint, seat)| Member {
            server: Arc::clone(&endpoint.server),
            weight: seat.weight,
            most,
            drained: seat.drained,
        });
        let policy = policy(options.balance, seats.len());
        let line = before.map_or_else(|| Arc::new(Line::new(0)), |before| Arc::clone(&before.line));
        line.resize(options.queue.size);
        Ok(Self {
            name: name.into(),
            roster,
            fleet: Fleet::new(members.collect(), tolerance(options), policy.clone()),
            endpoints,
            policy,
            balance: options.balance,
            session_by: options.session_by.clone(),
            max_concurrent: options.max_concurrent,
            running: before.map(|before| Arc::clone(&before.running)).unwrap_or_default(),
            line,
            watchers: Mutex::default(),
            queue: options.queue.clone(),
            health: options.health.clone(),
            when_asleep: options.when_asleep,
            sleepers: Arc::default(),
            retry_on: options.retry_on.clone(),
            retry_budget: options.retry_budget,
            connector,
            client,
            authorization,
            first_byte_timeout: options.first_byte_timeout.get(),
            gap_timeout: options.gap_timeout.get(),
            total_timeout: options.total_timeout.get(),
            forces_usage: options.force_include_usage,
            catalogue: Catalogue::default(),
        })
    }

    /// How long a request of this app waits before or after others; 0 is as long as most.
    pub(crate) fn priority(&self, app: &vllm_gateway_sdk::Consumer) -> i32 {
        let priorities = &self.queue.priorities;
        priorities.get(&app.id).or_else(|| priorities.get(&app.name)).copied().unwrap_or_default()
    }

    /// How requests are spread, as in `gateway.toml`.
    pub(crate) fn balance(&self) -> Balance {
        self.balance
    }

    /// Closes connections that have waited for too long.
    pub(crate) fn tidy(&self) {
        self.endpoints.iter().for_each(|endpoint| endpoint.origin.tidy());
    }
}

fn policy(balance: Balance, endpoints: usize) -> Policy {
    match balance {
        // There is nothing to choose, and nothing to look at for it.
        Balance::Prefix | Balance::Session if endpoints < 2 => Policy::LeastRequests,
        Balance::RoundRobin => Policy::RoundRobin,
        Balance::LeastRequests => Policy::LeastRequests,
        Balance::P2c => Policy::TwoChoices,
        Balance::VllmLoad => Policy::VllmLoad,
        Balance::Prefix => Policy::Prefix(PrefixTable::shared()),
        Balance::Session => Policy::Session,
    }
}

fn tolerance(options: &UpstreamOptions) -> Tolerance {
    let ejection = &options.ejection;
    Tolerance {
        failures: ejection.failures,
        base: ejection.base.get(),
        most: ejection.max.get(),
        return_over: ejection.return_over.get(),
        looks: options.health.failures,
        sleepers: match options.when_asleep {
            WhenAsleep::Ignore => Sleepers::Ignored,
            WhenAsleep::Avoid => Sleepers::Avoided,
            WhenAsleep::Wake => Sleepers::Woken,
        },
    }
}
