//! The text of the file, and where in it a byte stands.

use std::ops::Range;

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};
use vllm_gateway_sdk::decode::Value;

/// The text of one `gateway.toml`.
pub(crate) struct Document<'t> {
    text: &'t str,
    /// The byte at which each line begins.
    lines: Vec<usize>,
}

impl<'t> Document<'t> {
    pub(crate) fn new(text: &'t str) -> Self {
        let lines = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Self { text, lines }
    }

    /// Line and column of a byte, both from 1, the column in characters.
    pub(crate) fn place(&self, byte: usize) -> (usize, usize) {
        let byte = self.text.floor_char_boundary(byte);
        let line = self.lines.partition_point(|begin| *begin <= byte);
        let begin = self.lines.get(line - 1).copied().unwrap_or(0);
        // A line's own end does not count as a column: an error there stands right behind the last character.
        let before = self.text.get(begin..byte).unwrap_or("").trim_end_matches('\r');
        (line, before.chars().count() + 1)
    }

    /// The line in which a byte stands, without its end.
    pub(crate) fn line(&self, byte: usize) -> &'t str {
        let byte = self.text.floor_char_boundary(byte);
        let line = self.lines.partition_point(|begin| *begin <= byte);
        let begin = self.lines.get(line - 1).copied().unwrap_or(0);
        self.text.get(begin..).and_then(|rest| rest.lines().next()).unwrap_or("")
    }

    /// How many characters of its first line a place covers, for carets.
    pub(crate) fn width(&self, span: &Range<usize>) -> usize {
        let covered = self.text.get(span.clone()).unwrap_or("");
        covered.lines().next().unwrap_or("").chars().count().max(1)
    }

    /// The tree of tables and values, or what is wrong with the syntax: at most one error for each line, since
    /// one slip of the pen often leads to several.
    pub(crate) fn parse(&self) -> Result<Value<'t>, Vec<(Range<usize>, String)>> {
        let (root, errors) = DeTable::parse_recoverable(self.text);
        if errors.is_empty() {
            return Ok(Spanned::new(root.span(), DeValue::Table(root.into_inner())));
        }
        let mut told = Vec::new();
        let mut found: Vec<_> = errors
            .into_iter()
            .map(|error| {
                let span = error.span().unwrap_or(0..0);
                let message = error.message().trim_end();
                let key = self.text.get(span.clone()).filter(|_| message == "duplicate key");
                let message = key.map_or_else(|| message.to_owned(), |key| format!("{message} `{key}`"));
                (span, message)
            })
            .collect();
        found.sort_by_key(|(span, _)| span.start);
        found.retain(|(span, _)| {
            let line = self.place(span.start).0;
            let first = !told.contains(&line);
            told.push(line);
            first
        });
        Err(found)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn columns_count_characters() {
        let document = Document::new("a = \"ü€\" # x\r\nb = 1\n");
        assert_eq!(document.place(0), (1, 1));
        assert_eq!(document.place("a = \"ü€\"".len()), (1, 9));
        assert_eq!(document.place("a = \"ü€\" # x\r\n".len() + 4), (2, 5));
        assert_eq!(document.place(usize::MAX), (3, 1));
        assert_eq!(document.line(3), "a = \"ü€\" # x");
    }

    #[test]
    fn each_line_with_a_slip_is_told_once() {
        let errors = Document::new("a = \nb = 1\nc = [1,\n\n[x\n").parse().unwrap_err();
        let lines: Vec<_> = errors.iter().map(|(span, _)| span.start).collect();
        assert!(errors.len() >= 2, "{errors:?}");
        assert!(lines.is_sorted());
    }
}
