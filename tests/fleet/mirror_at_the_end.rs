//! Where the mirroring ends: no room at the mirror, a reload, the end of the gateway.

use std::time::{Duration, Instant};

use serde_json::json;
use vllm_gateway_simulator::Simulator;
use vllm_gateway_store::{LogQuery, LogStore};

use crate::{
    mirror::{Pair, pair, pair_of},
    support::{PATIENCE, PIPELINE, Setup, Stage, fast, request_id},
};

/// How many copies were sent to the upstream of this name, and how many were skipped.
async fn counted(stage: &Stage, upstream: &str) -> (u64, u64) {
    let page = stage.admin(reqwest::Method::GET, "/metrics").send().await.unwrap().text().await.unwrap();
    let count = |result: &str| {
        let sample =
            format!("vllm_gateway_mirrored_requests_total{{upstream=\"{upstream}\",result=\"{result}\"}} ");
        page.lines().find_map(|line| line.strip_prefix(&sample)?.parse().ok()).unwrap_or_default()
    };
    (count("sent"), count("skipped"))
}

#[tokio::test]
async fn a_mirror_that_hangs_gathers_so_many_copies_and_no_more() {
    let next = Simulator::start(fast()).await.unwrap();
    let mirrored = "= { upstream = \"main\", mirror = { upstream = \"hangs\", percent = 100 } } }";
    let rest = PIPELINE.replace("= \"main\" }", mirrored)
        + &format!("[upstreams.hangs]\nendpoints = [{{ url = \"{}\" }}]\n", next.url());
    let stage = Setup::rest(&rest).start().await;
    next.set_asleep(true);
    for _ in 0..70 {
        assert_eq!(stage.chat(json!({"max_tokens": 1})).await.status(), 200);
    }
    assert!(next.wait_for(PATIENCE, |next| next.active() == 64).await, "{}", next.active());
    assert_eq!(counted(&stage, "hangs").await, (64, 6));
    next.set_asleep(false);
    // Those that were skipped have no record.
    stage.records("", 70 + 64).await;
    assert_eq!(stage.chat(json!({"max_tokens": 1})).await.status(), 200);
    assert_eq!(counted(&stage, "hangs").await, (65, 6));
}

#[tokio::test]
async fn a_copy_does_not_stand_in_a_line() {
    let next = Simulator::start(fast()).await.unwrap();
    let mirrored = "= { upstream = \"main\", mirror = { upstream = \"narrow\", percent = 100 } } }";
    let rest = PIPELINE.replace("= \"main\" }", mirrored)
        + &format!("[upstreams.narrow]\nmax_concurrent = 1\nendpoints = [{{ url = \"{}\" }}]\n", next.url());
    let stage = Setup::rest(&rest).start().await;
    next.set_asleep(true);
    for _ in 0..3 {
        assert_eq!(stage.chat(json!({})).await.status(), 200);
    }
    assert_eq!(counted(&stage, "narrow").await, (1, 2));
    next.set_asleep(false);
    stage.records("", 4).await;
}

/// A copy that has reached a server which sleeps: the id of its request.
async fn stuck(pair: &Pair) -> String {
    pair.next.set_asleep(true);
    let answer = pair.chat(json!({"stream": true})).await;
    let id = request_id(&answer);
    assert!(answer.text().await.unwrap().ends_with("data: [DONE]\n\n"));
    assert!(pair.next.wait_for(PATIENCE, |next| next.active() == 1).await);
    id
}

#[tokio::test]
async fn a_reload_ends_the_mirroring_and_a_copy_that_runs_keeps_its_record() {
    let pair = pair("100").await;
    let id = stuck(&pair).await;
    let text = std::fs::read_to_string(pair.config()).unwrap();
    let text = text.replace("percent = 100", "percent = 0");
    std::fs::write(pair.config(), &text).unwrap();
    assert!(pair.gateway.reload().await);
    assert_eq!(pair.chat(json!({})).await.status(), 200);
    let (mirrored, _) = text.split_once("[upstreams.next]").unwrap();
    let begin = mirrored.find("models = ").unwrap();
    let end = begin + mirrored[begin..].find('\n').unwrap();
    let plain = mirrored.replace(&mirrored[begin..end], "models = { \"Qwen3-32B\" = \"main\" }");
    std::fs::write(pair.config(), plain).unwrap();
    assert!(pair.gateway.reload().await);
    assert_eq!(pair.chat(json!({})).await.status(), 200);
    pair.next.set_asleep(false);
    let (_, copy) = pair.both(&id).await;
    assert_eq!(copy["outcome"], "finished");
    assert_eq!(pair.next.requests().len(), 1);
}

#[tokio::test]
async fn the_end_of_the_gateway_waits_for_no_copy_and_records_that_it_was_interrupted() {
    let Pair { stage, next } = {
        let pair = pair_of("percent = 100", fast(), "").await;
        let id = stuck(&pair).await;
        assert!(!id.is_empty());
        pair
    };
    let begun = Instant::now();
    stage.gateway.shutdown().await;
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    assert!(next.wait_for(PATIENCE, |next| next.active() == 0).await);
    let store = vllm_gateway_store::open_sqlite(&stage.folder.path().join("data/gateway.db")).await.unwrap();
    let page = store.page(&LogQuery::default(), 1, 10).await.unwrap();
    let mut ends: Vec<_> =
        page.items.iter().map(|one| (one.pipeline.as_deref().unwrap(), one.outcome.as_str())).collect();
    ends.sort_unstable();
    assert_eq!(ends, [("default", "finished"), ("mirror of default", "interrupted")]);
}

#[tokio::test]
async fn what_a_fallback_answers_is_not_copied_to_the_mirror_of_the_fallback() {
    let next = Simulator::start(fast()).await.unwrap();
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let models = "= { upstream = \"gone\", fallbacks = [\"b\"] }, \
                  b = { upstream = \"main\", model = \"Qwen3-32B\", mirror = { upstream = \"next\", percent = 100 } } }";
    let rest = PIPELINE.replace("= \"main\" }", models)
        + &format!("[upstreams.gone]\nendpoints = [{{ url = \"http://{nobody}\" }}]\n")
        + &format!("[upstreams.next]\nendpoints = [{{ url = \"{}\" }}]\n", next.url());
    let stage = Setup::rest(&rest).start().await;
    let answer = stage.chat(json!({})).await;
    assert_eq!(answer.status(), 200);
    assert_eq!(stage.record(&request_id(&answer)).await["upstream"], "main");
    assert!(next.requests().is_empty());
    assert_eq!(stage.chat(json!({"model": "b"})).await.status(), 200);
    assert!(next.wait_for(PATIENCE, |next| next.requests().len() == 1).await);
}
