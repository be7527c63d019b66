//! What fuzzing asks of credentials: one, whole, from the headers; and no message repeats any of it.
//!
//! libFuzzer calls this (`fuzz/`), and so does an ordinary test (`crates/fuzzing`).

use vllm_gateway_sdk::{
    Api,
    http::{HeaderMap, HeaderName, HeaderValue},
};

use crate::credential;

/// The first byte says whose clients ask; the lines of the rest are headers, `name: value`.
pub fn credential(data: &[u8]) {
    let Some((api, lines)) = data.split_first() else { return };
    let api = if api % 2 == 0 { Api::OpenAi } else { Api::Anthropic };
    let mut headers = HeaderMap::new();
    for line in lines.split(|byte| *byte == b'\n').take(64) {
        let Some(at) = line.iter().position(|byte| *byte == b':') else { continue };
        let value = line[at + 1..].strip_prefix(b" ").unwrap_or(&line[at + 1..]);
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(&line[..at]), HeaderValue::from_bytes(value)) {
            headers.append(name, value);
        }
    }
    let shown = |name: &str| headers.get_all(name).iter().map(HeaderValue::as_bytes).collect::<Vec<_>>();
    let (authorization, x_api_key) = (shown("authorization"), shown("x-api-key"));
    match credential::of(&headers, api) {
        Ok(token) => {
            assert!(!token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic()), "{token}");
            assert!(authorization.len() <= 1, "one of two was chosen");
            let mut found: Vec<&[u8]> = authorization.iter().filter_map(|value| bearer(value)).collect();
            assert_eq!(found.len(), authorization.len(), "a header that shows no key was passed over");
            if api == Api::Anthropic {
                assert!(x_api_key.len() <= 1, "one of two was chosen");
                found.extend(x_api_key);
            }
            assert!(!found.is_empty() && found.iter().all(|one| *one == token.as_bytes()), "{token}");
        }
        Err(error) => {
            let message = error.to_string();
            let canary = "sk-live-";
            assert!(!message.contains(canary) && message.len() < 200, "{message}");
        }
    }
}

fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, rest) = value.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then_some(rest)
}
