//! Changes of the configuration while serving: whole or not at all, by signal, by REST, or by the file itself.

use std::{path::PathBuf, sync::Arc, time::Duration};

use tokio::sync::Mutex;
use vllm_gateway_config::{Blocks, Config, Diagnostic, Loaded};
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
    ///
    /// It goes on to its end if the caller goes away, on a task of its own: what was asked is done, and told in the
    /// log and the metrics.
    pub(crate) async fn reload(self: &Arc<Self>) -> Result<Done, Vec<Diagnostic>> {
        let reloader = Arc::clone(self);
        let task = tokio::spawn(async move { reloader.read_again().await });
        task.await.unwrap_or_else(|error| {
            tracing::error!(%error, "the reload did not come to its end");
            let message = "the reload failed in the gateway itself: its log says why";
            Err(vec![Diagnostic::of_file(&self.path, message)])
        })
    }

    async fn read_again(&self) -> Result<Done, Vec<Diagnostic>> {
        let mut seen = self.seen.lock().await;
        if let Ok(text) = tokio::fs::read_to_string(&self.path).await {
            *seen = text;
        }
        let result = self.read_and_swap();
        drop(seen);
        match &result {
            Ok(done) => {
                metrics().reloaded(true);
                let (changed, needs_restart) = (listed(&done.changed), listed(&done.needs_restart));
                tracing::info!(changed, needs_restart, "configuration reloaded");
            }
            Err(problems) => {
                metrics().reloaded(false);
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
        let loaded = Config::load(&self.path, &self.services, Some(&old.config));
        let in_the_way = loaded.in_the_way_of(Blocks::Reload);
        let Loaded { config: Some(config), .. } = loaded else { return Err(in_the_way) };
        if !in_the_way.is_empty() {
            return Err(in_the_way);
        }
        let change = config.diff(&old.config);
        let runtime = Runtime::build(config, Some(&old)).map_err(|(upstream, error)| {
            vec![Diagnostic::of_file(&self.path, format!("upstream `{upstream}`: {error}"))]
        })?;
        runtime.start(&self.services);
        self.current.swap(runtime);
        Ok(Done { changed: change.changed, needs_restart: change.needs_restart })
    }

    /// Reloads whenever the file's content has changed and then stayed the same for one look. Ends with its task.
    pub(crate) async fn watch(self: &Arc<Self>) {
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use futures_util::FutureExt;

    use super::*;

    const TEXT: &str = r#"
[pipelines.default]
filters = ["auth", "model-route"]
[filters.auth]
[filters.model-route]
models = { "one" = "main" }
[upstreams.main]
endpoints = [{ url = "http://127.0.0.1:9" }]
"#;

    #[tokio::test]
    async fn a_reload_whose_caller_has_left_is_done_all_the_same() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let folder = tempfile::TempDir::new().unwrap();
        let path = folder.path().join("gateway.toml");
        std::fs::write(&path, TEXT).unwrap();
        let config = Config::load(&path, &Services::inert(), None).config.unwrap();
        let runtime = Runtime::build(config, None).map_err(|(_, error)| error).unwrap();
        let current = Arc::new(Current::new(runtime));
        let reloader =
            Arc::new(Reloader::new(path.clone(), TEXT.to_owned(), Arc::clone(&current), Services::inert()));

        let changed = TEXT.replace("pipelines.default", "pipelines.other");
        std::fs::write(&path, &changed).unwrap();
        // Another reload is under way, so that this one has begun and is not done when its caller leaves.
        let other = reloader.seen.lock().await;
        assert!(reloader.reload().now_or_never().is_none());
        drop(other);
        let done = async {
            while *reloader.seen.lock().await != changed {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), done).await.unwrap();
        assert_eq!(&*current.load().pipelines[0].name, "other");
    }
}
