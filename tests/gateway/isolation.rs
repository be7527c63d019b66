//! No byte of an answer ever reaches another client, whatever breaks beside it.
//!
//! Every request has an id that stands in every event of its answer, and every client a prompt of its own, of which
//! the simulated vLLM makes a text of its own. Each event that arrives is compared, byte for byte, with what this
//! request has to get next; between them clients leave, connections break, and vLLM does all that it can do wrong.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use vllm_gateway_simulator::{Fault, Junk, Options};

use crate::{
    by_hand::{ByHand, Leaving, request},
    support::{MODEL, PIPELINE, Setup, Stage, fast},
};

const CLIENTS: u64 = 40;

/// Events that are compared in CI, and with `LONG` set.
const EVENTS: (u64, u64) = (200_000, 10_000_000);

/// Begins every id. No word of the simulated vLLM holds it.
const NONCE: &str = "nonce-";

/// A request of one client, and the events of its answer as vLLM itself sends them.
struct Asked {
    path: &'static str,
    body: Value,
    events: Vec<Expected>,
}

/// An event around its id and its time.
struct Expected {
    begins: String,
    goes_on: String,
    ends: String,
}

impl Expected {
    fn of(event: &str) -> Self {
        let Some((begins, rest)) = event.split_once("direct") else {
            return Self { begins: event.into(), goes_on: String::new(), ends: String::new() };
        };
        let (goes_on, rest) = rest.split_once("\"created\":").unwrap();
        let ends = rest.trim_start_matches(|c: char| c.is_ascii_digit());
        Self { begins: begins.into(), goes_on: format!("{goes_on}\"created\":"), ends: ends.into() }
    }

    fn is(&self, event: &[u8], id: &str) -> bool {
        if self.ends.is_empty() {
            return event == self.begins.as_bytes();
        }
        let rest =
            event.strip_prefix(self.begins.as_bytes()).and_then(|rest| rest.strip_prefix(id.as_bytes()));
        let Some(rest) = rest.and_then(|rest| rest.strip_prefix(self.goes_on.as_bytes())) else {
            return false;
        };
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        rest[digits..] == *self.ends.as_bytes()
    }
}

/// What one client asks, in turn.
async fn questions(stage: &Stage, client: u64) -> Vec<Asked> {
    let text = format!("I am client {client}");
    let messages = json!([{"role": "user", "content": text}]);
    let options = json!({"include_usage": true, "continuous_usage_stats": true});
    let bodies = [
        ("/v1/chat/completions", json!({"messages": messages})),
        ("/v1/chat/completions", json!({"messages": messages, "stream_options": options})),
        ("/v1/completions", json!({"prompt": [text, format!("{text}, too")]})),
    ];
    let mut asked = Vec::new();
    for (path, mut body) in bodies {
        body["model"] = json!(MODEL);
        body["stream"] = json!(true);
        body["max_tokens"] = json!(60);
        body["ignore_eos"] = json!(true);
        body["seed"] = json!(client);
        let direct = stage.asked_directly(path, "direct", &body).await;
        let events = direct.split_inclusive("\n\n").map(Expected::of).collect();
        asked.push(Asked { path, body, events });
    }
    asked
}

/// Numbers that are the same in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }

    fn fault(&mut self) -> Fault {
        let events = usize::try_from(self.below(50)).unwrap();
        match self.below(16) {
            0 => Fault::Reset,
            1 => Fault::Close,
            2 => Fault::NotHttp,
            3 => Fault::Status(500),
            4 => Fault::HangAfter(events),
            5 => Fault::ResetAfter(events),
            6 => Fault::TruncateAfter(events),
            7 => Fault::GarbageAfter(events),
            8 => Fault::CutInside(events),
            9 => Fault::EndAfter(events),
            10 => Fault::ErrorAfter(events),
            11 => Fault::Junk(Junk::BadUtf8, events),
            12 => Fault::Split(5),
            13 => Fault::SplitWrites(11),
            14 => Fault::Join(3),
            _ => Fault::CloseAfterAnswer,
        }
    }
}

#[derive(Default)]
struct Tally {
    compared: AtomicU64,
    odd: AtomicU64,
    asked: AtomicU64,
    heads: AtomicU64,
    broke: AtomicU64,
    left: AtomicU64,
}

struct Client {
    number: u64,
    questions: Vec<Asked>,
    dice: Dice,
    connection: Option<ByHand>,
}

impl Client {
    async fn run(mut self, stage: Arc<Stage>, tally: Arc<Tally>, target: u64) {
        let mut turn = 0;
        while tally.compared.load(Relaxed) < target {
            turn += 1;
            let id = format!("{NONCE}{}-{turn}.", self.number);
            let question = turn % self.questions.len();
            if self.dice.below(12) == 0 {
                // Whom it strikes is whoever comes next.
                stage.vllm.inject_once(self.dice.fault());
            }
            self.ask(&stage, &tally, &id, question).await;
        }
    }

