//! Finds the one credential of a request. No message repeats any of it.

use vllm_gateway_sdk::{
    Api, Error,
    http::{HeaderMap, HeaderName, HeaderValue, header::AUTHORIZATION},
};

const X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// The key that the request shows. Anthropic's clients may show it in `x-api-key`; elsewhere that is not looked at.
pub(crate) fn of(headers: &HeaderMap, api: Api) -> Result<&str, Error> {
    let authorization = only(headers, &AUTHORIZATION, "the `authorization` header came more than once")?;
    let x_api_key = match api {
        Api::Anthropic => only(headers, &X_API_KEY, "the `x-api-key` header came more than once")?,
        Api::OpenAi => None,
    };
    match (authorization, x_api_key) {
        (None, None) => Err(missing(api)),
        (Some(header), None) => bearer(header).ok_or_else(|| missing(api)),
        (None, Some(header)) => plain(header).ok_or_else(|| missing(api)),
        (Some(authorization), Some(x_api_key)) => match (bearer(authorization), plain(x_api_key)) {
            (Some(one), Some(other)) if one == other => Ok(one),
            _ => Err(Error::invalid(
                "`authorization` and `x-api-key` show different credentials: send one of them",
            )),
        },
    }
}

/// The value of a header that may come once.
fn only<'h>(
    headers: &'h HeaderMap,
    name: &HeaderName,
    twice: &'static str,
) -> Result<Option<&'h HeaderValue>, Error> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (value, None) => Ok(value),
        (_, Some(_)) => Err(Error::invalid(twice)),
    }
}

/// The token after `Bearer` in any case and exactly one space.
fn bearer(value: &HeaderValue) -> Option<&str> {
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    if scheme.eq_ignore_ascii_case("bearer") { token_of(token) } else { None }
}

fn plain(value: &HeaderValue) -> Option<&str> {
    token_of(value.to_str().ok()?)
}

/// A token has no white space: a second space, or a second credential after a comma and a space, is none.
fn token_of(text: &str) -> Option<&str> {
    let is_token = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
    is_token.then_some(text)
}

fn missing(api: Api) -> Error {
    Error::unauthenticated(match api {
        Api::OpenAi => "no api key: send it as `authorization: Bearer <key>`",
        Api::Anthropic => "no api key: send it as `x-api-key: <key>` or as `authorization: Bearer <key>`",
    })
}
