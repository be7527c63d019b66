//! What clients demand of an answer: every byte, where nothing in between has a reason to write it anew.

use serde_json::Value;

use super::recording::Workload;

/// How much of an answer has to be what the mock has sent.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Check {
    /// Every byte of its body.
    Bytes,
    /// The text that the model has said, in at least as many events, and how the answer ends.
    Text,
}

/// The body of one answer, as it is looked at.
pub(crate) struct Reading {
    check: Check,
    /// Bytes that have come.
    at: usize,
    /// Whole events among them.
    pub(crate) events: usize,
    /// What has come, where the text is looked at.
    body: Vec<u8>,
    fault: Option<String>,
}

impl Reading {
    pub(crate) fn new(check: Check) -> Self {
        Self { check, at: 0, events: 0, body: Vec::new(), fault: None }
    }

    /// For the next answer.
    pub(crate) fn restart(&mut self) {
        (self.at, self.events, self.fault) = (0, 0, None);
        self.body.clear();
    }

    /// Takes the next bytes.
    pub(crate) fn take(&mut self, bytes: &[u8], workload: &Workload) {
        match self.check {
            Check::Bytes if workload.expected.get(self.at..self.at + bytes.len()) == Some(bytes) => {
                self.at += bytes.len();
                while workload.ends.get(self.events).is_some_and(|end| *end <= self.at) {
                    self.events += 1;
                }
            }
            Check::Bytes => {
                let got = || format!("not what was expected: {}", String::from_utf8_lossy(bytes));
                self.fault.get_or_insert_with(got);
            }
            Check::Text => {
                let from = self.at.saturating_sub(1);
                self.at += bytes.len();
                self.body.extend_from_slice(bytes);
                if workload.stream {
                    let ends = self.body[from..].windows(2).filter(|window| window == b"\n\n");
                    self.events += ends.count();
                }
            }
        }
    }

    /// What was wrong with it so far.
    pub(crate) fn fault(&mut self) -> Result<(), String> {
        self.fault.take().map_or(Ok(()), Err)
    }

    /// Whether the answer that has ended is what was to come.
    pub(crate) fn end(&self, workload: &Workload) -> Result<(), String> {
        let whole = match self.check {
            Check::Bytes => self.at == workload.expected.len(),
            Check::Text => {
                self.events >= workload.ends.len() && text(&self.body, workload.stream) == workload.text
            }
        };
        let got = || String::from_utf8_lossy(&self.body);
        if whole { Ok(()) } else { Err(format!("an answer ended early, or says something else: {}", got())) }
    }
}

/// What the model has said; `None` where the answer has another form, or a stream another end.
pub(crate) fn text(body: &[u8], stream: bool) -> Option<String> {
    if !stream {
        let answer: Value = serde_json::from_slice(body).ok()?;
        return Some(answer["choices"][0]["message"]["content"].as_str()?.to_owned());
    }
    let body = std::str::from_utf8(body).ok()?.trim_end().strip_suffix("data: [DONE]")?;
    let mut text = String::new();
    for event in body.split("\n\n").filter_map(|event| event.strip_prefix("data: ")) {
        let event: Value = serde_json::from_str(event).ok()?;
        text += event["choices"][0]["delta"]["content"].as_str().unwrap_or_default();
    }
    Some(text)
}
