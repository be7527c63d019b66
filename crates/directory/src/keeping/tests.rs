#![allow(clippy::unwrap_used)]
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::Arc;

use jiff::SignedDuration;
use tempfile::TempDir;
use vllm_gateway_store::sqlite::SqliteStore;
use vllm_gateway_store::{AppChange, AppStatus, AppStore, open_sqlite};

use super::*;
use crate::Key;
use crate::directory::tests::{app, says};

const HOUR: Duration = Duration::from_hours(1);

/// A store, and a folder for the copy.
struct Place {
    folder: TempDir,
    store: Arc<SqliteStore>,
}

impl Place {
    async fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let store = Arc::new(open_sqlite(folder.path().join("gateway.db")).await.unwrap());
        Self { folder, store }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("data/apps.json")
    }

    /// A gateway's directory, as at its start: nothing has been asked of the store.
    async fn start(&self) -> Directory {
        Directory::with_copy(HOUR, self.path(), "here").await
    }

    /// One that is in step with the store, and its copy too.
    async fn synced(&self) -> Directory {
        let directory = self.start().await;
        directory.poll(&*self.store).await.unwrap();
        directory.keep().await.unwrap();
        directory
    }

    async fn add(&self, id: &str) -> Key {
        let (app, key) = app(id);
        self.store.insert(&app).await.unwrap();
        key
    }

    /// What a gateway would know that starts now; it leaves the file alone.
    async fn copy_of(&self) -> Directory {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("apps.json");
        fs::copy(self.path(), &path).unwrap();
        Directory::with_copy(HOUR, path, "here").await
    }

    async fn disable(&self, directory: &Directory, id: &str) -> std::io::Result<()> {
        let change = directory.change(id).await;
        let stored = self.store.update(id, AppChange::Status(AppStatus::Disabled)).await.unwrap().unwrap();
        change.apply(stored).await
    }
}

#[tokio::test]
async fn a_start_without_the_store_knows_what_an_earlier_process_knew() {
    let place = Place::new().await;
    let (key, disabled) = (place.add("one").await, place.add("two").await);
    let (mut expiring, expired) = app("three");
    expiring.app.expire_time = Some(Timestamp::now() + SignedDuration::from_millis(200));
    expiring.app.allowed_models = Some(vec!["m".into()]);
    place.store.insert(&expiring).await.unwrap();
    place.store.update("two", AppChange::Status(AppStatus::Disabled)).await.unwrap();
    let grace = Key::mint().unwrap();
    let end = Timestamp::now() + SignedDuration::from_millis(200);
    let rotate = AppChange::Rotate { new: grace.stored(), old_valid_until: Some(end) };
    place.store.update("one", rotate).await.unwrap();
    drop(place.synced().await);

    let restarted = place.start().await;
    assert!(restarted.is_ready());
    assert_eq!(says(&restarted, &grace), "granted one");
    assert_eq!(says(&restarted, &disabled), "disabled");
    assert_eq!(says(&restarted, &Key::mint().unwrap()), "unavailable", "neither 200 nor 401");
    while Timestamp::now() <= end {
        tokio::task::yield_now().await;
    }
    // By the clock alone.
    assert_eq!((says(&restarted, &key), says(&restarted, &expired)), ("unknown".into(), "expired".into()));
    restarted.poll(&*place.store).await.unwrap();
    assert_eq!(says(&restarted, &Key::mint().unwrap()), "unknown");
    assert_eq!(restarted.len(), 3);
}

#[tokio::test]
async fn a_change_that_was_acknowledged_is_not_undone_by_a_restart() {
    let place = Place::new().await;
    let (disabled, deleted) = (place.add("one").await, place.add("two").await);
    let rotated = place.add("three").await;
    let directory = place.synced().await;
    place.disable(&directory, "one").await.unwrap();
    let change = directory.change("two").await;
    place.store.delete("two").await.unwrap();
    change.forget().await.unwrap();
    let change = directory.change("three").await;
    let new = Key::mint().unwrap();
    let rotate = AppChange::Rotate { new: new.stored(), old_valid_until: None };
    let stored = place.store.update("three", rotate).await.unwrap().unwrap();
    change.apply(stored).await.unwrap();
    // Killed right after the answer: nothing else has run.
    drop(directory);

    let restarted = place.start().await;
    assert_eq!(says(&restarted, &disabled), "disabled");
    for gone in [&deleted, &rotated] {
        assert_eq!(says(&restarted, gone), "unavailable");
    }
    assert_eq!(says(&restarted, &new), "granted three");
}

