//! The outermost hoop: hygiene, panics, the refusal of what no route takes, one log line and one count per call.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;

use futures_util::FutureExt;
use salvo::http::header::{CONNECTION, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use salvo::http::{Method, StatusCode};
use salvo::routing::PathState;
use salvo::{Depot, FlowCtrl, Handler, Request, Response, Router, async_trait};

use crate::gate::Gate;
use crate::hygiene;
use crate::problem::Problem;
use crate::state::{AdminCall, AdminState};

pub(crate) struct Access {
    state: Arc<AdminState>,
    gate: Gate,
    router: Arc<Router>,
}

/// The methods that a route of the admin side may take.
const METHODS: [Method; 5] = [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE];

impl Access {
    /// The hoop of a service with this router.
    pub(crate) fn new(state: Arc<AdminState>, router: Arc<Router>) -> Self {
        Self { gate: Gate(Arc::clone(&state)), state, router }
    }

    async fn admit(&self, req: &mut Request, res: &Response) -> Result<(), Problem> {
        // The service has set a status already where no route takes the request. Without the token, what there is
        // and what there is not looks the same.
        match res.status_code {
            None => Ok(()),
            Some(unrouted) => {
                self.gate.judge(req)?;
                Err(match unrouted {
                    StatusCode::METHOD_NOT_ALLOWED => Problem::method_not_allowed(&self.taken(req).await),
                    other => Problem::of_status(other),
                })
            }
        }
    }

    /// The methods that the route of this path takes.
    async fn taken(&self, req: &mut Request) -> Vec<&'static str> {
        let sent = req.method().clone();
        let path = req.uri().path().to_owned();
        let mut taken = Vec::new();
        for method in &METHODS {
            *req.method_mut() = method.clone();
            if self.router.detect(req, &mut PathState::from_borrowed_path(&path)).await.is_some() {
                taken.push(method.as_str());
            }
        }
        *req.method_mut() = sent;
        taken
    }
}

#[async_trait]
impl Handler for Access {
    async fn handle(&self, req: &mut Request, depot: &mut Depot, res: &mut Response, ctrl: &mut FlowCtrl) {
        let start = Instant::now();
        let sound = hygiene::check(req);
        let is_sound = sound.is_ok();
        let admitted = match sound {
            Ok(()) => self.admit(req, res).await,
            Err(problem) => Err(problem),
        };
        if let Err(problem) = admitted {
            res.render(problem);
            if !is_sound {
                // Whoever is in front may see the end of such a request elsewhere: nothing behind it is read.
                res.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            ctrl.skip_rest();
        } else if AssertUnwindSafe(ctrl.call_next(req, depot, res)).catch_unwind().await.is_err() {
            tracing::error!("an admin call panicked");
            res.render(Problem::internal());
        }
        res.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        let status = res.status_code.unwrap_or(StatusCode::OK);
        let took = start.elapsed();
        let (method, path) = (req.method().as_str(), loggable(req.uri().path()));
        let (code, ms) = (status.as_u16(), u64::try_from(took.as_millis()).unwrap_or(u64::MAX));
        // What machines ask every few seconds is news only when it fails.
        if matches!(req.uri().path(), "/metrics" | "/health") && status.is_success() {
            tracing::debug!(method, path, status = code, ms, "admin call");
        } else {
            tracing::info!(method, path, status = code, ms, "admin call");
        }
        self.state.control.called(&AdminCall { method: req.method(), status, took });
    }
}

/// The path for the log: bounded, escaped, and without a key or a token that somebody wrote into it.
fn loggable(path: &str) -> String {
    let masked: Vec<_> = path
        .split('/')
        .map(|segment| {
            // Ids and the names of routes are shorter than every token and key.
            let is_long = segment.len() > 40;
            if is_long || segment.contains("sk-") {
                "***".into()
            } else {
                segment.escape_default().to_string()
            }
        })
        .take(8)
        .collect();
    masked.join("/")
}

#[cfg(test)]
mod tests {
    use super::loggable;

    #[test]
    fn a_path_is_logged_without_secrets_and_control_characters() {
        assert_eq!(
            loggable("/api/apps/0190c1d2-0000-7000-8000-000000000000"),
            "/api/apps/0190c1d2-0000-7000-8000-000000000000"
        );
        assert_eq!(loggable("/api/apps/sk-live-01234567-89ab-cdef-0011-223344556677"), "/api/apps/***");
        assert_eq!(loggable(&format!("/{}", "f".repeat(64))), "/***");
        assert_eq!(loggable("/a\nb"), "/a\\nb");
    }
}
