//! Every error, as a problem with the field at fault.

use serde_json::{Value, json};

use crate::support::Gateway;

#[tokio::test]
async fn every_fault_of_a_form_is_named_by_its_field() {
    let gateway = Gateway::start().await;
    let key = "sk-live-01234567-89ab-cdef-0011-223344556677";
    let faults: [(Value, &str, &str); 33] = [
        (json!({}), "orgName", "missing"),
        (json!({ "orgName": null }), "orgName", "missing"),
        (json!({ "orgName": 7 }), "orgName", "must be a string, not a number"),
        (json!({ "orgName": " \t " }), "orgName", "empty"),
        (json!({ "orgName": "x".repeat(201) }), "orgName", "200"),
        (json!({ "orgName": "a\nb" }), "orgName", "control"),
        (json!({ "orgName": "a\u{202E}b" }), "orgName", "direction"),
        (json!({ "orgName": format!("of {key}") }), "orgName", "a key"),
        (json!({ "orgName": "x", "remark": "x".repeat(1001) }), "remark", "1000"),
        (json!({ "orgName": "x", "remark": "a\u{0}b" }), "remark", "control"),
        (json!({ "orgName": "x", "remark": "a\u{1b}[2Jb" }), "remark", "control"),
        (json!({ "orgName": "x", "remark": "a\u{2066}b" }), "remark", "direction"),
        (json!({ "orgName": "x", "remark": format!("the key is {key}, keep it") }), "remark", "a key"),
        (json!({ "orgName": "x", "remark": [] }), "remark", "a string, not a list"),
        (json!({ "orgName": "x", "expireTime": "tomorrow" }), "expireTime", "RFC 3339"),
        (json!({ "orgName": "x", "expireTime": "2999-01-01T00:00:00" }), "expireTime", "offset"),
        (json!({ "orgName": "x", "expireTime": 1 }), "expireTime", "must be a string"),
        (json!({ "orgName": "x", "expireTime": "2001-01-01T00:00:00Z" }), "expireTime", "future"),
        (
            json!({ "orgName": "x", "allowedModels": "a" }),
            "allowedModels",
            "a list of strings or null, not a string",
        ),
        (json!({ "orgName": "x", "allowedModels": ["a", 1] }), "allowedModels[1]", "must be a string"),
        (json!({ "orgName": "x", "allowedModels": ["a", ""] }), "allowedModels[1]", "empty"),
        (json!({ "orgName": "x", "allowedModels": ["a", "b", "a"] }), "allowedModels[2]", "already"),
        (json!({ "orgName": "x", "allowedModels": ["a\u{0}"] }), "allowedModels[0]", "control"),
        (json!({ "orgName": "x", "allowedModels": ["a".repeat(257)] }), "allowedModels[0]", "256"),
        (json!({ "orgName": "x", "allowedModels": [key] }), "allowedModels[0]", "a key"),
        (json!({ "orgName": "x", "status": "disabled" }), "status", "PATCH /api/apps/{id}/status"),
        (json!({ "orgName": "x", "status": null }), "status", "PATCH /api/apps/{id}/status"),
        (json!({ "orgname": "x" }), "orgname", "did you mean `orgName`?"),
        (json!({ "orgName": "x", "apiKey": "y" }), "apiKey", "unknown field"),
        (json!({ "orgName": "x", "sk-live-01234567": "y" }), "***", "unknown field"),
        (json!([]), "body", "object"),
        (json!("x"), "body", "object"),
        (json!(null), "body", "object"),
    ];
    for (form, field, says) in faults {
        let detail = gateway.call("POST", "/api/apps", Some(form.clone())).await.problem(400, Some(field));
        assert!(detail.contains(says), "{form}: {detail}");
    }
    assert_eq!(gateway.get("/api/apps").await.json()["total"], 0);
}

#[tokio::test]
async fn the_form_of_an_app_that_exists_is_judged_alike() {
    let gateway = Gateway::start().await;
    let (id, key) = gateway.app("one").await;
    let app = format!("/api/apps/{id}");
    let put = async |form| gateway.call("PUT", &app, Some(form)).await;
    let detail = put(json!({ "orgName": "x", "status": "disabled" })).await.problem(400, Some("status"));
    assert!(detail.contains("PATCH /api/apps/{id}/status"), "{detail}");
    let detail = put(json!({ "orgName": "x", "remark": key })).await.problem(400, Some("remark"));
    assert!(detail.contains("a key") && !detail.contains(&key), "{detail}");
    assert_eq!(gateway.get(&app).await.json()["orgName"], "one");
    let note = format!("took over from {}\n\tsee there", &key[..16]);
    assert_eq!(put(json!({ "orgName": "x", "remark": note })).await.json()["remark"], note);
}

#[tokio::test]
async fn the_limits_themselves_are_allowed() {
    let gateway = Gateway::start().await;
    let form = json!({ "orgName": "名".repeat(200), "remark": "é".repeat(1000), "allowedModels": [] });
    assert_eq!(gateway.call("POST", "/api/apps", Some(form)).await.status, 201);
}

