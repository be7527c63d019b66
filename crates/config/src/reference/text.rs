//! The reference for the terminal: `plugins` and `plugins NAME`.

use std::fmt::Write as _;

use vllm_gateway_sdk::{PluginDef, plugins};

use super::{declared, example, of_plugin};

/// The widest line.
const WIDTH: usize = 100;

/// The linked plugins, one on each line.
#[must_use]
pub fn list() -> String {
    let plugins = plugins();
    let width = plugins.iter().map(|plugin| plugin.name.len()).max().unwrap_or(0);
    plugins.iter().fold(String::new(), |mut text, plugin| {
        let _ = writeln!(text, "{:<width$}   {}", plugin.name, plugin.summary);
        text
    })
}

/// One plugin: what it does, its options, an example table.
#[must_use]
pub fn explain(plugin: &PluginDef) -> String {
    let mut text = format!("{}: {}\n", plugin.name, plugin.summary);
    let facts = declared(plugin);
    if !facts.is_empty() {
        let _ = writeln!(text, "{facts}");
    }
    let rows = of_plugin(plugin);
    if rows.is_empty() {
        text.push_str("\nIt has no options.\n");
    } else {
        text.push_str("\nOptions\n");
    }
    for row in rows {
        let fallback = match (&row.default, row.required) {
            (_, true) => ", required".to_owned(),
            (Some(default), _) => format!(", default {default}"),
            (None, _) => String::new(),
        };
        let _ = writeln!(text, "\n  {}: {}{fallback}", row.key, row.kind);
        for line in wrapped(&row.meaning, WIDTH - 6) {
            let _ = writeln!(text, "      {line}");
        }
    }
    text.push_str("\nExample\n\n");
    for line in example(plugin).lines() {
        let _ = writeln!(text, "{}", format!("  {line}").trim_end());
    }
    text
}

/// Breaks a text between words.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::wrapped;

    #[test]
    fn texts_break_between_words() {
        assert_eq!(wrapped("one two three", 8), ["one two", "three"]);
        assert_eq!(wrapped("incomprehensible", 4), ["incomprehensible"]);
        assert!(wrapped("", 4).is_empty());
    }
}
