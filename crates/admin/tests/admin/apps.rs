//! Apps and their keys.

use serde_json::{Value, json};

use crate::support::Gateway;

fn names(page: &Value) -> Vec<&str> {
    page["items"].as_array().unwrap().iter().map(|app| app["orgName"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_new_app_comes_with_its_key_and_works_at_once() {
    let gateway = Gateway::start().await;
    let form = json!({ "orgName": "  Acme ", "remark": "first", "expireTime": "2999-01-01T08:00:00.5+08:00", "allowedModels": ["a", "b"] });
    let made = gateway.call("POST", "/api/apps", Some(form)).await;
    assert_eq!(made.status, 201, "{made:?}");
    let app = made.json();
    let (id, key) = (app["id"].as_str().unwrap(), app["apiKey"].as_str().unwrap());
    assert_eq!(made.header("location"), format!("/api/apps/{id}"));
    assert_eq!(made.header("cache-control"), "no-store");
    assert_eq!(key.len(), 44);
    assert_eq!(app["keyPrefix"], key[..16]);
    assert_eq!(app["orgName"], "Acme");
    assert_eq!(app["expireTime"], "2999-01-01T00:00:00.5Z");
    assert_eq!((&app["status"], &app["lastUsedTime"]), (&json!("enabled"), &Value::Null));
    assert_eq!(gateway.says(key), "granted");

    let mut shown = app.clone();
    shown.as_object_mut().unwrap().remove("apiKey");
    assert_eq!(gateway.get(&format!("/api/apps/{id}")).await.json(), shown);
}

#[tokio::test]
async fn apps_are_listed_newest_first_in_pages_and_by_name_and_status() {
    let gateway = Gateway::start().await;
    for name in ["alpha", "beta", "ALPHAbet"] {
        gateway.app(name).await;
    }
    let (off, _) = gateway.app("off").await;
    gateway.call("PATCH", &format!("/api/apps/{off}/status"), Some(json!({ "status": "disabled" }))).await;
    let page = gateway.get("/api/apps").await.json();
    assert_eq!(names(&page), ["off", "ALPHAbet", "beta", "alpha"]);
    assert_eq!((&page["pageNum"], &page["pageSize"], &page["total"]), (&json!(1), &json!(20), &json!(4)));
    let second = gateway.get("/api/apps?pageNum=2&pageSize=3").await.json();
    assert_eq!((names(&second), &second["total"]), (vec!["alpha"], &json!(4)));
    assert_eq!(names(&gateway.get("/api/apps?orgName=alpha").await.json()), ["ALPHAbet", "alpha"]);
    assert_eq!(names(&gateway.get("/api/apps?status=disabled&orgName=").await.json()), ["off"]);
    assert_eq!(names(&gateway.get("/api/apps?pageNum=99").await.json()), [""; 0]);
}

#[tokio::test]
async fn a_change_replaces_the_form_and_keeps_key_and_status() {
    let gateway = Gateway::start().await;
    let form = json!({ "orgName": "before", "remark": "gone soon", "allowedModels": [] });
    let before = gateway.call("POST", "/api/apps", Some(form)).await.json();
    let (path, key) =
        (format!("/api/apps/{}", before["id"].as_str().unwrap()), before["apiKey"].as_str().unwrap());
    assert_eq!(before["allowedModels"], json!([]), "none is not all");
    let changed = gateway.call("PUT", &path, Some(json!({ "orgName": "after", "expireTime": null }))).await;
    assert_eq!(changed.status, 200, "{changed:?}");
    let after = changed.json();
    assert_eq!(
        (&after["orgName"], &after["remark"], &after["allowedModels"]),
        (&json!("after"), &Value::Null, &Value::Null)
    );
    assert_eq!((&after["keyPrefix"], &after["createTime"]), (&before["keyPrefix"], &before["createTime"]));
    assert_eq!(gateway.says(key), "granted");
    let past = json!({ "orgName": "after", "expireTime": "2001-01-01T00:00:00Z" });
    assert_eq!(gateway.call("PUT", &path, Some(past)).await.status, 200);
    assert_eq!(gateway.says(key), "expired", "a time in the past ends an app at once");
}

#[tokio::test]
async fn a_disabled_app_is_refused_at_once_and_can_be_enabled_again() {
    let gateway = Gateway::start().await;
    let (id, key) = gateway.app("one").await;
    for (status, says) in [("disabled", "disabled"), ("disabled", "disabled"), ("enabled", "granted")] {
        let changed =
            gateway.call("PATCH", &format!("/api/apps/{id}/status"), Some(json!({ "status": status }))).await;
        assert_eq!((changed.status, &changed.json()["status"]), (200, &json!(status)));
        assert_eq!(gateway.says(&key), says);
    }
}

#[tokio::test]
async fn a_rotation_without_grace_ends_the_old_key_at_once() {
    let gateway = Gateway::start().await;
    let (id, old) = gateway.app("one").await;
    let rotated = gateway.call("POST", &format!("/api/apps/{id}/rotate"), None).await;
    assert_eq!(rotated.status, 200, "{rotated:?}");
    let new = rotated.json()["apiKey"].as_str().unwrap().to_owned();
    assert_eq!((gateway.says(&old), gateway.says(&new)), ("unknown", "granted"));
    assert_eq!(gateway.get(&format!("/api/apps/{id}")).await.json()["keyPrefix"], new[..16]);
}

#[tokio::test]
async fn a_rotation_with_grace_keeps_the_old_key_for_that_time() {
    let gateway = Gateway::start().await;
    let (id, old) = gateway.app("one").await;
    let path = format!("/api/apps/{id}/rotate");
    let rotated = gateway.call("POST", &path, Some(json!({ "graceSeconds": 2_592_000 }))).await.json();
    let second = rotated["apiKey"].as_str().unwrap();
    assert_eq!((gateway.says(&old), gateway.says(second)), ("granted", "granted"));
    let rotated = gateway.call("POST", &path, Some(json!({ "graceSeconds": 0 }))).await.json();
    assert_eq!((gateway.says(&old), gateway.says(second)), ("unknown", "unknown"));
    assert_eq!(gateway.says(rotated["apiKey"].as_str().unwrap()), "granted");
}

#[tokio::test]
async fn a_deleted_app_is_gone_and_its_key_unknown_at_once() {
    let gateway = Gateway::start().await;
    let (id, key) = gateway.app("one").await;
    let path = format!("/api/apps/{id}");
    let deleted = gateway.call("DELETE", &path, None).await;
    assert_eq!((deleted.status, deleted.text.as_str()), (204, ""));
    assert_eq!(gateway.says(&key), "unknown");
    gateway.call("DELETE", &path, None).await.problem(404, Some("id"));
    gateway.get(&path).await.problem(404, Some("id"));
    gateway.call("PUT", &path, Some(json!({ "orgName": "x" }))).await.problem(404, Some("id"));
    gateway
        .call("PATCH", &format!("{path}/status"), Some(json!({ "status": "enabled" })))
        .await
        .problem(404, Some("id"));
    gateway.call("POST", &format!("{path}/rotate"), None).await.problem(404, Some("id"));
}
