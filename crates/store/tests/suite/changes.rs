//! What changed among the apps, as other gateways learn of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use vllm_gateway_store::{
    AppChange, AppStatus, AppStore as _, ChangeMark, Changes, Store, StoredApp, open_sqlite,
};

use super::fixture::{Fixture, app, key, now};

/// What another gateway knows, kept up to date by nothing but changes.
#[derive(Default)]
pub struct Replica {
    pub apps: BTreeMap<String, StoredApp>,
    mark: ChangeMark,
}

impl Replica {
    pub async fn poll(&mut self, store: &Arc<dyn Store>) -> Changes {
        let changes = store.changes(&self.mark).await.unwrap();
        if changes.complete {
            self.apps.clear();
        }
        for stored in &changes.upserts {
            self.apps.insert(stored.app.id.clone(), stored.clone());
        }
        for id in &changes.deleted {
            self.apps.remove(id);
        }
        self.mark = changes.mark.clone();
        changes
    }
}

pub async fn the_start_mark_gives_everything_once(fixture: &Fixture) {
    let mut replica = Replica::default();
    let first = replica.poll(&fixture.store).await;
    assert!(first.complete && first.upserts.is_empty() && first.deleted.is_empty());
    let stored = app("Acme");
    fixture.store.insert(&stored).await.unwrap();
    let fresh = fixture.store.changes(&ChangeMark::start()).await.unwrap();
    assert!(fresh.complete && fresh.deleted.is_empty());
    assert_eq!(fresh.upserts, [stored]);
    let after = fixture.store.changes(&fresh.mark).await.unwrap();
    assert!(!after.complete && after.upserts.is_empty() && after.deleted.is_empty());
    assert_eq!(after.mark, fresh.mark);
}

pub async fn a_store_has_a_name_of_its_own_that_every_gateway_reads(fixture: &Fixture) {
    let (one, two) = tokio::join!(fixture.store.identity(), fixture.other.identity());
    let name = one.unwrap();
    assert_eq!(two.unwrap(), name, "asked at the same moment");
    fixture.store.insert(&app("Acme")).await.unwrap();
    assert_eq!(fixture.store.identity().await.unwrap(), name);
    let folder = tempfile::tempdir().unwrap();
    let elsewhere = open_sqlite(folder.path().join("gateway.db")).await.unwrap();
    assert_ne!(elsewhere.identity().await.unwrap(), name);
    elsewhere.close().await;
}

pub async fn each_change_is_told_and_a_use_is_not(fixture: &Fixture) {
    let mut replica = Replica::default();
    replica.poll(&fixture.other).await;
    let stored = app("Acme");
    let id = stored.app.id.clone();
    fixture.store.insert(&stored).await.unwrap();
    let told = replica.poll(&fixture.other).await;
    assert!(!told.complete);
    assert_eq!(told.upserts, [stored]);
    for change in [
        AppChange::Status(AppStatus::Disabled),
        AppChange::Rotate { new: key(), old_valid_until: None },
        AppChange::Details { org_name: "B".into(), expire_time: None, remark: None, allowed_models: None },
    ] {
        let changed = fixture.store.update(&id, change).await.unwrap().unwrap();
        assert_eq!(replica.poll(&fixture.other).await.upserts, [changed]);
    }
    fixture.store.touch(&[(id.clone(), now())]).await.unwrap();
    assert!(replica.poll(&fixture.other).await.upserts.is_empty());
    fixture.store.delete(&id).await.unwrap();
    let told = replica.poll(&fixture.other).await;
    assert!(told.upserts.is_empty());
    assert_eq!(told.deleted, [id]);
    let quiet = replica.poll(&fixture.other).await;
    assert!(quiet.deleted.is_empty() && !quiet.complete);
}

pub async fn each_change_has_a_higher_version(fixture: &Fixture) {
    let mut replica = Replica::default();
    let stored = app("Acme");
    let id = stored.app.id.clone();
    fixture.store.insert(&stored).await.unwrap();
    let mut version = fixture.store.get(&id).await.unwrap().unwrap().version;
    assert!(version > stored.version, "what is stored is later than what is not");
    for round in 0..6 {
        let change = match round % 3 {
            0 => AppChange::Status(AppStatus::Disabled),
            1 => AppChange::Rotate { new: key(), old_valid_until: None },
            _ => AppChange::Status(AppStatus::Enabled),
        };
        // Whoever makes it.
        let store = if round % 2 == 0 { &fixture.store } else { &fixture.other };
        let changed = store.update(&id, change).await.unwrap().unwrap();
        assert!(changed.version > version, "{} is not later than {version}", changed.version);
        version = changed.version;
        replica.poll(&fixture.other).await;
        assert_eq!(replica.apps.get(&id).unwrap().version, version, "everybody is told the same version");
    }
    fixture.store.touch(&[(id.clone(), now())]).await.unwrap();
    assert_eq!(fixture.store.get(&id).await.unwrap().unwrap().version, version, "a use is no change");
}

