//! `--instructions N`: what a request costs in instructions, which no other load on the machine changes.

use std::{path::Path, process::Command, sync::Arc};

use crate::{load, process::Stage};

/// Requests before it is counted: connections, caches and the first use of everything.
const WARM_UP: u64 = 200;
/// Tokens of the stream.
const TOKENS: u32 = 2_000;

/// Runs the gateway under callgrind and counts over so many requests, each on its own.
pub(crate) async fn measure(program: &str, requests: u64) {
    // The temporary folder goes with the stage, and people want to look into the profile.
    let profile = std::env::temp_dir().join(format!("gateway.callgrind.{}", std::process::id()));
    let under = ["valgrind", "--tool=callgrind"].map(str::to_owned).into_iter();
    let under: Vec<_> = under.chain([format!("--callgrind-out-file={}", profile.display())]).collect();
    let stage = Stage::start(program, &under, "0s").await;
    load::mixed(stage.data, &stage.key, 1, WARM_UP, &Arc::default()).await;
    tell(&stage, "--zero");
    load::mixed(stage.data, &stage.key, 1, requests, &Arc::default()).await;
    println!("{} instructions per request, over {requests} of them", count(&stage, &profile, 1) / requests);
    tell(&stage, "--zero");
    let events = load::streams(stage.data, &stage.key, 1, TOKENS).await as u64;
    println!("{} instructions per event of a stream of {events}", count(&stage, &profile, 2) / events);
}

/// Instructions since the counting began, by the dump that is made now: the profile's next.
fn count(stage: &Stage, profile: &Path, dump: u32) -> u64 {
    tell(stage, "--dump");
    let dump = format!("{}.{dump}", profile.display());
    println!("by function: callgrind_annotate --inclusive=yes {dump}");
    let text = std::fs::read_to_string(dump).unwrap();
    let total =
        text.lines().find_map(|line| line.strip_prefix("summary: ").or(line.strip_prefix("totals: ")));
    total.unwrap().trim().parse().unwrap()
}

fn tell(stage: &Stage, what: &str) {
    let mut control = Command::new("callgrind_control");
    let told = control.args([what, &stage.gateway.id().to_string()]).output().unwrap();
    assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stderr));
}
