//! The endpoints.

pub(crate) mod apps;
mod form;
#[cfg(feature = "fuzzing")]
pub mod fuzz;
pub(crate) mod logs;
pub(crate) mod system;
pub(crate) mod upstreams;
pub(crate) mod usage;

use std::sync::Arc;

use salvo::{Depot, Request};

use crate::problem::Problem;
use crate::state::AdminState;

/// What the service has put beside every request.
fn state(depot: &Depot) -> Result<Arc<AdminState>, Problem> {
    depot.get_typed::<Arc<AdminState>>().cloned().map_err(|_| Problem::internal())
}

/// The app's id in the path.
fn id(req: &Request) -> Result<String, Problem> {
    req.param("id").ok_or_else(Problem::no_such_app)
}
