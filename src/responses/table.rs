//! The responses that this process knows: so many at most, for a while.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use vllm_gateway_sdk::{Facts, Target};

/// How many are known at most: some 40 MB of them.
const MOST: usize = 100_000;
/// How long one is known. vLLM itself forgets them only when it ends.
const LIFE: Duration = Duration::from_hours(7 * 24);

/// Where a response is kept, and whose it is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Home {
    /// The id of the app that asked for it; none where pipelines let in anybody.
    app: Option<Box<str>>,
    /// The model that the app asked for.
    pub(crate) model: Box<str>,
    pub(crate) upstream: Arc<str>,
    /// The model's name there, where that is another.
    upstream_model: Option<Arc<str>>,
    /// Whether a fallback made it, in the place of the model that was asked for.
    pub(crate) fell_back: bool,
    /// The URL of the endpoint that made it.
    pub(crate) endpoint: Box<str>,
}

impl Home {
    /// Where the answer comes from that this exchange is about to pass on.
    pub(super) fn of(facts: &Facts) -> Option<Self> {
        let target = facts.target()?;
        Some(Self {
            app: app_of(facts).map(Into::into),
            model: facts.model().unwrap_or_default().into(),
            upstream: Arc::clone(&target.upstream),
            upstream_model: target.model.clone(),
            fell_back: facts.fallbacks() > 0,
            endpoint: facts.endpoint()?.into(),
        })
    }

    /// Where a request that needs this response goes, and nowhere else.
    pub(crate) fn target(&self) -> Target {
        Target { model: self.upstream_model.clone(), ..Target::upstream(Arc::clone(&self.upstream)) }
    }
}

/// Who asks.
fn app_of(facts: &Facts) -> Option<&str> {
    facts.consumer().map(|consumer| consumer.id.as_str())
}

/// The responses that this process knows. They outlive reloads, and end with it.
pub(crate) struct Responses {
    all: Mutex<All>,
    most: usize,
    life: Duration,
}

#[derive(Default)]
struct All {
    homes: HashMap<Arc<str>, Arc<Home>>,
    /// The oldest first.
    ids: VecDeque<(Instant, Arc<str>)>,
}

impl Default for Responses {
    fn default() -> Self {
        Self { all: Mutex::default(), most: MOST, life: LIFE }
    }
}

impl Responses {
    /// Remembers where this response is kept. The first word counts: whoever could say it again could make another's
    /// response its own.
    pub(super) fn keep(&self, id: &str, home: Home) {
        let mut all = self.known();
        if all.homes.contains_key(id) {
            return;
        }
        let id: Arc<str> = id.into();
        all.homes.insert(Arc::clone(&id), Arc::new(home));
        all.ids.push_back((Instant::now(), id));
        if all.ids.len() > self.most {
            all.forget_oldest();
        }
    }

    /// Where this response is kept, if it is known and belongs to who asks.
    pub(crate) fn home(&self, id: &str, facts: &Facts) -> Option<Arc<Home>> {
        self.find(id).filter(|home| home.app.as_deref() == app_of(facts))
    }

    /// Whether this response is known, and belongs to somebody else than who asks.
    pub(crate) fn is_anothers(&self, id: &str, facts: &Facts) -> bool {
        self.find(id).is_some_and(|home| home.app.as_deref() != app_of(facts))
    }

    fn find(&self, id: &str) -> Option<Arc<Home>> {
        self.known().homes.get(id).cloned()
    }

    /// All that are not too old. Nobody holds them for longer than it takes to look one up.
    fn known(&self) -> MutexGuard<'_, All> {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        while all.ids.front().is_some_and(|(kept, _)| kept.elapsed() >= self.life) {
            all.forget_oldest();
        }
        all
    }
}

impl All {
    fn forget_oldest(&mut self) {
        if let Some((_, id)) = self.ids.pop_front() {
            self.homes.remove(&id);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn table(most: usize, life: Duration) -> Responses {
        Responses { most, life, ..Responses::default() }
    }

    fn home(app: &str) -> Home {
        let app = Some(app.into());
        Home {
            app,
            model: "m".into(),
            upstream: "main".into(),
            upstream_model: None,
            fell_back: false,
            endpoint: "http://a:1".into(),
        }
    }

    #[test]
    fn the_oldest_go_first_and_no_more_are_known_than_may_be() {
        let table = table(3, LIFE);
        for n in 0..10 {
            table.keep(&format!("resp_{n}"), home("acme"));
        }
        let known = |n: &usize| table.find(&format!("resp_{n}")).is_some();
        assert_eq!((0..10).filter(known).collect::<Vec<_>>(), [7, 8, 9]);
        let all = table.known();
        assert_eq!((all.homes.len(), all.ids.len()), (3, 3));
    }

    #[test]
    fn each_ends_after_its_time() {
        let table = table(3, Duration::from_millis(20));
        table.keep("resp_1", home("acme"));
        assert!(table.find("resp_1").is_some());
        std::thread::sleep(Duration::from_millis(25));
        assert!(table.find("resp_1").is_none());
        assert!(table.known().ids.is_empty());
        table.keep("resp_1", home("other"));
        assert_eq!(table.find("resp_1").unwrap().app.as_deref(), Some("other"));
    }

    #[test]
    fn nobody_makes_anothers_response_its_own() {
        let table = table(3, LIFE);
        table.keep("resp_1", home("acme"));
        table.keep("resp_1", home("other"));
        assert_eq!(table.find("resp_1").unwrap().app.as_deref(), Some("acme"));
        assert_eq!(table.known().ids.len(), 1);
    }
}
