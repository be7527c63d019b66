//! Runs `check` over `tests/check/*.toml` and compares with what each file expects below its ruler.
//!
//! With `UPDATE_GOLDEN=1` the expectations are written anew; then read the difference.
#![allow(clippy::unwrap_used)]

mod support;

use std::{fmt::Write as _, fs, path::Path};

use vllm_gateway_config::{Config, picture};
use vllm_gateway_sdk::Services;

const RULER: &str = "# ---------------------------------------------------------------- check says";

/// What `check` prints, as comment lines.
fn said(input: &str) -> String {
    let loaded = Config::from_text("gateway.toml", input, Path::new("/nowhere"), &Services::inert(), None);
    let mut lines: Vec<String> = loaded.diagnostics.iter().map(ToString::to_string).collect();
    lines.extend(loaded.config.as_ref().map(picture));
    let text = lines.join("\n");
    text.lines().map(|line| format!("# {line}").trim_end().to_owned() + "\n").collect()
}

#[test]
fn check_says_what_each_file_expects() {
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let mut files: Vec<_> = fs::read_dir("tests/check").unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 30, "only {} cases were found", files.len());
    let mut failures = String::new();
    for path in files {
        let content = fs::read_to_string(&path).unwrap();
        let (input, expected) = content.split_once(RULER).unwrap_or((&content, ""));
        let said = said(input);
        if update {
            fs::write(&path, format!("{input}{RULER}\n{said}")).unwrap();
        } else if said != expected.trim_start_matches('\n') {
            let _ = write!(failures, "{}: expected\n{expected}\nbut check says\n{said}\n", path.display());
        }
    }
    assert!(failures.is_empty(), "{failures}");
}
