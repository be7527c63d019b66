//! The requests that came, kept to be looked at. Whether it is well, and awake, anybody may ask at any time: that is not
//! kept.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use http::{HeaderMap, Method};

/// A request as it arrived.
#[derive(Debug, Clone)]
pub struct Seen {
    /// The method.
    pub method: Method,
    /// Path and query, as sent.
    pub path: String,
    /// 0 for HTTP/1.0, 1 for HTTP/1.1.
    pub minor_version: u8,
    /// The headers, in their order.
    pub headers: HeaderMap,
    /// Request line and headers, byte for byte: the spelling of names, and what a `HeaderMap` does not show.
    pub head: Bytes,
    /// The body, decoded if it came in chunks. Empty where vLLM answers without reading it (401, 404, 405).
    pub body: Bytes,
    /// When the head had been read.
    pub received_at: Instant,
    /// Which connection it came on, counted from 1.
    pub connection: u64,
}

impl Seen {
    /// A header's value, if it is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

/// The last requests.
#[derive(Debug)]
pub(crate) struct SeenRequests {
    keep: usize,
    seen: Mutex<VecDeque<Seen>>,
}

impl SeenRequests {
    pub(crate) fn new(keep: usize) -> Self {
        Self { keep, seen: Mutex::default() }
    }

    pub(crate) fn add(&self, seen: impl FnOnce() -> Seen) {
        if self.keep == 0 {
            return;
        }
        let seen = seen();
        if matches!(seen.path.as_str(), "/health" | "/is_sleeping") {
            return;
        }
        let mut all = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        all.push_back(seen);
        if all.len() > self.keep {
            all.pop_front();
        }
    }

    pub(crate) fn all(&self) -> Vec<Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    pub(crate) fn clear(&self) {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}
