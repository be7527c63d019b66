//! SIGTERM: with 1,000 open streams, with silent ones, and while the store is away.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use rustix::process::{Resource, Rlimit, Signal, getrlimit, setrlimit};
use serde_json::json;
use tokio::task::JoinSet;
use vllm_gateway_simulator::{Fault, Rule};

use crate::{
    clients::{Asked, End},
    ledgers::reconcile,
    mongo,
    outages::{Busy, Held},
    site::{Gateway, MODEL, Site, until, vllm},
    sse::hear,
};

/// `shutdown_grace` is 1 s; cutting, flushing and closing take some more, on a busy machine.
const IN_TIME: Duration = Duration::from_secs(15);
/// A store that does not answer is waited for, 10 s at most, and 5 s when it is to be closed.
const WITHOUT_STORE: Duration = Duration::from_secs(22);

/// Clients and the simulated vLLM are in one process: more files than a shell allows by default.
fn allow_many_files() {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).unwrap();
}

/// Streams, each of which is read until it ends.
fn open_streams(gateway: &Gateway, key: &str, count: usize) -> JoinSet<Asked> {
    let mut reading = JoinSet::new();
    for number in 0..count {
        let body = json!({
            "model": MODEL, "messages": [{"role": "user", "content": "hi"}], "max_tokens": 5_000,
            "ignore_eos": true, "stream": true,
        });
        let id = format!("stream-{number:04}");
        let request =
            gateway.client.post(format!("http://{}/v1/chat/completions", gateway.data)).bearer_auth(key);
        let request = request.header("x-request-id", &id).header("content-type", "application/json");
        let sent = request.body(body.to_string()).send();
        reading.spawn(async move {
            let mut answer = sent.await.unwrap();
            let mut asked = Asked { status: Some(answer.status().as_u16()), ..Asked::new(id, End::Broken) };
            let mut bytes = Vec::new();
            while let Ok(Some(chunk)) = answer.chunk().await {
                bytes.extend_from_slice(&chunk);
            }
            let heard = hear(&bytes);
            assert!(!heard.whole, "a stream that was cut must not look whole");
            (asked.tokens, asked.error) = (heard.tokens, heard.error);
            asked
        });
    }
    reading
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_with_a_thousand_open_streams_ends_each_and_keeps_every_record() {
    const STREAMS: usize = 1_000;
    const SILENT: usize = 100;
    allow_many_files();
    let site = Site::on(vllm(100, 300).await);
    let from = Timestamp::now();
    let mut gateway = site.start().await;
    let key = gateway.app().await;
    gateway.becomes_ready(200).await;
    // Some of them say nothing more by then: vLLM hangs.
    site.vllm.inject(Rule::always(Fault::HangAfter(3)).times(SILENT));
    let reading = open_streams(&gateway, &key, STREAMS);
    until("all run", || async { gateway.counts().await.pending == STREAMS as u64 }).await;
    until("all have said something", || async {
        site.vllm.ledger().iter().filter(|one| one.sent_tokens >= 2).count() == STREAMS
    })
    .await;
    let begun = Instant::now();
    gateway.signal(Signal::TERM);
    let asked = reading.join_all().await;
    let cut = begun.elapsed();
    assert_eq!(gateway.ended(IN_TIME).await, Some(0), "{}", gateway.said());
    let ended = begun.elapsed();
    assert!(ended < IN_TIME, "{ended:?}");
    assert_eq!(site.stored().await, STREAMS as u64, "in the store, not only in the journal");
    // On a busy machine some come too late, and see the connection break.
    let told = asked.iter().filter(|asked| asked.error).count();
    assert!(told > STREAMS / 2, "only {told} streams were told");
    until("the upstream is idle", || async { site.vllm.active() == 0 }).await;
    let records = site.start().await.records(from).await;
    let tally = reconcile(&asked, &site.vllm.ledger(), &records, true);
    assert_eq!(tally.outcomes.get("interrupted"), Some(&STREAMS), "{tally:?}");
    assert_eq!(tally.unrecorded, 0);
    eprintln!("SIGTERM: {told} of {STREAMS} streams told, all cut after {cut:.1?}, ended after {ended:.1?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_sigterm_ends_at_once_and_blames_no_client() {
    const STREAMS: usize = 20;
    let site = Site::on(vllm(10, 100).await);
    let from = Timestamp::now();
    let mut gateway = site.start().await;
    let key = gateway.app().await;
    gateway.becomes_ready(200).await;
    let reading = open_streams(&gateway, &key, STREAMS);
    until("all have said something", || async {
        site.vllm.ledger().iter().filter(|one| one.sent_tokens >= 2).count() == STREAMS
    })
    .await;
    gateway.signal(Signal::TERM);
    until("it drains", || async { gateway.said().contains("shutting down") }).await;
    gateway.signal(Signal::TERM);
    assert_eq!(gateway.ended(IN_TIME).await, Some(1), "{}", gateway.said());
    let asked = reading.join_all().await;
    let again = site.start().await;
    // What the journal has, the next start stores within seconds.
    again.settled().await;
    let tally = reconcile(&asked, &site.vllm.ledger(), &again.records(from).await, true);
    assert_eq!(tally.outcomes.get("interrupted"), Some(&STREAMS), "{tally:?}");
}

async fn sigterm_without_the_store(site: &Site, mut busy: Busy) -> (Busy, Duration) {
    busy.serves(200).await;
    assert!(busy.gateway.counts().await.pending > 0);
    let begun = Instant::now();
    busy.gateway.signal(Signal::TERM);
    let status = busy.gateway.ended(WITHOUT_STORE).await;
    let ended = begun.elapsed();
    assert_eq!(status, Some(0), "{}", busy.gateway.said());
    assert!(busy.gateway.said().contains("the next start stores them"), "{}", busy.gateway.said());
    busy.crowd.turn_away();
    busy.crowd.quiet().await;
    until("the upstream is idle", || async { site.vllm.active() == 0 }).await;
    (busy, ended)
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_while_the_database_is_locked_ends_in_time_and_the_next_start_stores_all() {
    let site = Site::sqlite().await;
    let from = Timestamp::now();
    let busy = Busy::new(&site).await;
    let held = Held::new(&site);
    let (busy, ended) = sigterm_without_the_store(&site, busy).await;
    drop(held);
    let gateway = site.start().await;
    gateway.settled().await;
    let tally = reconcile(&busy.crowd.end().await, &site.vllm.ledger(), &gateway.records(from).await, true);
    eprintln!("SIGTERM with a locked database: ended after {ended:.1?}: {tally:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_while_mongod_hangs_ends_in_time_and_the_next_start_stores_all() {
    let mut site = Site::sqlite().await;
    let server = mongo::own().await;
    site.mongodb = Some((server.uri.clone(), "gateway".into()));
    let from = Timestamp::now();
    let busy = Busy::new(&site).await;
    server.stall();
    let (busy, ended) = sigterm_without_the_store(&site, busy).await;
    // It starts without the store, too, and ships when it is back.
    let gateway = site.start().await;
    assert!(gateway.counts().await.pending > 0);
    server.resume();
    gateway.settled().await;
    let tally = reconcile(&busy.crowd.end().await, &site.vllm.ledger(), &gateway.records(from).await, true);
    eprintln!("SIGTERM with a hanging mongod: ended after {ended:.1?}: {tally:?}");
}
