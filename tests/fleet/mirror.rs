//! A mirror gets copies of some requests: what it gets, what is recorded of it, and that no client notices.

use std::{
    collections::HashSet,
    net::SocketAddr,
    ops::Deref,
    path::Path,
    time::{Duration, Instant},
};

use futures_util::{StreamExt, stream};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use vllm_gateway_config::Config;
use vllm_gateway_sdk::Services;
use vllm_gateway_simulator::{Door, Fault, Options, Rule, Simulator};

use crate::support::{MODEL, PATIENCE, PIPELINE, Setup, Stage, chat, fast, request_id, slow};

const NEXT: &str = "Qwen4-32B";

/// A stage whose model has a mirror: `next`, which serves another model.
pub(crate) struct Pair {
    pub(crate) stage: Stage,
    pub(crate) next: Simulator,
}

impl Deref for Pair {
    type Target = Stage;

    fn deref(&self) -> &Stage {
        &self.stage
    }
}

/// So much is copied to a quick server.
pub(crate) async fn pair(percent: &str) -> Pair {
    pair_of(&format!("percent = {percent}"), fast(), "").await
}

/// This of the mirror, which is served by `next` and has these options of its upstream.
pub(crate) async fn pair_of(mirror: &str, next: Options, upstream: &str) -> Pair {
    let next = Simulator::start(Options { models: vec![NEXT.into()], ..next }).await.unwrap();
    let mirror = format!("mirror = {{ upstream = \"next\", model = \"{NEXT}\", {mirror} }}");
    let rest = PIPELINE.replace("= \"main\" }", &format!("= {{ upstream = \"main\", {mirror} }} }}"))
        + &format!("[upstreams.next]\nendpoints = [{{ url = \"{}\" }}]\n{upstream}\n", next.url());
    Pair { stage: Setup { rest, ..Setup::default() }.start().await, next }
}

impl Pair {
    /// Waits until the mirror has seen so many requests.
    pub(crate) async fn copied(&self, count: usize) {
        let all = self.next.wait_for(PATIENCE, |next| next.requests().len() >= count).await;
        assert!(all, "{} of {count} came", self.next.requests().len());
    }

    /// Both records of a request: the client's and that of the copy.
    pub(crate) async fn both(&self, id: &str) -> (Value, Value) {
        let mut records = self.records(&format!("requestId={id}"), 2).await;
        records.sort_by_key(|record| record["pipeline"] == "mirror of default");
        let copy = records.remove(1);
        assert_eq!(copy["pipeline"], "mirror of default");
        (records.remove(0), copy)
    }

    async fn metric(&self, sample: &str) -> Option<String> {
        let page = self.admin(reqwest::Method::GET, "/metrics").send().await.unwrap().text().await.unwrap();
        page.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' ')).map(str::to_owned)
    }
}

#[tokio::test]
async fn the_copy_has_another_model_and_is_otherwise_the_same_byte_for_byte() {
    let pair = pair("100").await;
    for stream in ["", ", \"stream\":true", ", \"stream\" : true,\"stream_options\":{\"include_usage\":true}"]
    {
        pair.vllm.forget();
        pair.next.forget();
        let body = format!(
            "{{ \"x_unknown\":1.50e+2, \"model\" : \"{MODEL}\",\"max_tokens\":  4{stream},\n\"messages\":[{{\"role\":\"user\",\"content\":\"{MODEL}?\"}}] }}"
        );
        let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let request = pair.client.post(pair.url("/v1/chat/completions")).bearer_auth(&pair.key).body(body);
        let request = request.header("content-type", "application/json").header("traceparent", trace);
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), 200);
        let id = request_id(&answer);
        assert!(answer.text().await.unwrap().contains(MODEL));
        pair.copied(1).await;
        let (sent, copied) = (&pair.vllm.requests()[0], &pair.next.requests()[0]);
        let text = |body: &[u8]| String::from_utf8(body.to_vec()).unwrap();
        let named = |model: &str| format!("\"model\" : \"{model}\"");
        assert_eq!(text(&copied.body), text(&sent.body).replace(&named(MODEL), &named(NEXT)));
        assert_eq!(copied.path, sent.path);
        let mut headers = sent.headers.clone();
        headers.insert("host", copied.headers["host"].clone());
        assert_eq!(copied.headers, headers);
        assert_eq!((copied.header("x-request-id"), copied.header("traceparent")), (Some(&*id), Some(trace)));
        assert_eq!(copied.header("authorization"), None);
    }
}

