//! Replaying: a request that was recorded is answered as recorded, byte for byte and chunk by chunk.

use std::collections::HashMap;

use crate::api::Cx;
use crate::error::ApiError;
use crate::http1::{Interrupt, Wire};
use crate::recording::{RecordedResponse, Recording};

/// Headers that say nothing about which recording is meant.
const COMMON: [&str; 8] = [
    "host",
    "user-agent",
    "accept",
    "content-length",
    "transfer-encoding",
    "expect",
    "connection",
    "accept-encoding",
];

/// The recordings, by method and path.
#[derive(Debug, Default)]
pub(crate) struct Replay {
    recordings: HashMap<(String, String), Vec<Recording>>,
}

impl Replay {
    pub(crate) fn new(recordings: Vec<Recording>) -> Self {
        let mut replay = Self::default();
        for recording in recordings {
            let key = (recording.request.method.clone(), recording.request.path.clone());
            replay.recordings.entry(key).or_default().push(recording);
        }
        replay
    }

    /// Answers as recorded.
    pub(crate) async fn play(&self, cx: &Cx<'_>, wire: &mut Wire<'_>) -> Result<(), Interrupt> {
        let Some(recording) = self.find(cx) else {
            let what = format!("{} {} with this body: no recording holds it", cx.head.method, cx.head.target);
            return wire.answer(&ApiError::not_simulated(&what).answer()).await;
        };
        play_response(&recording.response, wire).await
    }

    /// The recording of the same body whose own headers are all there; of several the one with the most.
    fn find(&self, cx: &Cx<'_>) -> Option<&Recording> {
        let known = self.recordings.get(&(cx.head.method.to_string(), cx.head.target.clone()))?;
        let form = crate::api::sent_form(cx);
        let same_body = known.iter().filter(|recording| match recording.request.form() {
            Some(fields) => form.as_ref().is_some_and(|sent| {
                let wanted = fields
                    .iter()
                    .map(|(name, value)| (name, if value.starts_with('@') { "@" } else { value }));
                wanted.eq(sent.iter().map(|(name, value)| (name, value.as_str())))
            }),
            None => recording.request.body == cx.body,
        });
        let mut best: Option<(i32, &Recording)> = None;
        for recording in same_body {
            let score = score(recording, cx);
            if best.is_none_or(|(most, _)| score > most) {
                best = Some((score, recording));
            }
        }
        best.map(|(_, recording)| recording)
    }
}

/// A header that is as recorded counts for a recording, one that is missing against it.
fn score(recording: &Recording, cx: &Cx<'_>) -> i32 {
    let own = recording
        .request
        .headers
        .iter()
        .filter(|(name, _)| !COMMON.contains(&name.to_ascii_lowercase().as_str()));
    let mut score: i32 = own
        .map(|(name, value)| {
            let boundary = value.starts_with("multipart/form-data");
            if boundary || cx.head.header(name) == Some(value) { 1 } else { -2 }
        })
        .sum();
    // A header that no recording had is the gateway's; but of content types there are recordings without one.
    if recording.request.header("content-type").is_none() && cx.head.header("content-type").is_some() {
        score -= 2;
    }
    score
}

async fn play_response(response: &RecordedResponse, wire: &mut Wire<'_>) -> Result<(), Interrupt> {
    let (head, body) = response.raw.split_at(response.head_length.min(response.raw.len()));
    wire.raw(head).await?;
    if !response.is_chunked() {
        return wire.raw(body).await;
    }
    let mut at = 0;
    for chunk in &response.chunks {
        // The size line, the chunk, and the line break after it, as they were spelled.
        let line = memchr::memchr(b'\n', &body[at..]).map_or(0, |end| end + 1);
        let end = (at + line + chunk.len() + 2).min(body.len());
        wire.raw(&body[at..end]).await?;
        tokio::task::yield_now().await;
        at = end;
    }
    wire.raw(&body[at..]).await
}
