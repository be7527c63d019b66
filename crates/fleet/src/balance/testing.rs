//! Fleets for tests.

use std::{sync::Arc, time::Duration};

use crate::{Choice, Fleet, Key, Member, Moment, Policy, Server, Sleepers, Tolerance, Tried};

pub(crate) const TOLERANCE: Tolerance = Tolerance {
    failures: 3,
    base: Duration::from_secs(5),
    most: Duration::from_secs(60),
    return_over: Duration::from_secs(10),
    sleepers: Sleepers::Avoided,
    looks: 2,
};

pub(crate) fn servers(count: usize) -> Vec<Member> {
    let server = |at| Arc::new(Server::new(&format!("http://10.0.0.{at}:8000")));
    (0..count).map(|at| Member { server: server(at), weight: 1, most: None, drained: false }).collect()
}

pub(crate) fn fleet(policy: Policy, members: Vec<Member>) -> Fleet {
    Fleet::new(members, TOLERANCE, policy)
}

/// Who gets a request with this key, if all can be asked.
pub(crate) fn pick(fleet: &Fleet, key: &Key) -> usize {
    match fleet.choose(key, &Tried::default(), Moment::now()) {
        Choice::Server(at) => at,
        other => panic!("{other:?}"),
    }
}

/// The same fleet, with one member drained.
pub(crate) fn without(policy: Policy, fleet: &Fleet, at: usize) -> Fleet {
    let mut members = fleet.members().to_vec();
    members[at].drained = true;
    self::fleet(policy, members)
}
