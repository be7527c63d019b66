//! A configuration that was checked and built.

use std::{
    collections::{BTreeMap, HashMap},
    path::{Path, PathBuf},
    sync::Arc,
};

use serde_json::Value as Json;
use vllm_gateway_sdk::{Filter, Services};

use crate::{
    AdminOptions, Change, JournalOptions, Loaded, Pattern, ServerOptions, StoreOptions, UpstreamOptions,
    build::BuiltFilter,
    change::{self, Boot},
    load, patterns,
};

/// A configuration that was checked and built.
pub struct Config {
    /// The listener for apps.
    pub server: ServerOptions,
    /// The listener for operators.
    pub admin: AdminOptions,
    /// Where apps and records are kept.
    pub store: StoreOptions,
    /// Where access-log records wait for the store.
    pub journal: JournalOptions,
    /// In the order of the file.
    pub pipelines: Vec<PipelineConfig>,
    /// By name.
    pub upstreams: BTreeMap<String, UpstreamOptions>,
    /// What relative paths are relative to: the folder of the file.
    pub base: PathBuf,
    /// All filters, also those that no pipeline uses.
    pub(crate) filters: BTreeMap<String, BuiltFilter>,
    /// What the process was started with, where a restart is needed to change it.
    pub(crate) boot: Arc<Boot>,
}

/// The filters that some routes go through.
pub struct PipelineConfig {
    /// Its name.
    pub name: String,
    /// The routes that it serves.
    pub patterns: Vec<Pattern>,
    /// Its filters, the first first.
    pub steps: Vec<Step>,
    /// Whether the file says that anybody may use it.
    pub public: bool,
}

/// A filter in a pipeline.
pub struct Step {
    /// Its name.
    pub name: String,
    /// The name of its plugin.
    pub plugin: &'static str,
    /// Its options as they stand in the file; secrets are only named there.
    pub options: Json,
    /// The filter.
    pub filter: Arc<dyn Filter>,
}

impl Config {
    /// Reads and checks the file. Of `old`, filters whose plugin and options are the same are kept as they are.
    pub fn load(path: &Path, services: &Services, old: Option<&Self>) -> Loaded {
        load::file(path, services, old)
    }

    /// The same for a text, in which relative paths are relative to `base`.
    pub fn from_text(name: &str, text: &str, base: &Path, services: &Services, old: Option<&Self>) -> Loaded {
        load::text(name, text, base, services, old)
    }

    /// For each route the index of the pipeline that serves it.
    #[must_use]
    pub fn route_map(&self) -> HashMap<&'static str, usize> {
        patterns::route_map(self.pipelines.iter().map(|pipeline| pipeline.patterns.as_slice()))
    }

    /// What is different from the configuration before.
    #[must_use]
    pub fn diff(&self, old: &Self) -> Change {
        change::between(old, self)
    }
}
