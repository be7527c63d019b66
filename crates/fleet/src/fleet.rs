//! The servers of an upstream as they stand now, and the choice of one.

use std::sync::Arc;

use crate::{
    Health, Key, Moment, Policy, Server, Sleepers, State, Tolerance, Tried,
    balance::{self, Balance},
    turns::Turns,
};

/// A server in its place in a fleet.
#[derive(Clone, Debug)]
pub struct Member {
    /// The server.
    pub server: Arc<Server>,
    /// Its share of the requests, compared with the weights of the others; at least 1.
    pub weight: u32,
    /// The most requests that may run there, of this gateway.
    pub most: Option<u32>,
    /// An operator keeps requests away from it.
    pub drained: bool,
}

impl Member {
    /// Requests that run there and wait for it, of this gateway and, if it reports them, of others.
    pub(crate) fn busy(&self, now: Moment) -> u32 {
        let ours = self.server.in_flight();
        let Some(reported) = self.server.report.latest(now) else { return ours };
        let others =
            (reported.running.saturating_add(reported.waiting)).saturating_sub(self.server.report.ours());
        ours.saturating_add(others)
    }

    /// How busy it is, for its weight.
    #[expect(clippy::cast_precision_loss, reason = "loads are compared, not billed")]
    pub(crate) fn load(&self, now: Moment) -> f32 {
        self.busy(now) as f32 / self.weight.max(1) as f32
    }

    fn has_room(&self, now: Moment) -> bool {
        self.most.is_none_or(|most| self.server.in_flight() < most) && !self.server.has_enough(now)
    }
}

/// The servers of an upstream as they stand now.
#[derive(Debug)]
pub struct Fleet {
    members: Box<[Member]>,
    tolerance: Tolerance,
    balance: Box<dyn Balance>,
    turns: Turns,
    /// Whether all have the same weight.
    is_even: bool,
}

/// Where a request may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// To the server with this index.
    Server(usize),
    /// Nowhere before a server has room again.
    Full,
    /// Nowhere before one of those that sleep is woken.
    Asleep,
    /// Nowhere: all were tried, or none may be asked.
    Nobody,
}

impl Fleet {
    /// A fleet of these servers.
    pub fn new(members: Vec<Member>, tolerance: Tolerance, policy: Policy) -> Self {
        let is_even = members.windows(2).all(|pair| pair[0].weight == pair[1].weight);
        let turns = Turns::of(&members);
        Self { members: members.into(), tolerance, balance: balance::of(policy), turns, is_even }
    }

    /// Its members.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// How much is put up with.
    pub fn tolerance(&self) -> &Tolerance {
        &self.tolerance
    }

    /// The server for a request that has been at those of `tried`. Whoever is told one takes a slot there.
    ///
    /// If no server can be asked that has not failed, one is asked all the same: it may be well again, and there is
    /// nothing to lose.
    pub fn choose(&self, key: &Key, tried: &Tried, now: Moment) -> Choice {
        let among = |whom| Among { fleet: self, tried, now, whom };
        let chosen = self.pick(&among(Whom::Admitted), key).or_else(|| self.pick(&among(Whom::Well), key));
        if let Some(chosen) = chosen {
            return Choice::Server(chosen);
        }
        let untried =
            || self.members.iter().enumerate().filter(|(at, _)| !tried.has(*at)).map(|(_, member)| member);
        let waits = |member: &Member| !member.drained && self.is_well(&member.server.health, now);
        if untried().any(waits) {
            return Choice::Full;
        }
        let is_asleep = |member: &Member| member.server.health.keeps_asleep(&self.tolerance);
        if self.tolerance.sleepers == Sleepers::Woken
            && untried().any(|member| self.state(member, now) == State::Asleep)
        {
            return Choice::Asleep;
        }
        if let Some(chosen) = self.pick(&among(Whom::All), key) {
            return Choice::Server(chosen);
        }
        if untried().any(|member| !member.drained && !is_asleep(member)) {
            Choice::Full
        } else {
            Choice::Nobody
        }
    }

