//! The command line, as people and scripts use it.
#![allow(clippy::unwrap_used, missing_docs)]

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::Path,
    process::{Command, Output, Stdio},
};

fn run(folder: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vllm-gateway"));
    command.current_dir(folder).args(args).env_remove("RUST_LOG").output().unwrap()
}

fn here() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// The reference file with one text replaced, in a folder of its own.
fn changed(from: &str, to: &str) -> tempfile::TempDir {
    let text = std::fs::read_to_string(here().join("gateway.toml")).unwrap();
    assert!(text.contains(from), "gateway.toml has no `{from}`");
    let folder = tempfile::TempDir::new().unwrap();
    std::fs::write(folder.path().join("gateway.toml"), text.replace(from, to)).unwrap();
    folder
}

#[test]
fn the_reference_file_is_sound_and_its_pipeline_is_drawn() {
    let checked = run(here(), &["check", "--deny-warnings"]);
    assert_eq!(checked.status.code(), Some(0), "{}", out(&checked));
    let picture = out(&checked);
    for word in ["pipeline default", "access-log", "auth", "model-route"] {
        assert!(picture.contains(word), "{picture}");
    }
}

#[test]
fn a_misspelt_filter_is_shown_where_it_stands() {
    let folder = changed("\"access-log\", \"auth\"", "\"access-log\", \"auht\"");
    let checked = run(folder.path(), &["check"]);
    assert_eq!(checked.status.code(), Some(2));
    let text = out(&checked);
    let line = std::fs::read_to_string(folder.path().join("gateway.toml")).unwrap();
    let line = line.lines().position(|line| line.contains("auht")).unwrap() + 1;
    assert!(
        text.contains(&format!("gateway.toml:{line}:")) && text.contains("did you mean `auth`?"),
        "{text}"
    );
}

#[test]
fn a_log_inside_of_auth_is_a_warning_and_no_router_an_error() {
    let folder =
        changed("[\"access-log\", \"auth\", \"model-route\"]", "[\"auth\", \"access-log\", \"model-route\"]");
    assert_eq!(run(folder.path(), &["check"]).status.code(), Some(0));
    let strict = run(folder.path(), &["check", "--deny-warnings"]);
    assert_eq!(strict.status.code(), Some(2));
    assert!(out(&strict).contains("warning:"), "{}", out(&strict));
    let folder = changed("[\"access-log\", \"auth\", \"model-route\"]", "[\"access-log\", \"auth\"]");
    assert_eq!(run(folder.path(), &["check"]).status.code(), Some(2));
}

#[test]
fn check_speaks_json_for_machines() {
    let folder = changed("listen = \"127.0.0.1:8081\"", "lisen = \"127.0.0.1:8081\"");
    let checked = run(folder.path(), &["check", "--format", "json"]);
    assert_eq!(checked.status.code(), Some(2));
    let problems: serde_json::Value = serde_json::from_str(&out(&checked)).unwrap();
    assert_eq!(problems[0]["severity"], "error");
    assert!(problems[0]["line"].is_u64() && problems[0]["column"].is_u64(), "{problems}");
}

/// What is seen of a command at a terminal.
fn at_a_terminal(folder: &Path, args: &[&str]) -> String {
    let spawn = "import pty, sys; pty.spawn(sys.argv[1:])";
    let mut command = Command::new("python3");
    command.current_dir(folder).args(["-c", spawn, env!("CARGO_BIN_EXE_vllm-gateway")]).args(args);
    let output = command.stdin(Stdio::null()).env_remove("RUST_LOG").output().unwrap();
    assert!(output.status.success(), "{}", err(&output));
    out(&output).replace("\r\n", "\n")
}

#[test]
fn problems_are_pointed_at_on_a_terminal_and_one_line_each_elsewhere() {
    let folder = changed("max_body_size", "max_body_sise");
    let text = std::fs::read_to_string(folder.path().join("gateway.toml")).unwrap();
    let (index, line) = text.lines().enumerate().find(|(_, line)| line.contains("max_body_sise")).unwrap();
    let number = index + 1;
    let problem = format!(
        "gateway.toml:{number}:1: error: server: unknown field `max_body_sise`, did you mean `max_body_size`?\n"
    );
    let picture =
        format!("  {number} | {line}\n  {} | {}\n", " ".repeat(number.to_string().len()), "^".repeat(13));
    assert_eq!(
        at_a_terminal(folder.path(), &["check"]),
        format!("{problem}{picture}\ngateway.toml: 1 error, 0 warnings\n")
    );
    assert_eq!(at_a_terminal(folder.path(), &["run"]), format!("{problem}{picture}"));
    assert_eq!(out(&run(folder.path(), &["check"])), format!("{problem}gateway.toml: 1 error, 0 warnings\n"));
    assert_eq!(err(&run(folder.path(), &["run"])), problem);
}

