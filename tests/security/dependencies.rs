//! What is built in: no second TLS provider, no HTTP/2, and nothing that follows, unpacks or stores unasked.

use std::{collections::BTreeMap, process::Command};

/// Every package of the binary with its features.
fn tree() -> BTreeMap<String, Vec<String>> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| env!("CARGO").to_owned());
    let output = Command::new(cargo)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(["tree", "--package", "vllm-gateway", "--edges", "normal,build", "--offline", "--locked"])
        .args(["--prefix", "none", "--format", "{p}|{f}"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut packages: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in String::from_utf8(output.stdout).unwrap().lines().filter(|line| !line.is_empty()) {
        let (package, features) = line.split_once('|').unwrap();
        let name = package.split(' ').next().unwrap().to_owned();
        let features = features.trim_end_matches(" (*)").split(',').filter(|feature| !feature.is_empty());
        packages.entry(name).or_default().extend(features.map(str::to_owned));
    }
    packages
}

#[test]
fn what_must_not_be_built_in_is_not() {
    let tree = tree();
    assert!(tree.len() > 100 && tree.contains_key("salvo_core"), "the tree was not read: {}", tree.len());
    for (package, why) in [
        ("h2", "a plaintext port would take HTTP/2, too"),
        ("quinn", "HTTP/3 has other limits"),
        ("aws-lc-rs", "rustls has one provider, ring"),
        ("aws-lc-sys", "rustls has one provider, ring"),
        ("openssl", "rustls has one provider, ring"),
        ("openssl-sys", "rustls has one provider, ring"),
        ("native-tls", "rustls has one provider, ring"),
        ("cookie_store", "the client keeps no cookies"),
        ("async-compression", "an answer is not unpacked"),
        ("brotli", "an answer is not unpacked"),
        ("zstd", "an answer is not unpacked"),
        ("system-configuration", "the system's proxy is not asked"),
        ("tungstenite", "there are no web sockets"),
    ] {
        assert!(!tree.contains_key(package), "`{package}` is built in: {why} (cargo tree -i {package})");
    }
}

#[test]
fn features_that_must_stay_off_are_off() {
    let tree = tree();
    for (package, off) in [
        (
            "reqwest",
            "http2 http3 cookies gzip brotli zstd deflate system-proxy default-tls native-tls json multipart socks \
             hickory-dns default rustls",
        ),
        (
            "salvo",
            "http2 http2-cleartext quinn aws-lc-rs native-tls openssl acme compression default test serve-static proxy session",
        ),
        ("salvo_core", "http2 http2-cleartext quinn aws-lc-rs native-tls openssl default test"),
        ("hyper", "http2 full"),
        ("hyper-util", "http2 client-proxy-system full"),
        ("hyper-rustls", "http2 aws-lc-rs native-tokio"),
        (
            "mongodb",
            "opentelemetry tracing-unstable openssl-tls default snappy-compression zlib-compression zstd-compression",
        ),
        ("rustls", "aws_lc_rs aws-lc-rs fips brotli zlib"),
        ("tokio-rustls", "aws_lc_rs aws-lc-rs"),
    ] {
        let on = tree.get(package).unwrap_or_else(|| panic!("there is no `{package}`"));
        for feature in off.split_whitespace() {
            assert!(!on.iter().any(|on| on == feature), "`{package}` has the feature `{feature}`: {on:?}");
        }
    }
}

/// Without unwinding a panic of one request would be the end of all.
#[test]
fn panics_unwind_in_every_profile() {
    let manifest = include_str!("../../Cargo.toml").parse::<toml::Table>().unwrap();
    for (name, profile) in manifest["profile"].as_table().unwrap() {
        assert_ne!(profile.get("panic").and_then(toml::Value::as_str), Some("abort"), "[profile.{name}]");
    }
}