#[tokio::test]
async fn faults_of_status_and_rotation_are_named() {
    let gateway = Gateway::start().await;
    let (id, key) = gateway.app("one").await;
    let (status, rotate) = (format!("/api/apps/{id}/status"), format!("/api/apps/{id}/rotate"));
    let detail = gateway
        .call("PATCH", &status, Some(json!({ "status": "enable" })))
        .await
        .problem(400, Some("status"));
    assert!(detail.contains("did you mean `enabled`?"), "{detail}");
    gateway.call("PATCH", &status, Some(json!({}))).await.problem(400, Some("status"));
    gateway.call("PATCH", &status, Some(json!({ "status": true }))).await.problem(400, Some("status"));
    gateway
        .call("PATCH", &status, Some(json!({ "status": "enabled", "x": 1 })))
        .await
        .problem(400, Some("x"));
    gateway.call("PATCH", &status, None).await.problem(400, Some("body"));
    for bad in [json!(-1), json!(1.5), json!(2_592_001), json!("60"), json!(u64::MAX)] {
        gateway
            .call("POST", &rotate, Some(json!({ "graceSeconds": bad })))
            .await
            .problem(400, Some("graceSeconds"));
    }
    gateway
        .call("POST", &rotate, Some(json!({ "graceseconds": 1 })))
        .await
        .problem(400, Some("graceseconds"));
    assert_eq!(gateway.says(&key), "granted");
}

#[tokio::test]
async fn bad_json_and_a_member_twice_are_refused() {
    let gateway = Gateway::start().await;
    let send = async |body: &str| {
        let headers =
            format!("host: x\r\ncontent-type: application/json\r\ncontent-length: {}\r\n", body.len());
        gateway.raw("POST /api/apps", &headers, body.as_bytes()).await
    };
    send("{\"orgName\":").await.problem(400, Some("body"));
    send("{\"orgName\":\"a\"} x").await.problem(400, Some("body"));
    send(&"[".repeat(5000)).await.problem(400, Some("body"));
    send(&format!("{{\"orgName\":{}1{}}}", "[".repeat(500), "]".repeat(500)))
        .await
        .problem(400, Some("body"));
    send("{\"orgName\":\"\u{fffd}").await.problem(400, Some("body"));
    let detail = send("{\"orgName\":\"a\",\"orgName\":\"b\"}").await.problem(400, Some("orgName"));
    assert!(detail.contains("more than once"), "{detail}");
}

#[tokio::test]
async fn bodies_of_another_kind_or_size_are_refused() {
    let gateway = Gateway::start().await;
    let form = b"{\"orgName\":\"a\"}";
    let length = format!("host: x\r\ncontent-length: {}\r\n", form.len());
    gateway.raw("POST /api/apps", &length, form).await.problem(415, Some("content-type"));
    let headers = format!("{length}content-type: text/plain\r\n");
    gateway.raw("POST /api/apps", &headers, form).await.problem(415, Some("content-type"));
    let headers = format!("{length}content-type: application/json\r\ncontent-encoding: gzip\r\n");
    gateway.raw("POST /api/apps", &headers, form).await.problem(415, Some("content-encoding"));
    let headers = format!("{length}content-type: Application/JSON; charset=utf-8\r\n");
    assert_eq!(gateway.raw("POST /api/apps", &headers, form).await.status, 201);

    let large = json!({ "orgName": "x", "remark": "x".repeat(65 * 1024) });
    gateway.call("POST", "/api/apps", Some(large)).await.problem(413, None);
    let mut chunked = format!("{:x}\r\n", 66 * 1024).into_bytes();
    chunked.extend(vec![b' '; 66 * 1024]);
    let headers = "host: x\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n";
    gateway.raw("POST /api/apps", headers, &chunked).await.problem(413, None);
}

#[tokio::test]
async fn a_body_that_does_not_come_is_not_waited_for_for_ever() {
    let gateway = Gateway::start().await;
    let headers = "host: x\r\ncontent-type: application/json\r\ncontent-length: 100\r\n";
    gateway.raw("POST /api/apps", headers, b"{").await.problem(408, None);
}

