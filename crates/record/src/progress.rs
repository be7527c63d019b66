//! The part of a record that is written again and again.

use crate::{Outcome, Record, TokenSource};

/// The part of a record that changes until its end.
#[derive(Clone, Copy, Debug)]
pub struct Progress<'a> {
    /// As in [`Record`].
    pub endpoint: Option<&'a str>,
    /// As in [`Record`].
    pub status: u16,
    /// As in [`Record`].
    pub outcome: Outcome,
    /// As in [`Record`].
    pub error_code: Option<&'a str>,
    /// As in [`Record`].
    pub prompt_tokens: Option<u64>,
    /// As in [`Record`].
    pub completion_tokens: Option<u64>,
    /// As in [`Record`].
    pub total_tokens: Option<u64>,
    /// As in [`Record`].
    pub cached_tokens: Option<u64>,
    /// As in [`Record`].
    pub reasoning_tokens: Option<u64>,
    /// As in [`Record`].
    pub token_source: TokenSource,
    /// As in [`Record`].
    pub duration_ms: u64,
    /// As in [`Record`].
    pub ttft_ms: Option<u64>,
    /// As in [`Record`].
    pub attempts: u32,
    /// As in [`Record`].
    pub request_bytes: u64,
    /// As in [`Record`].
    pub response_bytes: u64,
}

impl<S: AsRef<str>> Record<S> {
    /// What of it changes until its end.
    #[must_use]
    pub fn progress(&self) -> Progress<'_> {
        Progress {
            endpoint: self.endpoint.as_ref().map(AsRef::as_ref),
            status: self.status,
            outcome: self.outcome,
            error_code: self.error_code.as_ref().map(AsRef::as_ref),
            prompt_tokens: self.prompt_tokens,
            completion_tokens: self.completion_tokens,
            total_tokens: self.total_tokens,
            cached_tokens: self.cached_tokens,
            reasoning_tokens: self.reasoning_tokens,
            token_source: self.token_source,
            duration_ms: self.duration_ms,
            ttft_ms: self.ttft_ms,
            attempts: self.attempts,
            request_bytes: self.request_bytes,
            response_bytes: self.response_bytes,
        }
    }
}
