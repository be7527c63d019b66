//! The comparison itself: what it must not let pass.

use std::time::Instant;

use serde_json::{Value, json};
use vllm_gateway_simulator::{End as Ended, Generation};

use crate::{
    clients::{Asked, End},
    ledgers::reconcile,
};

/// A stream that the client got whole.
fn asked() -> Asked {
    Asked { status: Some(200), tokens: 5, ..Asked::new("r-1".into(), End::Whole) }
}

/// The same, broken off by a kill.
fn broken() -> Asked {
    Asked { end: End::Broken, ..asked() }
}

fn generation(tokens: usize, ended: Ended) -> Generation {
    let now = Instant::now();
    Generation {
        number: 1,
        id: "chatcmpl-r-1".into(),
        path: "/v1/chat/completions".into(),
        model: "m".into(),
        stream: true,
        prompt_tokens: 3,
        completion_tokens: tokens,
        sent_tokens: tokens,
        asked_at: now,
        ended: Some((ended, now)),
    }
}

fn whole() -> Generation {
    generation(6, Ended::Finished("length"))
}

fn record(id: &str, outcome: &str, tokens: u64) -> Value {
    json!({"id": id, "requestId": "r-1", "status": 200, "outcome": outcome, "completionTokens": tokens})
}

#[test]
fn ledgers_that_agree_pass() {
    reconcile(&[asked()], &[whole()], &[record("a", "finished", 6)], false);
    let cut = generation(9, Ended::ClientLeft);
    let tally = reconcile(&[broken()], &[cut], &[record("a", "interrupted", 5)], true);
    assert_eq!((tally.tokens, tally.unseen), (5, 4));
}

#[test]
#[should_panic = "no record of"]
fn an_answer_without_a_record_does_not_pass() {
    reconcile(&[asked()], &[], &[], true);
}

#[test]
#[should_panic = "no record of"]
fn a_generation_without_a_record_does_not_pass() {
    reconcile(&[Asked::new("r-1".into(), End::Broken)], &[whole()], &[], true);
}

#[test]
#[should_panic = "two records of one request"]
fn two_records_of_one_request_do_not_pass() {
    let records = [record("a", "finished", 6), record("b", "interrupted", 5)];
    reconcile(&[asked()], &[whole()], &records, true);
}

#[test]
#[should_panic = "records of requests that nobody sent"]
fn a_record_of_nobody_does_not_pass() {
    reconcile(&[], &[], &[record("a", "finished", 6)], true);
}

#[test]
#[should_panic = "the client got more"]
fn fewer_tokens_than_the_client_got_do_not_pass() {
    reconcile(&[broken()], &[generation(9, Ended::ClientLeft)], &[record("a", "interrupted", 4)], true);
}

#[test]
#[should_panic = "more than was generated"]
fn more_tokens_than_were_generated_do_not_pass() {
    reconcile(&[broken()], &[generation(9, Ended::ClientLeft)], &[record("a", "interrupted", 10)], true);
}

#[test]
#[should_panic = "left == right"]
fn a_finished_record_with_a_token_too_few_does_not_pass() {
    reconcile(&[asked()], &[whole()], &[record("a", "finished", 5)], false);
}

#[test]
#[should_panic = "left == right"]
fn a_cut_that_is_not_called_interrupted_does_not_pass() {
    reconcile(&[broken()], &[generation(9, Ended::ClientLeft)], &[record("a", "client_gone", 5)], true);
}

#[test]
#[should_panic = "nobody died"]
fn an_interruption_without_a_death_does_not_pass() {
    reconcile(&[broken()], &[generation(9, Ended::ClientLeft)], &[record("a", "interrupted", 5)], false);
}
