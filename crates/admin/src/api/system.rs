//! What is loaded, reloading it, metrics, and the document of this all.

use salvo::oapi::endpoint;
use salvo::{Depot, Request};

use super::state;
use crate::answer::Answer;
use crate::model::{Loaded, Reloaded};
use crate::openapi::Document;
use crate::problem::Problem;
use crate::query::Query;

/// Show the pipelines
///
/// Their routes, their filters in their order, and the filters' options.
#[endpoint(operation_id = "getPipelines", tags("gateway"),
    responses((status_code = 200, description = "The pipelines", body = Loaded)))]
pub(crate) async fn pipelines(req: &mut Request, depot: &mut Depot) -> Result<Answer, Problem> {
    Query::of(req, &[])?;
    Answer::json(&state(depot)?.control.pipelines())
}

/// Show the plugins
#[endpoint(operation_id = "getPlugins", tags("gateway"),
    responses((status_code = 200, description = "The plugins that this binary has", body = Loaded)))]
pub(crate) async fn plugins(req: &mut Request, depot: &mut Depot) -> Result<Answer, Problem> {
    Query::of(req, &[])?;
    Answer::json(&state(depot)?.control.plugins())
}

/// Reload the configuration
///
/// All of it or nothing: where it has errors, the one in force stays and the answer is 422 with the diagnostics.
#[endpoint(operation_id = "reload", tags("gateway"),
    responses((status_code = 200, description = "What has changed", body = Reloaded)))]
pub(crate) async fn reload(req: &mut Request, depot: &mut Depot) -> Result<Answer, Problem> {
    Query::of(req, &[])?;
    let done = state(depot)?.control.reload().await.map_err(Problem::refused_reload)?;
    Answer::json(&Reloaded { changed: done.changed, needs_restart: done.needs_restart })
}

/// Show the metrics
///
/// In Prometheus' text format.
#[endpoint(operation_id = "getMetrics", tags("gateway"),
    responses((status_code = 200, description = "The metrics", body = String, content_type = "text/plain")))]
pub(crate) async fn metrics(depot: &mut Depot) -> Result<Answer, Problem> {
    Ok(Answer::text("text/plain; version=0.0.4; charset=utf-8", state(depot)?.control.metrics()))
}

/// Show this document
#[endpoint(operation_id = "getOpenapi", tags("gateway"),
    responses((status_code = 200, description = "OpenAPI 3.1", body = Loaded)))]
pub(crate) async fn openapi(req: &mut Request, depot: &mut Depot) -> Result<Answer, Problem> {
    Query::of(req, &[])?;
    let document = depot.get_typed::<Document>().map_err(|_| Problem::internal())?;
    Ok(Answer::text("application/json", document.json()))
}
