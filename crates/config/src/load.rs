//! From a file to a configuration: parse, decode, build, apply the rules.

use std::{collections::BTreeMap, fs, path::Path, sync::Arc};

use vllm_gateway_sdk::Services;

use crate::{
    Blocks, Config, Diagnostic, Pattern, PipelineConfig, Severity, Step,
    build::{BuiltFilter, build},
    change::Boot,
    document::{Document, SyntaxError},
    draft::Draft,
    report::Report,
    rules,
};

/// What came of a file.
pub struct Loaded {
    /// The configuration; `None` if there is any error.
    pub config: Option<Config>,
    /// Errors and warnings, in the order of their places.
    pub diagnostics: Vec<Diagnostic>,
}

impl Loaded {
    /// What keeps the gateway from a start, or from a reload: every error, and of the warnings those of what it needs
    /// and does not find here, which then are errors.
    #[must_use]
    pub fn in_the_way_of(&self, what: Blocks) -> Vec<Diagnostic> {
        let blocks = |problem: &Diagnostic| match problem.blocks {
            Some(Blocks::Reload) => true,
            Some(Blocks::Start) => what == Blocks::Start,
            None => false,
        };
        let counts = |problem: &&Diagnostic| problem.severity == Severity::Error || blocks(problem);
        let as_error = |problem: &Diagnostic| Diagnostic { severity: Severity::Error, ..problem.clone() };
        self.diagnostics.iter().filter(counts).map(as_error).collect()
    }
}

pub(crate) fn file(path: &Path, services: &Services, old: Option<&Config>) -> Loaded {
    let failed = |diagnostic| Loaded { config: None, diagnostics: vec![diagnostic] };
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) => return failed(Diagnostic::of_file(path, format!("cannot read the file: {error}"))),
    };
    let name = path.display().to_string();
    let base = match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    match String::from_utf8(bytes) {
        Ok(content) => text(&name, &content, base, services, old),
        Err(error) => {
            let good = error.utf8_error().valid_up_to();
            let before = String::from_utf8_lossy(error.as_bytes().get(..good).unwrap_or_default());
            let (line, column) = Document::new(&before).place(good);
            let message = "the file is not UTF-8 text";
            failed(Diagnostic { line, column, ..Diagnostic::of_file(path, message) })
        }
    }
}

pub(crate) fn text(name: &str, text: &str, base: &Path, services: &Services, old: Option<&Config>) -> Loaded {
    let document = Document::new(text);
    let mut report = Report::default();
    let config = match document.parse() {
        Ok(root) => {
            let draft = Draft::read(root, text, &mut report);
            let filters =
                if draft.sound { build(&draft, services, old, &mut report) } else { BTreeMap::new() };
            if draft.sound {
                rules::check(&draft, &filters, base, &mut report);
            }
            if report.has_errors() { None } else { assemble(draft, filters, base, old) }
        }
        Err(errors) => {
            // What follows from half a file would be guesses.
            for SyntaxError { span, message, hint } in errors {
                let finding = report.error(span, message);
                if let Some(hint) = hint {
                    finding.hint(hint);
                }
            }
            None
        }
    };
    Loaded { config, diagnostics: report.finish(name, &document) }
}

/// Puts together what was found to be sound.
fn assemble(
    draft: Draft<'_>,
    filters: BTreeMap<String, BuiltFilter>,
    base: &Path,
    old: Option<&Config>,
) -> Option<Config> {
    let step = |name: String| {
        let BuiltFilter { plugin, options, filter } = filters.get(&name)?.clone();
        Some(Step { name, plugin, options, filter })
    };
    let mut pipelines = Vec::new();
    for section in draft.pipelines {
        let options = section.options?;
        let patterns = match &options.routes {
            Some(routes) => routes.iter().map(|text| Pattern::parse(text).ok()).collect::<Option<_>>()?,
            None => vec![Pattern::everything()],
        };
        let steps = options.filters.into_iter().map(step).collect::<Option<_>>()?;
        pipelines.push(PipelineConfig { name: section.name, patterns, steps, public: options.public });
    }
    let upstreams = draft
        .upstreams
        .into_iter()
        .map(|section| Some((section.name, section.options?)))
        .collect::<Option<_>>()?;
    let (server, admin) = (draft.server.options?, draft.admin.options?);
    let (store, journal) = (draft.store.options?, draft.journal.options?);
    let boot = old
        .map_or_else(|| Arc::new(Boot::of(&server, &admin, &store, &journal)), |old| Arc::clone(&old.boot));
    Some(Config { server, admin, store, journal, pipelines, upstreams, base: base.to_owned(), filters, boot })
}
