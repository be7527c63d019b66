//! `vllm-load`: to the one that is least busy, as vLLM itself says.

use super::Balance;
use crate::{Key, Member, Moment, fleet::Among};

#[derive(Debug)]
pub(super) struct VllmLoad;

impl Balance for VllmLoad {
    fn pick(&self, among: &Among<'_>, _key: &Key) -> Option<usize> {
        let costs = among.shuffled().map(|(at, member)| (at, cost(member, among.now)));
        costs.min_by(|(_, one), (_, other)| one.total_cmp(other)).map(|(at, _)| at)
    }
}

/// How much a request that waits there counts for, beside one that runs: its turn comes only after others have ended.
const WAITING: f32 = 3.0;
/// The KV cache of a server that is fuller than this will not take many more without throwing others out.
const NEARLY_FULL: f32 = 0.9;

/// What it would cost a request to go there. Without figures that are fresh, it is what runs there of this gateway.
fn cost(member: &Member, now: Moment) -> f32 {
    let load = member.load(now);
    let Some(reported) = member.server.report.latest(now) else { return load };
    #[expect(clippy::cast_precision_loss, reason = "loads are compared, not billed")]
    let waiting = reported.waiting as f32 * (WAITING - 1.0) / member.weight.max(1) as f32;
    let crowded = (reported.cache - NEARLY_FULL).max(0.0) / (1.0 - NEARLY_FULL);
    (load + waiting) * (1.0 + crowded)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Policy, Reported,
        balance::testing::{fleet, pick, servers},
    };

    #[test]
    fn what_vllm_says_of_others_requests_counts() {
        let fleet = fleet(Policy::VllmLoad, servers(3));
        let now = Moment::now();
        let report = |at: usize, running, waiting, cache| {
            fleet.members()[at].server.report.keep(Reported { running, waiting, cache }, 0, now);
        };
        report(0, 9, 0, 0.2);
        report(1, 3, 3, 0.2);
        report(2, 9, 0, 0.99);
        assert_eq!(pick(&fleet, &Key::default()), 0);
        report(1, 3, 1, 0.2);
        assert_eq!(pick(&fleet, &Key::default()), 1);
    }

    #[test]
    fn what_was_sent_since_it_said_so_counts_too() {
        let fleet = fleet(Policy::VllmLoad, servers(2));
        let now = Moment::now();
        for member in fleet.members() {
            member.server.report.keep(Reported { running: 2, ..Reported::default() }, 0, now);
        }
        (0..3).for_each(|_| assert!(fleet.members()[0].server.take(None)));
        assert_eq!(pick(&fleet, &Key::default()), 1);
    }
}