pub async fn a_mark_of_another_store_gives_everything(fixture: &Fixture) {
    let folder = tempfile::tempdir().unwrap();
    let foreign: Arc<dyn Store> = Arc::new(open_sqlite(folder.path().join("foreign.db")).await.unwrap());
    foreign.insert(&app("foreign")).await.unwrap();
    let mark = foreign.changes(&ChangeMark::start()).await.unwrap().mark;
    let stored = app("Acme");
    fixture.store.insert(&stored).await.unwrap();
    let told = fixture.store.changes(&mark).await.unwrap();
    assert!(told.complete);
    assert_eq!(told.upserts, [stored]);
    foreign.close().await;
}

pub async fn one_store_sees_what_another_one_changed_within_two_seconds(fixture: &Fixture) {
    let mut replicas = [Replica::default(), Replica::default()];
    for round in 0..5 {
        let stored = app(&format!("round {round}"));
        let (writer, reader) =
            if round % 2 == 0 { (&fixture.store, &fixture.other) } else { (&fixture.other, &fixture.store) };
        writer.insert(&stored).await.unwrap();
        let committed = Instant::now();
        let replica = &mut replicas[round % 2];
        replica.poll(reader).await;
        assert_eq!(replica.apps.get(&stored.app.id), Some(&stored));
        assert!(committed.elapsed() < Duration::from_secs(2));
    }
}

pub async fn four_writers_hide_nothing_from_a_poller(fixture: &Fixture) {
    let done = Arc::new(AtomicBool::new(false));
    let mut writers = JoinSet::new();
    for number in 0..4 {
        let store = if number % 2 == 0 { fixture.store.clone() } else { fixture.other.clone() };
        writers.spawn(async move { write(&store, number).await });
    }
    let poller = tokio::spawn({
        let (store, done) = (fixture.other.clone(), done.clone());
        async move {
            let (mut replica, mut polls) = (Replica::default(), 0);
            loop {
                // Read before the poll, so that one poll comes after the last change.
                let last = done.load(Ordering::SeqCst);
                let changes = replica.poll(&store).await;
                assert!(polls == 0 || !changes.complete, "only the first poll gives everything");
                polls += 1;
                if last {
                    return (replica, polls);
                }
            }
        }
    });
    let mut expected = BTreeMap::new();
    for left in writers.join_all().await {
        expected.extend(left.into_iter().map(|stored| (stored.app.id.clone(), stored)));
    }
    done.store(true, Ordering::SeqCst);
    let (replica, polls) = poller.await.unwrap();
    assert!(polls > 5, "the poller hardly ran: {polls}");
    assert_eq!(replica.apps, expected);
}

/// Inserts, changes and deletes apps of its own; what is left in the end.
async fn write(store: &Arc<dyn Store>, number: u64) -> Vec<StoredApp> {
    let mut left: Vec<StoredApp> = Vec::new();
    for round in 0..40 {
        match round % 4 {
            0 | 1 => {
                let stored = app(&format!("writer {number} round {round}"));
                store.insert(&stored).await.unwrap();
                left.push(stored);
            }
            2 => {
                let place = round % left.len();
                let status = if round % 8 == 2 { AppStatus::Disabled } else { AppStatus::Enabled };
                let id = left[place].app.id.clone();
                left[place] = store.update(&id, AppChange::Status(status)).await.unwrap().unwrap();
            }
            _ => {
                let gone = left.remove(round % left.len());
                assert!(store.delete(&gone.app.id).await.unwrap());
            }
        }
    }
    left
}

pub async fn a_change_whose_caller_left_is_told_if_it_happened(fixture: &Fixture) {
    let stored = app("Acme");
    fixture.store.insert(&stored).await.unwrap();
    let mut replica = Replica::default();
    replica.poll(&fixture.other).await;
    for micros in (0..3_000).step_by(100) {
        let (status, store) =
            (if micros % 200 == 0 { AppStatus::Disabled } else { AppStatus::Enabled }, &fixture.store);
        // Dropped when the time is over, wherever it is by then.
        let _ = tokio::time::timeout(
            Duration::from_micros(micros),
            store.update(&stored.app.id, AppChange::Status(status)),
        )
        .await;
    }
    // Behind it in every queue: when this is done, what was under way is done too, or never happens.
    let last =
        AppChange::Details { org_name: "last".into(), expire_time: None, remark: None, allowed_models: None };
    fixture.store.update(&stored.app.id, last).await.unwrap();
    // The tasks that outlived their callers may still be running; whatever they do is told.
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        replica.poll(&fixture.other).await;
        let truth = fixture.store.get(&stored.app.id).await.unwrap();
        if replica.apps.get(&stored.app.id) == truth.as_ref() {
            break;
        }
        assert!(Instant::now() < deadline, "{:?} is not {truth:?}", replica.apps);
    }
}
