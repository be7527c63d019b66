//! The faults in force.

use std::sync::{Mutex, PoisonError};

use http::Method;

use super::{Fault, Plan, Rule};
use crate::http1::RequestHead;

/// The rules and how often each has matched.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    rules: Mutex<Vec<(Rule, usize)>>,
}

impl Faults {
    pub(crate) fn new(rules: &[Rule]) -> Self {
        Self { rules: Mutex::new(rules.iter().map(|rule| (rule.clone(), 0)).collect()) }
    }

    pub(crate) fn add(&self, rule: Rule) {
        self.rules.lock().unwrap_or_else(PoisonError::into_inner).push((rule, 0));
    }

    pub(crate) fn clear(&self) {
        self.rules.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// What goes wrong with this request, if anything.
    pub(crate) fn plan(&self, head: &RequestHead, by_header: bool) -> Result<Plan, super::FaultError> {
        let mut plan = Plan::default();
        let mut rules = self.rules.lock().unwrap_or_else(PoisonError::into_inner);
        rules.retain_mut(|(rule, matched)| {
            let meant = rule.path.as_ref().map_or(head.method == Method::POST, |path| *path == head.path);
            if meant {
                *matched += 1;
                if *matched > rule.skip {
                    plan.add(rule.fault);
                }
            }
            rule.times.is_none_or(|times| *matched < rule.skip + times)
        });
        drop(rules);
        if let Some(text) = head.header("x-simulate").filter(|_| by_header) {
            for fault in text.split(';').map(str::trim).filter(|text| !text.is_empty()) {
                plan.add(fault.parse::<Fault>()?);
            }
        }
        Ok(plan)
    }
}
