//! A page of `/metrics`, read as Prometheus reads it.

use std::collections::BTreeMap;

/// Every number of the page by its name and labels, and every family's type.
pub(crate) struct Page {
    pub(crate) numbers: BTreeMap<String, f64>,
    pub(crate) types: BTreeMap<String, String>,
}

impl Page {
    pub(crate) fn of(text: &str) -> Self {
        let (mut numbers, mut types) = (BTreeMap::new(), BTreeMap::new());
        for line in text.lines() {
            if let Some(comment) = line.strip_prefix("# ") {
                if let Some((name, kind)) =
                    comment.strip_prefix("TYPE ").and_then(|line| line.split_once(' '))
                {
                    assert!(types.insert(name.into(), kind.into()).is_none(), "{name} stands there twice");
                }
                continue;
            }
            let (name, number) = line.rsplit_once(' ').unwrap();
            assert!(
                numbers.insert(name.to_owned(), number.parse().unwrap()).is_none(),
                "{name} stands there twice"
            );
        }
        Self { numbers, types }
    }

    /// This number; `name` is without the prefix that all have.
    pub(crate) fn find(&self, name: &str) -> Option<f64> {
        self.numbers.get(&format!("vllm_gateway_{name}")).copied()
    }

    pub(crate) fn get(&self, name: &str) -> f64 {
        self.find(name).unwrap_or_else(|| panic!("no {name} in {:#?}", self.numbers))
    }

    /// The sum of all numbers of a family.
    pub(crate) fn sum(&self, family: &str) -> f64 {
        let begin = format!("vllm_gateway_{family}{{");
        self.numbers.iter().filter(|(name, _)| name.starts_with(&begin)).map(|(_, number)| number).sum()
    }

    /// Asserts that every histogram's buckets grow and end at its count.
    pub(crate) fn assert_histograms_are_sound(&self) {
        for family in self.types.iter().filter(|(_, kind)| *kind == "histogram").map(|(name, _)| name) {
            let counts = self.numbers.iter().filter_map(|(name, count)| {
                Some((name.strip_prefix(family)?.strip_prefix("_count{")?.strip_suffix('}')?, *count))
            });
            for (labels, count) in counts {
                let begin = format!("{family}_bucket{{{labels},le=\"");
                assert!(self.numbers.contains_key(&format!("{begin}+Inf\"}}")), "{family} {labels}");
                let mut buckets: Vec<(f64, f64)> = self
                    .numbers
                    .iter()
                    .filter_map(|(name, count)| {
                        Some((name.strip_prefix(&begin)?.strip_suffix("\"}")?.parse().ok()?, *count))
                    })
                    .collect();
                buckets.sort_by(|one, other| one.0.total_cmp(&other.0));
                assert!(buckets.len() > 5 && buckets.is_sorted_by(|a, b| a.1 <= b.1), "{family} {labels}");
                assert_eq!(buckets.last().unwrap(), &(f64::INFINITY, count), "{family} {labels}");
            }
        }
    }
}