#[test]
fn the_file_can_be_named_with_an_option_before_or_after_the_command_or_without() {
    let folder = changed("max_body_size", "max_body_sise");
    for args in [
        &["check", "gateway.toml"][..],
        &["check", "-c", "gateway.toml"],
        &["-c", "gateway.toml", "check"],
        &["run", "gateway.toml"],
        &["run", "--config", "gateway.toml"],
        &["-c", "gateway.toml"],
    ] {
        let there = run(folder.path(), args);
        assert_eq!(there.status.code(), Some(2), "{args:?}");
        assert!(format!("{}{}", out(&there), err(&there)).contains("max_body_sise"), "{args:?}");
    }
    for twice in
        [&["check", "gateway.toml", "-c", "other.toml"][..], &["-c", "other.toml", "check", "gateway.toml"]]
    {
        let refused = run(folder.path(), twice);
        assert_eq!((refused.status.code(), out(&refused)), (Some(2), String::new()), "{twice:?}");
    }
    assert!(
        out(&run(folder.path(), &["check", "other.toml"]))
            .contains("other.toml: error: cannot read the file")
    );
}

#[test]
fn only_commands_that_read_a_configuration_offer_to_name_one() {
    for (command, reads) in [
        ("run", true),
        ("check", true),
        ("demo", false),
        ("simulate", false),
        ("plugins", false),
        ("schema", false),
        ("completions", false),
    ] {
        assert_eq!(out(&run(here(), &[command, "--help"])).contains("--config"), reads, "{command}");
    }
    for args in [&["-c", "gateway.toml", "schema"][..], &["schema", "-c", "gateway.toml"]] {
        let refused = run(here(), args);
        assert_eq!(refused.status.code(), Some(2), "{args:?}");
        assert!(err(&refused).contains("error: "), "{}", err(&refused));
    }
}

#[test]
fn an_invalid_file_does_not_start_and_says_why() {
    let folder = changed("max_body_size", "max_body_sise");
    let started = run(folder.path(), &["run"]);
    assert_eq!(started.status.code(), Some(2));
    assert!(err(&started).contains("did you mean `max_body_size`?"), "{}", err(&started));
    assert!(!folder.path().join("data").exists(), "nothing was touched");
}

#[test]
fn what_a_start_needs_and_does_not_find_is_told_at_its_place_as_check_tells_it() {
    let folder = tempfile::TempDir::new().unwrap();
    let text = r#"[server]
tls = { cert = "cert.pem", key = "key.pem" }
[pipelines.default]
filters = ["auth", "model-route"]
[filters.auth]
[filters.model-route]
models = { "m" = { upstream = "main", fallbacks = ["n"] }, "n" = "main" }
[upstreams.main]
endpoints = [{ url = "http://127.0.0.1:9" }]
api_key = "env:SURELY_NOT_SET_HERE"
"#;
    std::fs::write(folder.path().join("gateway.toml"), text).unwrap();
    let checked = run(folder.path(), &["check"]);
    assert_eq!(checked.status.code(), Some(0), "{}", out(&checked));
    let started = run(folder.path(), &["run"]);
    assert_eq!(started.status.code(), Some(2), "{}", err(&started));
    for problem in [
        "gateway.toml:2:16: KIND: server: `tls.cert`: cannot read `./cert.pem`: ",
        "gateway.toml:2:34: KIND: server: `tls.key`: cannot read `./key.pem`: ",
        "gateway.toml:10:11: KIND: upstream `main`: `api_key`: the environment variable `SURELY_NOT_SET_HERE` is not set",
    ] {
        assert!(out(&checked).contains(&problem.replace("KIND", "warning")), "{problem}: {}", out(&checked));
        assert!(err(&started).contains(&problem.replace("KIND", "error")), "{problem}: {}", err(&started));
    }
    assert!(!folder.path().join("data").exists(), "nothing was touched");
}

