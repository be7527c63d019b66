//! Builds the filters, and keeps those of the configuration before that have not changed.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::Value as Json;
use vllm_gateway_sdk::{BuildCx, Filter, Services};

use crate::{Config, draft::Draft, options_value::to_json, report::Report};

/// A filter that was built.
#[derive(Clone)]
pub(crate) struct BuiltFilter {
    pub(crate) plugin: &'static str,
    pub(crate) options: Json,
    pub(crate) filter: Arc<dyn Filter>,
}

/// Builds every filter of the file, used or not. What fails is reported and absent.
pub(crate) fn build(
    draft: &Draft<'_>,
    services: &Services,
    reuse: Option<&Config>,
    report: &mut Report,
) -> BTreeMap<String, BuiltFilter> {
    let upstreams: Vec<&str> = draft.upstreams.iter().map(|upstream| upstream.name.as_str()).collect();
    let mut filters = BTreeMap::new();
    for draft in &draft.filters {
        let Some(plugin) = draft.plugin else { continue };
        let cx = BuildCx::new(&draft.name, services, &upstreams);
        let built = (plugin.build)(&draft.value, &cx);
        let sound = built.problems.is_empty();
        let what = format!("filter `{}`", draft.name);
        report.problems(built.problems, &draft.place, &what);
        report.warnings(built.warnings, &draft.place, &what);
        let Some(filter) = built.filter.filter(|_| sound) else { continue };
        let options = to_json(&draft.value);
        // Built anew in any case: the options may be the same while an upstream that they name is gone.
        let kept = reuse
            .and_then(|old| old.filters.get(&draft.name))
            .filter(|old| old.plugin == plugin.name && old.options == options)
            .map(|old| Arc::clone(&old.filter));
        let filter = kept.unwrap_or(filter);
        filters.insert(draft.name.clone(), BuiltFilter { plugin: plugin.name, options, filter });
    }
    filters
}