#[tokio::test]
async fn faults_of_a_query_are_named_by_the_parameter() {
    let gateway = Gateway::start().await;
    let faults = [
        ("/api/apps?pageSize=201", "pageSize", "1 to 200"),
        ("/api/apps?pageSize=0", "pageSize", "1 to 200"),
        ("/api/apps?pageNum=0", "pageNum", "1 or more"),
        ("/api/apps?pageNum=-1", "pageNum", "1 or more"),
        ("/api/apps?pageNum=one", "pageNum", "whole number"),
        ("/api/apps?status=off", "status", "`enabled`, `disabled`"),
        ("/api/apps?page_size=5", "page_size", "did you mean `pageSize`?"),
        ("/api/apps?pageNum=1&pageNum=2", "pageNum", "more than once"),
        ("/api/apps/x?verbose=1", "verbose", "unknown query parameter"),
        ("/api/logs?outcome=finish", "outcome", "did you mean `finished`?"),
        ("/api/logs?status=99", "status", "100 to 599"),
        ("/api/logs?from=yesterday", "from", "RFC 3339"),
        ("/api/logs?to=2026-01-01T00:00:00", "to", "offset"),
        ("/api/logs?from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z", "from", "before `to`"),
        ("/api/logs?cursor=&pageNum=2", "pageNum", "do not go together"),
        ("/api/logs?cursor=nonsense", "cursor", "cursor"),
        ("/api/logs?pageSize=1000&cursor=", "pageSize", "1 to 200"),
        ("/api/usage?groupBy=app,app", "groupBy", "twice"),
        ("/api/usage?groupBy=apps", "groupBy", "did you mean `app`?"),
        ("/api/usage?interval=week", "interval", "`hour`, `day`"),
        ("/api/usage?from=2999-01-01T00:00:00Z", "from", "before `to`"),
        ("/api/usage?from=2020-01-01T00:00:00Z&to=2026-01-01T00:00:00Z&interval=hour", "from", "days"),
        ("/api/pipelines?x=1", "x", "there are none here"),
    ];
    for (path, field, says) in faults {
        let detail = gateway.get(path).await.problem(400, Some(field));
        assert!(detail.contains(says), "{path}: {detail}");
    }
}

#[tokio::test]
async fn unknown_routes_are_404_and_wrong_methods_405_with_what_is_allowed() {
    let gateway = Gateway::start().await;
    gateway.get("/api/nothing").await.problem(404, None);
    gateway.get("/api/apps/").await.problem(404, None);
    gateway.get("/api/apps/x/y").await.problem(404, None);
    let cases = [
        ("PATCH", "/api/apps", "GET, POST", "this route takes GET and POST only"),
        ("POST", "/api/apps/x", "GET, PUT, DELETE", "this route takes GET, PUT and DELETE only"),
        ("GET", "/api/apps/x/status", "PATCH", "this route takes PATCH only"),
        ("GET", "/api/reload", "POST", "this route takes POST only"),
        ("DELETE", "/", "GET", "this route takes GET only"),
    ];
    for (method, path, allow, says) in cases {
        let refused = gateway.call(method, path, None).await;
        assert_eq!(refused.problem(405, None), says, "{method} {path}");
        assert_eq!(refused.header("allow"), allow, "{method} {path}");
    }
    gateway.call("TRACE", "/api/apps", None).await.problem(405, None);
    gateway.call("POST", "/metrics", None).await.problem(405, None);
}

#[tokio::test]
async fn paths_and_heads_that_can_be_read_in_two_ways_are_refused() {
    let gateway = Gateway::start().await;
    for path in ["//api/apps", "/%61pi/apps", "/api/../api/apps", "/api/./apps", "/api;x/apps", "/api%2Fapps"]
    {
        gateway.raw(&format!("GET {path}"), "host: x\r\n", b"").await.problem(400, Some("path"));
    }
    gateway.raw("GET /api/apps", "", b"").await.problem(400, Some("host"));
    gateway.raw("GET /api/apps", "host: x\r\nhost: y\r\n", b"").await.problem(400, Some("host"));
    let twice = "host: x\r\nauthorization: Bearer y\r\n";
    gateway.raw("GET /api/apps", twice, b"").await.problem(400, Some("authorization"));
}

#[tokio::test]
async fn a_store_that_is_away_is_503_and_known_keys_work_on() {
    let gateway = Gateway::start().await;
    let (id, key) = gateway.app("one").await;
    gateway.store.close().await;
    let app = format!("/api/apps/{id}");
    let form = Some(json!({ "orgName": "x" }));
    let answers = [
        gateway.get("/api/apps").await,
        gateway.get(&app).await,
        gateway.call("POST", "/api/apps", form.clone()).await,
        gateway.call("PUT", &app, form).await,
        gateway.call("DELETE", &app, None).await,
        gateway.call("POST", &format!("{app}/rotate"), None).await,
        gateway.get("/api/logs").await,
        gateway.get("/api/logs?cursor=").await,
        gateway.get("/api/usage").await,
    ];
    for (index, answer) in answers.iter().enumerate() {
        let detail = answer.problem(503, None);
        let is_change = (2..6).contains(&index);
        assert_eq!(detail.contains("may or may not have been made"), is_change, "{index}: {detail}");
        assert_eq!(detail.contains("the store does not answer"), !is_change, "{index}: {detail}");
        assert_eq!(answer.header("retry-after"), "5");
    }
    assert_eq!(gateway.says(&key), "granted");
    assert_eq!(gateway.get("/api/pipelines").await.status, 200);
}
