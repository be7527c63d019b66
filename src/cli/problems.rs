//! How problems of the configuration are printed: for people at a terminal with the line and a caret below the place,
//! else one after the other as `file:line:col: error: text`, which editors and scripts understand.

use std::fmt::Write as _;

use vllm_gateway_config::Diagnostic;

/// The text of all problems, each beginning on a line of its own.
pub(super) fn listed(problems: &[Diagnostic], terminal: bool) -> String {
    let mut text = String::new();
    for (index, problem) in problems.iter().enumerate() {
        let _ = match (terminal, index) {
            (true, 0) => writeln!(text, "{}", problem.with_source()),
            (true, _) => writeln!(text, "\n{}", problem.with_source()),
            (false, _) => writeln!(text, "{problem}"),
        };
    }
    text
}