    async fn ask(&mut self, stage: &Stage, tally: &Tally, id: &str, question: usize) {
        let asked = &self.questions[question];
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => stage.by_hand().await,
        };
        tally.asked.fetch_add(1, Relaxed);
        connection.send(&request(&stage.key, asked.path, id, &asked.body)).await;
        let Ok(head) = connection.head().await else {
            tally.broke.fetch_add(1, Relaxed);
            return;
        };
        tally.heads.fetch_add(1, Relaxed);
        assert!(head.text.contains(&format!("\r\nx-request-id: {id}\r\n")), "{id}: {}", head.text);
        let stays = self.dice.below(8) > 0;
        // In bytes: what comes together may come in one chunk.
        let leaves_at = if stays { usize::MAX } else { usize::try_from(self.dice.below(20_000)).unwrap() };
        let mut reader = Reader { id, expected: asked.events.iter().collect(), held: Vec::new(), tally };
        let mut heard = 0;
        loop {
            if heard >= leaves_at {
                tally.left.fetch_add(1, Relaxed);
                let how = Leaving::ALL[usize::try_from(self.dice.below(3)).unwrap()];
                connection.leave(how).await;
                return;
            }
            match connection.chunk().await {
                Ok(Some(chunk)) => {
                    heard += chunk.len();
                    reader.read(&chunk);
                }
                Ok(None) => break,
                Err(_broke) => {
                    tally.broke.fetch_add(1, Relaxed);
                    return reader.close();
                }
            }
        }
        reader.close();
        self.connection = Some(connection);
    }
}

/// Compares an answer event by event.
struct Reader<'a> {
    id: &'a str,
    expected: VecDeque<&'a Expected>,
    held: Vec<u8>,
    tally: &'a Tally,
}

impl Reader<'_> {
    fn read(&mut self, chunk: &[u8]) {
        self.held.extend_from_slice(chunk);
        let held = std::mem::take(&mut self.held);
        let mut rest = &held[..];
        while let Some(end) = rest.windows(2).position(|pair| pair == b"\n\n") {
            let (event, tail) = rest.split_at(end + 2);
            self.event(event);
            rest = tail;
        }
        self.held = rest.to_vec();
    }

    fn event(&mut self, event: &[u8]) {
        if self.expected.front().is_some_and(|expected| expected.is(event, self.id)) {
            self.expected.pop_front();
            self.tally.compared.fetch_add(1, Relaxed);
            return;
        }
        // Nothing else but what a fault has made, and that the end of an answer which came to its end.
        let text = String::from_utf8_lossy(event);
        let is_error = text.starts_with("data: {\"error\":");
        let is_end = text == "data: [DONE]\n\n";
        let is_junk = text.contains('\u{fffd}');
        assert!(is_error || is_end || is_junk, "{}: this is not its answer: {text}", self.id);
        self.own(event);
        self.tally.odd.fetch_add(1, Relaxed);
    }

    /// Whatever it is, it names nobody else.
    fn own(&self, bytes: &[u8]) {
        let text = String::from_utf8_lossy(bytes);
        let own = text.matches(self.id).count();
        assert_eq!(text.matches(NONCE).count(), own, "{}: a byte of another answer: {text}", self.id);
    }

    /// What is left may be a part of an event, or no event at all.
    fn close(&self) {
        let text = String::from_utf8_lossy(&self.held);
        // The beginning of an id says nothing yet.
        let whole = text.rfind(NONCE).filter(|at| text.len() < at + self.id.len()).unwrap_or(text.len());
        self.own(&text.as_bytes()[..whole]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_byte_of_an_answer_reaches_another_client() {
    let target = if std::env::var_os("LONG").is_some() { EVENTS.1 } else { EVENTS.0 };
    let rest = PIPELINE.replace("[upstreams.main]", "[upstreams.main]\ngap_timeout = \"2s\"");
    let vllm = Options { keep_requests: 0, keep_generations: 0, ..fast() };
    let stage = Arc::new(Setup { vllm, rest, ..Setup::default() }.start().await);
    let tally = Arc::new(Tally::default());
    let mut clients = Vec::new();
    for number in 0..CLIENTS {
        let questions = questions(&stage, number).await;
        clients.push(Client { number, questions, dice: Dice(number), connection: None });
    }
    let begun = Instant::now();
    let running: Vec<_> = clients
        .into_iter()
        .map(|client| tokio::spawn(client.run(Arc::clone(&stage), Arc::clone(&tally), target)))
        .collect();
    for client in running {
        client.await.unwrap();
    }
    let took = begun.elapsed();
    stage.settled().await;
    let [compared, odd, asked, heads, broke, left] =
        [&tally.compared, &tally.odd, &tally.asked, &tally.heads, &tally.broke, &tally.left]
            .map(|counter| counter.load(Relaxed));
    #[allow(clippy::print_stdout)] // the figures of the long mode
    {
        println!(
            "{compared} events compared in {took:.1?} ({odd} made by faults); {asked} requests, {left} left midway, {broke} broken"
        );
    }
    assert!(compared >= target && odd < compared / 100, "{odd} odd ones of {compared}");
    assert!(left > asked / 20 && broke > asked / 100, "of {asked}, {left} left and {broke} broke: too few");
    // Each request that was heard has its record, and none has two.
    let recorded = recorded(&stage, heads).await;
    assert!((heads..=asked).contains(&recorded), "{recorded} records of {heads} to {asked} requests");
}

/// How many records there are, once there are so many.
async fn recorded(stage: &Stage, at_least: u64) -> u64 {
    let begun = Instant::now();
    loop {
        let page = stage.admin_get("/api/logs?pageSize=1").await;
        let total = page["total"].as_u64().unwrap();
        if total >= at_least || begun.elapsed() > Duration::from_secs(60) {
            return total;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
