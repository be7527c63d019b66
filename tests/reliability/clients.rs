//! Clients of every kind, who write down what they got.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use reqwest::{Client, Response};
use serde_json::{Value, json};
use tokio::{io::AsyncWriteExt, net::TcpStream, sync::watch, task::JoinSet};

use crate::{random::Random, site::MODEL, sse::hear};

/// How a request ended, as the client saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The answer came to its end.
    Whole,
    /// The client left.
    Left,
    /// The answer broke off, or none came.
    Broken,
}

/// One line of the clients' ledger.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    /// `x-request-id`.
    pub(crate) id: String,
    /// The status, if a head came.
    pub(crate) status: Option<u16>,
    /// Tokens that the client has for certain.
    pub(crate) tokens: u64,
    /// What it was told of usage at last.
    pub(crate) usage: Option<u64>,
    pub(crate) end: End,
    /// Whether a stream told of an error.
    pub(crate) error: bool,
    /// The code of an answer that is an error.
    pub(crate) code: String,
    /// Whether it came with the key of an app.
    pub(crate) known: bool,
}

impl Asked {
    pub(crate) fn new(id: String, end: End) -> Self {
        Self { id, status: None, tokens: 0, usage: None, end, error: false, code: String::new(), known: true }
    }

    /// It was refused because no more can be recorded.
    pub(crate) fn unrecorded(&self) -> bool {
        self.code == "log_unavailable"
    }
}

/// What a client may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Unary,
    Many,
    Stream,
    StreamWithUsage,
    StreamOfMany,
    StreamContinuous,
    Completion,
    Message,
    /// Leaves a stream in its midst.
    LeavesLate,
    /// Leaves before the answer.
    LeavesEarly,
    /// Leaves before it has sent its whole body.
    HalfBody,
    BadKey,
    UnknownModel,
    Models,
}

const MIX: [Kind; 20] = [
    Kind::Unary,
    Kind::Unary,
    Kind::Many,
    Kind::Stream,
    Kind::Stream,
    Kind::Stream,
    Kind::StreamWithUsage,
    Kind::StreamWithUsage,
    Kind::StreamOfMany,
    Kind::StreamOfMany,
    Kind::StreamContinuous,
    Kind::Completion,
    Kind::Message,
    Kind::LeavesLate,
    Kind::LeavesLate,
    Kind::LeavesEarly,
    Kind::HalfBody,
    Kind::BadKey,
    Kind::UnknownModel,
    Kind::Models,
];

/// Where the gateway is at the moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) data: String,
    pub(crate) key: String,
}

/// Clients that ask and ask, whenever there is a gateway.
pub(crate) struct Crowd {
    shared: Arc<Shared>,
    tasks: JoinSet<()>,
}

struct Shared {
    prefix: String,
    target: watch::Sender<Option<Target>>,
    busy: AtomicUsize,
    number: AtomicUsize,
    asked: Mutex<Vec<Asked>>,
}

impl Crowd {
    /// So many clients, who wait for a target.
    pub(crate) fn new(clients: usize, prefix: &str, random: &mut Random) -> Self {
        let shared = Arc::new(Shared {
            prefix: prefix.into(),
            target: watch::Sender::new(None),
            busy: AtomicUsize::new(0),
            number: AtomicUsize::new(0),
            asked: Mutex::default(),
        });
        let mut tasks = JoinSet::new();
        for _ in 0..clients {
            tasks.spawn(Arc::clone(&shared).ask_and_ask(random.fork()));
        }
        Self { shared, tasks }
    }

    /// From now on they ask there.
    pub(crate) fn turn_to(&self, target: Target) {
        self.shared.target.send_replace(Some(target));
    }

    /// From now on they ask nobody.
    pub(crate) fn turn_away(&self) {
        self.shared.target.send_replace(None);
    }

    /// Nobody waits for an answer any more. Only once they were turned away.
    pub(crate) async fn quiet(&self) {
        crate::site::until("the clients are quiet", || async {
            self.shared.busy.load(Ordering::SeqCst) == 0
        })
        .await;
    }

    /// What they have written down so far.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.shared.asked.lock().unwrap().clone()
    }

    /// Sends them home once they are done.
    pub(crate) async fn end(mut self) -> Vec<Asked> {
        self.turn_away();
        self.quiet().await;
        self.tasks.shutdown().await;
        std::mem::take(&mut self.shared.asked.lock().unwrap())
    }
}