    fn pick(&self, among: &Among<'_>, key: &Key) -> Option<usize> {
        if self.members.len() == 1 {
            return among.has(0).then_some(0);
        }
        self.balance.pick(among, key)
    }

    /// Whether it is only for a lack of room that it may not be asked.
    fn is_well(&self, health: &Health, now: Moment) -> bool {
        matches!(health.state(&self.tolerance, now), State::Up | State::Returning | State::Full)
    }

    /// Whether so many others can be asked that this one can be spared: half of all, and at least one. Requests that fail
    /// wherever they go must not take all servers from everybody else.
    pub fn can_spare(&self, server: &Server, now: Moment) -> bool {
        let is_other = |member: &&Member| member.server.id != server.id && !member.drained;
        let others = self.members.iter().filter(is_other);
        let well = others.filter(|member| self.is_well(&member.server.health, now)).count();
        well > 0 && well * 2 >= self.members.iter().filter(|member| !member.drained).count()
    }

    /// What a member is in.
    pub fn state(&self, member: &Member, now: Moment) -> State {
        if member.drained { State::Drained } else { member.server.health.state(&self.tolerance, now) }
    }

    /// Requests that run at all its servers.
    pub fn in_flight(&self) -> u32 {
        self.members.iter().fold(0, |sum, member| sum.saturating_add(member.server.in_flight()))
    }
}

/// The members that a request may be sent to.
pub(crate) struct Among<'a> {
    fleet: &'a Fleet,
    tried: &'a Tried,
    pub(crate) now: Moment,
    whom: Whom,
}

#[derive(Clone, Copy)]
enum Whom {
    /// Those that are well; of those that are coming back, as many as chance admits.
    Admitted,
    /// All that are well.
    Well,
    /// Also those that failed. What one that sleeps is asked, it may never answer.
    All,
}

impl<'a> Among<'a> {
    /// How many members there are, whether or not they may be asked.
    pub(crate) fn len(&self) -> usize {
        self.fleet.members.len()
    }

