//! Collects what is found while a file is read, and puts it into order.

use std::ops::Range;

use vllm_gateway_sdk::decode::Problem;

use crate::{Blocks, Diagnostic, Severity, document::Document};

/// What was found so far.
#[derive(Default)]
pub(crate) struct Report {
    findings: Vec<Finding>,
}

/// One of the findings; a hint can be added.
pub(crate) struct Finding {
    span: Range<usize>,
    severity: Severity,
    message: String,
    hint: Option<String>,
    blocks: Option<Blocks>,
}

impl Finding {
    /// Says that this is in the way of more than good order.
    pub(crate) fn blocks(&mut self, blocks: Blocks) -> &mut Self {
        self.blocks = Some(blocks);
        self
    }

    pub(crate) fn hint(&mut self, hint: impl Into<String>) {
        self.hint = Some(hint.into());
    }
}

impl Report {
    pub(crate) fn error(&mut self, span: Range<usize>, message: impl Into<String>) -> &mut Finding {
        self.add(span, Severity::Error, message.into())
    }

    pub(crate) fn warning(&mut self, span: Range<usize>, message: impl Into<String>) -> &mut Finding {
        self.add(span, Severity::Warning, message.into())
    }

    pub(crate) fn add(&mut self, span: Range<usize>, severity: Severity, message: String) -> &mut Finding {
        self.findings.push(Finding { span, severity, message, hint: None, blocks: None });
        let last = self.findings.len() - 1;
        &mut self.findings[last]
    }

    /// Problems of one table; `whole` is its place, `what` its name.
    pub(crate) fn problems(&mut self, problems: Vec<Problem>, whole: &Range<usize>, what: &str) {
        for problem in problems {
            let message = format!("{what}: {}", problem.message);
            self.error(problem.span.unwrap_or_else(|| whole.clone()), message).hint = problem.hint;
        }
    }

    /// What one table can be used with all the same.
    pub(crate) fn warnings(&mut self, warnings: Vec<Problem>, whole: &Range<usize>, what: &str) {
        for warning in warnings {
            let message = format!("{what}: {}", warning.message);
            self.warning(warning.span.unwrap_or_else(|| whole.clone()), message).hint = warning.hint;
        }
    }

    pub(crate) fn has_errors(&self) -> bool {
        self.findings.iter().any(|finding| finding.severity == Severity::Error)
    }

    /// All findings, in the order of their places.
    pub(crate) fn finish(self, file: &str, document: &Document<'_>) -> Vec<Diagnostic> {
        let mut all: Vec<Diagnostic> = self
            .findings
            .into_iter()
            .map(|finding| {
                let (line, column) = document.place(finding.span.start);
                Diagnostic {
                    file: file.to_owned(),
                    line,
                    column,
                    severity: finding.severity,
                    message: printable(finding.message),
                    hint: finding.hint.map(printable),
                    blocks: finding.blocks,
                    source: Some((
                        document.line(finding.span.start).to_owned(),
                        document.width(&finding.span),
                    )),
                }
            })
            .collect();
        all.sort_by(|a, b| {
            (a.line, a.column, a.severity, &a.message).cmp(&(b.line, b.column, b.severity, &b.message))
        });
        all.dedup();
        all
    }
}

/// Names in the file may hold anything, also what a terminal would obey.
fn printable(text: String) -> String {
    if text.contains(char::is_control) {
        return text
            .chars()
            .map(|c| if c.is_control() { c.escape_default().to_string() } else { c.to_string() })
            .collect();
    }
    text
}
