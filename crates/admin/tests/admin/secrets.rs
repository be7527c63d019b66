//! A key is shown once and is nowhere else.

use std::sync::atomic::Ordering;

use serde_json::json;

use crate::support::{Gateway, TOKEN, logged};

#[tokio::test]
async fn a_key_is_in_no_other_answer_no_log_line_and_no_file() {
    let gateway = Gateway::start().await;
    let (id, first) = gateway.app("one").await;
    let app = format!("/api/apps/{id}");
    let rotated =
        gateway.call("POST", &format!("{app}/rotate"), Some(json!({ "graceSeconds": 60 }))).await.json();
    let second = rotated["apiKey"].as_str().unwrap().to_owned();
    let answers = [
        gateway.get(&app).await,
        gateway.get("/api/apps").await,
        gateway.call("PUT", &app, Some(json!({ "orgName": "x" }))).await,
        gateway.call("PATCH", &format!("{app}/status"), Some(json!({ "status": "disabled" }))).await,
        gateway.get(&format!("/api/apps/{first}")).await,
        gateway.get(&format!("/api/apps?orgName={first}")).await,
        gateway.get(&format!("/api/apps?{first}=1")).await,
        gateway.get(&format!("/api/logs?outcome={first}")).await,
        gateway.call("POST", "/api/apps", Some(json!({ first.clone(): 1 }))).await,
        gateway.call_as(Some(&first), "GET", "/api/apps", None).await,
        gateway.call("DELETE", &app, None).await,
    ];
    gateway.store.close().await;
    let mut files = Vec::new();
    for entry in std::fs::read_dir(gateway.folder.path()).unwrap() {
        files.push(std::fs::read(entry.unwrap().path()).unwrap());
    }
    assert!(files.iter().any(|bytes| contains(bytes, id.as_bytes())), "the files are those of the store");
    let log = logged();
    assert!(log.contains(&format!("/api/apps/{id}/rotate")), "the calls are logged");
    for key in [&first, &second] {
        // The prefix may be shown; what comes after it may not, in any spelling.
        let secret = &key[16..];
        let bare = key["sk-live-".len()..].replace('-', "");
        let bits = u128::from_str_radix(&bare, 16).unwrap().to_be_bytes();
        for answer in &answers {
            assert!(!answer.text.contains(secret) && !answer.text.contains(&bare), "{answer:?}");
        }
        assert!(!log.contains(secret) && !log.contains(&bare), "a key is in the log");
        for bytes in &files {
            assert!(
                !contains(bytes, secret.as_bytes())
                    && !contains(bytes, bare.as_bytes())
                    && !contains(bytes, &bits)
            );
        }
    }
    assert!(!log.contains(TOKEN), "the token is in the log");
}

#[tokio::test]
async fn every_call_has_one_log_line_and_is_counted() {
    let gateway = Gateway::start().await;
    gateway.call_as(None, "GET", "/api/apps/only-for-this-test", None).await;
    gateway.get("/api/nothing-for-this-test").await;
    let log = logged();
    for (path, status) in [("/api/apps/only-for-this-test", 401), ("/api/nothing-for-this-test", 404)] {
        let lines: Vec<_> =
            log.lines().filter(|line| line.contains("admin call") && line.contains(path)).collect();
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(lines[0].contains(&format!("status={status}")) && lines[0].contains("ms="), "{lines:?}");
    }
    assert_eq!(gateway.control.calls.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn what_machines_ask_all_the_time_is_told_at_debug_unless_it_fails() {
    let gateway = Gateway::start().await;
    gateway.get("/metrics").await;
    gateway.call_as(None, "DELETE", "/metrics", None).await;
    let log = logged();
    let levels: std::collections::BTreeSet<_> = log
        .lines()
        .filter(|line| line.contains("admin call") && line.contains("path=\"/metrics\""))
        .map(|line| (line.contains("status=200"), line.contains(" DEBUG "), line.contains(" INFO ")))
        .collect();
    assert!(levels.contains(&(true, true, false)) && levels.contains(&(false, false, true)), "{levels:?}");
    assert!(!levels.contains(&(true, false, true)), "{levels:?}");
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}
