//! What the parser has to say, in words for whoever wrote the line.

use std::ops::Range;

use toml::de::DeTable;

use super::{SyntaxError, unclosed::is_path};

/// The parser's own words for a value that begins like none.
const UNQUOTED: &str = "string values must be quoted";

/// An error of the parser.
pub(super) fn told(text: &str, error: &toml::de::Error) -> SyntaxError {
    let span = error.span().unwrap_or(0..0);
    let said = error.message().trim_end();
    let curly = text.get(span.start..).and_then(|rest| rest.chars().next()).filter(|c| is_curly(*c));
    let (message, hint) = if said == "duplicate key" {
        duplicate(text, &span)
    } else if let Some(quote) = curly {
        // Word processors and chats make them of plain ones.
        let message = if said.starts_with(UNQUOTED) { "a text must stand in plain quotes" } else { said };
        (message.to_owned(), Some(format!("write a plain `\"` in the place of `{quote}`")))
    } else if let Some(told) = value(text, &span) {
        told
    } else if said.starts_with(UNQUOTED) {
        ("a text must stand in quotes".to_owned(), Some("write it as `\"…\"`".to_owned()))
    } else {
        (said.to_owned(), None)
    };
    SyntaxError { span, message, hint }
}

fn is_curly(c: char) -> bool {
    "“”„‟‘’‚".contains(c)
}

/// What is wrong where a line is `key = value`, and the value is nothing, or nothing that TOML knows. The value is not
/// repeated: it may be a secret.
fn value(text: &str, span: &Range<usize>) -> Option<(String, Option<String>)> {
    let (_, line) = line_of(text, span.start);
    let (key, value) = line.split_once('=').map(|(key, value)| (key.trim(), value.trim()))?;
    if !is_path(key) || value.starts_with(['"', '\'', '[', '{']) {
        return None;
    }
    if value.is_empty() || value.starts_with('#') {
        let hint =
            "write one behind the `=`: a text in quotes, a number, `true` or `false`, or a list in `[…]`";
        return Some((format!("`{key}` has no value"), Some(hint.to_owned())));
    }
    // Of a line that is sound by itself something else is wrong.
    DeTable::parse(&format!("x = {value}")).err()?;
    let message = format!("the value of `{key}` is neither in quotes nor a number, `true` or `false`");
    Some((message, Some(format!("write a text in quotes: `{key} = \"…\"`"))))
}

/// A key or a table that is there already, and where.
fn duplicate(text: &str, span: &Range<usize>) -> (String, Option<String>) {
    let key = text.get(span.clone()).unwrap_or_default();
    let hint = first_of(text, span.start).map(|line| {
        let what = if line_of(text, span.start).1.starts_with('[') { "table" } else { "key" };
        format!("line {line} has this {what} already: keep one of the two")
    });
    (format!("duplicate key `{key}`"), hint)
}

/// The line, from 1, in which the table or the key of this byte's line stood first; none if it is written otherwise
/// there, as a part of a dotted name or in an inline table.
fn first_of(text: &str, byte: usize) -> Option<usize> {
    let (begin, line) = line_of(text, byte);
    let before = || text.get(..begin).unwrap_or_default().lines().map(str::trim).enumerate();
    let at = if line.starts_with('[') {
        let name = header(line)?;
        before().find(|(_, line)| header(line).is_some_and(|other| other == name)).map(|(at, _)| at)?
    } else {
        let key = key_of(line)?;
        let table = before().filter(|(_, line)| header(line).is_some()).last().map_or(0, |(at, _)| at);
        before().skip(table).find(|(_, line)| key_of(line) == Some(key)).map(|(at, _)| at)?
    };
    Some(at + 1)
}

/// The name in `[name]`, without the spaces that do not count.
fn header(line: &str) -> Option<String> {
    let name = line.strip_prefix('[')?.split(']').next()?;
    Some(name.split_whitespace().collect())
}

fn key_of(line: &str) -> Option<&str> {
    line.split_once('=').map(|(key, _)| key.trim()).filter(|key| is_path(key))
}

/// Where the line of that byte begins, and what stands in it.
fn line_of(text: &str, byte: usize) -> (usize, &str) {
    let byte = text.floor_char_boundary(byte);
    let begin = text.get(..byte).and_then(|before| before.rfind('\n')).map_or(0, |at| at + 1);
    let line = text.get(begin..).and_then(|rest| rest.lines().next()).unwrap_or_default();
    (begin, line.trim())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::Document;

    /// What is told first of a text, and the hint.
    fn told(text: &str) -> (String, String) {
        let error = Document::new(text).parse().unwrap_err().swap_remove(0);
        (error.message, error.hint.unwrap_or_default())
    }

    #[test]
    fn a_text_without_quotes_is_told_with_its_key_and_is_not_repeated() {
        for line in ["timeout = 30s", "listen = 127.0.0.1:18080 # why", "a.timeout = ten", "url = http://x"] {
            let key = line.split(' ').next().unwrap();
            let (message, hint) = told(&format!("[server]\nfirst = 1\n{line}\nlast = 2\n"));
            let wanted = format!("the value of `{key}` is neither in quotes nor a number, `true` or `false`");
            assert_eq!(message, wanted);
            assert_eq!(hint, format!("write a text in quotes: `{key} = \"…\"`"));
        }
        assert_eq!(told("a = [one, \"two\"]").0, "a text must stand in quotes");
        assert_eq!(told("a =\nb = 1").0, "`a` has no value");
        assert_eq!(told("a = # later\nb = 1").0, "`a` has no value");
    }

    #[test]
    fn what_is_there_twice_is_told_with_the_line_of_the_first() {
        let hint = |text: &str| told(text).1;
        let (message, _) = told("[a]\nb = 1\nc = 2\nb = 3\n");
        assert_eq!(message, "duplicate key `b`");
        assert!(hint("[a]\nb = 1\nc = 2\nb = 3\n").starts_with("line 2 has this key"));
        assert!(hint("b = 0\n[a]\nb = 1\nb = 3\n").starts_with("line 3 has this key"));
        assert!(hint("[a]\nb = 1\n[c]\n[ a ]\nb = 3\n").starts_with("line 1 has this table"));
        assert_eq!(hint("a.b = 1\n[a]\nb = 1\n"), "", "it is written otherwise there");
        assert_eq!(hint("a = { b = 1, b = 2 }\n"), "");
    }
}
