//! Three ledgers, compared: what the clients got, what the simulated vLLM generated, what the store has.

use std::collections::{HashMap, HashSet};

use serde_json::Value;
use vllm_gateway_simulator::{End as Ended, Generation};

use crate::clients::{Asked, End};

/// What was found, for the page with the figures.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) requests: usize,
    pub(crate) records: usize,
    pub(crate) outcomes: std::collections::BTreeMap<String, usize>,
    /// Requests that had got no answer and reached no upstream when the gateway died, and have no record.
    pub(crate) unrecorded: usize,
    pub(crate) tokens: u64,
    /// Tokens of streams that were generated and are in no record: the gateway or the stream died before it saw them.
    pub(crate) unseen: u64,
    /// The same of answers that are no streams: vLLM tells what they cost at their end only.
    pub(crate) untold: u64,
}

impl Tally {
    pub(crate) fn add(&mut self, other: &Self) {
        self.requests += other.requests;
        self.records += other.records;
        for (outcome, count) in &other.outcomes {
            *self.outcomes.entry(outcome.clone()).or_default() += count;
        }
        self.unrecorded += other.unrecorded;
        self.tokens += other.tokens;
        self.unseen += other.unseen;
        self.untold += other.untold;
    }
}

/// The id of the request that a generation belongs to: `chatcmpl-ID`, `cmpl-ID`, …
pub(crate) fn request_of(generation: &Generation) -> &str {
    generation.id.split_once('-').map_or("", |(_, id)| id)
}

/// How many requests must have a record: those that got an answer, and those that reached the upstream.
pub(crate) fn owed(asked: &[Asked], generations: &[Generation]) -> u64 {
    let answered = asked.iter().filter(|asked| asked.status.is_some() && !asked.unrecorded());
    let mut ids: HashSet<&str> = answered.map(|asked| asked.id.as_str()).collect();
    ids.extend(generations.iter().map(request_of));
    ids.len() as u64
}

/// Compares the three. `killed` says whether a gateway died meanwhile; else nothing is `interrupted`.
pub(crate) fn reconcile(
    asked: &[Asked],
    generations: &[Generation],
    records: &[Value],
    killed: bool,
) -> Tally {
    let mut tally = Tally { requests: asked.len(), records: records.len(), ..Tally::default() };
    let mut by_request: HashMap<&str, &Value> = HashMap::new();
    let mut ids = HashSet::new();
    for record in records {
        assert!(ids.insert(record["id"].as_str().unwrap()), "one id twice: {record:#}");
        let twice = by_request.insert(record["requestId"].as_str().unwrap(), record);
        assert!(twice.is_none(), "two records of one request: {record:#}\n{twice:#?}");
        *tally.outcomes.entry(text(record, "outcome").into()).or_default() += 1;
        tally.tokens += record["completionTokens"].as_u64().unwrap_or_default();
    }
    let generated: HashMap<&str, &Generation> =
        generations.iter().map(|one| (request_of(one), one)).collect();
    assert_eq!(generated.len(), generations.len(), "a request reached the upstream twice");
    for asked in asked {
        let generation = generated.get(asked.id.as_str()).copied();
        match by_request.remove(asked.id.as_str()) {
            Some(record) => {
                assert!(!asked.unrecorded(), "{asked:?} was refused and is recorded: {record:#}");
                let passed = compare(asked, generation, record, killed);
                if let Some(one) = generation {
                    let sum = if one.stream { &mut tally.unseen } else { &mut tally.untold };
                    *sum += one.completion_tokens as u64 - passed;
                }
            }
            None => {
                let owed = (asked.status.is_some() && !asked.unrecorded()) || generation.is_some();
                assert!(!owed, "no record of {asked:?}, {generation:?}");
                // Who leaves very early may not have sent anything.
                let excused = killed || asked.unrecorded() || asked.end == End::Left;
                assert!(excused, "no record of {asked:?}, and nobody died");
                tally.unrecorded += 1;
            }
        }
    }
    assert!(by_request.is_empty(), "records of requests that nobody sent: {by_request:#?}");
    tally
}

/// Compares one request; the completion tokens of its record.
fn compare(asked: &Asked, generation: Option<&Generation>, record: &Value, killed: bool) -> u64 {
    let what = || format!("\n{asked:?}\n{generation:?}\n{record:#}");
    let outcome = text(record, "outcome");
    if let Some(status) = asked.status {
        assert_eq!(record["status"], status, "{}", what());
    }
    let tokens = record["completionTokens"].as_u64();
    let billed = tokens.unwrap_or_default();
    let generated = generation.map_or(0, |one| one.completion_tokens as u64);
    assert!(billed >= asked.tokens.max(asked.usage.unwrap_or_default()), "the client got more{}", what());
    assert!(billed <= generated, "more than was generated{}", what());
    let ended = generation.and_then(|one| one.ended.as_ref()).map(|(ended, _)| ended);
    assert!(generation.is_none() || ended.is_some(), "it still runs{}", what());
    match outcome {
        "finished" if asked.status.is_none_or(|status| status < 400) => {
            assert!(generation.is_none() || matches!(ended, Some(Ended::Finished(_))), "{}", what());
            assert_eq!(billed, generated, "{}", what());
            assert!(asked.usage.is_none() || asked.end != End::Whole || asked.usage == tokens, "{}", what());
        }
        "interrupted" => {
            assert!(killed, "nobody died{}", what());
            assert!(asked.end != End::Whole || asked.error, "it ended{}", what());
        }
        "client_gone" => assert_ne!(asked.end, End::Whole, "{}", what()),
        "upstream_broke" | "upstream_error" => {
            // An answer that is no stream has been generated when it breaks.
            let broke =
                |ended: &Ended| matches!(ended, Ended::Fault(_)) || !generation.is_some_and(|one| one.stream);
            assert!(ended.is_none_or(broke), "{}", what());
        }
        "finished" | "replied" => {}
        other => panic!("unexpected outcome {other}{}", what()),
    }
    // The upstream saw the connection close, the client did not leave: so it was the gateway that died.
    if ended == Some(&Ended::ClientLeft) && asked.end == End::Broken {
        assert_eq!(outcome, "interrupted", "{}", what());
    }
    if asked.end == End::Whole && !asked.error && asked.status == Some(200) {
        assert!(matches!(outcome, "finished" | "replied"), "{}", what());
    }
    billed
}

fn text<'a>(record: &'a Value, field: &str) -> &'a str {
    record[field].as_str().unwrap_or_default()
}
