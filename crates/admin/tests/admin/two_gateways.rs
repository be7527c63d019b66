//! Two gateways on one MongoDB: what one changes is in force on the other within 5 s.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;
use tempfile::TempDir;
use vllm_gateway_store::{connect_mongodb, testing};

use crate::support::Gateway;

async fn gateway(database: &str) -> Gateway {
    let store = Arc::new(connect_mongodb(&testing::mongodb().uri, database).await.unwrap());
    let gateway = Gateway::on(store, TempDir::new().unwrap(), false).await;
    let (directory, store) = (Arc::clone(&gateway.directory), Arc::clone(&gateway.store));
    tokio::spawn(async move { directory.sync(&*store).await });
    gateway
}

async fn becomes(gateway: &Gateway, key: &str, wanted: &str) {
    let start = Instant::now();
    while gateway.says(key) != wanted {
        assert!(start.elapsed() < Duration::from_secs(5), "still {} and not {wanted}", gateway.says(key));
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_change_is_in_force_here_at_once_and_there_within_five_seconds() {
    rustls::crypto::ring::default_provider().install_default().ok();
    let database = testing::mongodb().database("two_gateways");
    let (one, other) = (gateway(&database).await, gateway(&database).await);

    let (id, key) = one.app("shared").await;
    assert_eq!(one.says(&key), "granted");
    becomes(&other, &key, "granted").await;

    let off =
        other.call("PATCH", &format!("/api/apps/{id}/status"), Some(json!({ "status": "disabled" }))).await;
    assert_eq!((off.status, other.says(&key)), (200, "disabled"));
    becomes(&one, &key, "disabled").await;

    one.call("PATCH", &format!("/api/apps/{id}/status"), Some(json!({ "status": "enabled" }))).await;
    let rotated = one
        .call("POST", &format!("/api/apps/{id}/rotate"), Some(json!({ "graceSeconds": 600 })))
        .await
        .json();
    let new = rotated["apiKey"].as_str().unwrap();
    becomes(&other, new, "granted").await;
    assert_eq!(other.says(&key), "granted", "the old key has its grace time there too");

    assert_eq!(other.call("DELETE", &format!("/api/apps/{id}"), None).await.status, 204);
    assert_eq!((other.says(&key), other.says(new)), ("unknown", "unknown"));
    becomes(&one, new, "unknown").await;
    becomes(&one, &key, "unknown").await;
}
