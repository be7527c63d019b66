//! What is refused before anybody looks at credentials: requests that two readers could read differently.

use salvo::Request;
use salvo::http::header::{CONTENT_ENCODING, HOST, TRANSFER_ENCODING};
use salvo::http::{StatusCode, Version};

use crate::problem::Problem;

/// Checks the head of a request.
pub(crate) fn check(req: &Request) -> Result<(), Problem> {
    path(req.uri().path())?;
    let mut hosts = req.headers().get_all(HOST).iter();
    let is_missed = req.version() > Version::HTTP_10;
    if !hosts.next().map_or(!is_missed, |host| is_host(host.as_bytes())) || hosts.next().is_some() {
        return Err(Problem::invalid("host", "a request has exactly one valid `host` header"));
    }
    let mut codings = req.headers().get_all(TRANSFER_ENCODING).iter();
    let chunked = codings.next().is_none_or(|coding| coding.as_bytes().eq_ignore_ascii_case(b"chunked"));
    if !chunked || codings.next().is_some() {
        return Err(Problem::invalid(
            "transfer-encoding",
            "the only transfer encoding taken here is `chunked`, once",
        ));
    }
    let encoded = req
        .headers()
        .get_all(CONTENT_ENCODING)
        .iter()
        .any(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity"));
    if encoded {
        let detail = "encoded bodies are not taken here: send the JSON as it is, without `content-encoding`";
        return Err(Problem::unsupported(&CONTENT_ENCODING, detail));
    }
    Ok(())
}

fn is_host(host: &[u8]) -> bool {
    let may = |b: &u8| b.is_ascii_alphanumeric() || b".-_:[]".contains(b);
    !host.is_empty() && host.iter().all(may)
}

/// The router decodes paths and passes over empty segments: a path that it could read as another is refused.
fn path(path: &str) -> Result<(), Problem> {
    let wrong =
        |what: &str| Err(Problem::invalid("path", format!("the path holds {what}, no route here does")));
    if !path.starts_with('/') {
        return Err(Problem::invalid("path", "the path must begin with a slash"));
    }
    if !path.is_ascii() {
        return wrong("characters that are not ASCII");
    }
    if let Some(found) = path.chars().find(|c| matches!(c, '%' | '\\' | ';')) {
        return wrong(&format!("`{found}`"));
    }
    let mut segments = path.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        match segment {
            "" if segments.peek().is_some() => return wrong("an empty segment"),
            "." | ".." => return wrong("a `.` or `..` segment"),
            _ => {}
        }
    }
    if path.len() > 1 && path.ends_with('/') {
        return Err(Problem::new(StatusCode::NOT_FOUND, "no route here ends with a slash"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::path;

    #[test]
    fn paths_that_a_router_could_read_as_another_are_refused() {
        for bad in [
            "//api/apps",
            "/api//apps",
            "/%61pi/apps",
            "/api/./apps",
            "/api/../x",
            "/a;b",
            "/a\\b",
            "/é",
            "/api/",
            "",
            "*",
        ] {
            assert!(path(bad).is_err(), "{bad}");
        }
        for good in ["/", "/api/apps", "/api/apps/0190-a.b", "/..."] {
            assert!(path(good).is_ok(), "{good}");
        }
    }
}
