//! What is judged by the head alone: keys, CORS, routes. The body is not read for it.

use crate::http1::{Answer, Common, RequestHead};
use crate::options::Options;
use crate::router::{Route, Routed, route};
use crate::shared::Shared;

/// Only these prefixes ask for a key, whether or not there is such a route (b01m, b01n).
const GUARDED: [&str; 4] = ["/v1", "/v2", "/inference", "/cohere"];

/// The headers that every answer of this exchange gets.
pub(crate) fn common(shared: &Shared, head: &RequestHead) -> Common {
    let options = &shared.options;
    let request_id = options.request_id_headers.then(|| {
        head.header("x-request-id")
            .map_or_else(|| format!("{}{}", shared.new_id(), shared.new_id()), str::to_owned)
    });
    let allow_origin = head.header("origin").and_then(|origin| allowed_origin(options, origin));
    Common { allow_origin, request_id, close: head.wants_close() }
}

fn allowed_origin(options: &Options, origin: &str) -> Option<String> {
    options.allowed_origins.iter().find(|allowed| *allowed == "*" || *allowed == origin).cloned()
}

/// The route, or the answer that needs no route.
pub(crate) fn pass(shared: &Shared, head: &RequestHead) -> Result<Route, Answer> {
    let options = &shared.options;
    if let Some(answer) = preflight(options, head) {
        return Err(answer);
    }
    let guarded = GUARDED.iter().any(|prefix| head.path.starts_with(prefix));
    if guarded && !options.api_keys.is_empty() && !has_key(options, head) {
        return Err(Answer { vary: false, ..Answer::json(401, r#"{"error":"Unauthorized"}"#) });
    }
    match route(options, &head.method, &head.path) {
        Routed::To(route) => Ok(route),
        Routed::NotFound => Err(Answer::detail(404, "Not Found")),
        Routed::NotAllowed(allow) => Err(Answer {
            before: vec![("allow", allow.to_owned())],
            ..Answer::detail(405, "Method Not Allowed")
        }),
        Routed::Redirect(path) => {
            let own = shared.addr.get().map_or(String::new(), ToString::to_string);
            let host = head.header("host").unwrap_or(&own);
            let query = if head.query.is_empty() { String::new() } else { format!("?{}", head.query) };
            Err(Answer {
                after: vec![("location", format!("http://{host}{path}{query}"))],
                ..Answer::empty(307)
            })
        }
    }
}

/// The scheme in any case, exactly one space, and the key (b01e, b01f).
fn has_key(options: &Options, head: &RequestHead) -> bool {
    let Some((scheme, key)) = head.header("authorization").and_then(|value| value.split_once(' ')) else {
        return false;
    };
    scheme.eq_ignore_ascii_case("bearer") && options.api_keys.iter().any(|known| known == key)
}

fn preflight(options: &Options, head: &RequestHead) -> Option<Answer> {
    let origin = head.header("origin").filter(|_| head.method == http::Method::OPTIONS)?;
    head.header("access-control-request-method")?;
    let allowed = allowed_origin(options, origin);
    let mut before = vec![(
        "vary",
        "Origin, Access-Control-Request-Method, Access-Control-Request-Headers, Access-Control-Request-Private-Network"
            .to_owned(),
    )];
    let methods = "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT, QUERY";
    before.push(("access-control-allow-methods", methods.to_owned()));
    before.push(("access-control-max-age", "600".to_owned()));
    if let Some(allowed) = &allowed {
        before.push(("access-control-allow-origin", allowed.clone()));
        if let Some(headers) = head.header("access-control-request-headers") {
            before.push(("access-control-allow-headers", headers.to_owned()));
        }
    }
    let (status, text) = if allowed.is_some() { (200, "OK") } else { (400, "Disallowed CORS origin") };
    Some(Answer { before, vary: false, ..Answer::text(status, text) })
}
