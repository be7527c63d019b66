//! The numbers of `/metrics`, compared with what was sent through a gateway that is a process of its own.
#![allow(clippy::unwrap_used, clippy::float_cmp, missing_docs)]

mod page;
mod process;

use std::time::{Duration, Instant};

use futures_util::{StreamExt, future::join_all, stream};
use page::Page;
use process::Process;
use reqwest::Method;
use serde_json::{Value, json};
use vllm_gateway_simulator::{Options, Simulator, Speed};

const MODEL: &str = "Qwen3-32B";
const PATIENCE: Duration = Duration::from_secs(30);
/// How long vLLM lets clients wait for the first token.
const FIRST_TOKEN: Duration = Duration::from_secs(1);

fn chat(extra: &Value) -> Value {
    let mut body = json!({"model": MODEL, "messages": [{"role": "user", "content": "Say hello"}], "max_tokens": 8, "ignore_eos": true});
    for (key, value) in extra.as_object().unwrap() {
        body[key] = value.clone();
    }
    body
}

/// The page, once it says this.
async fn once(gateway: &Process, so: impl Fn(&Page) -> bool) -> Page {
    let begun = Instant::now();
    loop {
        let page = gateway.metrics().await;
        if so(&page) {
            return page;
        }
        assert!(begun.elapsed() < PATIENCE, "{:#?}", page.numbers);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn vllm() -> Simulator {
    let speed = Speed { ttft: FIRST_TOKEN, itl: Duration::from_millis(10), jitter: 0.0 };
    Simulator::start(Options { models: vec![MODEL.into()], speed, ..Options::default() }).await.unwrap()
}

#[tokio::test]
async fn every_metric_is_there_and_right_after_a_known_load() {
    let vllm = vllm().await;
    // A port that was free a moment ago: nobody listens there.
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (up, down) = (vllm.url(), format!("http://{nobody}"));
    let gateway = Process::start(&format!(
        r#"[pipelines.default]
filters = ["access-log", "auth", "model-route"]
[filters.access-log]
[filters.auth]
[filters.model-route]
models = {{ "{MODEL}" = "main", "held" = {{ upstream = "main", model = "{MODEL}" }}, "lost" = "down" }}
[upstreams.main]
endpoints = [{{ url = "{up}" }}]
[upstreams.down]
endpoints = [{{ url = "{down}" }}]
"#
    ))
    .await;

    let sent = [
        (200, chat(&json!({}))),
        (200, chat(&json!({}))),
        (200, chat(&json!({}))),
        (200, chat(&json!({"stream": true}))),
        (200, chat(&json!({"stream": true}))),
        (400, chat(&json!({"temperature": -1}))),
        (404, chat(&json!({"model": "unknown"}))),
        (503, chat(&json!({"model": "lost"}))),
    ];
    let answers = join_all(sent.iter().map(async |(status, body)| {
        let answer = gateway.chat(body).send().await.unwrap();
        assert_eq!(answer.status(), *status, "{body}");
        answer.text().await.unwrap()
    }))
    .await;
    let usage: Value = serde_json::from_str(&answers[0]).unwrap();
    let prompt = usage["usage"]["prompt_tokens"].as_f64().unwrap();
    let stranger = gateway.client.post(gateway.url("/v1/chat/completions")).bearer_auth("sk-live-no");
    assert_eq!(stranger.send().await.unwrap().status(), 401);
    let models =
        gateway.client.get(gateway.url("/v1/models")).bearer_auth(&gateway.key).send().await.unwrap();
    assert_eq!(models.status(), 200);
    let nowhere = gateway.client.get(gateway.url("/nowhere")).send().await.unwrap();
    assert_eq!(nowhere.status(), 404);
    let reload = gateway.admin(Method::POST, "/api/reload").send().await.unwrap();
    assert_eq!(reload.status(), 200);

    // One stream is held open, seen as such, and left.
    let mut held = gateway
        .chat(&chat(&json!({"model": "held", "stream": true, "max_tokens": 10_000})))
        .send()
        .await
        .unwrap();
    assert_eq!(held.status(), 200);
    assert!(held.chunk().await.unwrap().is_some());
    assert_eq!(gateway.metrics().await.get("inflight_requests{model=\"held\"}"), 1.0);
    drop(held);
    let page =
        once(&gateway, |page| page.sum("requests_total") == 12.0 && page.sum("inflight_requests") == 0.0)
            .await;

    for (labels, count) in [
        (format!("pipeline=\"default\",model=\"{MODEL}\",outcome=\"finished\",status=\"200\""), 5.0),
        (format!("pipeline=\"default\",model=\"{MODEL}\",outcome=\"finished\",status=\"400\""), 1.0),
        ("pipeline=\"default\",model=\"\",outcome=\"replied\",status=\"404\"".into(), 1.0),
        ("pipeline=\"default\",model=\"\",outcome=\"replied\",status=\"401\"".into(), 1.0),
        ("pipeline=\"default\",model=\"\",outcome=\"replied\",status=\"200\"".into(), 1.0),
        ("pipeline=\"default\",model=\"lost\",outcome=\"upstream_error\",status=\"503\"".into(), 1.0),
        ("pipeline=\"default\",model=\"held\",outcome=\"client_gone\",status=\"200\"".into(), 1.0),
        ("pipeline=\"\",model=\"\",outcome=\"replied\",status=\"404\"".into(), 1.0),
    ] {
        assert_eq!(page.get(&format!("requests_total{{{labels}}}")), count);
    }
    assert_eq!(page.sum("request_duration_seconds_count"), 11.0, "what reached no pipeline has no duration");
    let seconds =
        page.get(&format!("request_duration_seconds_sum{{pipeline=\"default\",model=\"{MODEL}\"}}"));
    assert!(seconds >= 5.0 * FIRST_TOKEN.as_secs_f64(), "{seconds}");
    for (filter, seen) in [("access-log", 11.0), ("auth", 11.0), ("model-route", 10.0)] {
        assert_eq!(page.get(&format!("filter_duration_seconds_count{{filter=\"{filter}\"}}")), seen);
        let seconds = page.get(&format!("filter_duration_seconds_sum{{filter=\"{filter}\"}}"));
        assert!(seconds > 0.0 && seconds < 1.0, "{filter} took {seconds} s");
    }
    // The gateway's own time holds neither the wait for the first token nor that for the head of a whole answer.
    assert_eq!(page.get("overhead_seconds_count{pipeline=\"default\"}"), 8.0);
    let own = page.get("overhead_seconds_sum{pipeline=\"default\"}");
    assert!(own > 0.0 && own < FIRST_TOKEN.as_secs_f64(), "{own}");

    assert_eq!(page.get(&format!("time_to_first_token_seconds_count{{model=\"{MODEL}\"}}")), 2.0);
    let first = page.get(&format!("time_to_first_token_seconds_sum{{model=\"{MODEL}\"}}"));
    assert!(first >= 2.0 * FIRST_TOKEN.as_secs_f64(), "{first}");
    assert_eq!(page.get(&format!("time_per_output_token_seconds_count{{model=\"{MODEL}\"}}")), 2.0);
    let gap = page.get(&format!("time_per_output_token_seconds_sum{{model=\"{MODEL}\"}}")) / 2.0;
    assert!((0.009..0.5).contains(&gap), "{gap}");
    assert_eq!(page.get(&format!("tokens_total{{model=\"{MODEL}\",type=\"prompt\"}}")), 5.0 * prompt);
    assert_eq!(page.get(&format!("tokens_total{{model=\"{MODEL}\",type=\"completion\"}}")), 5.0 * 8.0);

    assert_eq!(
        page.get(&format!("upstream_requests_total{{upstream=\"main\",endpoint=\"{up}\",code=\"200\"}}")),
        6.0
    );
    assert_eq!(
        page.get(&format!("upstream_requests_total{{upstream=\"main\",endpoint=\"{up}\",code=\"400\"}}")),
        1.0
    );
    assert_eq!(
        page.get(&format!("upstream_requests_total{{upstream=\"down\",endpoint=\"{down}\",code=\"0\"}}")),
        1.0
    );
    assert_eq!(page.get(&format!("endpoint_up{{upstream=\"main\",endpoint=\"{up}\"}}")), 1.0);
    assert_eq!(page.get(&format!("endpoint_up{{upstream=\"down\",endpoint=\"{down}\"}}")), 0.0);
    assert_eq!(page.get("config_reloads_total{result=\"ok\"}"), 1.0);
    assert_eq!(page.get("config_reloads_total{result=\"failed\"}"), 0.0);
    assert_eq!(page.get("admin_requests_total{status=\"201\"}"), 1.0);
    page.assert_histograms_are_sound();

    let page = once(&gateway, |page| page.get("access_log_records_pending") == 0.0).await;
    assert_eq!(page.get("access_log_records_total{state=\"accepted\"}"), 12.0);
    assert_eq!(page.get("access_log_records_total{state=\"stored\"}"), 12.0);
    assert_eq!(page.get("access_log_records_total{state=\"quarantined\"}"), 0.0);
    assert_eq!(page.get("journal_max_bytes"), f64::from(1 << 30));
    assert!((1.0..=2.0).contains(&(page.get("journal_bytes") / f64::from(4 << 20))));
    assert_eq!(page.sum("build_info"), 1.0);
    assert_the_process_is_described(&page);
    assert_the_bill_agrees(&gateway, &page).await;
}

fn assert_the_process_is_described(page: &Page) {
    let process = |name: &str| page.numbers[&format!("process_{name}")];
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
    assert!((now - process("start_time_seconds")).abs() < 600.0);
    assert!((1e6..1e9).contains(&process("resident_memory_bytes")));
    assert!(process("virtual_memory_bytes") > process("resident_memory_bytes"));
    assert!((10.0..process("max_fds")).contains(&process("open_fds")));
    assert!(process("threads") > 1.0 && process("cpu_seconds_total") >= 0.0);
    for (name, kind) in [
        ("process_cpu_seconds_total", "counter"),
        ("vllm_gateway_requests_total", "counter"),
        ("vllm_gateway_access_log_records_total", "counter"),
        ("vllm_gateway_access_log_records_pending", "gauge"),
        ("vllm_gateway_inflight_requests", "gauge"),
    ] {
        assert_eq!(page.types[name], kind, "{name}");
    }
}

/// People bill by records and watch metrics: both count the same tokens.
async fn assert_the_bill_agrees(gateway: &Process, page: &Page) {
    let logs = gateway.admin(Method::GET, "/api/logs?pageSize=200").send().await.unwrap();
    let logs: Value = serde_json::from_str(&logs.text().await.unwrap()).unwrap();
    for (kind, field) in [("prompt", "promptTokens"), ("completion", "completionTokens")] {
        for model in [MODEL, "held"] {
            let records = logs["items"].as_array().unwrap().iter().filter(|record| record["model"] == model);
            let billed: f64 = records.filter_map(|record| record[field].as_f64()).sum();
            assert!(billed > 0.0);
            assert_eq!(page.get(&format!("tokens_total{{model=\"{model}\",type=\"{kind}\"}}")), billed);
        }
    }
}

#[tokio::test]
async fn ten_thousand_models_that_nobody_serves_leave_the_page_as_it_was() {
    let gateway = Process::start(&format!(
        r#"[pipelines.default]
filters = ["auth", "model-route"]
[filters.auth]
[filters.model-route]
models = {{ "{MODEL}" = "main" }}
[upstreams.main]
endpoints = [{{ url = "http://127.0.0.1:9" }}]
"#
    ))
    .await;
    let ask = async |n: u32| {
        let answer = gateway.chat(&chat(&json!({"model": format!("made-up-{n}")}))).send().await.unwrap();
        assert_eq!(answer.status(), 404);
        answer.bytes().await.unwrap();
    };
    let counted = |page: &Page, count: f64| {
        page.find("requests_total{pipeline=\"default\",model=\"\",outcome=\"replied\",status=\"404\"}")
            == Some(count)
    };
    ask(0).await;
    // The second page also counts the first as a call of the admin REST.
    gateway.metrics().await;
    let before = once(&gateway, |page| counted(page, 1.0)).await;
    stream::iter(1..10_000).for_each_concurrent(16, ask).await;
    let after = once(&gateway, |page| counted(page, 10_000.0)).await;
    let names = |page: &Page| page.numbers.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&before), names(&after));
}
