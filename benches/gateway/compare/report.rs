//! The table: medians over the rounds, and ratios to nginx within them.

use std::fmt::Write;

use super::{
    contender::{Candidate, Kind},
    measure::Figures,
    scenario::{Figure, Scenario},
};

/// All that was measured: of each scenario and candidate, the figures of each round.
pub(crate) struct Results {
    pub(crate) candidates: Vec<Candidate>,
    pub(crate) scenarios: Vec<Scenario>,
    /// By scenario, candidate, round.
    pub(crate) figures: Vec<Vec<Vec<Figures>>>,
    /// By scenario and candidate, why it could not be measured.
    pub(crate) faults: Vec<Vec<Option<String>>>,
}

impl Results {
    pub(crate) fn new(candidates: Vec<Candidate>, scenarios: Vec<Scenario>) -> Self {
        let figures = vec![vec![Vec::new(); candidates.len()]; scenarios.len()];
        let faults = vec![vec![None; candidates.len()]; scenarios.len()];
        Self { candidates, scenarios, figures, faults }
    }

    /// The whole table as Markdown.
    pub(crate) fn table(&self) -> String {
        let mut table = String::from("| what |");
        let shown =
            || self.candidates.iter().enumerate().filter(|(_, candidate)| candidate.kind != Kind::Direct);
        for (_, candidate) in shown() {
            write!(table, " {} |", candidate.name).unwrap();
        }
        // Beside other gateways, nothing is held against a bound.
        let judged = !self.has_peers();
        table.push_str(if judged { " must / aim |\n|---|" } else { "\n|---|" });
        table.push_str(&"---|".repeat(shown().count() + usize::from(judged)));
        for (at, scenario) in self.scenarios.iter().enumerate() {
            for &figure in scenario.figures {
                write!(table, "\n| {}: {} |", scenario.title, figure.title()).unwrap();
                for (candidate, _) in shown() {
                    write!(table, " {} |", self.cell(at, candidate, figure)).unwrap();
                }
                if judged {
                    let bounds = figure.bounds().map(super::scenario::Bounds::text);
                    write!(table, " {} |", bounds.unwrap_or_default()).unwrap();
                }
            }
        }
        table
    }

    fn has_peers(&self) -> bool {
        self.candidates.iter().any(|candidate| candidate.kind.is_peer())
    }

    fn cell(&self, scenario: usize, candidate: usize, figure: Figure) -> String {
        if let Some(fault) = &self.faults[scenario][candidate] {
            return format!("failed: {}", shortly(fault));
        }
        let values = self.values(scenario, candidate, figure);
        if values.is_empty() {
            return "-".to_owned();
        }
        let value = median(&values);
        let mut cell = number(value);
        // Streams at a pace that is too fast for it are told from those with which it keeps up.
        let may_lag = figure == Figure::CpuPerEvent && self.has_peers();
        if figure == Figure::RequestsPerSecond || may_lag {
            let busy = median(&self.values(scenario, candidate, Figure::Busy));
            write!(cell, " at {busy:.0} %").unwrap();
        }
        let kind = &self.candidates[candidate].kind;
        if *kind == Kind::Nginx {
            return cell;
        }
        let ratios = self.ratios(scenario, &values, figure);
        let ratio = median(&ratios);
        if figure.has_ratio() && ratio.is_finite() {
            let (least, most) = (ratios[0], ratios[ratios.len() - 1]);
            write!(cell, ", {ratio:.2} × ({least:.2} to {most:.2})").unwrap();
        }
        if let (Kind::Gateway(_), Some(bounds), false) = (kind, figure.bounds(), self.has_peers()) {
            cell.push_str(match bounds.judge(value, ratio) {
                (_, true) => " ✓✓",
                (true, false) => " ✓",
                (false, false) => " ✗",
            });
        }
        cell
    }

    /// One value a round, in the order of the rounds; of what is added, the difference to the direct way.
    fn values(&self, scenario: usize, candidate: usize, figure: Figure) -> Vec<f64> {
        let of = |candidate: usize| {
            let rounds = &self.figures[scenario][candidate];
            rounds.iter().filter_map(|figures| figures.get(&figure).copied()).collect::<Vec<f64>>()
        };
        if !figure.is_added() {
            return of(candidate);
        }
        let Some(direct) = self.place_of(&Kind::Direct).map(of) else { return Vec::new() };
        of(candidate).iter().zip(&direct).map(|(seen, direct)| seen - direct).collect()
    }

    /// What it is in relation to nginx, round by round, the least first.
    fn ratios(&self, scenario: usize, values: &[f64], figure: Figure) -> Vec<f64> {
        let Some(nginx) = self.place_of(&Kind::Nginx) else { return vec![f64::NAN] };
        let nginx = self.values(scenario, nginx, figure);
        let mut ratios: Vec<f64> = values.iter().zip(&nginx).map(|(value, nginx)| value / nginx).collect();
        // A difference that drowns in noise has no ratio.
        if nginx.iter().any(|nginx| *nginx <= 0.0) || ratios.is_empty() {
            let ratio = median(values) / median(&nginx);
            return vec![if ratio > 0.0 { ratio } else { f64::NAN }];
        }
        ratios.sort_by(f64::total_cmp);
        ratios
    }

    fn place_of(&self, kind: &Kind) -> Option<usize> {
        self.candidates.iter().position(|candidate| candidate.kind == *kind)
    }
}

/// What fits into a cell of the table: the beginning of the first line.
fn shortly(fault: &str) -> String {
    let line = fault.lines().next().unwrap_or_default().replace('|', "/");
    line.chars().take(80).collect()
}

pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        count if count % 2 == 1 => sorted[count / 2],
        count => f64::midpoint(sorted[count / 2 - 1], sorted[count / 2]),
    }
}

/// Three digits that mean something, no more.
pub(crate) fn number(value: f64) -> String {
    match value.abs() {
        big if big >= 100.0 => format!("{value:.0}"),
        big if big >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// Puts this in the place of what stands between the two marks in a document.
pub(crate) fn replace_block(document: &str, name: &str, block: &str) -> Option<String> {
    let (begin, end) = (format!("<!-- {name}: begin -->"), format!("<!-- {name}: end -->"));
    let (before, rest) = document.split_once(&begin)?;
    let (_, after) = rest.split_once(&end)?;
    Some(format!("{before}{begin}\n{}\n{end}{after}", block.trim()))
}
