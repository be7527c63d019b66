//! The OpenAPI document: operations as salvo-oapi reads them from the endpoints, schemas as schemars writes them,
//! and what all operations have in common: the token and the problems.

use std::sync::Arc;

use salvo::Router;
use salvo::oapi::OpenApi;
use serde_json::{Map, Value, json};

use crate::model;

const ABOUT: &str = "Apps and their keys, access-log records and usage, what is loaded and how it is. \
    Every error is `application/problem+json` and names the field at fault. Unknown fields and unknown query \
    parameters are errors. Times are RFC 3339 with an offset.";

/// The finished document.
#[derive(Clone)]
pub(crate) struct Document(Arc<str>);

impl Document {
    /// Describes what these routers serve: those behind the gate, and those that anyone may ask.
    pub(crate) fn of(gated: &Router, open: &Router) -> Self {
        let version = env!("CARGO_PKG_VERSION");
        let read =
            |router| serde_json::to_value(OpenApi::new("vllm-gateway admin", version).merge_router(router));
        let mut document = read(gated).unwrap_or_default();
        let public = read(open).unwrap_or_default();
        document["info"]["description"] = ABOUT.into();
        document["security"] = json!([{ "adminToken": [] }]);
        document["components"] = components();
        complete(&mut document["paths"], true);
        let mut paths = public["paths"].clone();
        complete(&mut paths, false);
        if let (Some(paths), Value::Object(public)) = (document["paths"].as_object_mut(), paths) {
            paths.extend(public);
        }
        Self(document.to_string().into())
    }

    pub(crate) fn json(&self) -> &str {
        &self.0
    }
}

fn components() -> Value {
    json!({
        "schemas": model::schemas(),
        "securitySchemes": { "adminToken": { "type": "http", "scheme": "bearer", "description": "The admin token" } },
        "responses": {
            "Problem": {
                "description": "Why the call was not answered as wished",
                "content": { "application/problem+json": { "schema": { "$ref": "#/components/schemas/Problem" } } },
            },
        },
    })
}

/// Adds to every operation what the endpoints do not repeat.
fn complete(paths: &mut Value, gated: bool) {
    for (path, item) in paths.as_object_mut().into_iter().flatten() {
        for operation in item.as_object_mut().into_iter().flat_map(Map::values_mut) {
            let statuses = statuses(path, operation, gated);
            for status in statuses {
                operation["responses"][status] = json!({ "$ref": "#/components/responses/Problem" });
            }
            if operation.get("requestBody").is_some() {
                // Without a body a rotation has no grace time.
                operation["requestBody"]["required"] = (operation["operationId"] != "rotateAppKey").into();
            }
            if !gated {
                operation["security"] = json!([]);
            }
        }
    }
}

/// The problems that an operation may answer with.
fn statuses(path: &str, operation: &Value, gated: bool) -> Vec<&'static str> {
    let mut statuses = vec!["400", "500"];
    if gated {
        statuses.push("401");
    }
    if path.contains("{id}") {
        statuses.push("404");
    }
    if operation.get("requestBody").is_some() {
        statuses.extend(["408", "409", "413", "415"]);
    }
    if path.starts_with("/api/apps") || operation["tags"] == json!(["logs"]) {
        statuses.push("503");
    }
    if operation["operationId"] == "reload" {
        statuses.push("422");
    }
    statuses
}
