//! Whatever client and upstream do to an answer: the right outcome, one record, and nothing left.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use vllm_gateway_simulator::{Door, Fault, Junk, Options, Speed};

use crate::{
    by_hand::{Broke, ByHand, Leaving, request},
    support::{MODEL, PATIENCE, PIPELINE, Setup, Stage, at, chat, fast},
};

const CHAT: &str = "/v1/chat/completions";

/// The pipeline with an upstream whose patience is short.
fn impatient() -> String {
    PIPELINE.replace(
        "[upstreams.main]",
        "[upstreams.main]\nfirst_byte_timeout = \"700ms\"\ngap_timeout = \"700ms\"",
    )
}

fn stream(extra: Value) -> Value {
    let mut body = chat(json!({"stream": true, "ignore_eos": true}));
    extra.as_object().unwrap().iter().for_each(|(key, value)| body[key] = value.clone());
    body
}

fn all_usage() -> Value {
    json!({"stream_options": {"include_usage": true, "continuous_usage_stats": true}})
}

/// What a client sees of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sees {
    /// All of it, with its proper end.
    Whole,
    /// Whole events, then one that tells of the break, and a connection that breaks.
    Told,
    /// A connection that breaks, and no word of it.
    Cut,
    /// The gateway's own error, with this status.
    Refused(u16),
}

async fn seen(client: &mut ByHand) -> (Sees, String) {
    let Ok(head) = client.head().await else { return (Sees::Cut, String::new()) };
    let (body, ended) = client.rest().await;
    let is_ours = body.contains("\"upstream_error\"") || body.contains("\"upstream_timeout\"");
    let sees = match ended {
        Ok(()) if is_ours => Sees::Refused(head.status),
        Ok(()) => Sees::Whole,
        Err(Broke) if is_ours => {
            assert!(body.ends_with("}\n\n") && !body.contains("[DONE]"), "{body}");
            Sees::Told
        }
        Err(Broke) => Sees::Cut,
    };
    (sees, body)
}

/// What a record must say: outcome and error code.
type Recorded = (&'static str, Option<&'static str>);

const FINISHED: Recorded = ("finished", None);
const REFUSED: Recorded = ("upstream_error", Some("upstream_error"));
const BROKE: Recorded = ("upstream_broke", Some("upstream_error"));
const SLOW: Recorded = ("timeout", Some("upstream_timeout"));

/// Meets the upstream with each of these, and compares what client and record say.
async fn assert_faults(what: &str, body: &Value, cases: &[(Fault, Sees, Recorded)]) {
    let stage = Setup::rest(&impatient()).start().await;
    let before = stage.held().await;
    for (number, (fault, sees, _)) in cases.iter().enumerate() {
        stage.vllm.inject_once(*fault);
        let mut client = stage.asked(CHAT, &format!("{what}-{number}"), body).await;
        let (saw, text) = seen(&mut client).await;
        assert_eq!(saw, *sees, "{what}: {fault}: {text}");
        drop(client);
        stage.settled().await;
    }
    for (number, (fault, _, (outcome, code))) in cases.iter().enumerate() {
        let record = stage.record(&format!("{what}-{number}")).await;
        assert_eq!(
            (&record["outcome"], &record["errorCode"]),
            (&json!(outcome), &json!(code)),
            "{what}: {fault}: {record:#}"
        );
        // A 503 says that nothing was generated: where there is no other endpoint, the same is asked again a moment later.
        let attempts = if *fault == Fault::Status(503) { 2 } else { 1 };
        assert_eq!(record["attempts"], attempts, "{what}: {fault}: generated once: {record:#}");
    }
    stage.holds_only(&before).await;
}

