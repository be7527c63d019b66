//! The gate: nothing passes without the admin token.

use salvo::http::header::AUTHORIZATION;
use salvo::{Depot, FlowCtrl, Handler, Request, Response, async_trait};

use crate::problem::Problem;
use crate::state::AdminState;
use std::sync::Arc;

/// The hoop on everything that is not public.
pub(crate) struct Gate(pub(crate) Arc<AdminState>);

impl Gate {
    /// Judges the credentials by the headers alone.
    pub(crate) fn judge(&self, req: &Request) -> Result<(), Problem> {
        let mut sent = req.headers().get_all(AUTHORIZATION).iter();
        let Some(credentials) = sent.next() else {
            return Err(Problem::unauthenticated(
                "the admin token is missing: send `Authorization: Bearer <token>`",
            ));
        };
        if sent.next().is_some() {
            return Err(Problem::invalid(
                "authorization",
                "the header `authorization` is there more than once",
            ));
        }
        let token = credentials.to_str().ok().and_then(|text| text.split_once(' '));
        match token {
            Some((scheme, token))
                if scheme.eq_ignore_ascii_case("bearer") && self.0.token.is_of(token.trim()) =>
            {
                Ok(())
            }
            Some((scheme, _)) if scheme.eq_ignore_ascii_case("bearer") => Err(Problem::unauthenticated(
                "this is not the admin token (an app's key does not open the admin side)",
            )),
            _ => Err(Problem::unauthenticated("the header `authorization` must be `Bearer <token>`")),
        }
    }
}

#[async_trait]
impl Handler for Gate {
    async fn handle(&self, req: &mut Request, _depot: &mut Depot, res: &mut Response, ctrl: &mut FlowCtrl) {
        if let Err(problem) = self.judge(req) {
            res.render(problem);
            ctrl.skip_rest();
        }
    }
}
