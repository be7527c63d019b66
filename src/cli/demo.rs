//! `vllm-gateway demo`: the main job, with nothing to install and no file to edit.

use std::{net::SocketAddr, path::Path, time::Duration};

use anyhow::Context;
use serde_json::{Value, json};
use vllm_gateway_simulator::{Options, Simulator, Speed};

use super::{
    Failure,
    address::address,
    print,
    run::{Signals, serve, start},
    runtime,
};

const MODEL: &str = "Qwen3-32B";

/// Options of `demo`.
#[derive(clap::Args)]
pub(super) struct Args {
    /// Where OpenAI clients are served.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080", value_parser = address)]
    listen: SocketAddr,
    /// Where the admin REST and its page are served [default: a free port of 127.0.0.1].
    #[arg(long, value_name = "ADDR", value_parser = address)]
    admin_listen: Option<SocketAddr>,
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let folder = tempfile::Builder::new()
        .prefix("vllm-gateway-demo")
        .tempdir()
        .context("cannot make a temporary folder")?;
    let runtime = runtime()?;
    let done = runtime.block_on(demonstrate(args, folder.path()));
    runtime.shutdown_background();
    done
}

async fn demonstrate(args: &Args, folder: &Path) -> Result<(), Failure> {
    let options = Options {
        models: vec![MODEL.into()],
        speed: Speed { ttft: Duration::from_millis(200), itl: Duration::from_millis(30), jitter: 0.0 },
        ..Options::default()
    };
    let simulator = Simulator::start(options).await.context("cannot start the simulated vLLM")?;
    let path = folder.join("gateway.toml");
    std::fs::write(&path, config(args, &simulator.url()))?;
    let signals = Signals::listen()?;
    let gateway = start(&path).await?;
    if !gateway.ready(Duration::from_secs(5)).await {
        return Err(anyhow::anyhow!("the gateway did not become ready").into());
    }
    let token =
        std::fs::read_to_string(folder.join("data/admin.token")).context("cannot read the admin token")?;
    let admin = format!("http://{}", gateway.admin_address());
    let key = create_app(&admin, token.trim()).await.context("cannot create an app")?;
    print(&instructions(&format!("http://{}", gateway.data_address()), &admin, token.trim(), &key))?;
    let done = serve(gateway, signals).await;
    simulator.shutdown().await;
    done
}

fn config(args: &Args, vllm: &str) -> String {
    let listen = args.listen;
    let admin = args.admin_listen.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 0)));
    // Who names the address on the command line means it.
    let public = args.admin_listen.is_some();
    format!(
        r#"[server]
listen = "{listen}"
shutdown_grace = "2s"

[admin]
listen = "{admin}"
allow_public = {public}

[pipelines.default]
filters = ["access-log", "auth", "model-route"]

[filters.access-log]
[filters.auth]
[filters.model-route]
models = {{ "{MODEL}" = "simulated" }}

[upstreams.simulated]
endpoints = [{{ url = "{vllm}" }}]
"#
    )
}

/// Creates an app as an administrator would: by the admin REST.
async fn create_app(admin: &str, token: &str) -> anyhow::Result<String> {
    let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(5)).build()?;
    let body = json!({"orgName": "demo", "remark": "made by `vllm-gateway demo`"}).to_string();
    let request = client.post(format!("{admin}/api/apps")).bearer_auth(token);
    let answer =
        request.header("content-type", "application/json").body(body).send().await?.error_for_status()?;
    let app: Value = serde_json::from_slice(&answer.bytes().await?)?;
    Ok(app.get("apiKey").and_then(Value::as_str).context("the answer has no apiKey")?.to_owned())
}

fn instructions(data: &str, admin: &str, token: &str, key: &str) -> String {
    format!(
        r#"The demonstration is running: a client, the gateway, and a simulated vLLM that answers nonsense.

Ask for an answer:

  curl {data}/v1/chat/completions -H 'Authorization: Bearer {key}' \
    -H 'Content-Type: application/json' \
    -d '{{"model":"{MODEL}","messages":[{{"role":"user","content":"Say hello"}}],"max_tokens":16}}'

The same as a stream:

  curl -N {data}/v1/chat/completions -H 'Authorization: Bearer {key}' \
    -H 'Content-Type: application/json' \
    -d '{{"model":"{MODEL}","messages":[{{"role":"user","content":"Say hello"}}],"max_tokens":64,"stream":true}}'

See who asked for what, and how many tokens it took:

  curl '{admin}/api/logs?pageSize=5' -H 'Authorization: Bearer {token}'

  base URL for OpenAI clients   {data}/v1
  API key                       {key}
  admin, in a browser           {admin}/
  admin token                   {token}

Ctrl-C ends it; nothing is kept.
"#
    )
}
