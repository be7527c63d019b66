//! What no store takes: records and apps that would break a sum, a limit or a promise.

use vllm_gateway_record::Record;

use crate::{AppChange, AppKey, KeyDigest, StoreError, StoredApp};

/// The most keys an app has at once: its current one and those in their grace time.
pub const MAX_KEYS: usize = 16;

// With at most 2^40 in one record, eight million of the largest records fit into one sum.
const MAX_TOKENS: u64 = 1 << 40;
const MAX_RECORD_TEXT: usize = 64 * 1024;
const MAX_ID: usize = 128;
const MAX_ORG_NAME: usize = 1024;
const MAX_REMARK: usize = 16 * 1024;
const MAX_ALLOWED_MODELS: usize = 256 * 1024;

// SHA-256 of nothing: an app with an empty key would let everyone in.
const DIGEST_OF_NOTHING: [u8; 32] = [
    0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f, 0xb9, 0x24, 0x27,
    0xae, 0x41, 0xe4, 0x64, 0x9b, 0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52, 0xb8, 0x55,
];

/// Why a record can never be stored.
pub(crate) fn record<S: AsRef<str>>(record: &Record<S>) -> Result<(), String> {
    if record.id.is_nil() {
        return Err("id: the nil UUID is not an id".into());
    }
    for (field, tokens) in [
        ("promptTokens", record.prompt_tokens),
        ("completionTokens", record.completion_tokens),
        ("totalTokens", record.total_tokens),
        ("cachedTokens", record.cached_tokens),
        ("reasoningTokens", record.reasoning_tokens),
    ] {
        if let Some(tokens) = tokens.filter(|&tokens| tokens > MAX_TOKENS) {
            return Err(format!("{field}: {tokens} is more than {MAX_TOKENS}"));
        }
    }
    for (field, number) in [
        ("durationMs", record.duration_ms),
        ("ttftMs", record.ttft_ms.unwrap_or(0)),
        ("requestBytes", record.request_bytes),
        ("responseBytes", record.response_bytes),
    ] {
        if i64::try_from(number).is_err() {
            return Err(format!("{field}: {number} is more than {}", i64::MAX));
        }
    }
    let text = text_length(record);
    if text > MAX_RECORD_TEXT {
        return Err(format!("its texts are {text} bytes long, {MAX_RECORD_TEXT} at most are kept"));
    }
    Ok(())
}

/// How many bytes its texts take.
pub(crate) fn text_length<S: AsRef<str>>(record: &Record<S>) -> usize {
    let always = [&record.request_id, &record.method, &record.path, &record.client_ip];
    let maybe = [
        &record.app_id,
        &record.org_name,
        &record.key_prefix,
        &record.pipeline,
        &record.model,
        &record.upstream,
        &record.endpoint,
        &record.upstream_model,
        &record.error_code,
        &record.user_agent,
    ];
    always.iter().map(|text| text.as_ref().len()).sum::<usize>()
        + maybe.into_iter().flatten().map(|text| text.as_ref().len()).sum::<usize>()
}

/// Why an app cannot be stored.
pub(crate) fn app(stored: &StoredApp) -> Result<(), StoreError> {
    let StoredApp { app, keys, .. } = stored;
    length("id", &app.id, 1, MAX_ID)?;
    details(&app.org_name, app.remark.as_deref(), app.allowed_models.as_deref())?;
    if !(1..=MAX_KEYS).contains(&keys.len()) {
        return Err(StoreError::invalid(format!(
            "keys: an app has 1 to {MAX_KEYS} keys, not {}",
            keys.len()
        )));
    }
    keys.iter().try_for_each(key)?;
    let twice = keys
        .iter()
        .enumerate()
        .any(|(at, key)| keys.iter().skip(at + 1).any(|other| other.digest == key.digest));
    if twice { Err(StoreError::conflict("keys: the same key is there twice")) } else { Ok(()) }
}

/// Why a change cannot be made, as far as it shows in the change alone.
pub(crate) fn change(change: &AppChange) -> Result<(), StoreError> {
    match change {
        AppChange::Details { org_name, remark, allowed_models, .. } => {
            details(org_name, remark.as_deref(), allowed_models.as_deref())
        }
        AppChange::Status(_) => Ok(()),
        AppChange::Rotate { new, .. } => key(new),
    }
}

/// The error for one rotation too many.
pub(crate) fn too_many_keys() -> StoreError {
    StoreError::invalid(format!(
        "the app has {MAX_KEYS} keys whose grace time has not ended: wait for the oldest, or rotate without a grace time"
    ))
}

fn details(
    org_name: &str,
    remark: Option<&str>,
    allowed_models: Option<&[String]>,
) -> Result<(), StoreError> {
    length("orgName", org_name, 1, MAX_ORG_NAME)?;
    length("remark", remark.unwrap_or_default(), 0, MAX_REMARK)?;
    let models: usize = allowed_models.unwrap_or_default().iter().map(|model| model.len() + 1).sum();
    if models > MAX_ALLOWED_MODELS {
        return Err(StoreError::invalid(format!(
            "allowedModels: longer than {MAX_ALLOWED_MODELS} bytes in all"
        )));
    }
    Ok(())
}

fn key(key: &AppKey) -> Result<(), StoreError> {
    length("keyPrefix", &key.prefix, 1, MAX_ID)?;
    if key.digest == KeyDigest::from(DIGEST_OF_NOTHING) {
        return Err(StoreError::invalid("key: an empty key is not a key"));
    }
    Ok(())
}

fn length(field: &str, text: &str, least: usize, most: usize) -> Result<(), StoreError> {
    match text.len() {
        found if found < least => Err(StoreError::invalid(format!("{field}: must not be empty"))),
        found if found > most => {
            Err(StoreError::invalid(format!("{field}: {found} bytes long, {most} at most")))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sha2::{Digest, Sha256};

    #[test]
    fn the_digest_of_nothing_is_the_one_of_an_empty_key() {
        assert_eq!(Sha256::digest(b"").as_slice(), DIGEST_OF_NOTHING);
    }

    #[test]
    fn an_app_with_an_empty_key_is_refused() {
        let new = AppKey { digest: DIGEST_OF_NOTHING.into(), prefix: "sk-live-".into(), valid_until: None };
        let change = super::change(&AppChange::Rotate { new, old_valid_until: None });
        assert!(matches!(change, Err(StoreError::Invalid { .. })));
    }
}
