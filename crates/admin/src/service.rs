//! The routes, and the hoops around them.

use std::sync::Arc;

use salvo::catcher::Catcher;
use salvo::http::StatusCode;
use salvo::{Response, Router, Service, affix_state, handler};

use crate::access::Access;
use crate::api::{apps, logs, system, upstreams, usage};
use crate::gate::Gate;
use crate::openapi::Document;
use crate::page;
use crate::problem::Problem;
use crate::state::AdminState;

/// The admin side as a service, for a listener of its own.
///
/// The limits of the connection (header size and time, stalls, number of connections) are the server's.
pub fn service(state: Arc<AdminState>) -> Service {
    let mut gated = api();
    let mut open = Router::new();
    let metrics = || Router::with_path("metrics").get(system::metrics);
    if state.metrics_auth {
        gated = gated.push(metrics());
    } else {
        open = open.push(metrics());
    }
    let document = Document::of(&gated, &open);
    let gated = gated.hoop(Gate(Arc::clone(&state)));
    let given = affix_state::inject(Arc::clone(&state)).inject(document);
    let router = Arc::new(Router::new().hoop(given).push(gated).push(open).push(files()));
    let access = Access::new(state, Arc::clone(&router));
    Service::new(router).hoop(access).catcher(Catcher::new(problem))
}

/// What needs the token.
fn api() -> Router {
    let app = Router::with_path("{id}")
        .get(apps::show)
        .put(apps::update)
        .delete(apps::delete)
        .push(Router::with_path("status").patch(apps::set_status))
        .push(Router::with_path("rotate").post(apps::rotate));
    let api = Router::with_path("api")
        .push(Router::with_path("apps").get(apps::list).post(apps::create).push(app))
        .push(Router::with_path("logs").get(logs::list))
        .push(Router::with_path("usage").get(usage::sum))
        .push(Router::with_path("pipelines").get(system::pipelines))
        .push(
            Router::with_path("upstreams")
                .get(upstreams::list)
                .push(Router::with_path("{name}/endpoints").patch(upstreams::change_endpoint)),
        )
        .push(Router::with_path("plugins").get(system::plugins))
        .push(Router::with_path("reload").post(system::reload))
        .push(Router::with_path("openapi.json").get(system::openapi));
    Router::new().push(api)
}

/// The page's files: public, and without anything that is not.
fn files() -> Router {
    Router::new()
        .get(page::index)
        .push(Router::with_path("page.js").get(page::script))
        .push(Router::with_path("page.css").get(page::style))
}

/// Whatever salvo itself refuses is a problem too.
#[handler]
async fn problem(res: &mut Response) {
    let status = res.status_code.unwrap_or(StatusCode::NOT_FOUND);
    res.render(Problem::of_status(status));
}
