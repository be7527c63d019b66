//! What is written of an app, judged field by field.

use std::collections::HashSet;

use jiff::Timestamp;
use vllm_gateway_store::{AppChange, AppStatus};

use crate::fields::Fields;
use crate::problem::Problem;
use crate::query::not_among;
use crate::text::{fault_of_line, fault_of_note};
use crate::times;

const ORG_NAME: usize = 200;
const REMARK: usize = 1000;
const MODELS: usize = 1000;
const MODEL: usize = 256;
/// Thirty days.
const GRACE: u64 = 30 * 86_400;

/// The status is changed by itself, so that nobody lets an app in again by saving its form.
const STATUS_ELSEWHERE: &str = "`status` is not part of this form (a new app is enabled): change it by \
     PATCH /api/apps/{id}/status with {\"status\": \"enabled\"} or {\"status\": \"disabled\"}";

/// A good form.
pub(super) struct Form {
    pub(super) org_name: String,
    pub(super) expire_time: Option<Timestamp>,
    pub(super) remark: Option<String>,
    pub(super) allowed_models: Option<Vec<String>>,
}

impl Form {
    pub(super) fn of(mut fields: Fields) -> Result<Self, Problem> {
        if fields.has("status") {
            return Err(Problem::invalid("status", STATUS_ELSEWHERE));
        }
        fields.only(&["orgName", "expireTime", "remark", "allowedModels"])?;
        let org_name = org_name(fields.text("orgName")?)?;
        let expire_time = match fields.text("expireTime")? {
            None => None,
            Some(text) => Some(times::parse(&text).map_err(|why| Problem::invalid("expireTime", why))?),
        };
        let remark = fields.text("remark")?;
        if remark.as_ref().is_some_and(|remark| remark.chars().count() > REMARK) {
            return Err(Problem::invalid("remark", format!("must not be longer than {REMARK} characters")));
        }
        if let Some(fault) = remark.as_deref().and_then(fault_of_note) {
            return Err(Problem::invalid("remark", fault));
        }
        let allowed_models = fields.texts("allowedModels")?;
        models(allowed_models.as_deref().unwrap_or_default())?;
        Ok(Self { org_name, expire_time, remark, allowed_models })
    }

    /// An app that has expired before it is made is a mistake. One that exists may be given a time in the past:
    /// that ends it now, and an expired app must still be editable.
    pub(super) fn for_a_new_app(self) -> Result<Self, Problem> {
        if self.expire_time.is_some_and(|end| end <= Timestamp::now()) {
            return Err(Problem::invalid(
                "expireTime",
                "must lie in the future: this app could never be used",
            ));
        }
        Ok(self)
    }
}

impl From<Form> for AppChange {
    fn from(form: Form) -> Self {
        let Form { org_name, expire_time, remark, allowed_models } = form;
        Self::Details { org_name, expire_time, remark, allowed_models }
    }
}

/// The status that is wished.
pub(super) fn status(mut fields: Fields) -> Result<AppStatus, Problem> {
    fields.only(&["status"])?;
    let words = ["enabled", "disabled"];
    let sent = fields
        .text("status")?
        .ok_or_else(|| Problem::invalid("status", "is missing: `enabled` or `disabled`"))?;
    AppStatus::from_name(&sent).ok_or_else(|| not_among("status", &sent, &words))
}

/// How long the old key is to work on, in seconds.
pub(super) fn grace(mut fields: Fields) -> Result<u64, Problem> {
    fields.only(&["graceSeconds"])?;
    match fields.number("graceSeconds")?.unwrap_or(0) {
        seconds if seconds <= GRACE => Ok(seconds),
        _ => Err(Problem::invalid("graceSeconds", format!("must not be more than {GRACE} (30 days)"))),
    }
}

fn org_name(sent: Option<String>) -> Result<String, Problem> {
    let wrong = |why: &str| Err(Problem::invalid("orgName", why));
    let Some(sent) = sent else { return wrong("is missing: the name of the organisation") };
    let name = sent.trim();
    if name.is_empty() {
        return wrong("must not be empty");
    }
    if name.chars().count() > ORG_NAME {
        return wrong(&format!("must not be longer than {ORG_NAME} characters"));
    }
    match fault_of_line(name) {
        Some(fault) => wrong(fault),
        None => Ok(name.to_owned()),
    }
}

fn models(models: &[String]) -> Result<(), Problem> {
    if models.len() > MODELS {
        return Err(Problem::invalid("allowedModels", format!("must not have more than {MODELS} items")));
    }
    let mut seen = HashSet::new();
    for (at, model) in models.iter().enumerate() {
        let wrong = |why: &str| Err(Problem::invalid(format!("allowedModels[{at}]"), why));
        if model.trim().is_empty() {
            return wrong("must not be empty: to allow all models, leave `allowedModels` out");
        }
        if model.len() > MODEL {
            return wrong(&format!("must not be longer than {MODEL} bytes"));
        }
        if let Some(fault) = fault_of_line(model) {
            return wrong(fault);
        }
        if !seen.insert(model) {
            return wrong("is in the list already");
        }
    }
    Ok(())
}