#[tokio::test]
async fn the_copy_holds_digests_and_no_key_and_is_for_its_owner_only() {
    let place = Place::new().await;
    let key = place.add("one").await;
    let _directory = place.synced().await;
    let text = fs::read_to_string(place.path()).unwrap();
    assert!(!text.contains(key.expose()) && !text.contains(&key.expose()["sk-live-01234567-".len()..]));
    assert!(text.contains(&format!("\"prefix\":\"{}\"", key.prefix())), "{text}");
    assert_eq!(fs::metadata(place.path()).unwrap().permissions().mode() & 0o777, 0o600);
}

#[tokio::test]
async fn what_others_changed_is_in_the_copy_soon() {
    let place = Place::new().await;
    let key = place.add("one").await;
    let directory = place.synced().await;
    let following = async {
        place.store.update("one", AppChange::Status(AppStatus::Disabled)).await.unwrap();
        while says(&directory, &key) != "disabled" {
            tokio::task::yield_now().await;
        }
        let seen = Instant::now();
        while says(&place.copy_of().await, &key) != "disabled" {
            assert!(seen.elapsed() < Duration::from_secs(1), "the copy is behind");
        }
    };
    tokio::select! {
        () = directory.sync(&*place.store) => panic!("sync never ends"),
        result = timeout(Duration::from_secs(10), following) => result.unwrap(),
    }
}

#[tokio::test]
async fn a_copy_that_cannot_be_brought_up_to_date_is_removed() {
    let place = Place::new().await;
    place.add("one").await;
    let directory = place.synced().await;
    // A folder in the way of the new file: nobody, not even root, can write there.
    fs::create_dir(place.path().with_extension("json.new")).unwrap();
    place.disable(&directory, "one").await.unwrap();
    assert!(!place.path().exists(), "it would let in who was shut out");
    assert!(!place.start().await.is_ready());
    fs::remove_dir(place.path().with_extension("json.new")).unwrap();
    directory.keep().await.unwrap();
    assert!(place.start().await.is_ready());
}

#[tokio::test]
async fn a_change_is_not_acknowledged_when_the_copy_can_neither_be_written_nor_removed() {
    let place = Place::new().await;
    let key = place.add("one").await;
    let directory = place.synced().await;
    fs::create_dir(place.path().with_extension("json.new")).unwrap();
    // The file became a folder with something in it, which cannot be removed either.
    fs::remove_file(place.path()).unwrap();
    fs::create_dir_all(place.path().join("in the way")).unwrap();
    assert!(place.disable(&directory, "one").await.is_err());
    assert_eq!(says(&directory, &key), "disabled", "it is in force all the same");
}

#[tokio::test]
async fn the_limit_counts_from_the_last_sync_through_restarts() {
    let place = Place::new().await;
    let key = place.add("one").await;
    drop(place.synced().await);
    let limit = Duration::from_millis(300);
    let begun = Instant::now();
    let mut restarts = 0;
    // Each process writes the copy anew; none starts the time anew.
    loop {
        let directory = Directory::with_copy(limit, place.path(), "here").await;
        if !directory.is_ready() {
            assert_eq!(says(&directory, &key), "unavailable");
            break;
        }
        directory.keep_finally().await;
        restarts += 1;
        assert!(begun.elapsed() < Duration::from_secs(5), "it never ends");
    }
    assert!(restarts > 0);
    assert!(!place.path().exists(), "what has had its time is set aside");
}

#[tokio::test]
async fn what_has_had_its_time_in_a_running_process_is_gone_for_the_next() {
    let place = Place::new().await;
    place.add("one").await;
    drop(place.synced().await);
    let directory = Directory::with_copy(Duration::from_millis(400), place.path(), "here").await;
    assert!(directory.is_ready());
    let watching = async {
        while place.path().exists() {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        () = directory.keep_copying() => panic!("it never ends"),
        gone = timeout(Duration::from_secs(10), watching) => gone.unwrap(),
    }
    assert!(!directory.is_ready());
}

#[tokio::test]
async fn files_replace_each_other_in_order_also_when_callers_leave() {
    let place = Place::new().await;
    let key = place.add("one").await;
    let directory = place.synced().await;
    for round in 0..50 {
        let status = if round % 2 == 0 { AppStatus::Disabled } else { AppStatus::Enabled };
        let change = directory.change("one").await;
        let stored = place.store.update("one", AppChange::Status(status)).await.unwrap().unwrap();
        // Given up at once: the file is written all the same, or by the next.
        let _ = timeout(Duration::ZERO, change.apply(stored)).await;
    }
    place.disable(&directory, "one").await.unwrap();
    assert_eq!(says(&place.copy_of().await, &key), "disabled");
}
