//! What a request tells of the endpoint that it was at.

use std::time::Duration;

use vllm_gateway_fleet::{Member, Moment, State, Verdict};

use super::{Endpoint, Upstream};
use crate::telemetry::metrics::metrics;

impl Endpoint {
    /// A request was served there, to its end; something was `generated` for it, or not.
    pub(crate) fn served_well(&self, generated: bool) {
        self.server.health.succeeded(generated);
    }

    /// It refuses further requests, for so long if it said.
    pub(crate) fn is_busy(&self, retry_after: Option<Duration>) {
        /// Whatever it says.
        const MOST: Duration = Duration::from_secs(60);
        self.server.refuses_more(retry_after.map(|time| time.min(MOST)), Moment::now());
    }

    /// It is about to end: whether it comes back, looks will tell.
    pub(crate) fn is_ending(&self) {
        const MEANWHILE: Duration = Duration::from_secs(5);
        self.server.health.is_full_for(MEANWHILE, Moment::now());
        self.suspicion.notify_one();
    }
}

impl Upstream {
    /// A request failed there.
    pub(crate) fn failed_there(&self, endpoint: &Endpoint) {
        let now = Moment::now();
        let is_needed = || !self.fleet.can_spare(&endpoint.server, now);
        if let Verdict::Ejected(time) = endpoint.server.health.failed(self.fleet.tolerance(), now, is_needed)
        {
            metrics().ejected(&self.name, &endpoint.url);
            tracing::warn!(
                upstream = &*self.name,
                endpoint = &*endpoint.url,
                seconds = time.as_secs(),
                "an endpoint is left alone: requests failed there, one after another"
            );
        }
    }

    /// No connection came about, or it broke: another server may answer at this address next time, or none.
    pub(crate) fn not_reached(&self, endpoint: &Endpoint) {
        endpoint.fingerprint.forget();
        self.failed_there(endpoint);
        endpoint.suspicion.notify_one();
    }

    /// Its endpoints, as members of its fleet, and what they are in.
    pub(crate) fn states(&self) -> impl Iterator<Item = (&Endpoint, &Member, State)> {
        let now = Moment::now();
        let all = self.endpoints.iter().zip(self.fleet.members());
        all.map(move |(endpoint, member)| (&**endpoint, member, self.fleet.state(member, now)))
    }
}
