//! What a test of the suite gets: two stores on the same data, and makers of apps and records.

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;
use vllm_gateway_store::{
    App, AppKey, AppStatus, Interval, KeyDigest, LogQuery, Outcome, Record, Store, StoredApp, TokenSource,
    UsageQuery, UsageRow,
};

pub struct Fixture {
    pub store: Arc<dyn Store>,
    /// Another gateway's store, on the same data.
    pub other: Arc<dyn Store>,
    /// What must live as long: a temporary folder.
    pub keep: Box<dyn Any + Send + Sync>,
}

impl Fixture {
    pub async fn close(self) {
        self.other.close().await;
        self.store.close().await;
    }
}

/// A time that all precisions can hold.
pub fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

pub fn now() -> Timestamp {
    Timestamp::from_millisecond(Timestamp::now().as_millisecond()).unwrap()
}

pub fn millis(number: i64) -> SignedDuration {
    SignedDuration::from_millis(number)
}

/// A key that no other test has.
pub fn key() -> AppKey {
    static NUMBER: AtomicU64 = AtomicU64::new(1);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let mut digest = [7; 32];
    digest[..8].copy_from_slice(&number.to_le_bytes());
    AppKey { digest: KeyDigest::from(digest), prefix: format!("sk-live-{number:08x}"), valid_until: None }
}

pub fn app(org_name: &str) -> StoredApp {
    let key = key();
    let app = App {
        id: Uuid::new_v4().to_string(),
        org_name: org_name.to_owned(),
        key_prefix: key.prefix.clone(),
        status: AppStatus::Enabled,
        create_time: now(),
        expire_time: None,
        last_used_time: None,
        remark: None,
        allowed_models: None,
    };
    StoredApp::new(app, vec![key])
}

/// A record with everything in it.
pub fn record(at: &str) -> Record {
    Record {
        id: Uuid::now_v7(),
        request_id: "req-1".into(),
        time: time(at),
        app_id: Some("app-a".into()),
        org_name: Some("Acme".into()),
        key_prefix: Some("sk-live-00000000".into()),
        method: "POST".into(),
        path: "/v1/chat/completions".into(),
        pipeline: Some("default".into()),
        model: Some("Qwen3-32B".into()),
        upstream: Some("qwen".into()),
        endpoint: Some("http://10.0.0.11:8000".into()),
        upstream_model: Some("qwen3-32b".into()),
        stream: true,
        status: 200,
        outcome: Outcome::Finished,
        error_code: Some("none\u{0}\u{1F600}".into()),
        prompt_tokens: Some(3),
        completion_tokens: Some(2),
        total_tokens: Some(5),
        cached_tokens: Some(1),
        reasoning_tokens: Some(1),
        token_source: TokenSource::Usage,
        duration_ms: 1_500,
        ttft_ms: Some(120),
        attempts: 2,
        request_bytes: 512,
        response_bytes: 9_000_000_000,
        client_ip: "127.0.0.1".into(),
        user_agent: Some("curl/8".into()),
    }
}

/// A record with nothing in it that can be absent.
pub fn bare_record(at: &str) -> Record {
    Record {
        app_id: None,
        org_name: None,
        key_prefix: None,
        pipeline: None,
        model: None,
        upstream: None,
        endpoint: None,
        upstream_model: None,
        stream: false,
        status: 401,
        outcome: Outcome::Replied,
        error_code: None,
        prompt_tokens: None,
        completion_tokens: None,
        total_tokens: None,
        cached_tokens: None,
        reasoning_tokens: None,
        token_source: TokenSource::None,
        ttft_ms: None,
        user_agent: None,
        ..record(at)
    }
}

pub fn all() -> LogQuery {
    LogQuery::default()
}

/// All usage of the days around the records of these tests.
pub fn usage_query(interval: Option<Interval>, by_app: bool, by_model: bool) -> UsageQuery {
    UsageQuery {
        from: time("2026-03-01T00:00:00Z"),
        to: time("2026-03-04T00:00:00Z"),
        group_by_app: by_app,
        group_by_model: by_model,
        interval,
    }
}

pub async fn usage(store: &Arc<dyn Store>) -> Vec<UsageRow> {
    store.usage(&usage_query(None, false, false)).await.unwrap()
}

/// Requests and total tokens of all records.
pub async fn sums(store: &Arc<dyn Store>) -> (u64, u64) {
    usage(store).await.first().map_or((0, 0), |row| (row.requests, row.total_tokens))
}
