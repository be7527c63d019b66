//! Keys through outages of the store: real gateways, killed and started again, and a real MongoDB that stalls, dies and
//! comes back.

mod place;

use std::{
    os::unix::fs::PermissionsExt,
    path::Path,
    time::{Duration, Instant},
};

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{PATIENCE, json_of};
use place::*;

fn ok() -> (u16, String) {
    (200, String::new())
}

fn is(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

const UNKNOWN: &str = "sk-live-01234567-89ab-cdef-0011-223344556677";

async fn every_kind_of_end_is_in_force_on_the_other_gateway(place: &Place, within: Duration) {
    let (one, other) = (place.start("one").await, place.start("other").await);
    one.is_ready().await;
    other.is_ready().await;
    for round in 0..4 {
        for (what, status, code) in [
            ("disabled", 403, "app_disabled"),
            ("deleted", 401, "invalid_api_key"),
            ("expired", 403, "app_expired"),
            ("rotated", 401, "invalid_api_key"),
        ] {
            let (id, key) = one.app(json!({"orgName": what})).await;
            until("the new key works", || async { other.answer(&key).await == ok() }).await;
            match what {
                "disabled" => one.disable(&id).await,
                "deleted" => {
                    let gone = one.admin(Method::DELETE, &format!("/api/apps/{id}"), Value::Null).await;
                    assert_eq!(gone.status(), 204);
                }
                "expired" => {
                    let body = json!({"orgName": what, "expireTime": "2020-01-01T00:00:00Z"});
                    let done = one.admin(Method::PUT, &format!("/api/apps/{id}"), body).await;
                    assert!(done.status().is_success(), "{}", done.text().await.unwrap());
                }
                _ => {
                    let path = format!("/api/apps/{id}/rotate");
                    assert!(one.admin(Method::POST, &path, json!({})).await.status().is_success());
                }
            }
            assert_eq!(one.answer(&key).await, is(status, code), "{what}, where it was done");
            let took = until(what, || async { other.answer(&key).await == is(status, code) }).await;
            assert!(took < within, "{what} took {took:?} in round {round}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_ends_on_another_gateway_as_promised_by_polling() {
    every_kind_of_end_is_in_force_on_the_other_gateway(&standalone().await, PROMISED).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_ends_on_another_gateway_at_once_where_the_store_tells_of_changes() {
    // By polling every second alone, one of 16 would all but surely take longer.
    every_kind_of_end_is_in_force_on_the_other_gateway(&replica_set().await, Duration::from_millis(500))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn polling_goes_on_when_the_stream_is_gone_and_the_stream_comes_back() {
    let mut place = replica_set().await;
    let (one, other) = (place.start("one").await, place.start("other").await);
    one.is_ready().await;
    other.is_ready().await;
    let (id, key) = one.app(json!({"orgName": "acme"})).await;
    until("the new key works", || async { other.answer(&key).await == ok() }).await;
    place.stop_store(Outage::Killed);
    until("the outage is noticed", || async { other.answer(UNKNOWN).await.0 == 503 }).await;
    let mongo = tokio::task::spawn_blocking(move || {
        place.mongo.restart();
        place
    });
    let _place = mongo.await.unwrap();
    // A server that was just started elects itself first.
    until("the store takes changes again", || async {
        let body = json!({"status": "disabled"});
        one.admin(Method::PATCH, &format!("/api/apps/{id}/status"), body).await.status().is_success()
    })
    .await;
    let took = until("it ends", || async { other.answer(&key).await.0 == 403 }).await;
    assert!(took < PROMISED, "{took:?}");
    // And changes are heard at once again: by polling alone, five in a row would hardly be this quick.
    let (begun, mut quick) = (Instant::now(), 0);
    while quick < 5 {
        assert!(begun.elapsed() < 2 * PATIENCE, "the stream does not come back");
        let (id, key) = one.app(json!({"orgName": "acme"})).await;
        let took = until("the new key works", || async { other.answer(&key).await == ok() }).await;
        one.disable(&id).await;
        quick = if took < Duration::from_millis(250) { quick + 1 } else { 0 };
    }
}

async fn known_keys_outlive_the_store_and_restarts(how: Outage) {
    let mut place = standalone().await;
    let gateway = place.start("one").await;
    gateway.is_ready().await;
    let (id, key) = gateway.app(json!({"orgName": "acme"})).await;
    let (revoked_id, revoked) = gateway.app(json!({"orgName": "revoked"})).await;
    let end = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(8);
    let (_, expiring) = gateway.app(json!({"orgName": "expiring", "expireTime": end.to_string()})).await;
    gateway.copied(&[&id]).await;
    gateway.disable(&revoked_id).await;
    // The answer has come, so the revocation outlives whatever happens now.
    place.stop_store(how);
    let folder = gateway.kill();

    let begun = Instant::now();
    let restarted = place.start("one").await;
    assert_eq!(restarted.ready().await, 200, "at once: {how:?}");
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    assert_eq!(restarted.answer(&key).await, ok());
    assert_eq!(restarted.answer(&revoked).await, is(403, "app_disabled"));
    assert_eq!(restarted.answer(UNKNOWN).await, is(503, "store_unavailable"));
    if jiff::Timestamp::now() < end {
        assert_eq!(restarted.answer(&expiring).await, ok());
    }
    until("it expires by the clock", || async {
        restarted.answer(&expiring).await == is(403, "app_expired")
    })
    .await;
    // What cannot be told is an error there, too, not a change that is lost.
    let body = json!({"orgName": "during the outage"});
    assert_eq!(restarted.admin(Method::POST, "/api/apps", body).await.status(), 503);

    let text = everything_in(&folder);
    for secret in [&key, &revoked, &expiring] {
        assert!(!text.contains(secret.as_str()) && !text.contains(&secret[16..]), "a key is on the disk");
    }
    let mode = std::fs::metadata(restarted.copy()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    match how {
        Outage::Stalled => place.mongo.resume(),
        Outage::Killed => {
            place = tokio::task::spawn_blocking(move || {
                place.mongo.restart();
                place
            })
            .await
            .unwrap();
        }
    }
    until("the store is heard again", || async {
        restarted.answer(UNKNOWN).await == is(401, "invalid_api_key")
    })
    .await;
    assert_eq!(restarted.answer(&key).await, ok());
    drop(restarted);
    drop(place);
}

/// Everything that lies in a gateway's folder, as text.
fn everything_in(folder: &Path) -> String {
    let mut text = String::new();
    for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_dir() {
            text.push_str(&everything_in(&entry.path()));
        } else {
            text.push_str(&String::from_utf8_lossy(&std::fs::read(entry.path()).unwrap()));
        }
    }
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn known_keys_outlive_a_killed_store_and_a_killed_gateway() {
    known_keys_outlive_the_store_and_restarts(Outage::Killed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn known_keys_outlive_a_stalled_store_and_a_killed_gateway() {
    known_keys_outlive_the_store_and_restarts(Outage::Stalled).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_end_with_the_limit_also_across_a_restart() {
    let mut place = standalone().await;
    let limit = Duration::from_secs(6);
    let gateway = place.start_with("one", "max_staleness = \"6s\"").await;
    gateway.is_ready().await;
    let (id, key) = gateway.app(json!({"orgName": "acme"})).await;
    gateway.copied(&[&id]).await;
    place.stop_store(Outage::Killed);
    let away = Instant::now();
    gateway.kill();
    let restarted = place.start_with("one", "max_staleness = \"6s\"").await;
    if away.elapsed() < Duration::from_secs(3) {
        assert_eq!(restarted.answer(&key).await, ok());
    }
    until("the limit is reached", || async { restarted.answer(&key).await == is(503, "store_unavailable") })
        .await;
    assert!(away.elapsed() < limit + Duration::from_secs(1), "{:?}", away.elapsed());
    assert_eq!(restarted.ready().await, 503);
    assert_eq!(restarted.answer(UNKNOWN).await, is(503, "store_unavailable"));
    until("the log says so", || async { restarted.said.lock().unwrap().contains("or too long ago") }).await;
    // Not even with a longer limit: what has had its time is gone.
    until("the copy is removed", || async { !restarted.copy().exists() }).await;
    restarted.kill();
    let again = place.start("one").await;
    assert_eq!((again.ready().await, again.answer(&key).await), (503, is(503, "store_unavailable")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_copy_is_set_aside_and_reported_and_lets_nobody_in() {
    let mut place = standalone().await;
    let gateway = place.start("one").await;
    gateway.is_ready().await;
    let (id, key) = gateway.app(json!({"orgName": "acme"})).await;
    gateway.copied(&[&id]).await;
    place.stop_store(Outage::Killed);
    let copy = gateway.copy();
    gateway.kill();
    let text = std::fs::read_to_string(&copy).unwrap();
    std::fs::write(&copy, text.replacen("\"enabled\"", "\"disabled\"", 1)).unwrap();

    let restarted = place.start("one").await;
    assert_eq!(restarted.ready().await, 503);
    assert_eq!(restarted.answer(&key).await, is(503, "store_unavailable"));
    assert!(copy.with_extension("json.refused").exists());
    let said = restarted.said.lock().unwrap().clone();
    assert!(said.contains("its checksum is wrong") && said.contains("apps.json.refused"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_start_without_the_store_serves_red_and_turns_green_with_it() {
    let mut place = standalone().await;
    place.stop_store(Outage::Killed);
    let gateway = place.start("one").await;
    assert_eq!(gateway.ready().await, 503);
    assert_eq!(gateway.answer(UNKNOWN).await, is(503, "store_unavailable"));
    let told = |what: &str| gateway.said.lock().unwrap().matches(what).count();
    until("the log says so", || async { told("not ready: the apps were never read") == 1 }).await;
    let _place = tokio::task::spawn_blocking(move || {
        place.mongo.restart();
        place
    })
    .await
    .unwrap();
    gateway.is_ready().await;
    let (id, key) = gateway.app(json!({"orgName": "acme"})).await;
    assert_eq!(gateway.answer(&key).await, ok());
    gateway.copied(&[&id]).await;
    until("the log says that it is over", || async { told("ready: keys are known again") == 1 }).await;
    assert_eq!(told("not ready: "), 1);
    assert_eq!(told("the MongoDB indexes cannot be made"), 1, "{}", gateway.said.lock().unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_copy_of_another_database_lets_nobody_in() {
    let place = standalone().await;
    let gateway = place.start("one").await;
    gateway.is_ready().await;
    let (id, key) = gateway.app(json!({"orgName": "acme"})).await;
    gateway.copied(&[&id]).await;
    gateway.kill();
    let other = place.start_with("one", "database = \"another\"").await;
    other.is_ready().await;
    assert_eq!(other.answer(&key).await, is(401, "invalid_api_key"));
    assert!(other.said.lock().unwrap().contains("is of another store"));
}

#[tokio::test(flavor = "multi_thread")]
async fn known_keys_outlive_a_database_file_that_is_locked_at_the_start() {
    let place = standalone().await;
    let gateway = place.start_on("one", "kind = \"sqlite\"").await;
    gateway.is_ready().await;
    let (id, key) = gateway.app(json!({"orgName": "acme"})).await;
    gateway.copied(&[&id]).await;
    let folder = gateway.kill();
    let locked = rusqlite::Connection::open(folder.join("data/gateway.db")).unwrap();
    locked.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let restarted = place.start_on("one", "kind = \"sqlite\"").await;
    assert_eq!((restarted.ready().await, restarted.answer(&key).await), (200, ok()));
    assert_eq!(restarted.answer(UNKNOWN).await, is(503, "store_unavailable"));
    locked.execute_batch("COMMIT").unwrap();
    until("the store is heard again", || async {
        restarted.answer(UNKNOWN).await == is(401, "invalid_api_key")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revocation_that_a_restart_could_undo_is_not_acknowledged() {
    let place = standalone().await;
    let gateway = place.start("one").await;
    gateway.is_ready().await;
    let (id, key) = gateway.app(json!({"orgName": "acme"})).await;
    gateway.copied(&[&id]).await;
    // Folders in the way: the file can neither be written nor removed.
    std::fs::create_dir(gateway.copy().with_extension("json.new")).unwrap();
    std::fs::remove_file(gateway.copy()).unwrap();
    std::fs::create_dir_all(gateway.copy().join("in the way")).unwrap();
    let body = json!({"status": "disabled"});
    let answer = gateway.admin(Method::PATCH, &format!("/api/apps/{id}/status"), body).await;
    assert_eq!(answer.status(), 500);
    let detail = json_of(answer).await["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains("a restart while the store is away would undo it"), "{detail}");
    assert_eq!(gateway.answer(&key).await, is(403, "app_disabled"), "it is in force all the same");
}

const SQLITE: &str = "kind = \"sqlite\"";

#[tokio::test(flavor = "multi_thread")]
async fn a_database_file_that_was_lost_or_emptied_is_no_start_and_leaves_the_copy_alone() {
    let place = standalone().await;
    let gateway = place.start_on("one", SQLITE).await;
    gateway.is_ready().await;
    let (id, key) = gateway.app(json!({"orgName": "acme"})).await;
    gateway.copied(&[&id]).await;
    let copy = gateway.copy();
    let folder = gateway.kill().join("data");
    let kept = folder.join("kept.db");
    // What a gateway that was killed leaves beside it belongs to it.
    let beside = |suffix: &str| folder.join(format!("gateway.db{suffix}"));
    rusqlite::Connection::open(beside("")).unwrap().execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
    for suffix in ["-wal", "-shm"] {
        let _ = std::fs::remove_file(beside(suffix));
    }
    std::fs::rename(beside(""), &kept).unwrap();
    for emptied in [false, true, true] {
        if emptied {
            std::fs::write(beside(""), "").unwrap();
        }
        let said = place.refused("one", SQLITE).await;
        for part in ["holds 0 apps", "1 app is known here", "bring it back", "data/apps.json away"] {
            assert!(said.contains(part), "{part}: {said}");
        }
        assert!(std::fs::read_to_string(&copy).unwrap().contains(&id));
        assert!(!beside("-wal").exists(), "it would be taken for a part of the file that is put back");
    }
    std::fs::rename(&kept, beside("")).unwrap();
    let restarted = place.start_on("one", SQLITE).await;
    restarted.is_ready().await;
    assert_eq!(restarted.answer(&key).await, ok());
    restarted.kill();

    std::fs::remove_file(beside("")).unwrap();
    for suffix in ["-wal", "-shm"] {
        let _ = std::fs::remove_file(beside(suffix));
    }
    std::fs::remove_file(&copy).unwrap();
    let anew = place.start_on("one", SQLITE).await;
    anew.is_ready().await;
    assert_eq!(anew.answer(&key).await, is(401, "invalid_api_key"), "on purpose");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_is_too_old_to_serve_by_still_tells_one_database_from_another() {
    let place = standalone().await;
    let short = format!("{SQLITE}\nmax_staleness = \"1s\"");
    let gateway = place.start_on("one", &short).await;
    gateway.is_ready().await;
    let (id, _) = gateway.app(json!({"orgName": "acme"})).await;
    gateway.copied(&[&id]).await;
    let folder = gateway.kill().join("data");
    for suffix in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(folder.join(format!("gateway.db{suffix}")));
    }
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    for _ in 0..2 {
        let said = place.refused("one", &short).await;
        assert!(said.contains("is too old") && said.contains("1 app is known here"), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_emptied_under_a_running_gateway_shuts_nobody_out() {
    let place = standalone().await;
    let gateway = place.start("one").await;
    gateway.is_ready().await;
    let (id, key) = gateway.app(json!({"orgName": "acme"})).await;
    gateway.copied(&[&id]).await;
    let server = mongodb::Client::with_uri_str(&place.mongo.uri).await.unwrap();
    server.database("vllm_gateway").drop().await.unwrap();
    until("the log says so", || async { gateway.said.lock().unwrap().contains("is another store") }).await;
    assert_eq!(gateway.answer(&key).await, ok());
    assert_eq!(gateway.answer(UNKNOWN).await, is(503, "store_unavailable"));
    gateway.copied(&[&id]).await;
    gateway.kill();
    let mongodb = "kind = \"mongodb\"\nuri = \"env:TEST_MONGO\"";
    let said = place.refused("one", mongodb).await;
    assert!(said.contains("holds 0 apps") && said.contains("data/apps.json away"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_no_database_any_more_is_no_start_and_says_what_to_do() {
    let place = standalone().await;
    let gateway = place.start_on("one", SQLITE).await;
    gateway.is_ready().await;
    let (id, _) = gateway.app(json!({"orgName": "acme"})).await;
    gateway.copied(&[&id]).await;
    let folder = gateway.kill().join("data");
    for suffix in ["-wal", "-shm"] {
        let _ = std::fs::remove_file(folder.join(format!("gateway.db{suffix}")));
    }
    let mut bytes = std::fs::read(folder.join("gateway.db")).unwrap();
    bytes.resize(bytes.len().max(4096), 0);
    bytes[..100].fill(0);
    std::fs::write(folder.join("gateway.db"), bytes).unwrap();
    let said = place.refused("one", SQLITE).await;
    assert!(said.contains("not a SQLite database: restore a copy") && said.contains("gateway.db"), "{said}");
}
