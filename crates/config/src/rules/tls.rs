//! Certificates and keys that HTTPS is served with, and those that upstreams are checked by: whether they are here.

use std::{fs, ops::Range, path::Path, sync::Arc};

use rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::{
        CertificateDer, PrivateKeyDer,
        pem::{Error as PemError, PemObject},
    },
};

use crate::{Blocks, TlsOptions, draft::Draft, report::Report};

pub(super) fn check(draft: &Draft<'_>, base: &Path, report: &mut Report) {
    if let Some(tls) = draft.server.options.as_ref().and_then(|options| options.tls.as_ref()) {
        look_at_pair("server", tls, &|key| draft.server.at(&["tls", key]), base, report);
    }
    if let Some(tls) = draft.admin.options.as_ref().and_then(|options| options.tls.as_ref()) {
        look_at_pair("admin", tls, &|key| draft.admin.at(&["tls", key]), base, report);
    }
    for upstream in &draft.upstreams {
        let Some(path) = upstream.options.as_ref().and_then(|options| options.ca.as_ref()) else { continue };
        if let Some(Err(why)) = read(&base.join(path), certificates) {
            let message = format!("upstream `{}`: `ca`: {why}", upstream.name);
            let finding = report.warning(upstream.at(&["ca"]), message);
            finding.blocks(Blocks::Reload).hint("the gateway does not start without it");
        }
    }
}

fn look_at_pair(
    section: &str,
    tls: &TlsOptions,
    place: &dyn Fn(&str) -> Range<usize>,
    base: &Path,
    report: &mut Report,
) {
    let mut warn = |key: &str, why: &str| {
        let finding = report.warning(place(key), format!("{section}: `tls.{key}`: {why}"));
        finding.blocks(Blocks::Start).hint("the gateway does not start without it");
    };
    let (cert, key) = (base.join(&tls.cert), base.join(&tls.key));
    let (Some(certs), Some(secret)) = (read(&cert, certificates), read(&key, private_key)) else { return };
    match (certs, secret) {
        (Ok(certs), Ok(secret)) => {
            if let Err(why) = fit(certs, secret) {
                let pair = format!("`{}` does not serve with `{}`: {why}", key.display(), cert.display());
                warn("key", &pair);
            }
        }
        (certs, secret) => {
            if let Err(why) = certs {
                warn("cert", &why);
            }
            if let Err(why) = secret {
                warn("key", &why);
            }
        }
    }
}

/// What stands in a file; `None` where it can be read once only, as a pipe can.
fn read<T>(path: &Path, parse: fn(&[u8]) -> Result<T, String>) -> Option<Result<T, String>> {
    if path.metadata().is_ok_and(|found| !found.is_file() && !found.is_dir()) {
        return None;
    }
    Some(match fs::read(path) {
        Ok(bytes) => parse(&bytes).map_err(|why| format!("`{}` {why}", path.display())),
        Err(error) => Err(format!("cannot read `{}`: {error}", path.display())),
    })
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Vec<_> =
        CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().map_err(|_| "is not sound PEM")?;
    if found.is_empty() { Err("holds no certificate in PEM".to_owned()) } else { Ok(found) }
}

fn private_key(pem: &[u8]) -> Result<PrivateKeyDer<'static>, String> {
    PrivateKeyDer::from_pem_slice(pem).map_err(|error| match error {
        PemError::NoItemsFound => "holds no private key in PEM".to_owned(),
        // What it says may quote the file.
        _ => "is not sound PEM".to_owned(),
    })
}

/// Whether HTTPS can be served with the two.
fn fit(certs: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>) -> Result<(), rustls::Error> {
    let _: ServerConfig = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(certs, key)?;
    Ok(())
}