impl Shared {
    async fn ask_and_ask(self: Arc<Self>, mut random: Random) {
        let client = Client::builder().no_proxy().build().unwrap();
        let mut target = self.target.subscribe();
        loop {
            let Ok(now) = target.wait_for(Option::is_some).await.map(|now| now.clone()) else { return };
            self.busy.fetch_add(1, Ordering::SeqCst);
            // Whoever turned them away meanwhile may have seen nobody busy.
            if let Some(at) = now.filter(|now| self.target.borrow().as_ref() == Some(now)) {
                let number = self.number.fetch_add(1, Ordering::Relaxed);
                let id = format!("{}-{number:07}", self.prefix);
                match ask(&client, &at, id, &mut random).await {
                    Some(asked) => self.asked.lock().unwrap().push(asked),
                    None => tokio::time::sleep(Duration::from_millis(2)).await,
                }
            }
            self.busy.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

/// Asks once; none if nobody listens there.
async fn ask(client: &Client, at: &Target, id: String, random: &mut Random) -> Option<Asked> {
    let kind = MIX[usize::try_from(random.below(MIX.len() as u64)).unwrap()];
    let most = if random.percent(10) { 200 } else { 40 };
    let tokens = 1 + random.below(most);
    let (path, body) = body(kind, tokens);
    let text = body.to_string();
    if kind == Kind::HalfBody {
        return half_body(at, id, &text).await.ok();
    }
    let url = format!("http://{}{path}", at.data);
    let request = if kind == Kind::Models {
        client.get(url)
    } else {
        client.post(url).header("content-type", "application/json").body(text)
    };
    let key = if kind == Kind::BadKey { "sk-live-01234567-89ab-cdef-0011-223344556677" } else { &at.key };
    let sent = request.bearer_auth(key).header("x-request-id", &id).send();
    let answer = if kind == Kind::LeavesEarly {
        let patience = Duration::from_micros(random.below(8_000));
        match tokio::time::timeout(patience, sent).await {
            Ok(answer) => answer,
            Err(_elapsed) => return Some(Asked::new(id, End::Left)),
        }
    } else {
        sent.await
    };
    match answer {
        Ok(answer) => {
            let leaves_after = (kind == Kind::LeavesLate).then(|| random.below(tokens + 2));
            Some(Asked { known: kind != Kind::BadKey, ..read(answer, id, leaves_after).await })
        }
        Err(error) => (!error.is_connect()).then(|| Asked::new(id, End::Broken)),
    }
}

fn body(kind: Kind, tokens: u64) -> (&'static str, Value) {
    let mut body = json!({
        "model": if kind == Kind::UnknownModel { "gpt-none" } else { MODEL },
        "messages": [{"role": "user", "content": "Say hello"}],
        "max_tokens": tokens,
        "ignore_eos": true,
    });
    let stream = json!(true);
    match kind {
        Kind::Many => body["n"] = json!(3),
        Kind::Stream | Kind::LeavesLate => body["stream"] = stream,
        Kind::StreamWithUsage => {
            body["stream"] = stream;
            body["stream_options"] = json!({"include_usage": true});
        }
        Kind::StreamOfMany => {
            body["stream"] = stream;
            body["n"] = json!(2);
        }
        Kind::StreamContinuous => {
            body["stream"] = stream;
            body["stream_options"] = json!({"include_usage": true, "continuous_usage_stats": true});
        }
        Kind::Completion => {
            let body = json!({
                "model": MODEL, "prompt": "Say hello", "max_tokens": tokens, "ignore_eos": true, "stream": true,
            });
            return ("/v1/completions", body);
        }
        Kind::Message => {
            body["stream"] = stream;
            return ("/v1/messages", body);
        }
        Kind::Models => return ("/v1/models", body),
        _ => {}
    }
    ("/v1/chat/completions", body)
}

/// Reads an answer, or that many chunks of it.
async fn read(mut answer: Response, id: String, leaves_after: Option<u64>) -> Asked {
    let mut asked = Asked { status: Some(answer.status().as_u16()), ..Asked::new(id, End::Broken) };
    let kind = answer.headers().get("content-type").map(|kind| kind.as_bytes().to_vec());
    let stream = kind.is_some_and(|kind| kind.starts_with(b"text/event-stream"));
    let (mut bytes, mut chunks) = (Vec::new(), 0);
    asked.end = loop {
        if leaves_after.is_some_and(|most| chunks >= most) {
            break End::Left;
        }
        match answer.chunk().await {
            Ok(Some(chunk)) => bytes.extend_from_slice(&chunk),
            Ok(None) => break End::Whole,
            Err(_) => break End::Broken,
        }
        chunks += 1;
    };
    drop(answer);
    if stream {
        let heard = hear(&bytes);
        (asked.tokens, asked.usage, asked.error) = (heard.tokens, heard.usage, heard.error);
        assert!(
            asked.end != End::Whole || heard.whole,
            "a stream ended cleanly without its terminator: {}",
            String::from_utf8_lossy(&bytes)
        );
    } else if asked.end == End::Whole {
        let answer: Value = serde_json::from_slice(&bytes).unwrap();
        asked.usage = answer["usage"]["completion_tokens"].as_u64();
        asked.tokens = asked.usage.unwrap_or_default();
        let error = &answer["error"];
        asked.code = error["code"].as_str().unwrap_or_default().to_owned();
        // Anthropic's shape has no codes.
        if error["message"].as_str().is_some_and(|text| text.contains("no request goes unrecorded")) {
            asked.code = "log_unavailable".into();
        }
    }
    asked
}

async fn half_body(at: &Target, id: String, body: &str) -> std::io::Result<Asked> {
    let asked = Asked::new(id, End::Left);
    let mut socket = TcpStream::connect(&at.data).await?;
    let head = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nHost: gateway\r\nAuthorization: Bearer {}\r\nx-request-id: {}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{}",
        at.key,
        asked.id,
        body.len(),
        &body[..body.len() / 2]
    );
    let _ = socket.write_all(head.as_bytes()).await;
    Ok(asked)
}
