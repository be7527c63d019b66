//! What is to be measured.

use std::time::Duration;

use crate::{
    args::Args,
    fleet,
    trace::{Kind, Trace},
};

/// All policies that there are or will be.
const POLICIES: [&str; 6] = ["round-robin", "least-requests", "p2c", "vllm-load", "prefix", "session"];

pub(crate) struct Plan {
    pub(crate) policies: Vec<String>,
    pub(crate) traces: Vec<Kind>,
    pub(crate) rounds: u64,
    pub(crate) weighted: bool,
    pub(crate) write: bool,
    pub(crate) smoke: bool,
    /// More lines for the upstream.
    pub(crate) upstream: String,
    pub(crate) program: String,
    /// The options that it was made from.
    pub(crate) spelled: String,
    seconds: f64,
    load: f64,
    rate: Option<f64>,
    seed: u64,
}

impl Plan {
    pub(crate) fn from(args: &Args) -> Result<Self, String> {
        let smoke = args.has("--smoke");
        let policies = args.list("--policies").unwrap_or(POLICIES.to_vec());
        if let Some(other) = policies.iter().find(|policy| !POLICIES.contains(policy)) {
            return Err(format!("`{other}` is no policy; there are {}", POLICIES.join(", ")));
        }
        let usual = if smoke { vec!["shared"] } else { Kind::ALL.map(Kind::name).to_vec() };
        let traces = args.list("--traces").unwrap_or(usual).into_iter().map(Kind::named);
        Ok(Self {
            policies: policies.into_iter().map(str::to_owned).collect(),
            traces: traces.collect::<Result<_, _>>()?,
            rounds: args.number("--rounds")?.unwrap_or(1),
            weighted: args.has("--weighted"),
            write: args.has("--write"),
            smoke,
            upstream: args.text("--upstream").unwrap_or_default().to_owned(),
            program: args.text("--program").unwrap_or(env!("CARGO_BIN_EXE_vllm-gateway")).to_owned(),
            spelled: args.spelled(),
            seconds: args.number("--seconds")?.unwrap_or(if smoke { 4.0 } else { 60.0 }),
            // Below it all policies are alike, for nobody waits; above it a burst takes longer to end than the run.
            load: args.number("--load")?.unwrap_or(0.65),
            rate: args.number("--rate")?,
            seed: args.number("--seed")?.unwrap_or(1),
        })
    }

    /// The trace of this kind, the same for all policies of a round.
    pub(crate) fn trace(&self, kind: Kind, round: u64) -> Trace {
        let seed = self.seed + round;
        let rate = self.rate.unwrap_or_else(|| {
            // What a request costs on average does not depend on how many there are.
            let sample = Trace::new(kind, 50.0, Duration::from_secs(60), seed);
            self.load * fleet::capacity(sample.mean_prompt(), sample.mean_answer())
        });
        Trace::new(kind, rate, Duration::from_secs_f64(self.seconds), seed)
    }
}
