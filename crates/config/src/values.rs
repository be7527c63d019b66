//! Value types of this file's own options, checked when they are read.

use std::{
    borrow::Cow,
    fmt,
    net::{IpAddr, SocketAddr},
    ops::Deref,
};

use http::Uri;
use ipnet::IpNet;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// Says for a type that wraps a checked string how serde, schemars and `fmt` see it.
macro_rules! text_value {
    ($type:ident, $title:literal, $($example:literal),+) => {
        impl From<$type> for String {
            fn from(value: $type) -> Self {
                value.to_string()
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                $title.into()
            }
            fn inline_schema() -> bool {
                true
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "title": $title, "examples": [$($example),+] })
            }
        }
    };
}

/// An address to listen on, written as `"0.0.0.0:8080"`.
#[derive(Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct ListenAddr {
    address: SocketAddr,
    text: String,
}

text_value!(ListenAddr, "address", "127.0.0.1:8080", "0.0.0.0:8080", "[::]:8080");

impl ListenAddr {
    /// The address.
    #[must_use]
    pub fn get(&self) -> SocketAddr {
        self.address
    }

    /// Whether two listeners cannot have these addresses at the same time.
    #[must_use]
    pub fn collides(&self, other: &Self) -> bool {
        // Port 0 means any free one.
        if self.address.port() != other.address.port() || self.address.port() == 0 {
            return false;
        }
        let (a, b) = (self.address.ip(), other.address.ip());
        // `[::]` takes the port of all IPv4 addresses too.
        let all = |ip: IpAddr| ip == IpAddr::from([0u16; 8]);
        a == b
            || all(a)
            || all(b)
            || (a.is_ipv4() == b.is_ipv4() && (a.is_unspecified() || b.is_unspecified()))
    }
}

impl TryFrom<String> for ListenAddr {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        // The one name that needs no resolver.
        let numeric = text.strip_prefix("localhost:").map(|port| format!("127.0.0.1:{port}"));
        numeric.as_deref().unwrap_or(&text).parse::<SocketAddr>().map(Self::from).map_err(|_| {
            format!(
                "`{}` is not an address; write it like \"127.0.0.1:8080\" or \"[::]:8080\"",
                text.escape_debug()
            )
        })
    }
}

impl From<SocketAddr> for ListenAddr {
    fn from(address: SocketAddr) -> Self {
        Self { address, text: address.to_string() }
    }
}

impl Deref for ListenAddr {
    type Target = str;

