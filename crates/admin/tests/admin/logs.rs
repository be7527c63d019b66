//! Records and usage.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use uuid::Uuid;
use vllm_gateway_store::testing::open_sqlite_within;
use vllm_gateway_store::{Outcome, Record, TokenSource};

use crate::support::Gateway;

fn record(id: u128, hours_ago: i64) -> Record {
    Record {
        id: Uuid::from_u128(id),
        request_id: format!("r-{id}"),
        time: Timestamp::now() - SignedDuration::from_hours(hours_ago),
        app_id: Some("app-1".into()),
        org_name: Some("Acme".into()),
        key_prefix: Some("sk-live-01234567".into()),
        method: "POST".into(),
        path: "/v1/chat/completions".into(),
        pipeline: Some("default".into()),
        model: Some("m1".into()),
        upstream: None,
        endpoint: None,
        upstream_model: None,
        stream: true,
        status: 200,
        outcome: Outcome::Finished,
        error_code: None,
        prompt_tokens: Some(10),
        completion_tokens: Some(5),
        total_tokens: Some(15),
        cached_tokens: None,
        reasoning_tokens: None,
        token_source: TokenSource::Usage,
        duration_ms: 12,
        ttft_ms: Some(3),
        attempts: 1,
        request_bytes: 2,
        response_bytes: 3,
        client_ip: "127.0.0.1".into(),
        user_agent: None,
    }
}

async fn gateway() -> Gateway {
    let gateway = Gateway::start().await;
    let records = [
        record(1, 1),
        Record { model: Some("m2".into()), ..record(2, 2) },
        Record { app_id: Some("app-2".into()), org_name: Some("Beta".into()), ..record(3, 3) },
        Record { status: 503, outcome: Outcome::Replied, ..record(4, 4) },
        record(5, 24 * 8),
    ];
    assert_eq!(gateway.store.append(&records).await.unwrap().stored, 5);
    gateway
}