#[test]
fn without_a_file_the_error_names_the_places_and_the_demo() {
    let folder = tempfile::TempDir::new().unwrap();
    let started = run(folder.path(), &[]);
    assert_eq!(started.status.code(), Some(2));
    assert!(err(&started).contains("demo"), "{}", err(&started));
}

#[test]
fn every_folder_under_plugins_is_linked() {
    let listed = out(&run(here(), &["plugins"]));
    for entry in std::fs::read_dir(here().join("plugins")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(
            listed.contains(&name),
            "`{name}` is not linked; its line in src/plugins.rs is missing:\n{listed}"
        );
    }
}

#[test]
fn a_plugins_options_are_explained_and_an_unknown_name_is_not_guessed() {
    let explained = out(&run(here(), &["plugins", "model-route"]));
    assert!(explained.contains("default_model") && explained.contains("models"), "{explained}");
    let unknown = run(here(), &["plugins", "model-rout"]);
    assert_eq!(unknown.status.code(), Some(2));
    assert!(err(&unknown).contains("did you mean `model-route`?"), "{}", err(&unknown));
}

#[test]
fn the_schema_has_the_sections_and_the_plugins_options() {
    let schema: serde_json::Value = serde_json::from_str(&out(&run(here(), &["schema"]))).unwrap();
    for section in ["server", "admin", "store", "pipelines", "filters", "upstreams"] {
        assert!(schema["properties"][section].is_object(), "{section}");
    }
    assert!(schema.to_string().contains("retention"));
}

#[test]
fn usage_is_as_usual() {
    assert_eq!(run(here(), &["--help"]).status.code(), Some(0));
    assert!(out(&run(here(), &["--version"])).starts_with(concat!(
        "vllm-gateway ",
        env!("CARGO_PKG_VERSION"),
        " ("
    )));
    assert_eq!(run(here(), &["--nonsense"]).status.code(), Some(2));
    assert!(out(&run(here(), &["completions", "bash"])).contains("vllm-gateway"));
}

