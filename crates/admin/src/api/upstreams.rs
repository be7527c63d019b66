//! `/api/upstreams`: where requests go, and who belongs there.

use salvo::http::StatusCode;
use salvo::oapi::endpoint;
use salvo::{Depot, Request};

use super::state;
use crate::answer::Answer;
use crate::body;
use crate::fields::Fields;
use crate::model::{EndpointForm, Loaded};
use crate::problem::Problem;
use crate::query::{Query, not_among};
use crate::state::{ChangeRefused, EndpointChange, EndpointState};

/// Show the upstreams
///
/// How they spread requests, how many wait, and of each endpoint its weight, its health and what runs there.
#[endpoint(operation_id = "getUpstreams", tags("gateway"),
    responses((status_code = 200, description = "The upstreams", body = Loaded)))]
pub(crate) async fn list(req: &mut Request, depot: &mut Depot) -> Result<Answer, Problem> {
    Query::of(req, &[])?;
    Answer::json(&state(depot)?.control.upstreams())
}

/// Change an endpoint
///
/// Adds it to the upstream, drains it, weighs it or takes it out, of this gateway and until it ends, reloads included. What
/// runs there goes on to its end.
#[endpoint(operation_id = "changeEndpoint", tags("gateway"), request_body = EndpointForm,
    parameters(("name" = String, Path, description = "The upstream's name")),
    responses((status_code = 200, description = "The upstream as it stands then", body = Loaded)))]
pub(crate) async fn change_endpoint(req: &mut Request, depot: &mut Depot) -> Result<Answer, Problem> {
    Query::of(req, &[])?;
    let name = req.param::<String>("name").ok_or_else(|| refused(ChangeRefused::NoSuchUpstream))?;
    let change = form(body::fields(req).await?)?;
    let changed = state(depot)?.control.change_endpoint(&name, change).await;
    Answer::json(&changed.map_err(refused)?)
}

fn form(mut fields: Fields) -> Result<EndpointChange, Problem> {
    fields.only(&["url", "state", "weight"])?;
    let url = fields.text("url")?;
    let url = url.ok_or_else(|| Problem::invalid("url", "is missing: name the endpoint by its base URL"))?;
    let state = match fields.text("state")? {
        None => None,
        Some(name) => Some(
            EndpointState::from_name(&name)
                .ok_or_else(|| not_among("state", &name, &EndpointState::NAMES))?,
        ),
    };
    let weight = match fields.number("weight")? {
        None => None,
        Some(weight @ 1..=1000) => u32::try_from(weight).ok(),
        Some(_) => return Err(Problem::invalid("weight", "must be from 1 to 1000")),
    };
    Ok(EndpointChange { url, state, weight })
}

fn refused(why: ChangeRefused) -> Problem {
    match why {
        ChangeRefused::NoSuchUpstream => {
            Problem::new(StatusCode::NOT_FOUND, "there is no upstream of this name: see GET /api/upstreams")
                .of_field("name")
        }
        ChangeRefused::NoSuchEndpoint => {
            Problem::invalid("url", "the upstream has no endpoint of this URL: see GET /api/upstreams")
        }
        ChangeRefused::LastEndpoint => {
            let detail = "no endpoint would be left that gets requests: add another one first";
            Problem::new(StatusCode::CONFLICT, detail).of_field("state")
        }
        ChangeRefused::BadUrl(why) => Problem::invalid("url", why),
    }
}
