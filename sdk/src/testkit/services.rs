//! What filters are lent in tests: a directory of apps and a record writer that a test can see into.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    time::Duration,
};

use crate::{Apps, Consumer, Facts, Lookup, Outcome, Record, RecordSink, Room};

/// What kind of app a test wants.
#[derive(Clone, Debug, Default)]
pub struct AppSetup {
    state: State,
    allowed_models: Option<Vec<String>>,
}

#[derive(Clone, Copy, Debug, Default)]
enum State {
    #[default]
    Enabled,
    Disabled,
    Expired,
}

impl AppSetup {
    /// Switched off.
    #[must_use]
    pub fn disabled(self) -> Self {
        Self { state: State::Disabled, ..self }
    }

    /// Past its expiry.
    #[must_use]
    pub fn expired(self) -> Self {
        Self { state: State::Expired, ..self }
    }

    /// May use these models only.
    #[must_use]
    pub fn allowed_models<const N: usize>(self, models: [&str; N]) -> Self {
        Self { allowed_models: Some(models.map(str::to_owned).to_vec()), ..self }
    }
}

/// The key of the app of this name.
pub(super) fn key_of(name: &str) -> String {
    format!("sk-live-{name}")
}

#[derive(Default)]
pub(super) struct TestApps {
    by_key: Mutex<HashMap<String, Lookup>>,
    down: AtomicBool,
}

impl TestApps {
    pub(super) fn add(&self, name: &str, setup: AppSetup) {
        let key = key_of(name);
        let consumer = Arc::new(Consumer {
            id: format!("id-of-{name}"),
            name: name.to_owned(),
            key_prefix: key.chars().take(16).collect(),
            allowed_models: setup.allowed_models,
        });
        let lookup = match setup.state {
            State::Enabled => Lookup::Granted(consumer),
            State::Disabled => Lookup::Disabled(consumer),
            State::Expired => Lookup::Expired(consumer),
        };
        lock(&self.by_key).insert(key, lookup);
    }

    pub(super) fn go_down(&self) {
        self.down.store(true, Ordering::Relaxed);
    }
}

impl Apps for TestApps {
    fn lookup(&self, key: &str) -> Lookup {
        match lock(&self.by_key).get(key) {
            Some(known) => known.clone(),
            None if self.down.load(Ordering::Relaxed) => Lookup::Unavailable,
            None => Lookup::Unknown,
        }
    }
}

#[derive(Default)]
pub(super) struct TestRecords {
    taken: Mutex<Vec<Record>>,
    opened: Mutex<Vec<Record>>,
    checkpoints: Mutex<Vec<Record>>,
    pending: AtomicI64,
    full: AtomicBool,
    retentions: Mutex<Vec<Option<Duration>>>,
}

impl TestRecords {
    pub(super) fn taken(&self) -> Vec<Record> {
        lock(&self.taken).clone()
    }

    pub(super) fn opened(&self) -> Vec<Record> {
        lock(&self.opened).clone()
    }

    pub(super) fn checkpoints(&self) -> Vec<Record> {
        lock(&self.checkpoints).clone()
    }

    pub(super) fn pending(&self) -> i64 {
        self.pending.load(Ordering::Relaxed)
    }

    pub(super) fn fill(&self) {
        self.full.store(true, Ordering::Relaxed);
    }

    pub(super) fn retentions(&self) -> Vec<Option<Duration>> {
        lock(&self.retentions).clone()
    }
}

impl RecordSink for TestRecords {
    fn admit(&self) -> Option<Room> {
        if self.full.load(Ordering::Relaxed) {
            return None;
        }
        self.pending.fetch_add(1, Ordering::Relaxed);
        Some(Room(0))
    }

    fn open(&self, _room: &mut Room, facts: &Facts) {
        lock(&self.opened).push(facts.record(Outcome::Interrupted));
    }

    fn checkpoint(&self, _room: &mut Room, facts: &Facts) {
        lock(&self.checkpoints).push(facts.record(Outcome::Interrupted));
    }

    fn close(&self, _room: Room, facts: &Facts, outcome: Outcome) {
        self.pending.fetch_sub(1, Ordering::Relaxed);
        lock(&self.taken).push(facts.record(outcome));
    }

    fn release(&self, _room: Room) {
        self.pending.fetch_sub(1, Ordering::Relaxed);
    }

    fn keep_for(&self, retention: Option<Duration>) {
        lock(&self.retentions).push(retention);
    }
}

/// A plugin under test may panic; what it left behind is still whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
