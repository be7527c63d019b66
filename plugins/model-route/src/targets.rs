//! Where requests for one model go: to one upstream, or divided between several.

use std::sync::Arc;

use vllm_gateway_sdk::Target;

/// The targets of one model, and the share that each gets.
#[derive(Clone, Default)]
pub(crate) struct Targets {
    targets: Vec<(u32, Target)>,
    /// The sum of the weights.
    sum: u64,
}

impl Targets {
    pub(crate) fn add(&mut self, weight: u32, target: Target) {
        self.targets.push((weight, target));
        self.sum += u64::from(weight);
    }

    /// One of them, by chance.
    pub(crate) fn pick(&self) -> Option<&Target> {
        if let [(1.., only)] = self.targets.as_slice() {
            return Some(only);
        }
        let mut lot = fastrand::u64(..self.sum.max(1));
        for (weight, target) in &self.targets {
            match lot.checked_sub(u64::from(*weight)) {
                None => return Some(target),
                Some(rest) => lot = rest,
            }
        }
        None
    }

    /// The first that gets any requests: what is a fallback is to be known beforehand.
    pub(crate) fn first(&self) -> Option<&Target> {
        self.targets.iter().find(|(weight, _)| *weight > 0).map(|(_, target)| target)
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Target> {
        self.targets.iter().map(|(_, target)| target)
    }

    pub(crate) fn all_mut(&mut self) -> impl Iterator<Item = &mut Target> {
        self.targets.iter_mut().map(|(_, target)| target)
    }

    /// Names this model to the upstreams that would be told none.
    pub(crate) fn name(&mut self, model: &str) {
        for target in self.all_mut() {
            target.model.get_or_insert_with(|| Arc::from(model));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_divided_as_the_weights_say() {
        let mut targets = Targets::default();
        for (upstream, weight) in [("old", 9), ("new", 1), ("none", 0)] {
            targets.add(weight, Target::upstream(upstream));
        }
        let picked = |name: &str, all: &[String]| all.iter().filter(|one| *one == name).count();
        let all: Vec<_> =
            (0..5000).filter_map(|_| Some(targets.pick()?.upstream.as_ref().to_owned())).collect();
        assert!((400..600).contains(&picked("new", &all)), "{}", picked("new", &all));
        assert_eq!((all.len(), picked("none", &all)), (5000, 0));
        let mut canary = Targets::default();
        [("none", 0), ("new", 1)]
            .into_iter()
            .for_each(|(name, weight)| canary.add(weight, Target::upstream(name)));
        assert_eq!(canary.first().map(|target| &*target.upstream), Some("new"));
    }

    #[test]
    fn without_a_weight_nothing_is_picked() {
        let mut targets = Targets::default();
        assert!(targets.pick().is_none());
        targets.add(0, Target::upstream("one"));
        assert!(targets.pick().is_none());
    }
}
