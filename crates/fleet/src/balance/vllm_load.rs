//! `vllm-load`: to the one that is least busy, as vLLM itself says.

use super::Balance;
use crate::{Key, Member, Moment, fleet::Among};

#[derive(Debug)]
pub(super) struct VllmLoad;

impl Balance for VllmLoad {
    fn pick(&self, among: &Among<'_>, key: &Key) -> Option<usize> {
        let usual = usual_pace(among);
        let members = among.from(among.turn());
        let costs = members.map(|(at, member)| (at, cost(member, usual, key.bytes(), among.now)));
        costs.min_by(|(_, one), (_, other)| one.total_cmp(other)).map(|(at, _)| at)
    }
}

/// How much a request that waits there counts for, beside one that runs: its turn comes only after others have ended.
const WAITING: f32 = 3.0;
/// How much longer it takes beside one that runs, as a part of the time that it takes alone.
const RUNNING: f32 = 0.15;
/// The KV cache of a server that is fuller than this will not take many more without throwing others out.
const NEARLY_FULL: f32 = 0.9;

/// The pace of those whose pace is known, on the average.
fn usual_pace(among: &Among<'_>) -> Option<f32> {
    let paces = among.members().filter_map(|member| member.server.pace.latest(among.now));
    let (sum, count) = paces.fold((0.0, 0.0), |(sum, count), pace| (sum + pace, count + 1.0));
    (count > 0.0).then(|| sum / count)
}

/// What it would cost a request of so many bytes to go there: where paces are known, how long it would wait for its first
/// token; else how many run and wait there. Without figures that are fresh, only this gateway's requests count.
fn cost(member: &Member, usual: Option<f32>, bytes: u32, now: Moment) -> f32 {
    let (server, reported) = (&member.server, member.server.report.latest(now).unwrap_or_default());
    let crowded = 1.0 + (reported.cache - NEARLY_FULL).max(0.0) / (1.0 - NEARLY_FULL);
    #[expect(clippy::cast_precision_loss, reason = "costs are compared, not billed")]
    let (bytes, waiting, weight) = (bytes as f32, reported.waiting as f32, member.weight.max(1) as f32);
    match server.pace.latest(now).or(usual) {
        Some(pace) => {
            // What others wait for there is taken to be like this.
            let others = (waiting - server.pace.pending() / bytes).max(0.0) * bytes;
            // Those that run take their share of every step.
            let running = 1.0 + member.load(now) * RUNNING;
            pace * (server.pace.pending() + others + bytes) / weight * running * crowded
        }
        None => (member.load(now) + waiting * (WAITING - 1.0) / weight) * crowded,
    }
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

    #[test]
    fn a_server_that_was_slow_to_begin_gets_less() {
        let fleet = fleet(Policy::VllmLoad, servers(2));
        let [slow, quick] = fleet.members() else { panic!("there are two") };
        for (member, bytes) in [(slow, 10), (quick, 1000)] {
            let start = member.server.pace.start(bytes);
            std::thread::sleep(std::time::Duration::from_millis(5));
            member.server.pace.began(&start, true);
        }
        let key = Key::default().work(1000);
        assert!((0..4).all(|_| pick(&fleet, &key) == 1));
        // But not for ever, once the quick one has much before it.
        quick.server.pace.start(1_000_000_000);
        assert_eq!(pick(&fleet, &key), 0);
    }
}
