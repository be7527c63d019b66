//! The text of the file, and where in it a byte stands.

mod unclosed;
mod words;

use std::{collections::HashSet, ops::Range};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};
use vllm_gateway_sdk::decode::Value;

use self::words::told;

/// The text of one `gateway.toml`.
pub(crate) struct Document<'t> {
    text: &'t str,
    /// The byte at which each line begins.
    lines: Vec<usize>,
}

/// Something that is no TOML.
#[derive(Debug)]
pub(crate) struct SyntaxError {
    pub(crate) span: Range<usize>,
    pub(crate) message: String,
    pub(crate) hint: Option<String>,
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
    pub(crate) fn parse(&self) -> Result<Value<'t>, Vec<SyntaxError>> {
        let (root, errors) = DeTable::parse_recoverable(self.text);
        if errors.is_empty() {
            return Ok(Spanned::new(root.span(), DeValue::Table(root.into_inner())));
        }
        // What is told first of a line is all that is told of it.
        let mut found = match unclosed::close(self.text) {
            None => errors.iter().map(|error| told(self.text, error)).collect(),
            Some(mut closed) => {
                let mut found = std::mem::take(&mut closed.errors);
                let (_, rest) = DeTable::parse_recoverable(&closed.text);
                found.extend(rest.iter().map(|error| {
                    let error = told(&closed.text, error);
                    SyntaxError { span: closed.original(&error.span), ..error }
                }));
                found
            }
        };
        let mut lines = HashSet::new();
        found.retain(|error| lines.insert(self.place(error.span.start).0));
        found.sort_by_key(|error| error.span.start);
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
        let lines: Vec<_> = errors.iter().map(|error| error.span.start).collect();
        assert!(errors.len() >= 2, "{errors:?}");
        assert!(lines.is_sorted());
    }

    /// What is told of a text, each as `line:column message (closer)`.
    fn told(text: &str) -> Vec<String> {
        let document = Document::new(text);
        let errors = document.parse().unwrap_err();
        let told = errors.into_iter().map(|error| {
            let (line, column) = document.place(error.span.start);
            let hint = error.hint.as_deref().and_then(|hint| hint.strip_prefix("close it with "));
            let hint = hint.map(|closer| format!(" {closer}")).unwrap_or_default();
            let (what, _) = error.message.split_once([':', ',']).unwrap_or((&error.message, ""));
            format!("{line}:{column} {what}{hint}")
        });
        told.collect()
    }

    #[test]
    fn what_is_unclosed_is_told_once_and_where_it_was_opened() {
        let cases: [(&str, &[&str]); 21] = [
            ("a = [1, 2\nb = 3\nc = 4\n", &["1:5 unclosed array `]`"]),
            ("a = [1, 2, # ]\n\n[b]\nc = 4\n[d.e]\n", &["1:5 unclosed array `]`"]),
            ("a = [\n  1,\n  [2, 3],\n", &["1:5 unclosed array `]`"]),
            ("a = [{ b = 1 }\n[c]\n", &["1:5 unclosed array `]`"]),
            ("a = [{ b = [1\n[[c]]\n", &["1:5 unclosed array `]}]`"]),
            ("a = [{ b = 1 ]\nc = 2\n", &["1:6 unclosed table `}`"]),
            ("a = [1, 2}\nb = 3\n", &["1:5 unclosed array `]`"]),
            ("a = { b = 1\n[c]\nd = 1", &["1:5 unclosed table `}`"]),
            ("a = { b = 1\nc = 2\nd = 3\n", &["1:5 unclosed table `}`"]),
            ("a = { b = 1\nc = { d = 3\n[e]\n", &["1:5 unclosed table `}`", "2:5 unclosed table `}`"]),
            ("[a\nb = 1\n[c]\n", &["1:1 unclosed table header `]`"]),
            ("[a # why\nb = 1\n", &["1:1 unclosed table header `]`"]),
            ("[[a]\nb = 1\n[[a\n", &["1:1 unclosed table header `]]`", "3:1 unclosed table header `]]`"]),
            (
                "a = [1\nb = \nc = [2\n",
                &["1:5 unclosed array `]`", "2:5 `b` has no value", "3:5 unclosed array `]`"],
            ),
            ("a = [\"b\", \"c]\nd = 1\n[e]\n", &["1:11 unclosed string `\"`"]),
            ("a = 'b\nc = 1\n", &["1:5 unclosed string `'`"]),
            ("a = \"b\\\"\r\nc = 1\n", &["1:5 unclosed string `\"`"]),
            ("a = [\"\"\"b\nc = 1\n", &["1:6 unclosed string `\"\"\"`"]),
            ("a = \"\"\"[\n[\"\"\"\nb = [1\nc = 2", &["3:5 unclosed array `]`"]),
            ("a = why's\nb = 1\n", &["1:5 the value of `a` is neither in quotes nor a number"]),
            ("a = [\n[true],\n[\"x\"],\n'k=v',\n]\nb =\n", &["6:4 `b` has no value"]),
        ];
        for (text, wanted) in cases {
            assert_eq!(told(text), wanted, "{text}");
        }
    }

    #[test]
    fn a_comma_that_is_missing_between_lines_of_a_closed_table_is_just_that() {
        assert_eq!(told("a = {\n b = 1\n c = 2\n}\n"), ["3:2 missing comma between key-value pairs"]);
    }

    #[test]
    fn however_much_is_unclosed_the_search_ends() {
        let text = "a = { b = 1\n".repeat(2000) + &"[[c\n".repeat(2000);
        assert!(!told(&text).is_empty());
    }
}
