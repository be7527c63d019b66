//! Which pipeline serves which route.

use std::{cmp::Reverse, collections::HashMap, fmt};

use serde::Serialize;
use vllm_gateway_sdk::routes;

/// Routes that a pipeline serves: one path, or all that begin with a prefix.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(into = "String")]
pub struct Pattern {
    /// The path, or the prefix up to its last slash.
    path: String,
    exact: bool,
}

impl Pattern {
    /// What a pipeline without `routes` serves.
    #[must_use]
    pub fn everything() -> Self {
        Self { path: "/".to_owned(), exact: false }
    }

    /// Reads a pattern, or says how it should be written.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        if !text.starts_with('/') {
            return Err("a route begins with a slash, like \"/v1/*\"");
        }
        let (path, exact) = match text.strip_suffix('*') {
            Some(prefix) => (prefix, false),
            None => (text, true),
        };
        if path.contains('*') || (!exact && !path.ends_with('/')) {
            return Err("a `*` stands at the end, behind a slash, like \"/v1/*\"");
        }
        Ok(Self { path: path.to_owned(), exact })
    }

    /// Whether it holds for the route with this path.
    #[must_use]
    pub fn matches(&self, path: &str) -> bool {
        if self.exact { path == self.path } else { path.starts_with(&self.path) }
    }

    /// Whether it holds for any route at all.
    pub(crate) fn matches_any(&self) -> bool {
        routes().any(|route| self.matches(route.path))
    }

    /// The smaller, the more it says about a route.
    fn rank(&self) -> (bool, Reverse<usize>) {
        (!self.exact, Reverse(self.path.len()))
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.path, if self.exact { "" } else { "*" })
    }
}

impl From<Pattern> for String {
    fn from(pattern: Pattern) -> Self {
        pattern.to_string()
    }
}

/// For each route the index of the pipeline that serves it: the one with the pattern that says most.
pub(crate) fn route_map<'p>(pipelines: impl Iterator<Item = &'p [Pattern]>) -> HashMap<&'static str, usize> {
    let mut patterns: Vec<(usize, &Pattern)> = pipelines
        .enumerate()
        .flat_map(|(index, patterns)| patterns.iter().map(move |p| (index, p)))
        .collect();
    patterns.sort_by_key(|(_, pattern)| pattern.rank());
    routes()
        .filter_map(|route| {
            let (index, _) = patterns.iter().find(|(_, pattern)| pattern.matches(route.path))?;
            Some((route.path, *index))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn map(pipelines: &[&[&str]]) -> HashMap<&'static str, usize> {
        let parsed: Vec<Vec<Pattern>> = pipelines
            .iter()
            .map(|list| list.iter().map(|text| Pattern::parse(text).unwrap()).collect())
            .collect();
        route_map(parsed.iter().map(Vec::as_slice))
    }

    #[test]
    fn the_pattern_that_says_most_wins() {
        let map = map(&[&["/v1/*"], &["/*"], &["/v1/chat/*"], &["/v1/chat/completions", "/v1/models/{id}"]]);
        assert_eq!(map["/v1/completions"], 0);
        assert_eq!(map["/tokenize"], 1);
        assert_eq!(map["/v1/chat/completions/batch"], 2);
        assert_eq!(map["/v1/chat/completions"], 3);
        assert_eq!(map["/v1/models/{id}"], 3);
        assert_eq!(map["/v1/models"], 0);
    }

    #[test]
    fn routes_that_nobody_names_are_not_served() {
        assert_eq!(map(&[&["/v1/embeddings"]]).into_keys().collect::<Vec<_>>(), ["/v1/embeddings"]);
        let everything = [Pattern::everything()];
        assert_eq!(route_map(std::iter::once(&everything[..])).len(), routes().count());
    }

    #[test]
    fn patterns_with_stars_elsewhere_are_refused() {
        for bad in ["v1/*", "*", "", "/v1*", "/*/chat", "/v1/**"] {
            assert!(Pattern::parse(bad).is_err(), "{bad}");
        }
    }
}
