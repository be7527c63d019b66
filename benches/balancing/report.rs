//! The tables.

use std::{collections::BTreeMap, fmt::Write, fs};

use crate::{figures::Figures, fleet, machine, plan::Plan, trace::Kind};

/// What all others are compared with.
const COMMON: &str = "round-robin";
/// The page that has the tables, and the marks around them.
const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/balancing.md");
const MARKS: (&str, &str) = ("<!-- figures: begin -->", "<!-- figures: end -->");

/// All that was measured.
pub(crate) struct Results {
    head: String,
    policies: Vec<String>,
    traces: Vec<(Kind, String)>,
    missing: Vec<String>,
    /// By trace and policy, those of each round.
    runs: BTreeMap<(usize, String), Vec<Figures>>,
}

impl Results {
    pub(crate) fn new(plan: &Plan) -> Self {
        let rounds =
            if plan.rounds == 1 { String::new() } else { format!(" Medians of {} rounds.", plan.rounds) };
        let weights = if plan.weighted { " Endpoints have weights by their speed." } else { "" };
        Self {
            head: format!(
                "{}; `cargo bench --bench balancing -- {}`.\n\n{}{weights}{rounds}",
                machine::described(),
                plan.spelled,
                fleet::described(),
            ),
            policies: plan.policies.clone(),
            traces: plan.traces.iter().map(|kind| (*kind, plan.trace(*kind, 0).described())).collect(),
            missing: Vec::new(),
            runs: BTreeMap::new(),
        }
    }

    pub(crate) fn is_missing(&self, policy: &str) -> bool {
        self.missing.iter().any(|missing| missing == policy)
    }

    pub(crate) fn miss(&mut self, policy: &str) {
        self.missing.push(policy.to_owned());
    }

    pub(crate) fn add(&mut self, trace: usize, policy: &str, figures: Figures) {
        self.runs.entry((trace, policy.to_owned())).or_default().push(figures);
    }

    /// For people, in Markdown.
    pub(crate) fn text(&self) -> String {
        let mut text = self.head.clone();
        for (number, (kind, described)) in self.traces.iter().enumerate() {
            let _ = write!(text, "\n\n**{}**: {described}.\n\n{}", kind.title(), self.table(number, *kind));
        }
        if !self.missing.is_empty() {
            let _ = write!(text, "\n\nNot there yet: {}.", self.missing.join(", "));
        }
        let most = |of: fn(&Figures) -> f64| self.runs.values().flatten().map(of).fold(0.0, f64::max) * 100.0;
        let (ours, all) = (most(|run| run.busy.ours), most(|run| run.busy.all));
        let _ = write!(
            text,
            "\n\nThe processors were at most {ours:.0} % busy with this, and at most {all:.0} % with all that ran."
        );
        text
    }

    fn table(&self, trace: usize, kind: Kind) -> String {
        let mut heads = vec![
            "policy",
            "p50, ms",
            "p99, ms",
            "p99 beside `round-robin`",
            "finished/s",
            "tokens/s",
            "found in caches",
            "failed",
            "requests by server, %",
        ];
        if kind.mishap().is_some() {
            heads.extend(["second third: p99, ms", "second third: tokens/s", "beside `shared`"]);
        }
        let dies = kind == Kind::Dead;
        if dies {
            heads.push("broke with the server: after, before the first token");
        }
        let mut table = format!("| {} |\n|{}", heads.join(" | "), "---|".repeat(heads.len()));
        for policy in &self.policies {
            let Some(runs) = self.runs.get(&(trace, policy.clone())) else { continue };
            let of = |figure: fn(&Figures) -> f64| median(runs.iter().map(figure));
            let (p99, common) =
                (self.each(trace, policy, |run| run.p99), self.each(trace, COMMON, |run| run.p99));
            let failed = runs.iter().flat_map(|run| &run.failed);
            let mut cells = vec![
                format!("`{policy}`"),
                format!("{:.0}", of(|run| run.p50)),
                format!("{:.0}{}", of(|run| run.p99), range(&p99)),
                ratio(&common, &p99),
                format!("{:.1}", of(|run| run.finished)),
                format!("{:.0}", of(|run| run.tokens)),
                format!("{:.0} %", of(|run| run.hits) * 100.0),
                listed(failed),
                shares(runs),
            ];
            if kind.mishap().is_some() {
                cells.push(format!("{:.0}", of(|run| run.middle_p99)));
                cells.push(format!("{:.0}", of(|run| run.middle_tokens)));
                cells.push(self.beside_shared(trace, policy));
            }
            if dies {
                let sum = |of: fn(&Figures) -> usize| runs.iter().map(of).sum::<usize>();
                cells.push(format!("{}, {}", sum(|run| run.died.0), sum(|run| run.died.1)));
            }
            let _ = write!(table, "\n| {} |", cells.join(" | "));
        }
        table
    }

