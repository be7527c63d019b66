//! Secrets in files that everybody may read, and files that are here and of no use.
#![allow(clippy::unwrap_used)]

mod support;

use std::{fs, os::unix::fs::PermissionsExt};

use vllm_gateway_config::{Blocks, Config, Severity};
use vllm_gateway_sdk::Services;

/// A configuration that names files, an upstream last.
const FILES: &str = r#"[server]
tls = { cert = "cert.pem", key = "key.pem" }
[admin]
token = "file:token"
[pipelines.default]
filters = ["auth", "model-route"]
[filters.auth]
[filters.model-route]
models = { "m" = "main" }
[upstreams.main]
endpoints = [{ url = "http://127.0.0.1:8000" }]
api_key = "file:vllm.key"
"#;

#[test]
fn a_secret_that_every_user_of_the_machine_may_open_is_a_warning() {
    let folder = tempfile::TempDir::new().unwrap();
    fs::write(folder.path().join("gateway.toml"), FILES).unwrap();
    let warned = |mode: u32| {
        for name in ["cert.pem", "key.pem", "token", "vllm.key"] {
            let path = folder.path().join(name);
            fs::write(&path, "hush-hush-hush-hush").unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        }
        let loaded = Config::load(&folder.path().join("gateway.toml"), &Services::inert(), None);
        let about = |text: &String| text.contains("every user");
        let said: Vec<String> = loaded.diagnostics.iter().map(ToString::to_string).filter(about).collect();
        assert!(loaded.diagnostics.iter().all(|said| said.severity == Severity::Warning), "{said:?}");
        assert!(!said.concat().contains("hush"), "{said:?}");
        said
    };
    assert_eq!(warned(0o600), Vec::<String>::new());
    assert_eq!(warned(0o640), Vec::<String>::new());
    let said = warned(0o644);
    assert_eq!(said.len(), 3, "{said:?}");
    for (place, name) in [(":2:", "key.pem"), (":4:", "token"), (":12:", "vllm.key")] {
        assert!(said.iter().any(|line| line.contains(place) && line.contains(name)), "{name}: {said:?}");
    }
}

#[test]
fn files_of_no_use_are_warnings_that_keep_the_gateway_from_a_start() {
    let folder = tempfile::TempDir::new().unwrap();
    let text = format!("{FILES}ca = \"cert.pem\"\n");
    let file = |name: &str, content: &str| {
        let path = folder.path().join(name);
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    };
    let look = |content: &str| {
        for name in ["cert.pem", "key.pem", "token", "vllm.key"] {
            file(name, content);
        }
        Config::from_text("gateway.toml", &text, folder.path(), &Services::inert(), None)
    };
    let loaded = look("\n");
    assert!(loaded.config.is_some(), "{:?}", loaded.diagnostics);
    let said: Vec<String> = loaded.in_the_way_of(Blocks::Start).iter().map(ToString::to_string).collect();
    for (line, wanted) in said.iter().zip([
        ("gateway.toml:2:16: error: server: `tls.cert`: ", "cert.pem` holds no certificate in PEM"),
        ("gateway.toml:2:34: error: server: `tls.key`: ", "key.pem` holds no private key in PEM"),
        ("gateway.toml:4:9: error: admin: `token`: the secret file ", "token` is empty"),
        ("gateway.toml:12:11: error: upstream `main`: `api_key`: the secret file ", "vllm.key` is empty"),
        ("gateway.toml:13:6: error: upstream `main`: `ca`: ", "cert.pem` holds no certificate in PEM"),
    ]) {
        assert!(line.starts_with(wanted.0) && line.contains(wanted.1), "{line}");
    }
    assert_eq!(said.len(), 5, "{said:#?}");
    let on_reload = loaded.in_the_way_of(Blocks::Reload);
    assert!(
        on_reload.iter().all(|problem| problem.message.starts_with("upstream `main`: ")),
        "{on_reload:?}"
    );
    assert_eq!(on_reload.len(), 2, "what needs a restart is not read by a reload");

    let hushed = look("-----BEGIN PRIVATE KEY-----\nhush!\n-----END PRIVATE KEY-----\n");
    assert!(!format!("{:?}", hushed.diagnostics).contains("hush"), "{:?}", hushed.diagnostics);
}

#[test]
fn a_certificate_and_its_key_are_nothing_to_tell_of() {
    let text = r#"[server]
tls = { cert = "cert.pem", key = "key.pem" }
[pipelines.default]
filters = ["auth", "model-route"]
[filters.auth]
[filters.model-route]
models = { "m" = "main" }
[upstreams.main]
endpoints = [{ url = "http://127.0.0.1:8000" }]
"#;
    let base = std::path::Path::new("../../tests/tls");
    let loaded = Config::from_text("gateway.toml", text, base, &Services::inert(), None);
    assert_eq!(loaded.in_the_way_of(Blocks::Start), []);
}

#[test]
fn secrets_that_are_here_and_cannot_be_used_keep_the_gateway_from_a_start_and_are_not_shown() {
    let folder = tempfile::TempDir::new().unwrap();
    let text = FILES.replace("tls = { cert = \"cert.pem\", key = \"key.pem\" }\n", "")
        + "[store]\nkind = \"mongodb\"\nuri = \"file:uri\"\n";
    let look = |token: &str, uri: &str| {
        for (name, secret) in [("token", token), ("uri", uri), ("vllm.key", "x")] {
            let path = folder.path().join(name);
            fs::write(&path, secret).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        }
        let loaded = Config::from_text("gateway.toml", &text, folder.path(), &Services::inert(), None);
        assert!(loaded.diagnostics.iter().all(|said| said.severity == Severity::Warning));
        let said: Vec<String> = loaded.in_the_way_of(Blocks::Start).iter().map(ToString::to_string).collect();
        said
    };
    let (token, uri) = ("sixteen-letters!", "mongodb://user:p%40ss@db-1:27017,[::1]:27018/admin?tls=true");
    assert_eq!(look(token, uri), [""; 0]);
    assert_eq!(look(token, "mongodb+srv://db.example"), [""; 0]);
    let said = look("fifteen-letters", uri);
    assert!(said.len() == 1 && said[0].contains("fewer than 16 characters"), "{said:?}");
    assert!(!said[0].contains("fifteen"), "{said:?}");
    for wrong in [
        "mongodb//x",
        "http://x",
        "mongodb://",
        "mongodb:///admin",
        "mongodb://user:secret@",
        "mongodb://a,,b",
        "mongodb://secret:port",
        "mongodb://a:0",
    ] {
        let said = look(token, wrong);
        assert!(said.len() == 1 && said[0].contains("not the address of a MongoDB"), "{wrong}: {said:?}");
        assert!(!said[0].contains("secret"), "{said:?}");
    }
}
