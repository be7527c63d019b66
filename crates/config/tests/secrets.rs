//! Secrets in files that everybody may read.
#![allow(clippy::unwrap_used)]

mod support;

use std::{fs, os::unix::fs::PermissionsExt};

use vllm_gateway_config::{Config, Severity};
use vllm_gateway_sdk::Services;

#[test]
fn a_secret_that_every_user_of_the_machine_may_open_is_a_warning() {
    let folder = tempfile::TempDir::new().unwrap();
    let text = r#"[server]
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
    fs::write(folder.path().join("gateway.toml"), text).unwrap();
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