#[test]
fn the_demo_serves_what_it_prints_and_ends_when_told() {
    let mut demo = Command::new(env!("CARGO_BIN_EXE_vllm-gateway"))
        .args(["demo", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.2:0"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(demo.stdout.take().unwrap());
    let mut text = String::new();
    while !text.contains("Ctrl-C") {
        assert!(said.read_line(&mut text).unwrap() > 0, "the demo ended: {text}");
    }
    let after = |label: &str| {
        text.lines().find_map(|line| Some(line.split_once(label)?.1.trim().to_owned())).unwrap()
    };
    let key = after("API key");
    assert!(after("admin, in a browser").starts_with("http://127.0.0.2:"), "{text}");
    let address = after("base URL for OpenAI clients").replace("http://", "").replace("/v1", "");
    let body = r#"{"model":"Qwen3-32B","messages":[{"role":"user","content":"hi"}],"max_tokens":2}"#;
    // The README says so: what is no HTTP gets a bare 400.
    let mut socket = TcpStream::connect(&address).unwrap();
    socket.write_all(b"NONSENSE\r\n\r\n").unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 400 ") && answer.ends_with("\r\n\r\n"), "{answer}");
    let mut socket = TcpStream::connect(address).unwrap();
    write!(
        socket,
        "POST /v1/chat/completions HTTP/1.1\r\nHost: demo\r\nAuthorization: Bearer {key}\r\n\
         Content-Type: application/json\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("\"completion_tokens\":2"), "{answer}");
    assert!(Command::new("kill").args(["-TERM", &demo.id().to_string()]).status().unwrap().success());
    assert_eq!(demo.wait().unwrap().code(), Some(0));
}

#[test]
fn sighup_reloads_and_sigterm_ends_in_order() {
    let folder = changed("0.0.0.0:8080", "127.0.0.1:0");
    let file = folder.path().join("gateway.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("127.0.0.1:8081", "127.0.0.1:0")).unwrap();
    let mut gateway = Command::new(env!("CARGO_BIN_EXE_vllm-gateway"))
        .args(["--log-format", "json", "-c"])
        .arg(&file)
        .env_remove("RUST_LOG")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(gateway.stderr.take().unwrap());
    let mut wait_for = |word: &str| {
        let mut line = String::new();
        while !line.contains(word) {
            line.clear();
            assert!(said.read_line(&mut line).unwrap() > 0, "it ended before it said `{word}`");
        }
        line
    };
    let id = gateway.id().to_string();
    let tell = |signal: &str| assert!(Command::new("kill").args([signal, &id]).status().unwrap().success());
    wait_for("\"serving\"");
    // The file is the same, so it is the signal that is heard, not the watch on the file.
    tell("-HUP");
    let line = wait_for("configuration reloaded");
    assert!(!line.contains("changed") && !line.contains("needs_restart"), "{line}");
    // Now it has changed; whether the signal or the watch on the file is first, it is said as names.
    let text = std::fs::read_to_string(&file).unwrap();
    let other = text.replace(
        "max_body_size = \"32MiB\"",
        "max_body_size = \"31MiB\"\nmax_connections = 7\nbody_timeout = \"31s\"",
    );
    assert_ne!(text, other);
    std::fs::write(&file, other).unwrap();
    tell("-HUP");
    let line = wait_for("configuration reloaded");
    for said in [
        "\"changed\":\"server.body_timeout, server.max_body_size\"",
        "\"needs_restart\":\"server.max_connections\"",
    ] {
        assert!(line.contains(said), "{line}");
    }
    tell("-TERM");
    wait_for("\"done\"");
    assert_eq!(gateway.wait().unwrap().code(), Some(0));
}

/// A gateway that listens anywhere, with what else stands in its file.
fn file_with(rest: &str) -> tempfile::TempDir {
    let folder = tempfile::TempDir::new().unwrap();
    let text = format!(
        "[server]\nlisten = \"127.0.0.1:0\"\n[pipelines.default]\nfilters = [\"access-log\", \"auth\", \"model-route\"]\n\
         [filters.access-log]\n[filters.auth]\n[filters.model-route]\nmodels = {{ \"m\" = \"main\" }}\n\
         [upstreams.main]\nendpoints = [{{ url = \"http://127.0.0.1:9\" }}]\n{rest}"
    );
    std::fs::write(folder.path().join("gateway.toml"), text).unwrap();
    folder
}

#[test]
fn a_secret_that_a_start_would_refuse_is_told_by_check() {
    let folder = file_with("[admin]\nlisten = \"127.0.0.1:0\"\ntoken = \"file:token\"\n");
    std::fs::write(folder.path().join("token"), "fifteen-letters").unwrap();
    let checked = out(&run(folder.path(), &["check"]));
    assert!(checked.contains("warning: admin: `token`: the admin token has fewer than 16"), "{checked}");
    let started = run(folder.path(), &["run"]);
    assert_eq!(started.status.code(), Some(2), "{}", err(&started));
    assert!(err(&started).contains("error: admin: `token`: the admin token has fewer than 16"));
}

#[test]
fn what_a_cause_repeats_is_said_once() {
    let folder = file_with("[admin]\nlisten = \"127.0.0.1:0\"\n[store]\npath = \"data/gateway.db\"\n");
    // A file is in the place of the folder.
    std::fs::write(folder.path().join("data"), "").unwrap();
    let said = err(&run(folder.path(), &["run"]));
    assert_eq!(said.matches("(os error").count(), 1, "{said}");
}

#[test]
fn a_warning_of_the_file_is_logged_once_at_the_start_and_once_by_each_reload() {
    let folder = file_with(
        "[admin]\nlisten = \"127.0.0.1:0\"\n[upstreams.idle]\nendpoints = [{ url = \"http://127.0.0.1:8\" }]\n",
    );
    let mut gateway = Command::new(env!("CARGO_BIN_EXE_vllm-gateway"))
        .args(["run", "--log-format", "json"])
        .current_dir(folder.path())
        .env_remove("RUST_LOG")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(gateway.stderr.take().unwrap());
    let mut warnings_until = |word: &str| {
        let (mut line, mut warnings) = (String::new(), 0);
        while !line.contains(word) {
            line.clear();
            assert!(said.read_line(&mut line).unwrap() > 0, "it ended before it said `{word}`");
            warnings += line.matches("upstream `idle` is not used").count();
        }
        warnings
    };
    let id = gateway.id().to_string();
    let tell = |signal: &str| assert!(Command::new("kill").args([signal, &id]).status().unwrap().success());
    assert_eq!(warnings_until("\"serving\""), 1);
    tell("-HUP");
    assert_eq!(warnings_until("configuration reloaded"), 1);
    tell("-TERM");
    assert_eq!(warnings_until("\"done\""), 0);
    assert_eq!(gateway.wait().unwrap().code(), Some(0));
}