    fn each(&self, trace: usize, policy: &str, of: fn(&Figures) -> f64) -> Vec<f64> {
        let runs = self.runs.get(&(trace, policy.to_owned()));
        runs.into_iter().flatten().map(of).collect()
    }

    /// How many tokens fewer came in the second third than without a mishap.
    fn beside_shared(&self, trace: usize, policy: &str) -> String {
        let Some(shared) = self.traces.iter().position(|(kind, _)| *kind == Kind::Shared) else {
            return String::new();
        };
        let with = self.each(trace, policy, |run| run.middle_tokens);
        let without = self.each(shared, policy, |run| run.middle_tokens);
        let change = with.iter().zip(&without).map(|(with, without)| with / without - 1.0);
        format!("{:+.1} %", median(change) * 100.0)
    }

    /// Fails where a request failed that no mishap excuses.
    pub(crate) fn judge(&self) -> Result<(), String> {
        if self.runs.is_empty() {
            return Err("nothing was measured".to_owned());
        }
        let failed = self.runs.iter().filter(|(_, runs)| runs.iter().any(|run| run.failures() > 0));
        let failed: Vec<&str> = failed.map(|((_, policy), _)| policy.as_str()).collect();
        if failed.is_empty() { Ok(()) } else { Err(format!("requests failed: {}", failed.join(", "))) }
    }
}

/// How many times as long the first takes as the second, round by round.
fn ratio(common: &[f64], p99: &[f64]) -> String {
    let ratios: Vec<f64> = common.iter().zip(p99).map(|(common, p99)| p99 / common).collect();
    if ratios.is_empty() { String::new() } else { format!("{:.2} ×", median(ratios.into_iter())) }
}

fn range(values: &[f64]) -> String {
    let (least, most) =
        values.iter().fold((f64::MAX, 0.0_f64), |(least, most), value| (least.min(*value), most.max(*value)));
    if values.len() > 1 { format!(" ({least:.0} to {most:.0})") } else { String::new() }
}

fn listed<'f>(failed: impl Iterator<Item = (&'f String, &'f usize)>) -> String {
    let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
    failed.for_each(|(why, count)| *kinds.entry(why).or_default() += count);
    if kinds.is_empty() {
        return "0".to_owned();
    }
    kinds.iter().map(|(why, count)| format!("{count} × {why}")).collect::<Vec<_>>().join(", ")
}

fn shares(runs: &[Figures]) -> String {
    let servers = runs.first().map_or(0, |run| run.shares.len());
    let each = (0..servers).map(|server| median(runs.iter().map(|run| run.shares[server])) * 100.0);
    each.map(|share| format!("{share:.0}")).collect::<Vec<_>>().join(" ")
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut sorted: Vec<f64> = values.collect();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        count if count % 2 == 1 => sorted[count / 2],
        count => f64::midpoint(sorted[count / 2 - 1], sorted[count / 2]),
    }
}

/// Puts the tables into the page, in the place of the last ones.
pub(crate) fn write(text: &str) -> Result<(), String> {
    let page = fs::read_to_string(PAGE).map_err(|error| format!("{PAGE}: {error}"))?;
    let around =
        page.split_once(MARKS.0).and_then(|(before, rest)| Some((before, rest.split_once(MARKS.1)?.1)));
    let (before, after) = around.ok_or_else(|| format!("{PAGE} lacks the marks for the tables"))?;
    let page = format!("{before}{}\n{text}\n{}{after}", MARKS.0, MARKS.1);
    fs::write(PAGE, page).map_err(|error| format!("{PAGE}: {error}"))
}
