//! How a plugin becomes known by name, and what it is lent while it is built.

use std::{cell::RefCell, sync::Arc};

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::DeserializeOwned;

use crate::{
    Adapters, Apps, Fact, Filter, NoAdapters, NoApps, NoRecords, RecordSink,
    decode::{self, Problem},
};

/// A filter that `gateway.toml` can name.
pub trait Plugin: Filter + Sized {
    /// Its name, in kebab case.
    const NAME: &'static str;
    /// What it does, in one line.
    const SUMMARY: &'static str;
    /// What is known of an exchange after it.
    const PROVIDES: &'static [Fact] = &[];
    /// What must be known before it.
    const REQUIRES: &'static [Fact] = &[];
    /// Whether it wants to see every outcome, and so should stand before filters that refuse.
    const OBSERVES: bool = false;
    /// Whether it looks at the body, and so makes the gateway read it: it should stand behind whoever lets requests in.
    const READS_BODY: bool = false;
    /// Whether it may stand only once in a pipeline, whatever the names of its filters: where each of two would
    /// write a record of the same request, for instance.
    const ONCE: bool = false;
    /// The statuses with which it may answer by itself.
    const REJECTS: &'static [u16] = &[];
    /// Lines of an example table, without its header. Without it one is made of the options that are required.
    const EXAMPLE: &'static str = "";
    /// Its options. Doc comments of the fields are their reference.
    type Options: DeserializeOwned + JsonSchema;

    /// Makes the filter. Without input or output, so that `check` builds exactly what `run` builds.
    fn build(options: Self::Options, cx: &BuildCx<'_>) -> Result<Self, BuildError>;
}

/// What plugins are lent.
#[derive(Clone)]
pub struct Services {
    /// Whose key is it?
    pub apps: Arc<dyn Apps>,
    /// Where records go.
    pub records: Arc<dyn RecordSink>,
    /// What do servers serve beside the models of the file?
    pub adapters: Arc<dyn Adapters>,
}

impl Services {
    /// Services that know nothing and keep nothing, for `check`.
    #[must_use]
    pub fn inert() -> Self {
        Self { apps: Arc::new(NoApps), records: Arc::new(NoRecords), adapters: Arc::new(NoAdapters) }
    }
}

/// What a plugin is lent while it is built.
pub struct BuildCx<'a> {
    instance: &'a str,
    services: &'a Services,
    upstreams: &'a [&'a str],
    warnings: RefCell<Vec<BuildError>>,
    faults: RefCell<Vec<BuildError>>,
}

impl<'a> BuildCx<'a> {
    /// For the instance of this name, where these upstreams are declared.
    #[must_use]
    pub fn new(instance: &'a str, services: &'a Services, upstreams: &'a [&'a str]) -> Self {
        Self { instance, services, upstreams, warnings: RefCell::default(), faults: RefCell::default() }
    }

    /// The name of the `[filters.NAME]` table.
    #[must_use]
    pub fn instance(&self) -> &str {
        self.instance
    }

    /// The directory of apps.
    #[must_use]
    pub fn apps(&self) -> Arc<dyn Apps> {
        Arc::clone(&self.services.apps)
    }

    /// The record writer.
    #[must_use]
    pub fn records(&self) -> Arc<dyn RecordSink> {
        Arc::clone(&self.services.records)
    }

    /// The LoRA adapters that servers tell of.
    #[must_use]
    pub fn adapters(&self) -> Arc<dyn Adapters> {
        Arc::clone(&self.services.adapters)
    }

    /// The upstream of this name, or an error that names the nearest one.
    pub fn upstream(&self, name: &str) -> Result<Arc<str>, BuildError> {
        if self.upstreams.contains(&name) {
            return Ok(name.into());
        }
        let hint = match decode::near_miss(name, self.upstreams.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("declare it as `[upstreams.{name}]`"),
        };
        Err(BuildError { hint: Some(hint), ..format!("no upstream named `{name}`").into() })
    }

    /// Tells of something that does not stop the filter from being built, and is probably not what was meant: `check`
    /// and the start print it as a warning.
    pub fn warn(&self, warning: BuildError) {
        self.warnings.borrow_mut().push(warning);
    }

    /// Tells of a mistake that keeps the filter from being built, and lets `build` go on to the next: `check` tells all
    /// of them in one run. What `build` returns then is not used.
    pub fn fault(&self, fault: BuildError) {
        self.faults.borrow_mut().push(fault);
    }

    /// An error at one of the options, named by its keys.
    pub fn at<'k>(&self, keys: impl AsRef<[&'k str]>, message: impl Into<String>) -> BuildError {
        BuildError::from(message.into()).at(keys)
    }
}

