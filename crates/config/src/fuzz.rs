//! What fuzzing asks of `gateway.toml`: whatever stands in it, every problem is told at a place that the file has.
//!
//! libFuzzer calls this (`fuzz/`), and so does an ordinary test (`crates/fuzzing`).

use std::path::Path;

use vllm_gateway_sdk::Services;

use crate::{Change, Config, Loaded, Severity, picture};

/// The bytes as the text of the file; read as at the start, and as at a reload.
pub fn config(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Loaded { config, diagnostics } = load(text, None);
    let lines: Vec<&str> = text.split('\n').collect();
    let mut before = (0, 0);
    for diagnostic in &diagnostics {
        let line = lines.get(diagnostic.line - 1).unwrap_or_else(|| panic!("no such line: {diagnostic}"));
        assert!((1..=line.chars().count() + 1).contains(&diagnostic.column), "no such column: {diagnostic}");
        let place = (diagnostic.line, diagnostic.column);
        assert!(place >= before, "not in the order of the file: {diagnostic}");
        before = place;
        let message = [Some(&diagnostic.message), diagnostic.hint.as_ref()];
        assert!(!message.into_iter().flatten().any(|text| text.contains(char::is_control)), "{diagnostic:?}");
        assert!(!diagnostic.message.is_empty());
        let _ = diagnostic.with_source().to_string();
    }
    let failed = diagnostics.iter().any(|diagnostic| diagnostic.severity == Severity::Error);
    assert_eq!(config.is_none(), failed, "a configuration comes exactly where there are no errors");
    let Some(config) = config else { return };
    let _ = picture(&config);
    let again = load(text, Some(&config));
    assert_eq!(again.diagnostics, diagnostics, "a reload says another thing of the same text");
    let again = again.config.expect("it was sound before");
    assert_eq!(again.diff(&config), Change::default(), "the same text is a change");
    assert_eq!(config.route_map(), again.route_map());
}

fn load(text: &str, old: Option<&Config>) -> Loaded {
    Config::from_text("gateway.toml", text, Path::new("."), &Services::inert(), old)
}
