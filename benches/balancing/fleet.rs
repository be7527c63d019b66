//! Eight simulated vLLMs, none like the other, and what befalls one of them.

use std::time::Duration;

use vllm_gateway_simulator::{Door, Options, Simulator, Speed};

use crate::trace::MODEL;

/// How long a server of the middle takes for a token of a prompt: 12,500 tokens a second, as a model of eight billion
/// parameters has them on one GPU.
const PREFILL: Duration = Duration::from_micros(80);
const ITL: Duration = Duration::from_millis(20);
const TTFT: Duration = Duration::from_millis(10);
/// Requests that one server runs at once.
const SEATS: usize = 12;
/// Tokens of a block, vLLM's own default.
const BLOCK: usize = 16;
/// The KV cache of one server: 64 Ki tokens. The prompts that a trace of shared ones goes on using are more than three
/// times that: more than fits into one server and less than fits into eight, which is where it matters who gets what.
const BLOCKS: usize = 4096;

/// How many times as long a server takes, for prompts and for answers. Generations of GPUs differ more in what they
/// compute (prompts) than in how fast they read their memory (answers).
///
/// The slow ones can carry an equal share of the usual load, of `shared` thanks to their caches: where requests wait longer
/// under one policy than under another, it is not for servers that could never keep up.
#[derive(Clone, Copy)]
struct Pace {
    prompts: f64,
    answers: f64,
}

const FAST: Pace = Pace { prompts: 0.5, answers: 0.75 };
const MIDDLE: Pace = Pace { prompts: 1.0, answers: 1.0 };
const SLOW: Pace = Pace { prompts: 2.0, answers: 1.3 };
const PACES: [Pace; 8] = [FAST, FAST, MIDDLE, MIDDLE, MIDDLE, MIDDLE, SLOW, SLOW];
/// The one that slows down or dies: of the middle.
const VICTIM: usize = 3;
/// The one that refuses more than so many requests, running and waiting.
const STRICT: (usize, usize) = (5, SEATS + 2);

/// What happens to the victim at a third of the run, and is over at two thirds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mishap {
    /// It takes ten times as long for everything.
    Slow,
    /// Its process is killed: nobody listens, what ran has broken, and when it is back its cache is empty.
    Dead,
}

pub(crate) struct Fleet {
    pub(crate) servers: Vec<Simulator>,
}

impl Fleet {
    pub(crate) async fn start() -> Result<Self, String> {
        let mut servers = Vec::new();
        for (number, pace) in PACES.into_iter().enumerate() {
            let options = Options {
                models: vec![MODEL.to_owned()],
                speed: Speed {
                    ttft: TTFT.mul_f64(pace.answers),
                    itl: ITL.mul_f64(pace.answers),
                    jitter: 0.1,
                },
                prefill: PREFILL.mul_f64(pace.prompts),
                block_size: BLOCK,
                num_gpu_blocks: Some(BLOCKS),
                max_num_seqs: SEATS,
                max_num_queued_reqs: (number == STRICT.0).then_some(STRICT.1),
                keep_requests: 0,
                ..Options::default()
            };
            let server = Simulator::start(options).await;
            servers.push(server.map_err(|error| format!("a simulated vLLM does not start: {error}"))?);
        }
        Ok(Self { servers })
    }

    pub(crate) async fn stop(&self) {
        for server in &self.servers {
            server.shutdown().await;
        }
    }

    pub(crate) async fn begin(&self, mishap: Mishap) {
        let victim = &self.servers[VICTIM];
        match mishap {
            Mishap::Slow => victim.slow_down(10.0),
            Mishap::Dead => {
                victim.set_door(Door::Refuse).await;
                victim.hang_up();
            }
        }
    }

    pub(crate) async fn end(&self, mishap: Mishap) {
        let victim = &self.servers[VICTIM];
        match mishap {
            Mishap::Slow => victim.slow_down(1.0),
            Mishap::Dead => {
                victim.forget_prefixes();
                victim.set_door(Door::Open).await;
            }
        }
    }

    /// Tokens of prompts: those that were looked up in the prefix caches, and those that were found.
    pub(crate) fn cache(&self) -> (usize, usize) {
        let each = self.servers.iter().map(Simulator::prefix_cache_tokens);
        each.fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
    }

    /// How many requests each was given.
    pub(crate) fn shares(&self) -> Vec<usize> {
        self.servers.iter().map(|server| server.ledger().len()).collect()
    }
}

/// The weights of the endpoints where the operator says how fast each is: by the middle of its two speeds.
pub(crate) fn weights() -> [u32; PACES.len()] {
    PACES.map(|pace| (100.0 / (pace.prompts * pace.answers).sqrt()).round() as u32)
}

/// How many requests per second the fleet can serve if no prompt is found in any cache: the fewer of what it can compute
/// of prompts, and of what has a seat while it is answered.
pub(crate) fn capacity(prompt: f64, answer: f64) -> f64 {
    let computing = |pace: &Pace| prompt * PREFILL.as_secs_f64() * pace.prompts;
    let answering = |pace: &Pace| (TTFT.as_secs_f64() + answer * ITL.as_secs_f64()) * pace.answers;
    let prompts = PACES.iter().map(|pace| 1.0 / computing(pace)).sum::<f64>();
    let answers = PACES.iter().map(|pace| SEATS as f64 / (computing(pace) + answering(pace))).sum::<f64>();
    prompts.min(answers)
}

/// What the fleet is, for those who read the figures.
pub(crate) fn described() -> String {
    format!(
        "Eight simulated vLLMs. The four in the middle need {} µs for a token of a prompt that is not in their prefix cache \
         (prompts one after another) and {} ms for one of an answer; the first two {} and {} times, the last two {} and {} \
         times as long. {SEATS} requests run at once on each, {} tokens fit into each KV cache; the sixth refuses more than \
         {} requests, running and waiting.",
        PREFILL.as_micros(),
        ITL.as_millis(),
        FAST.prompts,
        FAST.answers,
        SLOW.prompts,
        SLOW.answers,
        BLOCK * BLOCKS,
        STRICT.1
    )
}
