//! Where requests for one model go: to one upstream, or divided between several.

use std::sync::Arc;

use vllm_gateway_sdk::Target;

/// The targets of one model, and the share that each gets.
#[derive(Clone, Default)]
pub(crate) struct Targets {
    parts: Vec<Part>,
    /// The sum of the weights.
    sum: u64,
}

#[derive(Clone)]
struct Part {
    weight: u32,
    /// Of how many requests in a hundred its mirror gets a copy.
    percent: f64,
    target: Target,
}

impl Targets {
    pub(crate) fn add(&mut self, weight: u32, percent: f64, target: Target) {
        self.parts.push(Part { weight, percent, target });
        self.sum += u64::from(weight);
    }

    /// One of them, by chance, with its mirror if the lot falls on that, too.
    pub(crate) fn pick(&self) -> Option<Target> {
        let Part { percent, target, .. } = self.part()?;
        let mut target = target.clone();
        target.mirror = target.mirror.filter(|_| fastrand::f64() * 100.0 < *percent);
        Some(target)
    }

    fn part(&self) -> Option<&Part> {
        if let [only @ Part { weight: 1.., .. }] = self.parts.as_slice() {
            return Some(only);
        }
        let mut lot = fastrand::u64(..self.sum.max(1));
        for part in &self.parts {
            match lot.checked_sub(u64::from(part.weight)) {
                None => return Some(part),
                Some(rest) => lot = rest,
            }
        }
        None
    }

    /// The first that gets any requests: what is a fallback is to be known beforehand.
    pub(crate) fn first(&self) -> Option<&Target> {
        self.parts.iter().find(|part| part.weight > 0).map(|part| &part.target)
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Target> {
        self.parts.iter().map(|part| &part.target)
    }

    pub(crate) fn all_mut(&mut self) -> impl Iterator<Item = &mut Target> {
        self.parts.iter_mut().map(|part| &mut part.target)
    }

    /// Names this model to the upstreams that would be told none, those of mirrors included.
    pub(crate) fn name(&mut self, model: &str) {
        for target in self.all_mut() {
            target.model.get_or_insert_with(|| Arc::from(model));
            if let Some(mirror) = &mut target.mirror {
                Arc::make_mut(mirror).model.get_or_insert_with(|| Arc::from(model));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use vllm_gateway_sdk::Mirror;

    use super::*;

    #[test]
    fn requests_are_divided_as_the_weights_say() {
        let mut targets = Targets::default();
        for (upstream, weight) in [("old", 9), ("new", 1), ("none", 0)] {
            targets.add(weight, 0.0, Target::upstream(upstream));
        }
        let picked = |name: &str, all: &[String]| all.iter().filter(|one| *one == name).count();
        let all: Vec<_> =
            (0..5000).filter_map(|_| Some(targets.pick()?.upstream.as_ref().to_owned())).collect();
        assert!((400..600).contains(&picked("new", &all)), "{}", picked("new", &all));
        assert_eq!((all.len(), picked("none", &all)), (5000, 0));
        let mut canary = Targets::default();
        [("none", 0), ("new", 1)]
            .into_iter()
            .for_each(|(name, weight)| canary.add(weight, 0.0, Target::upstream(name)));
        assert_eq!(canary.first().map(|target| &*target.upstream), Some("new"));
    }

    #[test]
    fn of_the_requests_only_the_share_of_the_mirror_is_copied() {
        let copied = |percent: f64| {
            let mirror = Mirror { upstream: "next".into(), model: None };
            let mut targets = Targets::default();
            targets.add(1, percent, Target { mirror: Some(Arc::new(mirror)), ..Target::upstream("main") });
            (0..10_000).filter(|_| targets.pick().is_some_and(|target| target.mirror.is_some())).count()
        };
        assert_eq!((copied(0.0), copied(100.0)), (0, 10_000));
        // Each bound is more than five standard deviations away.
        for (percent, bounds) in [(0.5, 10..95), (20.0, 1_790..2_210), (99.5, 9_905..9_991)] {
            let copied = copied(percent);
            assert!(bounds.contains(&copied), "{percent} %: {copied}");
        }
    }

    #[test]
    fn without_a_weight_nothing_is_picked() {
        let mut targets = Targets::default();
        assert!(targets.pick().is_none());
        targets.add(0, 0.0, Target::upstream("one"));
        assert!(targets.pick().is_none());
    }
}
