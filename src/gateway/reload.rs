//! Changes of the configuration while serving: whole or not at all, by signal, by REST, or by the file itself.

use std::{path::PathBuf, sync::Arc, time::Duration};

use tokio::sync::Mutex;
use vllm_gateway_config::{Config, Diagnostic, Loaded, Severity};
use vllm_gateway_sdk::Services;

use super::{Current, Runtime};
use crate::telemetry::metrics::metrics;

/// How often the file is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// Reads the configuration again and puts it in force.
pub(crate) struct Reloader {
    path: PathBuf,
    current: Arc<Current>,
    services: Services,
    /// One reload at a time; holds the text of the last one, good or bad.
    seen: Mutex<String>,
}

/// What a reload did.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) changed: Vec<String>,
    pub(crate) needs_restart: Vec<String>,
}

impl Reloader {
    pub(crate) fn new(path: PathBuf, text: String, current: Arc<Current>, services: Services) -> Self {
        Self { path, current, services, seen: Mutex::new(text) }
    }

    /// Reads the file and puts it in force, or says everything that is wrong with it and changes nothing.
    pub(crate) async fn reload(&self) -> Result<Done, Vec<Diagnostic>> {
        let mut seen = self.seen.lock().await;
        if let Ok(text) = tokio::fs::read_to_string(&self.path).await {
            *seen = text;
        }
        let result = self.read_and_swap();
        drop(seen);
        match &result {
            Ok(done) => {
                metrics().reloaded("ok");
                let (changed, needs_restart) = (listed(&done.changed), listed(&done.needs_restart));
                tracing::info!(changed, needs_restart, "configuration reloaded");
            }
            Err(problems) => {
                metrics().reloaded("failed");
                for problem in problems {
                    tracing::error!("{problem}");
                }
                tracing::error!("the configuration was not reloaded: the one before stays in force");
            }
        }
        result
    }

    fn read_and_swap(&self) -> Result<Done, Vec<Diagnostic>> {
        let old = self.current.load();
        let Loaded { config, diagnostics } = Config::load(&self.path, &self.services, Some(&old.config));
        let errors =
            || diagnostics.iter().filter(|d| d.severity == Severity::Error).cloned().collect::<Vec<_>>();
        let Some(config) = config else { return Err(errors()) };
        let change = config.diff(&old.config);
        let runtime = Runtime::build(config, Some(&old)).map_err(|(upstream, error)| {
            vec![Diagnostic::of_file(&self.path, format!("upstream `{upstream}`: {error}"))]
        })?;
        runtime.start(&self.services);
        self.current.swap(runtime);
        Ok(Done { changed: change.changed, needs_restart: change.needs_restart })
    }

    /// Reloads whenever the file's content has changed and then stayed the same for one look. Ends with its task.
    pub(crate) async fn watch(&self) {
        let mut before = None;
        loop {
            tokio::time::sleep(LOOK).await;
            let Ok(text) = tokio::fs::read_to_string(&self.path).await else { continue };
            let is_news = *self.seen.lock().await != text;
            if is_news && before.as_ref() == Some(&text) {
                let _ = self.reload().await;
            }
            before = Some(text);
        }
    }
}

/// Names as people read them; of none, nothing is logged.
fn listed(names: &[String]) -> Option<String> {
    if names.is_empty() { None } else { Some(names.join(", ")) }
}