/// The faults of streams, where `cut` is what a client sees of an event that was cut.
fn faults_of_streams(cut: Sees) -> Vec<(Fault, Sees, Recorded)> {
    let pause = Duration::from_millis(1);
    vec![
        (Fault::Reset, Sees::Refused(502), REFUSED),
        (Fault::Close, Sees::Refused(502), REFUSED),
        (Fault::NotHttp, Sees::Refused(502), REFUSED),
        (Fault::Hang, Sees::Refused(504), SLOW),
        (Fault::Status(503), Sees::Whole, FINISHED),
        (Fault::HangAfter(0), Sees::Told, SLOW),
        (Fault::HangAfter(3), Sees::Told, SLOW),
        (Fault::ResetAfter(0), Sees::Told, BROKE),
        (Fault::ResetAfter(3), Sees::Told, BROKE),
        (Fault::TruncateAfter(3), Sees::Told, BROKE),
        (Fault::GarbageAfter(3), Sees::Told, BROKE),
        (Fault::CutInside(0), cut, BROKE),
        (Fault::CutInside(3), cut, BROKE),
        (Fault::EndAfter(0), Sees::Told, BROKE),
        (Fault::EndAfter(3), Sees::Told, BROKE),
        // vLLM's own word on its end passes, and so does `[DONE]` behind it (s03, s01).
        (Fault::ErrorAfter(3), Sees::Whole, ("upstream_broke", None)),
        (Fault::AbortAfter(3), Sees::Whole, FINISHED),
        // What is no event, or none that is known, passes; the stream goes on.
        (Fault::Junk(Junk::NotSse, 2), Sees::Whole, FINISHED),
        (Fault::Junk(Junk::BadUtf8, 2), Sees::Whole, FINISHED),
        (Fault::Junk(Junk::BadJson, 2), Sees::Whole, FINISHED),
        (Fault::Junk(Junk::Bom, 0), Sees::Whole, FINISHED),
        (Fault::Junk(Junk::HugeLine(3 << 20), 2), Sees::Whole, FINISHED),
        (Fault::Split(1), Sees::Whole, FINISHED),
        (Fault::SplitWrites(3), Sees::Whole, FINISHED),
        (Fault::Join(3), Sees::Whole, FINISHED),
        (Fault::Drip(40, pause), Sees::Whole, FINISHED),
        (Fault::CloseAfterAnswer, Sees::Whole, FINISHED),
        // After the last event the client has all there is.
        (Fault::Delay(pause), Sees::Whole, FINISHED),
    ]
}

#[tokio::test]
async fn every_fault_of_a_stream_has_its_outcome_and_leaves_nothing() {
    assert_faults("hidden", &stream(json!({})), &faults_of_streams(Sees::Told)).await;
}

#[tokio::test]
async fn every_fault_of_a_stream_that_passes_as_it_is_has_its_outcome_and_leaves_nothing() {
    assert_faults("shown", &stream(all_usage()), &faults_of_streams(Sees::Cut)).await;
}

#[tokio::test]
async fn every_fault_of_a_whole_answer_has_its_outcome_and_leaves_nothing() {
    let cases = [
        (Fault::Reset, Sees::Refused(502), REFUSED),
        (Fault::Close, Sees::Refused(502), REFUSED),
        (Fault::NotHttp, Sees::Refused(502), REFUSED),
        (Fault::Hang, Sees::Refused(504), SLOW),
        (Fault::Status(500), Sees::Whole, FINISHED),
        // In the middle of the body.
        (Fault::HangAfter(0), Sees::Cut, SLOW),
        (Fault::ResetAfter(0), Sees::Cut, BROKE),
        (Fault::TruncateAfter(0), Sees::Cut, BROKE),
        (Fault::WrongLength(10), Sees::Cut, BROKE),
        // More than was declared is not the client's: it gets as much as it was told of.
        (Fault::WrongLength(-10), Sees::Whole, FINISHED),
        (Fault::ErrorAfter(0), Sees::Whole, FINISHED),
        (Fault::AbortAfter(1), Sees::Whole, FINISHED),
        (Fault::SplitWrites(1), Sees::Whole, FINISHED),
        (Fault::Drip(60, Duration::from_millis(1)), Sees::Whole, FINISHED),
        (Fault::CloseAfterAnswer, Sees::Whole, FINISHED),
    ];
    assert_faults("whole", &chat(json!({})), &cases).await;
}

/// Where a client can leave its request.
#[derive(Clone, Copy, Debug)]
enum At {
    /// vLLM has not sent a head.
    NoHead,
    /// In vLLM's queue, the head out already.
    Queued,
    /// In vLLM's queue, with an answer that will come in one piece.
    QueuedWhole,
    /// Before the first token.
    NoToken,
    /// Between tokens that come.
    Running,
    /// While nothing comes.
    Silent,
    /// While an answer in one piece is generated.
    Whole,
}

