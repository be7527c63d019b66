//! The page for a browser: it holds nothing, asks for the token, and shows and tries what the document describes.

use salvo::handler;
use salvo::http::header::{CONTENT_SECURITY_POLICY, REFERRER_POLICY, X_FRAME_OPTIONS};

use crate::answer::Answer;

/// Nothing but its own files, no inline script, no frame around it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

#[handler]
pub(crate) async fn index() -> Answer {
    file("text/html; charset=utf-8", include_str!("../assets/index.html"))
}

#[handler]
pub(crate) async fn script() -> Answer {
    file("text/javascript; charset=utf-8", include_str!("../assets/page.js"))
}

#[handler]
pub(crate) async fn style() -> Answer {
    file("text/css; charset=utf-8", include_str!("../assets/page.css"))
}

fn file(content_type: &str, text: &'static str) -> Answer {
    Answer::text(content_type, text)
        .with(CONTENT_SECURITY_POLICY, POLICY)
        .with(X_FRAME_OPTIONS, "DENY")
        .with(REFERRER_POLICY, "no-referrer")
}
