//! The OpenAPI document, compared with what is served.

use std::collections::{BTreeSet, HashSet};

use serde_json::{Value, json};

use crate::gate::operations;
use crate::support::Gateway;

const ROUTES: [&str; 16] = [
    "DELETE /api/apps/{id}",
    "GET /api/apps",
    "GET /api/apps/{id}",
    "GET /api/logs",
    "GET /api/openapi.json",
    "GET /api/pipelines",
    "GET /api/plugins",
    "GET /api/upstreams",
    "GET /api/usage",
    "GET /metrics",
    "PATCH /api/apps/{id}/status",
    "PATCH /api/upstreams/{name}/endpoints",
    "POST /api/apps",
    "POST /api/apps/{id}/rotate",
    "POST /api/reload",
    "PUT /api/apps/{id}",
];

fn keys(value: &Value) -> BTreeSet<&str> {
    value.as_object().unwrap_or_else(|| panic!("not an object: {value}")).keys().map(String::as_str).collect()
}

fn references(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            found.extend(members.get("$ref").and_then(Value::as_str).map(str::to_owned));
            members.values().for_each(|member| references(member, found));
        }
        Value::Array(items) => items.iter().for_each(|item| references(item, found)),
        _ => {}
    }
}

#[tokio::test]
async fn the_document_has_every_route_with_its_security_and_its_problems() {
    let document = Gateway::start().await.get("/api/openapi.json").await.json();
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"), "{}", document["openapi"]);
    let paths = document["paths"].as_object().unwrap();
    let found: BTreeSet<_> = paths
        .iter()
        .flat_map(|(path, item)| {
            keys(item).into_iter().map(move |method| format!("{} {path}", method.to_uppercase()))
        })
        .collect();
    let expected: BTreeSet<_> = ROUTES.into_iter().map(str::to_owned).collect();
    assert_eq!(found, expected);
    assert_eq!(document["security"], json!([{ "adminToken": [] }]));
    assert_eq!(document["components"]["securitySchemes"]["adminToken"]["scheme"], "bearer");

    let mut names = HashSet::new();
    for (path, item) in paths {
        for (method, operation) in item.as_object().unwrap() {
            let name = operation["operationId"].as_str().unwrap();
            assert!(names.insert(name.to_owned()), "{name} twice");
            assert!(operation["summary"].is_string(), "{method} {path}");
            let statuses = keys(&operation["responses"]);
            assert!(statuses.iter().any(|status| status.starts_with('2')), "{name}");
            assert_eq!(statuses.contains("401"), path != "/metrics", "{name}");
            if path.contains("{id}") {
                let parameters = operation["parameters"].as_array().unwrap();
                assert!(
                    parameters
                        .iter()
                        .any(|one| one["name"] == "id" && one["in"] == "path" && one["required"] == true)
                );
                assert!(statuses.contains("404"), "{name}");
            }
            if ["post", "put", "patch"].contains(&method.as_str()) && name != "reload" {
                assert!(
                    operation["requestBody"]["content"]["application/json"]["schema"].is_object(),
                    "{name}"
                );
                assert!(statuses.is_superset(&["413", "415"].into()), "{name}");
            }
        }
    }
    let required = |path: &str, method: &str| paths[path][method]["requestBody"]["required"].as_bool();
    assert_eq!(required("/api/apps", "post"), Some(true));
    assert_eq!(required("/api/apps/{id}/rotate", "post"), Some(false));
}

#[tokio::test]
async fn every_reference_of_the_document_leads_somewhere() {
    let document = Gateway::start().await.get("/api/openapi.json").await.json();
    let mut found = Vec::new();
    references(&document, &mut found);
    assert!(found.len() > 30);
    for reference in found {
        let pointer = reference.strip_prefix('#').unwrap_or_else(|| panic!("{reference} leads elsewhere"));
        assert!(document.pointer(pointer).is_some(), "{reference} leads nowhere");
    }
}

#[tokio::test]
async fn the_schemas_have_the_members_that_are_served() {
    let gateway = Gateway::start().await;
    let made = gateway.call("POST", "/api/apps", Some(json!({ "orgName": "x" }))).await.json();
    let document = gateway.get("/api/openapi.json").await.json();
    let properties = |schema: &str| keys(&document["components"]["schemas"][schema]["properties"]);
    assert_eq!(properties("AppWithKey"), keys(&made));
    assert_eq!(
        properties("App"),
        keys(&gateway.get(&format!("/api/apps/{}", made["id"].as_str().unwrap())).await.json())
    );
    assert_eq!(properties("AppPage"), keys(&gateway.get("/api/apps").await.json()));
    assert_eq!(properties("AppForm"), ["allowedModels", "expireTime", "orgName", "remark"].into());
    assert_eq!(properties("Record").len(), 30);
    let problem = gateway.get("/api/apps?x=1").await.json();
    assert!(properties("Problem").is_superset(&keys(&problem)));
    assert_eq!(properties("Reloaded"), keys(&gateway.call("POST", "/api/reload", None).await.json()));
}

#[tokio::test]
async fn the_parameters_of_the_document_are_those_that_are_taken() {
    let gateway = Gateway::start().await;
    let document = gateway.get("/api/openapi.json").await.json();
    for (method, path) in operations(&document).into_iter().filter(|(method, _)| method == "GET") {
        let template =
            path.replace("0190c1d2-0000-7000-8000-000000000000", "{id}").replace("/main/", "/{name}/");
        let parameters =
            document["paths"][&template]["get"]["parameters"].as_array().cloned().unwrap_or_default();
        for parameter in parameters.iter().filter(|one| one["in"] == "query") {
            assert_ne!(parameter["required"], true, "{parameter}");
            let name = parameter["name"].as_str().unwrap();
            let answer = gateway.call(&method, &format!("{path}?{name}="), None).await;
            assert_eq!(answer.status, 200, "{template} {name}: {answer:?}");
        }
    }
}