async fn leaves(stage: &Stage, place: At, how: Leaving) {
    let id = format!("{place:?}-{how:?}");
    let slow = Speed { ttft: Duration::from_millis(5), itl: Duration::from_millis(5), jitter: 0.0 };
    let endless = json!({"max_tokens": 5000, "ignore_eos": true});
    let whole = matches!(place, At::Whole | At::QueuedWhole | At::NoHead);
    let body = if whole { chat(endless) } else { stream(endless) };
    stage.vllm.set_speed(match place {
        At::NoToken => Speed { ttft: Duration::from_secs(600), ..slow },
        _ => slow,
    });
    if matches!(place, At::NoHead) {
        stage.vllm.inject_once(Fault::Hang);
    }
    let ahead = match place {
        At::Queued | At::QueuedWhole => {
            let ahead = stage.asked_directly_and_left_open(&stream(json!({"max_tokens": 5000}))).await;
            assert!(stage.vllm.wait_for(PATIENCE, |vllm| vllm.running() == 1).await);
            Some(ahead)
        }
        _ => None,
    };
    let others = usize::from(ahead.is_some());
    let mut client = stage.asked(CHAT, &id, &body).await;
    match place {
        At::NoHead => {
            let asked = |vllm: &vllm_gateway_simulator::Simulator| {
                vllm.requests().iter().any(|seen| seen.header("x-request-id") == Some(&id))
            };
            assert!(stage.vllm.wait_for(PATIENCE, asked).await, "{id}");
        }
        At::Whole | At::QueuedWhole => {
            assert!(stage.vllm.wait_for(PATIENCE, |vllm| vllm.active() == others + 1).await, "{id}");
        }
        At::Queued | At::NoToken => assert_eq!(client.head().await.unwrap().status, 200),
        At::Running | At::Silent => {
            client.head().await.unwrap();
            for _ in 0..3 {
                client.chunk().await.unwrap();
            }
        }
    }
    if matches!(place, At::Silent) {
        stage.vllm.set_asleep(true);
    }
    let connections = stage.vllm.connections().open;
    let left = Instant::now();
    let client = client.leave(how).await;
    let gone = |vllm: &vllm_gateway_simulator::Simulator| {
        vllm.active() == others && vllm.connections().open < connections
    };
    assert!(stage.vllm.wait_for(PATIENCE, gone).await, "{id}: {} still run", stage.vllm.active());
    assert!(left.elapsed() < Duration::from_secs(1), "{id}: gone after {:?}", left.elapsed());
    if let Some(client) = client {
        // As with vLLM itself, whoever has said his last word gets no more.
        let rest = client.closed().await;
        assert!(!rest.contains("[DONE]") && !rest.contains("\"usage\""), "{id}: {rest}");
    }
    stage.vllm.set_asleep(false);
    drop(ahead);
    stage.settled().await;
}

#[tokio::test]
async fn a_client_that_leaves_takes_its_request_with_it_within_a_second() {
    let stage = Setup::vllm(Options { max_num_seqs: 1, ..fast() }).start().await;
    let before = stage.held().await;
    let places = [At::NoHead, At::Queued, At::QueuedWhole, At::NoToken, At::Running, At::Silent, At::Whole];
    for place in places {
        for how in Leaving::ALL {
            leaves(&stage, place, how).await;
        }
    }
    for place in places {
        for how in Leaving::ALL {
            let record = stage.record(&format!("{place:?}-{how:?}")).await;
            let status = if matches!(place, At::NoHead | At::Whole | At::QueuedWhole) { 499 } else { 200 };
            assert_eq!(
                (&record["outcome"], &record["status"]),
                (&json!("client_gone"), &json!(status)),
                "{record:#}"
            );
        }
    }
    stage.holds_only(&before).await;
}

impl Stage {
    /// A request to the simulated vLLM itself that runs on.
    async fn asked_directly_and_left_open(&self, body: &Value) -> ByHand {
        let mut client = ByHand::connect(self.vllm.addr).await;
        client.send(&request(&self.key, CHAT, "ahead", body)).await;
        client.head().await.unwrap();
        client
    }
}

