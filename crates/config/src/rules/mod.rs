//! Rules that span several places of the file. Each keeps silent where an error reported before makes it moot.

mod listeners;
mod order;
mod pipelines;
mod routes;
mod secrets;
mod tls;
mod upstreams;

use std::{collections::BTreeMap, path::Path};

use crate::{build::BuiltFilter, draft::Draft, report::Report};

/// Applies all rules. Relative paths are relative to `base`.
pub(crate) fn check(
    draft: &Draft<'_>,
    filters: &BTreeMap<String, BuiltFilter>,
    base: &Path,
    report: &mut Report,
) {
    listeners::check(draft, report);
    secrets::check(draft, base, report);
    tls::check(draft, base, report);
    upstreams::check(draft, filters, base, report);
    pipelines::check(draft, report);
    routes::check(draft, report);
}
