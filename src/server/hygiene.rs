//! What every request must be before anything else is asked of it.

use std::borrow::Cow;

use http::{
    HeaderMap, Method, Uri, Version,
    header::{CONTENT_ENCODING, CONTENT_TYPE, HOST, TRANSFER_ENCODING},
    request::Parts,
};
use vllm_gateway_sdk::{Error, Route};

/// The most that all headers may take together, in bytes.
const MAX_HEADERS: usize = 32 * 1024;

/// Refuses what two readers could understand differently.
pub(super) fn check(head: &Parts) -> Result<(), Error> {
    if head.method == Method::CONNECT || head.method == Method::TRACE {
        return Err(Error::method_not_allowed("GET, POST"));
    }
    check_path(&head.uri)?;
    check_headers(&head.headers, head.version)
}

fn check_path(uri: &Uri) -> Result<(), Error> {
    let path = uri.path();
    // What stands in the table of routes, letter by letter, can be read in one way only.
    if Route::of_path(path).is_some_and(|route| route.path == path) {
        return Ok(());
    }
    if !path.starts_with('/') {
        return Err(Error::invalid("the path must begin with a slash"));
    }
    if path.bytes().any(|b| matches!(b, b'\\' | b';') || !b.is_ascii_graphic()) {
        return Err(Error::invalid("the path has a character that no route here has"));
    }
    // Others may decode it before they look at its segments.
    let decoded = slashes_decoded(path);
    if decoded.contains("//") {
        return Err(Error::invalid("the path has a doubled slash"));
    }
    if decoded.split('/').any(|segment| segment == "." || segment == "..") {
        return Err(Error::invalid("the path has a dot segment"));
    }
    if decoded.contains('%') {
        return Err(Error::invalid(
            "the path has a percent sign: only %2F in the id of /v1/models/{id} may have one",
        ));
    }
    Ok(())
}

/// The OpenAI client writes the slash in a model's id as `%2F`; everywhere else an escape only hides something.
fn slashes_decoded(path: &str) -> Cow<'_, str> {
    if path.starts_with("/v1/models/") && path.contains('%') {
        path.replace("%2F", "/").replace("%2f", "/").into()
    } else {
        path.into()
    }
}

/// What the headers have shown, each looked at once.
#[derive(Default)]
struct Seen {
    bytes: usize,
    content_types: usize,
    hosts: usize,
    bad_host: bool,
    transfer_encodings: usize,
    not_chunked: bool,
    compressed: bool,
}

impl Seen {
    fn of(headers: &HeaderMap) -> Self {
        let mut seen = Self::default();
        for (name, value) in headers {
            let value = value.as_bytes();
            seen.bytes += name.as_str().len() + value.len() + 4;
            match *name {
                CONTENT_TYPE => seen.content_types += 1,
                HOST => {
                    seen.hosts += 1;
                    seen.bad_host |= !is_host(value);
                }
                TRANSFER_ENCODING => {
                    seen.transfer_encodings += 1;
                    seen.not_chunked |= !value.eq_ignore_ascii_case(b"chunked");
                }
                CONTENT_ENCODING => seen.compressed |= !value.eq_ignore_ascii_case(b"identity"),
                _ => {}
            }
        }
        seen
    }
}

fn check_headers(headers: &HeaderMap, version: Version) -> Result<(), Error> {
    let seen = Seen::of(headers);
    if seen.bytes > MAX_HEADERS {
        let message = "the headers are larger than 32 KiB together";
        return Err(Error::new(
            http::StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            "headers_too_large",
            message,
        ));
    }
    if seen.content_types > 1 {
        return Err(Error::invalid("the Content-Type header came more than once"));
    }
    // Probes of load balancers speak HTTP/1.0, which needs none.
    let is_missed = seen.hosts == 0 && version > Version::HTTP_10;
    if seen.hosts > 1 || seen.bad_host || is_missed {
        return Err(Error::invalid("exactly one valid Host header is needed"));
    }
    if seen.transfer_encodings > 1 || seen.not_chunked {
        return Err(Error::invalid("the only transfer encoding taken is one `chunked`"));
    }
    if seen.compressed {
        return Err(Error::unsupported_media_type(
            "compressed request bodies are not taken: send the body as it is",
        ));
    }
    Ok(())
}

fn is_host(host: &[u8]) -> bool {
    !host.is_empty()
        && host
            .iter()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b':' | b'[' | b']'))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn status(path: &str) -> Option<u16> {
        check_path(&path.parse().unwrap()).err().map(|error| error.status().as_u16())
    }

    #[test]
    fn paths_that_can_be_read_in_two_ways_are_refused() {
        for path in [
            "//v1/models",
            "/v1//models",
            "/v1/%6dodels",
            "/v1/../health",
            "/v1/./models",
            "/v1/models;x",
            "/v1/models/a%25",
            "/v1%2Fmodels",
            "/v1/models/..%2f..%2Fmetrics",
            "/v1/models/org%2F%2Fmodel",
            "/v1/models/org/%2Fmodel",
            "/v1/models/%2F",
        ] {
            assert_eq!(status(path), Some(400), "{path}");
        }
    }

    #[test]
    fn plain_paths_and_a_slash_in_a_model_id_pass() {
        for path in ["/v1/chat/completions", "/v1/models/org%2Fmodel", "/v1/models/org/model", "/"] {
            assert_eq!(status(path), None, "{path}");
        }
    }
}