#[tokio::test]
async fn the_cost_of_a_copy_is_recorded_apart_and_billed_to_nobody() {
    let pair = pair("100").await;
    // Whoever asks need not be allowed to use the model of the mirror: nobody gets its answer.
    let narrow = pair.create_app(json!({"orgName": "narrow", "allowedModels": [MODEL]})).await;
    for (stream, copies) in [(false, 1), (true, 2)] {
        let request = pair.client.post(pair.url("/v1/chat/completions"));
        let request = request.bearer_auth(narrow["apiKey"].as_str().unwrap()).header("user-agent", "tests");
        let answer = request.json(&chat(json!({"stream": stream, "max_tokens": 5}))).send().await.unwrap();
        let id = request_id(&answer);
        answer.bytes().await.unwrap();
        pair.copied(copies).await;
        let (record, copy) = pair.both(&id).await;
        assert_ne!(record["id"], copy["id"]);
        assert_eq!((&record["appId"], &record["pipeline"]), (&narrow["id"], &json!("default")));
        assert_eq!((&record["upstream"], &record["upstreamModel"]), (&json!("main"), &json!(MODEL)));
        let expected = json!({
            "requestId": id, "appId": null, "orgName": null, "keyPrefix": null, "pipeline": "mirror of default",
            "method": "POST", "path": "/v1/chat/completions", "model": MODEL, "upstream": "next",
            "endpoint": pair.next.url(), "upstreamModel": NEXT, "stream": stream, "status": 200,
            "outcome": "finished", "errorCode": null, "tokenSource": "usage", "attempts": 1,
            "requestBytes": record["requestBytes"], "clientIp": "127.0.0.1", "userAgent": "tests",
        });
        for (field, value) in expected.as_object().unwrap() {
            assert_eq!(&copy[field], value, "{field}");
        }
        let cost = pair.next.ledger().pop().unwrap();
        assert_eq!(copy["promptTokens"], json!(cost.prompt_tokens));
        assert_eq!(copy["completionTokens"], json!(cost.completion_tokens));
        assert!(copy["responseBytes"].as_u64().unwrap() > 0, "{copy}");
    }
    let usage = pair.admin_get("/api/usage?groupBy=app,model").await;
    let (apps, nobody): (Vec<_>, Vec<_>) =
        usage["items"].as_array().unwrap().iter().partition(|item| !item["appId"].is_null());
    assert_eq!((&apps[0]["requests"], &nobody[0]["requests"]), (&json!(2), &json!(2)), "{usage}");
    for sample in [
        r#"requests_total{pipeline="mirror of default",model="mirror of Qwen3-32B",outcome="finished",status="200"}"#,
        r#"tokens_total{model="mirror of Qwen3-32B",type="completion"}"#,
        r#"mirrored_requests_total{upstream="next",result="sent"}"#,
    ] {
        assert!(pair.metric(&format!("vllm_gateway_{sample}")).await.is_some(), "{sample}");
    }
}

#[tokio::test]
async fn about_as_many_requests_are_copied_as_the_share_says() {
    for (percent, count, bounds) in [("0", 200, 0..1), ("20", 1000, 130..271)] {
        let pair = pair(percent).await;
        let requests = (0..count).map(|_| pair.chat(json!({"max_tokens": 1})));
        let answers: Vec<_> = stream::iter(requests).buffer_unordered(8).collect().await;
        assert!(answers.iter().all(|answer| answer.status() == 200));
        // The lot was drawn for all of them; the last copies may still be on their way.
        pair.next.wait_for(Duration::from_millis(500), |next| next.requests().len() >= bounds.end).await;
        let copies = pair.next.requests();
        assert!(bounds.contains(&copies.len()), "{percent} %: {} of {count}", copies.len());
        let ids: HashSet<_> = copies.iter().map(|seen| seen.header("x-request-id").unwrap()).collect();
        assert_eq!(ids.len(), copies.len(), "none is copied twice");
    }
}

/// An answer that is the same to the byte each time, with its head, and without.
const WHOLE: [&str; 2] = [
    "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 30\r\n\r\n{\"id\":\"x\",\"object\":\"whatever\"}",
    "{\"id\":\"x\",\"object\":\"whatever\"}",
];
/// The same, as a stream.
const STREAM: [&str; 2] = [
    "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n10\r\ndata: {\"id\":1}\n\n\r\ne\r\ndata: [DONE]\n\n\r\n0\r\n\r\n",
    "data: {\"id\":1}\n\ndata: [DONE]\n\n",
];

/// An upstream that answers each request with these bytes.
async fn always(answer: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut request = [0; 16 * 1024];
                while socket.read(&mut request).await.is_ok_and(|read| read > 0) {
                    let _ = socket.write_all(answer.as_bytes()).await;
                }
            });
        }
    });
    address
}

#[tokio::test]
async fn whatever_the_mirror_does_the_clients_answer_is_the_same_and_comes_at_once() {
    tokio::join!(meets_every_fault(WHOLE, false), meets_every_fault(STREAM, true));
}