/// A stream of more bytes than all buffers on its way hold.
fn wide() -> Value {
    stream(json!({"max_tokens": 30_000, "logprobs": true, "top_logprobs": 20}))
}

#[tokio::test]
async fn a_client_that_reads_nothing_is_cut_off_and_its_generation_ends() {
    let stage = Setup::server("write_timeout = \"500ms\"").start().await;
    let before = stage.held().await;
    let mut client = ByHand::connect_narrow(stage.gateway.data_address()).await;
    client.send(&request(&stage.key, CHAT, "stalled", &wide())).await;
    assert!(stage.vllm.wait_for(PATIENCE, |vllm| vllm.active() == 1).await);
    stage.settled().await;
    let record = stage.record("stalled").await;
    assert_eq!((&record["outcome"], &record["tokenSource"]), (&json!("client_gone"), &json!("partial")));
    let generation = stage.vllm.ledger().remove(0);
    let charged = record["completionTokens"].as_u64().unwrap();
    assert!(charged > 0 && charged <= generation.completion_tokens as u64, "{charged} of {generation:?}");
    assert!(generation.completion_tokens < 30_000, "it was not slowed down: {generation:?}");
    // The connection is gone for the client, too, once it has read what was on the way.
    while client.sip(1 << 16).await > 0 {}
    drop(client);
    stage.holds_only(&before).await;
}

