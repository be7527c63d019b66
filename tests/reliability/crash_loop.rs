//! The process is killed again and again, at random moments under load, and no record is lost or doubled.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use jiff::Timestamp;
use rustix::process::Signal;
use vllm_gateway_simulator::{Fault, Rule};

use crate::{
    clients::{Crowd, Target},
    ledgers::{Tally, owed, reconcile},
    mongo,
    random::Random,
    site::{Gateway, Site, long, until},
};

const CLIENTS: usize = 24;
/// Kills after which the ledgers are compared.
const LAP: u32 = 50;
/// Records that the store may have got just before the gateway died, so that the journal has them still.
const BATCH: u64 = 500;

#[tokio::test(flavor = "multi_thread")]
async fn every_request_has_exactly_one_record_however_often_the_gateway_is_killed() {
    let site = Site::sqlite().await;
    crash_loop("SQLite", &site, if long() { 1_000 } else { 50 }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_request_has_exactly_one_record_however_often_the_gateway_is_killed_on_mongodb() {
    let mut site = Site::sqlite().await;
    let server = mongo::shared().await;
    site.mongodb = Some((server.uri.clone(), server.database("crashes")));
    crash_loop("MongoDB", &site, if long() { 200 } else { 12 }).await;
}

async fn crash_loop(store: &str, site: &Site, kills: u32) {
    let mut random = Random::seeded("crash loop");
    let (begun, mut total, mut slowest) = (Instant::now(), Tally::default(), Duration::ZERO);
    let scrapes = AtomicU64::new(0);
    let gateway = site.start().await;
    let key = gateway.app().await;
    gateway.becomes_ready(200).await;
    gateway.kill();
    for lap in 0..kills.div_ceil(LAP) {
        site.vllm.forget();
        let (from, before) = (Timestamp::now(), site.stored().await);
        let crowd = Crowd::new(CLIENTS, &format!("lap{lap}"), &mut random);
        for _ in 0..LAP.min(kills - lap * LAP) {
            let started = Instant::now();
            let gateway = restart(site, &mut random, &crowd, before).await;
            slowest = slowest.max(started.elapsed());
            crowd.turn_to(Target { data: gateway.data.clone(), key: key.clone() });
            let life = Duration::from_millis(5 + random.below(400));
            tokio::select! {
                () = tokio::time::sleep(life) => {}
                () = look(&gateway, &scrapes) => unreachable!("it looks until it is stopped"),
                () = trouble(site, random.fork()) => unreachable!("it troubles until it is stopped"),
            }
            site.vllm.clear_faults();
            if random.percent(10) {
                // In the midst of an orderly end.
                gateway.signal(Signal::TERM);
                tokio::time::sleep(Duration::from_millis(random.below(200))).await;
            }
            gateway.kill();
            crowd.turn_away();
            crowd.quiet().await;
        }
        let gateway = site.start().await;
        gateway.settled().await;
        until("the upstream is idle", || async { site.vllm.active() == 0 }).await;
        let records = gateway.records(from).await;
        let tally = reconcile(&crowd.end().await, &site.vllm.ledger(), &records, true);
        assert_usage(&gateway, &mut total, &tally).await;
        assert_eq!(before + tally.records as u64, total_in(&gateway).await, "records of nobody");
        assert!(!site.path("data/quarantine.jsonl").exists(), "nothing is wrong with any record");
        assert!(total.outcomes["interrupted"] > 0, "nothing was running at any kill: {total:?}");
        gateway.kill();
        if long() {
            eprintln!("{store}: lap {lap} after {:.0?}: {tally:?}", begun.elapsed());
        }
    }
    eprintln!(
        "{store}: {kills} kills in {:.0?}, {} scrapes added up, slowest restart {slowest:.0?}\n{total:#?}",
        begun.elapsed(),
        scrapes.load(Ordering::Relaxed)
    );
}

/// Starts the gateway, perhaps after it was killed while it started; nothing was lost by then.
async fn restart(site: &Site, random: &mut Random, crowd: &Crowd, before: u64) -> Gateway {
    while random.percent(20) {
        let starting = site.spawn();
        tokio::time::sleep(Duration::from_millis(random.below(150))).await;
        starting.kill();
    }
    // Some clients leave before the upstream hears of them, so it may hear of one a little later.
    let asked = crowd.asked();
    let owed = owed(&asked, &site.vllm.ledger());
    let stored = site.stored().await - before;
    let gateway = site.start().await;
    let found = gateway.counts().await.accepted;
    assert!(stored + found >= owed, "{owed} records are owed, {stored} are stored, {found} in the journal");
    let most = asked.len() as u64 + BATCH;
    assert!(
        stored + found <= most,
        "of {} requests {stored} are stored, {found} in the journal",
        asked.len()
    );
    gateway
}

/// Reads the counts of records without end; they must always add up.
async fn look(gateway: &Gateway, scrapes: &AtomicU64) {
    loop {
        if Gateway::try_counts(&gateway.client, &gateway.admin).await.is_some() {
            scrapes.fetch_add(1, Ordering::Relaxed);
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Makes the upstream fail now and then.
async fn trouble(site: &Site, mut random: Random) {
    loop {
        tokio::time::sleep(Duration::from_millis(30)).await;
        let events = usize::try_from(random.below(20)).unwrap();
        let faults = [
            Fault::ResetAfter(events),
            Fault::TruncateAfter(events),
            Fault::ErrorAfter(events),
            Fault::Reset,
            Fault::Status(503),
            Fault::Delay(Duration::from_millis(100)),
        ];
        site.vllm.inject(Rule::once(faults[events % faults.len()]));
    }
}

/// Usage is what all records together say.
async fn assert_usage(gateway: &Gateway, total: &mut Tally, lap: &Tally) {
    total.add(lap);
    let usage = gateway.get("/api/usage?interval=day").await;
    let sum = |field: &str| -> u64 {
        usage["items"].as_array().unwrap().iter().map(|row| row[field].as_u64().unwrap()).sum()
    };
    assert_eq!((sum("requests"), sum("completionTokens")), (total.records as u64, total.tokens));
}

async fn total_in(gateway: &Gateway) -> u64 {
    gateway.get("/api/logs?pageSize=1").await["total"].as_u64().unwrap()
}