/// Why a filter cannot be built from its options.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuildError {
    /// Keys that lead to the option at fault; empty for the table as a whole.
    pub keys: Vec<String>,
    /// What is wrong; lower case, no full stop.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
}

impl BuildError {
    /// The same error at the option that these keys lead to.
    #[must_use]
    pub fn at<'k>(mut self, keys: impl AsRef<[&'k str]>) -> Self {
        self.keys = keys.as_ref().iter().map(|key| (*key).to_owned()).collect();
        self
    }
}

impl From<String> for BuildError {
    fn from(message: String) -> Self {
        Self { keys: Vec::new(), message, hint: None }
    }
}

impl From<&str> for BuildError {
    fn from(message: &str) -> Self {
        message.to_owned().into()
    }
}

/// What came of building a filter: the filter, or what is wrong with its options.
pub struct Built {
    /// The filter; absent if there is any problem.
    pub filter: Option<Arc<dyn Filter>>,
    /// Everything that is wrong.
    pub problems: Vec<Problem>,
    /// What it can be built with all the same. See [`BuildCx::warn`].
    pub warnings: Vec<Problem>,
}

/// A registered plugin. See [`Plugin`] for the fields.
pub struct PluginDef {
    /// Its name.
    pub name: &'static str,
    /// What it does, in one line.
    pub summary: &'static str,
    /// What is known after it.
    pub provides: &'static [Fact],
    /// What must be known before it.
    pub requires: &'static [Fact],
    /// Whether it wants to see every outcome.
    pub observes: bool,
    /// Whether it looks at the body.
    pub reads_body: bool,
    /// Whether it may stand only once in a pipeline.
    pub once: bool,
    /// The statuses with which it may answer.
    pub rejects: &'static [u16],
    /// Lines of an example table.
    pub example: &'static str,
    /// Builds a filter from its table, from which `plugin` has been taken out.
    pub build: fn(&decode::Value<'_>, &BuildCx<'_>) -> Built,
    /// The JSON Schema of its options.
    pub schema: fn(&mut SchemaGenerator) -> Schema,
}

impl PluginDef {
    /// The definition of this plugin.
    #[must_use]
    pub const fn of<P: Plugin>() -> Self {
        Self {
            name: P::NAME,
            summary: P::SUMMARY,
            provides: P::PROVIDES,
            requires: P::REQUIRES,
            observes: P::OBSERVES,
            reads_body: P::READS_BODY,
            once: P::ONCE,
            rejects: P::REJECTS,
            example: P::EXAMPLE,
            build: build::<P>,
            schema: P::Options::json_schema,
        }
    }
}

fn build<P: Plugin>(value: &decode::Value<'_>, cx: &BuildCx<'_>) -> Built {
    let (options, mut problems) = decode::decode::<P::Options>(value);
    let built = options.map(|options| P::build(options, cx));
    let placed = |error: BuildError| {
        let span = decode::span_of(value, &error.keys);
        Problem { span, message: error.message, hint: error.hint }
    };
    let warnings = cx.warnings.take().into_iter().map(placed).collect();
    problems.extend(cx.faults.take().into_iter().map(placed));
    let filter = match built {
        Some(Ok(filter)) if problems.is_empty() => Some(Arc::new(filter) as _),
        Some(Err(error)) => {
            problems.push(placed(error));
            None
        }
        _ => None,
    };
    Built { filter, problems, warnings }
}

inventory::collect!(PluginDef);

/// The plugins that are linked into this binary, by name.
#[must_use]
pub fn plugins() -> Vec<&'static PluginDef> {
    let mut all: Vec<_> = inventory::iter::<PluginDef>().collect();
    all.sort_by_key(|plugin| plugin.name);
    all
}

/// The linked plugin of this name.
#[must_use]
pub fn plugin_named(name: &str) -> Option<&'static PluginDef> {
    inventory::iter::<PluginDef>().find(|plugin| plugin.name == name)
}

/// Makes a [`Plugin`] known. A crate whose plugins nobody mentions is not linked: write `use my_plugin as _;`.
#[macro_export]
macro_rules! register {
    ($plugin:ty) => {
        $crate::inventory::submit! { $crate::PluginDef::of::<$plugin>() }
    };
}