#[tokio::test]
async fn a_client_that_takes_a_drop_at_a_time_is_cut_off_too() {
    let stage = Setup::server("write_timeout = \"500ms\"").start().await;
    let mut client = ByHand::connect_narrow(stage.gateway.data_address()).await;
    client.send(&request(&stage.key, CHAT, "dripping", &wide())).await;
    let gone = async {
        assert!(stage.vllm.wait_for(PATIENCE, |vllm| vllm.active() == 1).await);
        stage.settled().await;
    };
    let drips = async {
        while client.sip(1).await > 0 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::select! {
        () = gone => {}
        () = drips => {}
    }
    stage.settled().await;
    assert_eq!(stage.record("dripping").await["outcome"], "client_gone");
}

/// It takes enough never to stall, and too little ever to let vLLM wait for a token: no timer of the stream runs.
#[tokio::test]
async fn a_client_that_is_slow_for_ever_meets_the_deadline_of_its_request() {
    let rest = PIPELINE.replace("[upstreams.main]", "[upstreams.main]\ntotal_timeout = \"1s\"");
    let stage = Setup::rest(&rest).start().await;
    let mut client = ByHand::connect_narrow(stage.gateway.data_address()).await;
    client.send(&request(&stage.key, CHAT, "slow", &wide())).await;
    assert!(stage.vllm.wait_for(PATIENCE, |vllm| vllm.active() == 1).await);
    let begun = Instant::now();
    while stage.vllm.active() > 0 {
        client.sip(8 << 10).await;
        tokio::time::sleep(Duration::from_millis(5)).await;
        assert!(begun.elapsed() < Duration::from_secs(10), "the deadline was 1 s");
    }
    drop(client);
    let record = stage.record("slow").await;
    assert_eq!((&record["outcome"], &record["errorCode"]), (&json!("timeout"), &json!("upstream_timeout")));
    stage.settled().await;
}

#[tokio::test]
async fn a_vllm_that_is_stopped_or_loses_its_engine_is_heard_out() {
    let tick = Duration::from_millis(5);
    let stage = Setup::vllm(at(Speed { ttft: tick, itl: tick, jitter: 0.0 })).start().await;
    let before = stage.held().await;
    let long = stream(json!({"max_tokens": 5000}));
    let running = async |id: &str, body: &Value| {
        let mut client = stage.asked(CHAT, id, body).await;
        client.head().await.unwrap();
        client.chunk().await.unwrap();
        client
    };

    // The engine dies (s03): the stream carries vLLM's own error event and `[DONE]`, byte for byte; others get a 500.
    let mut streamed = running("engine-stream", &long).await;
    let mut whole =
        stage.asked(CHAT, "engine-whole", &chat(json!({"max_tokens": 5000, "ignore_eos": true}))).await;
    assert!(stage.vllm.wait_for(PATIENCE, |vllm| vllm.active() == 2).await);
    stage.vllm.set_engine_dead(true);
    let (body, ended) = streamed.rest().await;
    let error = "data: {\"error\": {\"message\": \"EngineCore encountered an issue. See stack trace (above) for the root \
                 cause.\", \"type\": \"InternalServerError\", \"param\": null, \"code\": 500}}\n\ndata: [DONE]\n\n";
    assert!(ended.is_ok() && body.ends_with(error), "{body}");
    assert_eq!(whole.head().await.unwrap().status, 500);
    whole.rest().await.1.unwrap();
    stage.vllm.set_engine_dead(false);
    drop((streamed, whole));

    // It drains (s02): what runs goes on, what is new gets vLLM's own 500.
    let mut streamed = running("drain-stream", &stream(json!({"max_tokens": 40}))).await;
    stage.vllm.set_draining(true);
    let mut refused = stage.asked(CHAT, "drain-new", &long).await;
    assert_eq!(refused.head().await.unwrap().status, 500);
    let (body, ended) = streamed.rest().await;
    assert!(ended.is_ok() && body.ends_with("data: [DONE]\n\n"), "{body}");
    stage.vllm.set_draining(false);
    refused.rest().await.1.unwrap();
    drop((streamed, refused));

    // Its process is killed: the connection breaks, then nobody is there; later somebody is again.
    let mut streamed = running("killed-stream", &long).await;
    stage.vllm.set_door(Door::Refuse).await;
    stage.vllm.hang_up();
    assert_eq!(seen_rest(&mut streamed).await, Sees::Told);
    let mut refused = stage.asked(CHAT, "killed-new", &long).await;
    assert_eq!(refused.head().await.unwrap().status, 503);
    refused.rest().await.1.unwrap();
    stage.vllm.set_door(Door::Open).await;
    let (saw, _) = seen(&mut stage.asked(CHAT, "killed-back", &chat(json!({}))).await).await;
    assert_eq!(saw, Sees::Whole);

    // Somebody accepts and resets, before the request was sent or after.
    stage.vllm.set_door(Door::Reset).await;
    stage.vllm.hang_up();
    let mut reset = stage.asked(CHAT, "reset-new", &long).await;
    assert!(matches!(reset.head().await.unwrap().status, 502 | 503));
    reset.rest().await.1.unwrap();
    stage.vllm.set_door(Door::Open).await;

    for (id, outcome) in [
        ("engine-stream", "upstream_broke"),
        ("engine-whole", "finished"),
        ("drain-stream", "finished"),
        ("drain-new", "finished"),
        ("killed-stream", "upstream_broke"),
        ("killed-new", "upstream_error"),
        ("killed-back", "finished"),
        ("reset-new", "upstream_error"),
    ] {
        assert_eq!(stage.record(id).await["outcome"], outcome, "{id}");
    }
    drop((streamed, refused, reset));
    stage.holds_only(&before).await;

    // SIGTERM without a grace time (s01): a proper end, with `abort` for its reason.
    let mut streamed = running("stopped-stream", &long).await;
    stage.vllm.terminate().await;
    let (body, ended) = streamed.rest().await;
    assert!(ended.is_ok() && body.contains("\"finish_reason\":\"abort\""), "{body}");
    let record = stage.record("stopped-stream").await;
    assert_eq!((&record["outcome"], &record["tokenSource"]), (&json!("finished"), &json!("usage")));
}

async fn seen_rest(client: &mut ByHand) -> Sees {
    let (body, ended) = client.rest().await;
    match ended {
        Err(Broke) if body.contains("\"upstream_error\"") && !body.contains("[DONE]") => Sees::Told,
        Err(Broke) => Sees::Cut,
        Ok(()) => Sees::Whole,
    }
}

#[tokio::test]
async fn an_upstream_that_accepts_and_says_nothing_meets_the_deadline() {
    let stage = Setup::rest(&impatient()).start().await;
    stage.vllm.set_door(Door::Stall).await;
    let (saw, _) = seen(&mut stage.asked(CHAT, "stalled", &stream(json!({"model": MODEL}))).await).await;
    assert_eq!(saw, Sees::Refused(504));
    assert_eq!(stage.record("stalled").await["outcome"], "timeout");
    stage.settled().await;
}
