//! The journal under kills, tears, flipped bits and disks that refuse.
#![allow(clippy::unwrap_used)]

mod cost;
mod crowds;
mod disk;
mod refusals;
mod round_trip;
mod tears;

use std::sync::Arc;

use jiff::Timestamp;
use uuid::Uuid;
use vllm_gateway_record::{Outcome, Record, TokenSource};

use crate::{journal::Journal, place::Place};
pub(crate) use disk::MemoryDisk;

pub(crate) fn record(id: u128) -> Record {
    Record {
        id: Uuid::from_u128(id + 1),
        request_id: format!("r-{id}"),
        time: Timestamp::from_second(1_700_000_000).unwrap(),
        app_id: Some("0198c5a2-1111-7222-8333-944445555666".into()),
        org_name: Some("acme".into()),
        key_prefix: Some("sk-live-01234567".into()),
        method: "POST".into(),
        path: "/v1/chat/completions".into(),
        pipeline: Some("default".into()),
        model: Some("Qwen3-32B".into()),
        upstream: Some("qwen3-32b".into()),
        endpoint: Some("http://10.0.0.11:8000".into()),
        upstream_model: Some("Qwen3-32B".into()),
        stream: true,
        status: 200,
        outcome: Outcome::Finished,
        error_code: None,
        prompt_tokens: Some(7),
        completion_tokens: Some(40),
        total_tokens: Some(47),
        cached_tokens: None,
        reasoning_tokens: None,
        token_source: TokenSource::Usage,
        duration_ms: 900,
        ttft_ms: Some(30),
        attempts: 1,
        request_bytes: 300,
        response_bytes: 9_000,
        client_ip: "127.0.0.1".into(),
        user_agent: Some("OpenAI/Python 3.54.0".into()),
    }
}

/// The record as it stood when so many tokens had been generated.
pub(crate) fn after(record: &Record, tokens: u64) -> Record {
    Record {
        completion_tokens: Some(tokens),
        token_source: TokenSource::Partial,
        outcome: Outcome::Interrupted,
        ..record.clone()
    }
}

/// A record that does not fit into one cell.
pub(crate) fn long(id: u128) -> Record {
    let text = |c: char| Some(c.to_string().repeat(200));
    Record {
        model: text('m'), user_agent: text('u'), org_name: text('ä'), endpoint: text('e'), ..record(id)
    }
}

pub(crate) fn open(disk: &Arc<MemoryDisk>, quota: u64) -> Journal {
    Journal::open_on(Box::new(Arc::clone(disk)), quota << 22).unwrap().0
}

/// A journal of one region, ready to take records.
pub(crate) fn ready(disk: &Arc<MemoryDisk>) -> Journal {
    let journal = open(disk, 1);
    if journal.each_region().count() == 0 {
        crate::keeper::make_room(&journal).unwrap();
    }
    journal
}

pub(crate) fn begin(journal: &Journal, record: &Record) -> Place {
    let mut place = journal.admit().unwrap();
    assert!(journal.open(&mut place, &after(record, 0).view()));
    place
}

/// All that waits in it, without what is damaged; how much of that there is.
pub(crate) fn waiting(journal: &Journal) -> (Vec<Record>, usize) {
    let (mut records, mut damaged) = (Vec::new(), 0);
    for waiting in journal.sweep(usize::MAX) {
        match waiting.found {
            Ok(record) => records.push(record),
            Err(_) => damaged += 1,
        }
    }
    (records, damaged)
}

/// What a new process finds on the disk.
pub(crate) fn found(disk: &Arc<MemoryDisk>) -> (Vec<Record>, usize) {
    waiting(&open(disk, 1))
}
