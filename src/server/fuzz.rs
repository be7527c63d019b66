//! What fuzzing asks of a request's head: what passes is read in one way only, whoever reads it.
//!
//! libFuzzer calls this (`fuzz/`), and so does an ordinary test (`crates/fuzzing`).

use http::{HeaderName, HeaderValue, Method, Request, Uri, request::Parts};
use vllm_gateway_sdk::Route;

use super::hygiene;
use crate::gateway::client_ip;

/// The first line is method and path, those behind it are headers, `name: value`.
pub fn head(data: &[u8]) {
    let mut lines = data.split(|byte| *byte == b'\n').take(64);
    let Some(mut head) = lines.next().and_then(first_line) else { return };
    for line in lines {
        let Some(at) = line.iter().position(|byte| *byte == b':') else { continue };
        let value = line[at + 1..].strip_prefix(b" ").unwrap_or(&line[at + 1..]);
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(&line[..at]), HeaderValue::from_bytes(value)) {
            head.headers.append(name, value);
        }
    }
    assert_client(&head);
    let path = head.uri.path();
    match hygiene::check(&head) {
        Err(error) => assert!(!error.to_string().contains(char::is_control), "{error}"),
        Ok(()) => {
            let (ours, theirs) = (Route::of_path(path), as_others_may_read(path));
            let other = Route::of_path(&theirs);
            let same = ours.map(|route| route.path) == other.map(|route| route.path);
            assert!(same, "`{path}` is `{theirs}` to others");
            assert_eq!(head.headers.get_all("host").iter().count(), 1);
            assert!(head.headers.get_all("transfer-encoding").iter().count() <= 1);
            assert!(head.headers.get_all("content-type").iter().count() <= 1);
        }
    }
}

fn first_line(line: &[u8]) -> Option<Parts> {
    let mut words = line.splitn(2, |byte| *byte == b' ');
    let method = Method::from_bytes(words.next()?).ok()?;
    let uri = Uri::try_from(words.next()?).ok()?;
    let mut head = Request::new(()).into_parts().0;
    (head.method, head.uri) = (method, uri);
    Some(head)
}

/// The path after everything that some server or proxy does to it: escapes decoded, backslashes turned, parameters
/// and dot segments taken out, doubled slashes joined.
fn as_others_may_read(path: &str) -> String {
    let mut bytes = path.as_bytes().to_vec();
    for _ in 0..3 {
        bytes = decoded(&bytes);
    }
    let text = String::from_utf8_lossy(&bytes).replace('\\', "/");
    let mut segments: Vec<&str> = Vec::new();
    for segment in text.split('/') {
        match segment.split(';').next().unwrap_or_default() {
            "" | "." => {}
            ".." => drop(segments.pop()),
            plain => segments.push(plain),
        }
    }
    let end = if text.len() > 1 && text.ends_with('/') { "/" } else { "" };
    format!("/{}{end}", segments.join("/"))
}

fn decoded(bytes: &[u8]) -> Vec<u8> {
    let (mut out, mut rest) = (Vec::new(), bytes);
    while let Some((first, tail)) = rest.split_first() {
        let digits = tail.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        let byte = digits.filter(|_| *first == b'%').and_then(|digits| u8::from_str_radix(digits, 16).ok());
        out.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { &tail[2..] } else { tail };
    }
    out
}

/// Nobody but a trusted proxy says whose request it is, and it never says that it is its own if others stand before.
fn assert_client(head: &Parts) {
    let proxies =
        ["10.0.0.0/8".to_owned(), "fd00::/8".to_owned()].map(|text| text.try_into().expect("a network"));
    let [stranger, proxy] = ["192.0.2.1", "10.1.2.3"].map(|text| text.parse().expect("an address"));
    assert_eq!(client_ip(&proxies, stranger, &head.headers), stranger);
    let client = client_ip(&proxies, proxy, &head.headers);
    let named = head.headers.get_all("x-forwarded-for").iter().any(|value| {
        let mut hops = value.to_str().unwrap_or_default().split(',');
        hops.any(|hop| hop.trim().parse().is_ok_and(|ip: std::net::IpAddr| ip.to_canonical() == client))
    });
    assert!(client == proxy || named, "{client} is named nowhere");
}
