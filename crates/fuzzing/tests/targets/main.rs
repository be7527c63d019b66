//! Every fuzz target over its corpus, and over mutations of it, for a second or two: `FUZZ_SECONDS` says how long.
//!
//! `fuzz/` has the same targets for libFuzzer; a test sees to it that neither has one that the other lacks.
#![allow(clippy::unwrap_used)]

mod recorded;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use vllm_gateway_access_log as _;
use vllm_gateway_cost_caps as _;
use vllm_gateway_fuzzing::{corpus, drive, write_corpus};
use vllm_gateway_model_route as _;

type Made = fn() -> Vec<Vec<u8>>;

macro_rules! targets {
    ($($name:ident, $sentence:ident: $run:path, $made:expr;)*) => {
        /// Name, and what is made for its corpus beside the files in `fuzz/seeds`.
        const TARGETS: &[(&str, Made)] = &[$((stringify!($name), $made),)*];
        $(
            #[test]
            fn $sentence() {
                let name = stringify!($name);
                let count = drive(name, $run, corpus(name, $made()).unwrap());
                println!("{name}: {count} inputs");
            }
        )*
    };
}

targets! {
    peek, any_body_is_peeked_at_as_a_whole_parser_reads_it: vllm_gateway_wire::fuzz::peek, recorded::bodies;
    edit, an_edit_of_any_body_changes_nothing_else: vllm_gateway_wire::fuzz::edit, recorded::edits;
    form, any_form_is_read_the_same_wherever_it_is_cut: vllm_gateway_wire::fuzz::form, recorded::forms;
    sse, any_stream_loses_nothing_but_what_is_hidden: vllm_gateway_wire::fuzz::sse, recorded::streams;
    unary, any_answer_has_the_usage_that_a_whole_parser_finds: vllm_gateway_wire::fuzz::unary, recorded::answers;
    response_id, any_answer_has_the_same_id_wherever_it_is_cut: vllm_gateway_wire::fuzz::response_id, recorded::responses;
    region, any_file_of_the_journal_is_opened_and_cleared: vllm_gateway_journal::fuzz::region, vllm_gateway_journal::fuzz::seeds;
    codec, any_head_and_tail_is_a_record_or_none: vllm_gateway_journal::fuzz::codec, vllm_gateway_journal::fuzz::codec_seeds;
    config, any_configuration_is_told_at_places_that_it_has: vllm_gateway_config::fuzz::config, recorded::configurations;
    query, any_query_is_answered_within_its_bounds: vllm_gateway_admin::fuzz::query, Vec::new;
    app_form, any_form_of_an_app_is_judged: vllm_gateway_admin::fuzz::form, Vec::new;
    cursor, any_cursor_is_of_one_place: vllm_gateway_store::fuzz::cursor, vllm_gateway_store::fuzz::cursor_seeds;
    apps_copy, any_copy_of_the_apps_is_trusted_or_not: vllm_gateway_directory::fuzz::apps_copy, Vec::new;
    key, any_text_is_a_key_or_none: vllm_gateway_directory::fuzz::key, Vec::new;
    credential, any_headers_show_one_credential_or_none: vllm_gateway_auth::fuzz::credential, recorded::credentials;
    head, any_head_that_passes_is_read_in_one_way: vllm_gateway::fuzz::head, recorded::heads;
    answer_head, any_head_of_an_answer_is_read_the_same_however_it_is_cut: vllm_gateway_client::fuzz::answer_head, Vec::new;
    chunks, any_body_in_chunks_is_read_the_same_however_it_is_cut: vllm_gateway_client::fuzz::chunks, Vec::new;
    report, any_page_of_metrics_has_figures_or_none: vllm_gateway_fleet::fuzz::report, Vec::new;
    mask, any_text_is_masked: vllm_gateway_sdk::fuzz::mask, recorded::texts;
}

#[test]
fn libfuzzer_has_the_same_targets() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz");
    let here: BTreeSet<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    let files = fs::read_dir(folder.join("fuzz_targets")).unwrap();
    let there: BTreeSet<String> =
        files.map(|file| file.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned()).collect();
    assert_eq!(here, there);
    let manifest = fs::read_to_string(folder.join("Cargo.toml")).unwrap();
    for name in &here {
        assert!(manifest.contains(&format!("name = \"{name}\"")), "{name} is not in fuzz/Cargo.toml");
    }
    for folder in ["seeds", "dictionaries"].map(|name| folder.join(name)) {
        for file in fs::read_dir(folder).unwrap() {
            let path = file.unwrap().path();
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            assert!(here.contains(&name), "{} is of no target", path.display());
        }
    }
}

#[test]
#[ignore = "writes fuzz/corpus, for scripts/fuzz"]
fn the_corpora_are_written() {
    for (name, made) in TARGETS {
        write_corpus(name, &corpus(name, made()).unwrap()).unwrap();
    }
}