fn ids(answer: &Value) -> Vec<&str> {
    answer["items"].as_array().unwrap().iter().map(|item| item["requestId"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn records_come_newest_first_of_the_last_seven_days() {
    let gateway = gateway().await;
    let page = gateway.get("/api/logs").await.json();
    assert_eq!(ids(&page), ["r-1", "r-2", "r-3", "r-4"]);
    assert_eq!((&page["pageNum"], &page["pageSize"], &page["total"]), (&json!(1), &json!(20), &json!(4)));
    assert_eq!(page["items"][0]["keyPrefix"], "sk-live-01234567");
    assert_eq!(page["items"][0].as_object().unwrap().len(), 30);
    let ten_days_ago = Timestamp::now() - SignedDuration::from_hours(240);
    assert_eq!(ids(&gateway.get(&format!("/api/logs?from={ten_days_ago}")).await.json()).len(), 5);
}

#[tokio::test]
async fn every_filter_filters_and_pages_page() {
    let gateway = gateway().await;
    let then = Timestamp::now() - SignedDuration::from_mins(150);
    // As people write it: the plus has become a space.
    let local = then
        .to_zoned(jiff::tz::TimeZone::fixed(jiff::tz::offset(8)))
        .strftime("%Y-%m-%dT%H:%M:%S+08:00")
        .to_string();
    let cases = [
        ("appId=app-2".to_owned(), vec!["r-3"]),
        ("model=m2".to_owned(), vec!["r-2"]),
        ("outcome=replied".to_owned(), vec!["r-4"]),
        ("status=503".to_owned(), vec!["r-4"]),
        ("requestId=r-1".to_owned(), vec!["r-1"]),
        (format!("from={then}"), vec!["r-1", "r-2"]),
        (format!("to={local}"), vec!["r-3", "r-4"]),
        ("appId=app-1&model=m1&status=200".to_owned(), vec!["r-1"]),
        ("pageSize=3&pageNum=2".to_owned(), vec!["r-4"]),
        ("appId=&model=nobody".to_owned(), vec![]),
    ];
    for (query, expected) in cases {
        assert_eq!(ids(&gateway.get(&format!("/api/logs?{query}")).await.json()), expected, "{query}");
    }
}

#[tokio::test]
async fn an_export_goes_from_cursor_to_cursor_to_its_end() {
    let gateway = gateway().await;
    let (mut cursor, mut found) = (String::new(), Vec::new());
    loop {
        let part = gateway.get(&format!("/api/logs?cursor={cursor}&pageSize=3")).await.json();
        assert!(part.get("total").is_none(), "{part}");
        found.extend(ids(&part).into_iter().map(str::to_owned));
        match &part["nextCursor"] {
            Value::String(next) => cursor.clone_from(next),
            end => break assert!(end.is_null(), "{part}"),
        }
    }
    assert_eq!(found, ["r-1", "r-2", "r-3", "r-4"]);
}

#[tokio::test]
async fn usage_is_summed_as_it_is_asked_for() {
    let gateway = gateway().await;
    let all = gateway.get("/api/usage").await.json();
    let [row] = all["items"].as_array().unwrap().as_slice() else { panic!("{all}") };
    assert_eq!((&row["requests"], &row["errors"], &row["totalTokens"]), (&json!(4), &json!(1), &json!(60)));
    assert!(row.get("appId").is_none() && row.get("model").is_none(), "{row}");
    let groups = gateway.get("/api/usage?groupBy=app,model").await.json();
    let mut found: Vec<_> = groups["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| format!("{} {} {} {}", row["appId"], row["orgName"], row["model"], row["requests"]))
        .collect();
    found.sort();
    assert_eq!(found, [r#""app-1" "Acme" "m1" 2"#, r#""app-1" "Acme" "m2" 1"#, r#""app-2" "Beta" "m1" 1"#]);
    let nobody = Record { app_id: None, org_name: None, model: None, ..record(6, 1) };
    gateway.store.append(&[nobody]).await.unwrap();
    let groups = gateway.get("/api/usage?groupBy=app,model").await.json();
    let rows = groups["items"].as_array().unwrap();
    let members = ["appId", "orgName", "model"];
    assert!(rows.iter().all(|row| members.iter().all(|member| row.get(member).is_some())), "{groups}");
    let nobodys = rows.iter().find(|row| row["appId"].is_null()).unwrap();
    assert_eq!((&nobodys["orgName"], &nobodys["model"]), (&Value::Null, &Value::Null));
    let models = gateway.get("/api/usage?groupBy=model").await.json();
    let rows = models["items"].as_array().unwrap();
    assert!(rows.iter().all(|row| row.get("model").is_some() && row.get("appId").is_none()), "{models}");
    let hours = gateway.get("/api/usage?groupBy=model&interval=hour").await.json();
    assert_eq!(hours["items"].as_array().unwrap().len(), 5);
    assert!(gateway.get("/api/usage?interval=day").await.json()["items"].as_array().unwrap().len() <= 2);
}

#[tokio::test]
async fn a_question_that_covers_too_much_is_stopped_and_says_what_to_narrow() {
    let folder = tempfile::TempDir::new().unwrap();
    // Without any time, so that some thousand records are too many already.
    let store = open_sqlite_within(folder.path().join("gateway.db"), Duration::ZERO).await.unwrap();
    let gateway = Gateway::on(Arc::new(store), folder, false).await;
    // Half of them of each model, half of each status, and none of the first model with the second status.
    let halves = |record: Record| match record.id.as_u128() % 2 {
        0 => record,
        _ => Record { model: Some("m2".into()), status: 404, ..record },
    };
    let old = (1..=8_000).map(|id| halves(record(id, 24 * 8))).chain([record(9_000, 1)]);
    gateway.store.append(&old.collect::<Vec<_>>()).await.unwrap();
    let from = Timestamp::now() - SignedDuration::from_hours(24 * 30);
    for query in
        [format!("from={from}&model=m1&status=404"), format!("from={from}&cursor=&model=m1&status=404")]
    {
        let refused = gateway.get(&format!("/api/logs?{query}")).await;
        let detail = refused.problem(503, Some("from"));
        assert!(detail.contains("ask for a shorter time"), "{detail}");
        assert_eq!(refused.header("retry-after"), "", "the same question would take as long again");
    }
    assert_eq!(ids(&gateway.get("/api/logs").await.json()), ["r-9000"], "a shorter time is answered");
}
