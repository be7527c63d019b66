//! What the choice itself costs: `cargo test --release -p vllm-gateway-fleet --test choice -- --ignored --nocapture`.
#![allow(clippy::print_stdout, missing_docs)]

use std::{
    hint::black_box,
    sync::Arc,
    time::{Duration, Instant},
};

use vllm_gateway_fleet::{
    Choice, Fleet, Key, Member, Moment, Policy, PrefixHasher, PrefixTable, Server, Sleepers, Tolerance, Tried,
};

const TOLERANCE: Tolerance = Tolerance {
    failures: 5,
    base: Duration::from_secs(5),
    most: Duration::from_secs(300),
    return_over: Duration::from_secs(10),
    sleepers: Sleepers::Avoided,
    looks: 2,
};
const CHOICES: u32 = 200_000;

fn members(weights: &[u32]) -> Vec<Member> {
    let server = |at| Arc::new(Server::new(&format!("http://10.0.0.{at}:8000")));
    let member = |at: usize| Member {
        server: server(at),
        weight: weights[at % weights.len()],
        most: Some(1000),
        drained: false,
    };
    (0..64).map(member).collect()
}

/// A key of a prompt of 4 KiB, one of a thousand.
fn key(n: u32) -> Key {
    let mut prompt = PrefixHasher::default();
    prompt.feed(format!("{n:>6} ").repeat(600).as_bytes());
    Key::default().prompt(&prompt).session(&n.to_le_bytes()).work(4096)
}

fn nanoseconds_each(policy: Policy, weights: &[u32]) -> u128 {
    let fleet = Fleet::new(members(weights), TOLERANCE, policy);
    let keys: Vec<_> = (0..1000).map(key).collect();
    let (tried, now) = (Tried::default(), Moment::now());
    let round = |choices: u32| {
        for (n, key) in (0..choices).zip(keys.iter().cycle()) {
            let Choice::Server(at) = black_box(fleet.choose(key, &tried, now)) else { panic!("all are up") };
            // Some load that comes and goes, so that servers differ.
            let server = &fleet.members()[at].server;
            if n % 3 != 0 {
                server.take(None);
            } else if server.in_flight() > 0 {
                server.give();
            }
            if n % 4096 == 0 {
                fleet
                    .members()
                    .iter()
                    .for_each(|member| (0..member.server.in_flight()).for_each(|_| member.server.give()));
            }
        }
    };
    round(CHOICES / 10);
    let begun = Instant::now();
    round(CHOICES);
    begun.elapsed().as_nanos() / u128::from(CHOICES)
}

#[test]
#[ignore = "figures, of a release build"]
fn of_64_servers_one_is_chosen_in_less_than_a_microsecond() {
    let policies = [
        ("round-robin", Policy::RoundRobin),
        ("least-requests", Policy::LeastRequests),
        ("p2c", Policy::TwoChoices),
        ("vllm-load", Policy::VllmLoad),
        ("prefix", Policy::Prefix(PrefixTable::shared())),
        ("session", Policy::Session),
    ];
    for (name, policy) in policies {
        let (even, uneven) = (nanoseconds_each(policy.clone(), &[1]), nanoseconds_each(policy, &[1, 2, 5]));
        println!("{name:<15} {even:>5} ns, of different weights {uneven:>5} ns");
        assert!(even < 1000 && uneven < 2000, "{name}");
    }
}