    fn deref(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for ListenAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// A range of addresses, written as `"10.0.0.0/8"`, or a single address.
#[derive(Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Network(IpNet);

text_value!(Network, "network", "10.0.0.0/8", "192.168.1.7", "fd00::/8");

impl Deref for Network {
    type Target = IpNet;

    fn deref(&self) -> &IpNet {
        &self.0
    }
}

impl TryFrom<String> for Network {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let network = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
        network.map(|network| Self(network.trunc())).map_err(|_| {
            format!(
                "`{}` is not a network; write it like \"10.0.0.0/8\" or \"192.168.1.7\"",
                text.escape_debug()
            )
        })
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The origin of a web page, written as `"https://app.example.org"`; `"*"` is every origin.
#[derive(Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Origin(String);

text_value!(Origin, "origin", "https://app.example.org", "*");

impl Deref for Origin {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl PartialEq<str> for Origin {
    fn eq(&self, other: &str) -> bool {
        self.0 == other
    }
}

impl TryFrom<String> for Origin {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let shape = || {
            let wanted = "an origin; write it like \"https://app.example.org\", without a path";
            format!("`{}` is not {wanted}", text.escape_debug())
        };
        if text == "*" {
            return Ok(Self(text));
        }
        let uri: Uri = text.parse().map_err(|_| shape())?;
        let whole = uri.scheme().zip(uri.authority()).map(|(scheme, host)| format!("{scheme}://{host}"));
        match whole {
            Some(whole) if whole == text && !text.contains('@') => Ok(Self(text.to_ascii_lowercase())),
            _ => Err(shape()),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The base URL of a vLLM server, written as `"http://10.0.0.11:8000"`, perhaps with a path before vLLM's own.
///
/// Two spellings of one URL are equal: the host is in lower case, and there is no slash at the end.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct EndpointUrl(String);

text_value!(EndpointUrl, "url", "http://10.0.0.11:8000", "https://vllm.example.org/base");

impl EndpointUrl {
    /// The URL, without a slash at the end: a route's path can be put behind it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for EndpointUrl {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if text.contains('@') {
            // What stands before the @ may be a password: it is not repeated.
            return Err("a URL must not hold a user name or password; use `api_key`".to_owned());
        }
        let no = |why: &str| format!("`{}` cannot be used: {why}", text.escape_debug());
        let shape = "write it like \"http://10.0.0.11:8000\"";
        if !text.is_ascii() {
            return Err(no("it holds characters beyond ASCII"));
        }
        let uri: Uri = text.parse().map_err(|_| no(shape))?;
        let scheme = uri.scheme_str().ok_or_else(|| no(shape))?;
        if !matches!(scheme, "http" | "https") {
            return Err(no("only http and https are spoken"));
        }
        if text.contains(['?', '#']) {
            return Err(no("it must end after the path"));
        }
        let authority = uri.authority().ok_or_else(|| no(shape))?;
        if authority.host().is_empty() {
            return Err(no("it has no host"));
        }
        let port = authority.as_str().strip_prefix(authority.host()).and_then(|rest| rest.strip_prefix(':'));
        if port.is_some_and(|port| !port.parse::<u16>().is_ok_and(|port| port > 0)) {
            return Err(no("its port is not a number from 1 to 65535"));
        }
        let path = uri.path().trim_end_matches('/');
        if path.contains("//")
            || path.contains(['%', '\\', ';'])
            || path.split('/').any(|part| matches!(part, "." | ".."))
        {
            return Err(no("its path must be plain: no `%`, `;`, `//`, `.` or `..`"));
        }
        Ok(Self(format!("{scheme}://{}{path}", authority.as_str().to_ascii_lowercase())))
    }
}

impl fmt::Display for EndpointUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn url(text: &str) -> Result<String, String> {
        EndpointUrl::try_from(text.to_owned()).map(|url| url.to_string())
    }

    #[test]
    fn spellings_of_one_url_are_equal() {
        assert_eq!(url("HTTP://GPU-1:8000/").unwrap(), "http://gpu-1:8000");
        assert_eq!(url("http://[::1]:8000/base/").unwrap(), "http://[::1]:8000/base");
        assert_eq!(url("https://vllm.example.org").unwrap(), "https://vllm.example.org");
    }

    #[test]
    fn urls_that_would_send_requests_astray_are_refused() {
        for bad in [
            "",
            "10.0.0.11:8000",
            "/v1",
            "ftp://h",
            "http://",
            "http://h:0",
            "http://h:99999",
            "http://h:",
            "http://h?x=1",
            "http://h/#x",
            "http://h/a/../b",
            "http://h/%61",
            "http://h//b",
            "http://hö",
        ] {
            assert!(url(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_password_in_a_url_is_not_repeated() {
        let error = url("http://me:hunter2@h:8000").unwrap_err();
        assert!(!error.contains("hunter2"), "{error}");
    }

    #[test]
    fn listeners_collide_as_the_kernel_says() {
        let collide = |a: &str, b: &str| {
            let address = |text: &str| ListenAddr::try_from(text.to_owned()).unwrap();
            address(a).collides(&address(b))
        };
        assert!(collide("127.0.0.1:1", "localhost:1"));
        assert!(collide("0.0.0.0:1", "127.0.0.1:1"));
        assert!(collide("[::]:1", "127.0.0.1:1"));
        assert!(!collide("0.0.0.0:1", "[::1]:1"));
        assert!(!collide("127.0.0.1:1", "127.0.0.1:2"));
        assert!(!collide("127.0.0.1:0", "127.0.0.1:0"));
    }

    #[test]
    fn networks_and_origins_are_checked() {
        let network = |text: &str| Network::try_from(text.to_owned()).map(|network| network.to_string());
        assert_eq!(network("10.1.2.3/8").unwrap(), "10.0.0.0/8");
        assert_eq!(network("10.1.2.3").unwrap(), "10.1.2.3/32");
        assert!(network("10.0.0.0/33").is_err());
        let origin = |text: &str| Origin::try_from(text.to_owned()).map(|origin| origin.to_string());
        assert_eq!(origin("https://App.example.org:8443").unwrap(), "https://app.example.org:8443");
        assert_eq!(origin("*").unwrap(), "*");
        for bad in ["app.example.org", "https://a/", "https://a/b", "https://u@a", "null"] {
            assert!(origin(bad).is_err(), "{bad}");
        }
    }
}
