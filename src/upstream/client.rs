//! The two ways to vLLM: ours for requests, reqwest for what is asked now and then.

use std::path::Path;

use http::HeaderValue;
use reqwest::{Certificate, Client, redirect, retry};
use vllm_gateway_client::{BadUrl, Connector, TlsError};
use vllm_gateway_config::UpstreamOptions;
use vllm_gateway_sdk::SecretError;

/// Why an upstream cannot be built.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    #[error("`api_key`: {0}")]
    Secret(#[from] SecretError),
    #[error("`api_key`: the secret holds characters that no HTTP header can carry")]
    NotAHeader,
    #[error("`ca`: cannot read `{path}`: {source}")]
    Ca { path: String, source: std::io::Error },
    #[error("cannot build the HTTP client: {0}")]
    Client(#[from] reqwest::Error),
    #[error("`ca`: `{path}`: {source}")]
    Tls { path: String, source: TlsError },
    #[error("TLS cannot be spoken: {0}")]
    NoTls(TlsError),
    #[error(transparent)]
    Url(#[from] BadUrl),
    #[error("`endpoints_file`: {0}")]
    Endpoints(String),
}

/// Whether any of its servers may be asked for by https. Who stands in the file may change at any time.
pub(crate) fn needs_tls(options: &UpstreamOptions) -> bool {
    let mut listed = options.endpoints.iter();
    options.endpoints_file.is_some() || listed.any(|endpoint| endpoint.url.as_str().starts_with("https:"))
}

/// How requests reach the upstream.
pub(super) fn connector(options: &UpstreamOptions, base: &Path) -> Result<Connector, ClientError> {
    let (timeout, most_idle) = (options.connect_timeout.get(), options.max_idle_per_endpoint);
    if !needs_tls(options) {
        return Ok(Connector::plain(timeout, most_idle));
    }
    let Some(path) = &options.ca else {
        return Connector::tls(timeout, most_idle, None).map_err(ClientError::NoTls);
    };
    let path_text = || path.display().to_string();
    let pem = authorities(base, path)?;
    Connector::tls(timeout, most_idle, Some(&pem))
        .map_err(|source| ClientError::Tls { path: path_text(), source })
}

fn authorities(base: &Path, path: &Path) -> Result<Vec<u8>, ClientError> {
    std::fs::read(base.join(path))
        .map_err(|source| ClientError::Ca { path: path.display().to_string(), source })
}

/// For what is asked of the upstream now and then.
pub(super) fn build(options: &UpstreamOptions, base: &Path) -> Result<Client, ClientError> {
    let mut builder = Client::builder()
        .redirect(redirect::Policy::none())
        .no_proxy()
        .referer(false)
        .retry(retry::never())
        .http1_only()
        .tcp_nodelay(true)
        .connect_timeout(options.connect_timeout.get())
        // vLLM closes connections that were idle for 5 s: leave earlier than it does.
        .pool_idle_timeout(std::time::Duration::from_millis(3500))
        .pool_max_idle_per_host(options.max_idle_per_endpoint);
    if let Some(path) = &options.ca {
        builder = builder.tls_certs_only(Certificate::from_pem_bundle(&authorities(base, path)?)?);
    }
    Ok(builder.build()?)
}

pub(super) fn authorization(
    options: &UpstreamOptions,
    base: &Path,
) -> Result<Option<HeaderValue>, ClientError> {
    let Some(secret) = &options.api_key else { return Ok(None) };
    let mut value = HeaderValue::try_from(format!("Bearer {}", secret.read(base)?))
        .map_err(|_| ClientError::NotAHeader)?;
    value.set_sensitive(true);
    Ok(Some(value))
}