async fn meets_every_fault([answer, wanted]: [&'static str; 2], stream: bool) {
    let deadlines = "first_byte_timeout = \"2s\"\ngap_timeout = \"2s\"\n";
    let fixed = format!("[upstreams.fixed]\nendpoints = [{{ url = \"http://{}\" }}]", always(answer).await);
    let pair = pair_of("percent = 100", fast(), &format!("{deadlines}{fixed}")).await;
    let text = std::fs::read_to_string(pair.config()).unwrap();
    std::fs::write(pair.config(), text.replace("upstream = \"main\"", "upstream = \"fixed\"")).unwrap();
    assert!(pair.gateway.reload().await);
    let served = async |what: String, status: u16, outcome: &str| {
        let begun = Instant::now();
        let answer = pair.chat(json!({"stream": stream})).await;
        let id = request_id(&answer);
        assert_eq!(answer.status(), 200, "{what}");
        assert_eq!(answer.text().await.unwrap(), wanted, "{what}");
        assert!(begun.elapsed() < Duration::from_millis(1500), "{what}: {:?}", begun.elapsed());
        let (record, copy) = pair.both(&id).await;
        assert_eq!(record["outcome"], "finished", "{what}");
        assert_eq!((&copy["status"], &copy["outcome"]), (&json!(status), &json!(outcome)), "{what}: {copy}");
    };
    for (fault, status, outcome) in [
        (Fault::Hang, 504, "timeout"),
        (Fault::Status(500), 500, "finished"),
        (Fault::Reset, 502, "upstream_error"),
        (Fault::Close, 502, "upstream_error"),
        (Fault::NotHttp, 502, "upstream_error"),
        (Fault::HangAfter(1), 200, "timeout"),
        (Fault::TruncateAfter(1), 200, "upstream_broke"),
        (Fault::Drip(20, Duration::from_millis(5)), 200, "finished"),
    ] {
        pair.next.clear_faults();
        pair.next.inject(Rule::always(fault));
        served(fault.to_string(), status, outcome).await;
    }
    pair.next.clear_faults();
    for (door, status, outcome) in [(Door::Stall, 504, "timeout"), (Door::Refuse, 503, "upstream_error")] {
        pair.next.set_door(door).await;
        pair.next.hang_up();
        served(format!("{door:?}"), status, outcome).await;
    }
}

#[tokio::test]
async fn a_client_that_leaves_does_not_take_the_copy_with_it() {
    let pair = pair_of("percent = 100", slow(), "").await;
    pair.vllm.set_asleep(true);
    let answer = pair.chat(json!({"stream": true, "max_tokens": 10})).await;
    let id = request_id(&answer);
    drop(answer);
    let (record, copy) = pair.both(&id).await;
    assert_eq!((&record["outcome"], &copy["outcome"]), (&json!("client_gone"), &json!("finished")));
    assert!(copy["completionTokens"].as_u64().unwrap() > 0, "{copy}");
}

#[tokio::test]
async fn what_would_be_kept_at_the_server_is_not_copied() {
    let pair = pair("100").await;
    let body = json!({"model": MODEL, "input": "Say hello", "max_output_tokens": 4});
    let answer = pair.post("/v1/responses", &body).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(pair.record(&request_id(&answer)).await["pipeline"], "default");
    assert!(pair.next.requests().is_empty());
}

#[tokio::test]
async fn forms_are_copied_with_another_model_too() {
    let pair = pair("100").await;
    let mut form =
        b"--edge\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\n\r\n".to_vec();
    form.extend(
        b"RIFF\x24\0\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0\x80\x3e\0\0\0\x7d\0\0\x02\0\x10\0data\0\0\0\0",
    );
    form.extend([0; 3200]);
    form.extend(b"\r\n--edge\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\n");
    form.extend(MODEL.bytes());
    form.extend(b"\r\n--edge--\r\n");
    let request = pair.client.post(pair.url("/v1/audio/transcriptions")).bearer_auth(&pair.key);
    let request = request.header("content-type", "multipart/form-data; boundary=edge").body(form);
    assert_eq!(request.send().await.unwrap().status(), 200);
    pair.copied(1).await;
    let text = |body: &[u8]| String::from_utf8_lossy(body).into_owned();
    let (sent, copied) = (text(&pair.vllm.requests()[0].body), text(&pair.next.requests()[0].body));
    assert_eq!(copied, sent.replace(MODEL, NEXT));
}

#[test]
fn check_tells_what_is_wrong_with_a_mirror_and_that_its_upstream_is_used() {
    let check = |mirror: &str| {
        let text = PIPELINE
            .replace("{vllm}", "http://10.0.0.1:8000")
            .replace("= \"main\" }", &format!("= {{ upstream = \"main\", mirror = {{ {mirror} }} }} }}"))
            + "[upstreams.next]\nendpoints = [{ url = \"http://10.0.0.2:8000\" }]\n";
        let loaded = Config::from_text("gateway.toml", &text, Path::new("."), &Services::inert(), None);
        loaded.diagnostics.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(check("upstream = \"next\", percent = 0.5"), [""; 0]);
    let told = check("upstream = \"nxt\", percent = 120").join("\n");
    let unknown = "gateway.toml:7:69: error: filter `model-route`: no upstream named `nxt`\n  hint: did you mean `next`?";
    let absurd =
        "gateway.toml:7:86: error: filter `model-route`: a share of the requests is from 0 to 100 percent";
    assert!(told.contains(unknown) && told.contains(absurd), "{told}");
    let unused = check("upstream = \"main\", model = \"other\", percent = 1").join("\n");
    assert!(unused.contains("upstream `next` is not used"), "{unused}");
}