    pub(crate) fn turns(&self) -> &'a Turns {
        &self.fleet.turns
    }

    /// The turn of this request. A second try takes nobody's: else one that is down would send all its requests to the same
    /// neighbour.
    pub(crate) fn turn(&self) -> usize {
        if self.tried.is_empty() { self.fleet.turns.take() } else { self.fleet.turns.look() }
    }

    /// Whether all members have the same weight.
    pub(crate) fn is_even(&self) -> bool {
        self.fleet.is_even
    }

    /// The member with this index, if it may be asked.
    pub(crate) fn get(&self, at: usize) -> Option<&'a Member> {
        let member = self.fleet.members.get(at)?;
        let health = &member.server.health;
        let may = !self.tried.has(at)
            && member.has_room(self.now)
            && !member.drained
            && match self.whom {
                Whom::Admitted => health.admits(&self.fleet.tolerance, self.now),
                Whom::Well => {
                    let state = health.state(&self.fleet.tolerance, self.now);
                    matches!(state, State::Up | State::Returning)
                }
                Whom::All => !health.keeps_asleep(&self.fleet.tolerance),
            };
        may.then_some(member)
    }

    /// The number of the server with this index.
    pub(crate) fn id_of(&self, at: usize) -> Option<u16> {
        Some(self.fleet.members.get(at)?.server.id)
    }

    /// Whether the member with this index may be asked.
    pub(crate) fn has(&self, at: usize) -> bool {
        self.get(at).is_some()
    }

    /// Those that may be asked, from the one on whose turn this is, so that of equals each is first as often as its weight
    /// says.
    pub(crate) fn from(&self, turn: usize) -> impl Iterator<Item = (usize, &'a Member)> {
        let len = self.len();
        let start = self.fleet.turns.at(turn).unwrap_or_default().min(len);
        (start..len).chain(0..start).filter_map(|at| Some((at, self.get(at)?)))
    }

    /// All members, whether or not they may be asked.
    pub(crate) fn members(&self) -> impl Iterator<Item = &'a Member> {
        self.fleet.members.iter()
    }

    /// The index of the server with this number.
    pub(crate) fn index_of(&self, id: u16) -> Option<usize> {
        self.fleet.members.iter().position(|member| member.server.id == id)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::balance::testing::{TOLERANCE, fleet, servers};

    fn choose(fleet: &Fleet, tried: &Tried) -> Choice {
        fleet.choose(&Key::default(), tried, Moment::now())
    }

    #[test]
    fn who_was_tried_is_not_asked_again() {
        let fleet = fleet(Policy::LeastRequests, servers(3));
        let mut tried = Tried::default();
        for _ in 0..3 {
            let Choice::Server(at) = choose(&fleet, &tried) else { panic!("somebody is left") };
            assert!(!tried.has(at));
            tried.add(at);
        }
        assert_eq!(choose(&fleet, &tried), Choice::Nobody);
    }

    #[test]
    fn who_failed_is_asked_only_if_nobody_else_is_left() {
        let mut members = servers(3);
        members[2].drained = true;
        let fleet = fleet(Policy::RoundRobin, members);
        let [one, other, _] = fleet.members() else { panic!("there are three") };
        for _ in 0..2 {
            one.server.health.looked_unwell(&TOLERANCE);
        }
        for _ in 0..10 {
            assert_eq!(choose(&fleet, &Tried::default()), Choice::Server(1));
        }
        for _ in 0..2 {
            other.server.health.looked_unwell(&TOLERANCE);
        }
        for _ in 0..10 {
            let Choice::Server(0 | 1) = choose(&fleet, &Tried::default()) else {
                panic!("a drained one is never asked")
            };
        }
    }

    #[test]
    fn no_more_than_half_of_the_servers_are_spared() {
        let fleet = fleet(Policy::RoundRobin, servers(5));
        let now = Moment::now();
        let mut ejected = 0;
        for member in fleet.members() {
            for _ in 0..TOLERANCE.failures {
                let verdict =
                    member.server.health.failed(&TOLERANCE, now, || !fleet.can_spare(&member.server, now));
                ejected += usize::from(matches!(verdict, crate::Verdict::Ejected(_)));
            }
        }
        assert_eq!(ejected, 2);
        let alone = crate::balance::testing::fleet(Policy::RoundRobin, servers(1));
        assert!(!alone.can_spare(&alone.members()[0].server, now));
    }

    #[test]
    fn where_all_are_coming_back_one_of_them_is_asked() {
        let fleet = fleet(Policy::LeastRequests, servers(3));
        for member in fleet.members() {
            (0..2).for_each(|_| {
                member.server.health.looked_unwell(&TOLERANCE);
            });
            member.server.health.looked_well(Moment::now());
        }
        for _ in 0..100 {
            assert!(matches!(choose(&fleet, &Tried::default()), Choice::Server(_)));
        }
    }

    #[test]
    fn where_all_are_busy_a_request_waits() {
        let mut members = servers(2);
        members.iter_mut().for_each(|member| member.most = Some(1));
        let fleet = fleet(Policy::TwoChoices, members);
        for _ in 0..2 {
            let Choice::Server(at) = choose(&fleet, &Tried::default()) else { panic!("there is room") };
            assert!(fleet.members()[at].server.take(Some(1)));
        }
        assert_eq!(choose(&fleet, &Tried::default()), Choice::Full);
        fleet.members()[0].server.give();
        assert_eq!(choose(&fleet, &Tried::default()), Choice::Server(0));
        fleet.members()[0].server.health.is_full_for(Duration::from_secs(5), Moment::now());
        assert_eq!(choose(&fleet, &Tried::default()), Choice::Full);
    }
}
