//! One client: sends its request when it is due, follows the stream to its end.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use reqwest::{Client, Response};
use tokio::time::{Instant, timeout_at};

use crate::{
    outcome::{Ended, Outcome},
    trace::Arrival,
};

/// Whom to ask, and with which key.
pub(crate) struct Caller {
    client: Client,
    url: String,
    key: String,
    /// Tokens that have come to all clients.
    pub(crate) tokens: AtomicU64,
}

impl Caller {
    pub(crate) fn new(url: &str, key: &str) -> Result<Self, String> {
        // A connection that the gateway is about to close is not to be mistaken for a failure of a policy.
        let client = Client::builder().no_proxy().pool_idle_timeout(Duration::from_secs(2)).build();
        Ok(Self {
            client: client.map_err(|error| error.to_string())?,
            url: format!("{url}/v1/chat/completions"),
            key: key.to_owned(),
            tokens: AtomicU64::new(0),
        })
    }

    pub(crate) async fn ask(&self, arrival: &Arrival, begun: Instant, deadline: Instant) -> Outcome {
        let due = begun + arrival.at;
        let mut stream = Stream::default();
        let asking = async {
            match self.send(arrival).await {
                Ok(response) => self.read(response, &mut stream).await,
                Err(ended) => ended,
            }
        };
        let ended = timeout_at(deadline, asking).await.unwrap_or(Ended::Unfinished);
        let first = stream.first.map(|first| first.saturating_duration_since(due));
        Outcome { at: arrival.at, first, end: begun.elapsed(), ended }
    }

    async fn send(&self, arrival: &Arrival) -> Result<Response, Ended> {
        let request = self
            .client
            .post(&self.url)
            .bearer_auth(&self.key)
            .header("content-type", "application/json")
            .header("x-session-id", &arrival.session)
            .body(arrival.body.clone());
        let response =
            request.send().await.map_err(|error| Ended::Refused(format!("no answer: {}", root(&error))))?;
        let status = response.status().as_u16();
        if status == 200 {
            return Ok(response);
        }
        let body = response.bytes().await.unwrap_or_default();
        let error: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
        // vLLM's own errors repeat the status as their code; the gateway's name what was wrong.
        Err(Ended::Refused(match error["error"]["code"].as_str() {
            Some(code) => format!("{status} {code}"),
            None => format!("{status} of vLLM"),
        }))
    }

    async fn read(&self, mut response: Response, stream: &mut Stream) -> Ended {
        loop {
            match response.chunk().await {
                Ok(Some(chunk)) => {
                    let tokens = stream.take(&chunk);
                    self.tokens.fetch_add(tokens, Ordering::Relaxed);
                }
                Ok(None) if stream.error.is_some() => {
                    return Ended::Broke(stream.error.take().unwrap_or_default());
                }
                Ok(None) if stream.done => return Ended::Finished,
                Ok(None) => return Ended::Broke("ended without [DONE]".to_owned()),
                Err(error) => return Ended::Broke(root(&error)),
            }
        }
    }
}

/// The innermost cause.
fn root(error: &dyn std::error::Error) -> String {
    error.source().map_or_else(|| error.to_string(), root)
}

/// The events of a stream as they come.
#[derive(Default)]
struct Stream {
    line: Vec<u8>,
    first: Option<Instant>,
    done: bool,
    /// The code of an error event.
    error: Option<String>,
}

impl Stream {
    /// Takes bytes in; gives how many tokens were in them.
    fn take(&mut self, bytes: &[u8]) -> u64 {
        let mut tokens = 0;
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.line.extend_from_slice(piece);
            if self.line.ends_with(b"\n") {
                tokens += u64::from(self.line_ended());
                self.line.clear();
            }
        }
        tokens
    }

    /// Whether the line brought a token.
    fn line_ended(&mut self) -> bool {
        let Some(data) = self.line.strip_prefix(b"data: ") else { return false };
        if data.starts_with(b"[DONE]") {
            self.done = true;
        } else if data.starts_with(br#"{"error""#) {
            let error: serde_json::Value = serde_json::from_slice(data).unwrap_or_default();
            self.error = Some(error["error"]["code"].as_str().unwrap_or("an error of vLLM").to_owned());
        } else if has_text(data) {
            self.first.get_or_insert_with(Instant::now);
            return true;
        }
        false
    }
}

/// Whether an event's delta has text; the first names the role only.
fn has_text(data: &[u8]) -> bool {
    const START: &[u8] = br#""delta":{"content":""#;
    let at = data.windows(START.len()).position(|window| window == START);
    at.is_some_and(|at| data.get(at + START.len()) != Some(&b'"'))
}
