//! Changes of the configuration while serving: whole or not at all, by signal, by REST, or by the file itself.

use std::{path::PathBuf, sync::Arc, time::Duration};

use tokio::sync::Mutex;
use vllm_gateway_config::{Blocks, Config, Diagnostic, Loaded};
use vllm_gateway_sdk::Services;

use super::{Current, Runtime, certificates::Certificates};
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
    /// What is served since the start.
    certificates: Certificates,
}

/// What a reload did.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) changed: Vec<String>,
    pub(crate) needs_restart: Vec<String>,
    /// What the file can be used with all the same; among it what a restart would not start with.
    pub(crate) warnings: Vec<Diagnostic>,
}

impl Reloader {
    pub(crate) fn new(path: PathBuf, text: String, current: Arc<Current>, services: Services) -> Self {
        let certificates = Certificates::of(&current.load().config);
        Self { path, current, services, seen: Mutex::new(text), certificates }
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

    /// Held by whoever changes the configuration in force by another way than the file.
    pub(super) async fn hold(&self) -> impl Drop {
        self.seen.lock().await
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
                done.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
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
        let Loaded { config: Some(config), diagnostics: warnings } = loaded else { return Err(in_the_way) };
        if !in_the_way.is_empty() {
            return Err(in_the_way);
        }
        let change = config.diff(&old.config);
        let mut needs_restart = change.needs_restart;
        for table in self.certificates.renewed() {
            tracing::warn!(
                "{table}: the certificate or its key was renewed: it is served from the next start on"
            );
            if !needs_restart.iter().any(|name| name == table) {
                needs_restart.push(table.to_owned());
            }
        }
        let runtime = Runtime::build(config, Some(&old)).map_err(|(upstream, error)| {
            vec![Diagnostic::of_file(&self.path, format!("upstream `{upstream}`: {error}"))]
        })?;
        runtime.start(&self.services);
        self.current.swap(runtime);
        Ok(Done { changed: change.changed, needs_restart, warnings })
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

    /// A reloader in a folder of its own, with the file as `TEXT` and these lines before it.
    fn reloader(before: &str) -> (tempfile::TempDir, PathBuf, Arc<Reloader>) {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let folder = tempfile::TempDir::new().unwrap();
        let path = folder.path().join("gateway.toml");
        for file in ["cert.pem", "key.pem"] {
            std::fs::copy(format!("tests/tls/{file}"), folder.path().join(file)).unwrap();
        }
        let text = format!("{before}{TEXT}");
        std::fs::write(&path, &text).unwrap();
        let config = Config::load(&path, &Services::inert(), None).config.unwrap();
        let runtime = Runtime::build(config, None).map_err(|(_, error)| error).unwrap();
        let current = Arc::new(Current::new(runtime));
        (folder, path.clone(), Arc::new(Reloader::new(path, text, current, Services::inert())))
    }

    #[tokio::test]
    async fn a_reload_tells_of_warnings_and_of_what_a_restart_would_not_start_with() {
        let (_folder, path, reloader) = reloader("");
        let before = reloader.reload().await.unwrap();
        assert!(before.warnings.iter().all(|told| !told.message.contains("idle")), "{:?}", before.warnings);
        let idle = "[upstreams.idle]\nendpoints = [{ url = \"http://127.0.0.1:8\" }]\n";
        let tls = "[server]\ntls = { cert = \"none.pem\", key = \"none.key\" }\n";
        std::fs::write(&path, format!("{tls}{TEXT}{idle}")).unwrap();
        let done = reloader.reload().await.unwrap();
        let told: Vec<String> = done.warnings.iter().map(ToString::to_string).collect();
        assert!(told.iter().any(|told| told.contains("upstream `idle` is not used")), "{told:?}");
        let no_start =
            |told: &&String| told.contains("none.pem") && told.contains("does not start without it");
        assert_eq!(told.iter().filter(no_start).count(), 1, "{told:?}");
        assert_eq!(done.needs_restart, ["server.tls"]);
    }

    #[tokio::test]
    async fn a_certificate_that_was_renewed_is_told_to_need_a_restart() {
        let tls = "[server]\ntls = { cert = \"cert.pem\", key = \"key.pem\" }\n";
        let (folder, _, reloader) = reloader(tls);
        assert_eq!(reloader.reload().await.unwrap().needs_restart, [""; 0]);
        let cert = folder.path().join("cert.pem");
        let renewed = std::fs::read_to_string(&cert).unwrap() + "\n";
        std::fs::write(&cert, renewed).unwrap();
        assert_eq!(reloader.reload().await.unwrap().needs_restart, ["server.tls"]);
        assert_eq!(reloader.reload().await.unwrap().needs_restart, ["server.tls"], "until there is one");
    }

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
