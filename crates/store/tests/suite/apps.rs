//! Apps: storing, finding, changing and deleting them.

use vllm_gateway_store::{App, AppChange, AppQuery, AppStatus, Page, StoreError, StoredApp};

use super::fixture::{Fixture, app, key, millis, now, time};

pub async fn an_app_comes_back_as_it_was_stored(fixture: &Fixture) {
    let bare = app("Acme");
    let mut full = app("Müller & Söhne \"GmbH\"");
    full.app.expire_time = Some(time("2030-01-01T00:00:00.123Z"));
    full.app.last_used_time = Some(time("2026-01-01T00:00:00.007Z"));
    full.app.remark = Some("line\nbreak".into());
    full.app.allowed_models = Some(vec!["Qwen3-32B".into(), "org/model".into()]);
    full.app.status = AppStatus::Disabled;
    full.keys.push(key());
    full.keys[1].valid_until = Some(time("2030-01-01T00:00:00Z"));
    let mut none_allowed = app("None");
    none_allowed.app.allowed_models = Some(Vec::new());
    for stored in [&bare, &full, &none_allowed] {
        fixture.store.insert(stored).await.unwrap();
        assert_eq!(fixture.other.get(&stored.app.id).await.unwrap().as_ref(), Some(stored));
    }
    assert_eq!(fixture.store.get("nobody").await.unwrap(), None);
}

pub async fn an_id_or_a_key_that_is_taken_is_a_conflict_and_changes_nothing(fixture: &Fixture) {
    let first = app("first");
    fixture.store.insert(&first).await.unwrap();
    let mut same_id = app("second");
    same_id.app.id.clone_from(&first.app.id);
    let mut same_key = app("third");
    same_key.keys.push(first.keys[0].clone());
    let mut twice = app("fourth");
    twice.keys.push(twice.keys[0].clone());
    for taken in [&same_id, &same_key, &twice] {
        let error = fixture.store.insert(taken).await.unwrap_err();
        assert!(matches!(error, StoreError::Conflict { .. }), "{error:?}");
        assert!(!error.full().contains("BinData"), "{}", error.full());
    }
    let page = fixture.store.list(&AppQuery::default(), 1, 10).await.unwrap();
    assert_eq!(page.items, std::slice::from_ref(&first.app));
    // Its other key is free: nothing of the refused app was kept.
    let mut next = app("fifth");
    next.keys = vec![same_key.keys[0].clone()];
    fixture.store.insert(&next).await.unwrap();
}

pub async fn an_app_that_breaks_a_limit_is_refused(fixture: &Fixture) {
    let broken: [fn(&mut StoredApp); 5] = [
        |stored| stored.app.id.clear(),
        |stored| stored.app.org_name.clear(),
        |stored| stored.app.org_name = "x".repeat(2_000),
        |stored| stored.keys.clear(),
        |stored| stored.keys = (0..17).map(|_| key()).collect(),
    ];
    for (number, break_it) in broken.into_iter().enumerate() {
        let mut stored = app("Acme");
        break_it(&mut stored);
        let error = fixture.store.insert(&stored).await.unwrap_err();
        assert!(matches!(error, StoreError::Invalid { .. }), "{number}: {error:?}");
    }
}

pub async fn apps_are_listed_newest_first_page_by_page(fixture: &Fixture) {
    let start = now();
    for number in 0..5 {
        let mut stored = app(&format!("org {number}"));
        stored.app.create_time = start + millis(number * 10);
        fixture.store.insert(&stored).await.unwrap();
    }
    for (number, expected) in
        [(1, vec!["org 4", "org 3"]), (2, vec!["org 2", "org 1"]), (3, vec!["org 0"]), (4, vec![])]
    {
        let page = fixture.store.list(&AppQuery::default(), number, 2).await.unwrap();
        assert_eq!(names(&page), expected);
        assert_eq!((page.page_num, page.page_size, page.total), (number, 2, 5));
    }
}

fn names(page: &Page<App>) -> Vec<&str> {
    page.items.iter().map(|app| app.org_name.as_str()).collect()
}

pub async fn a_part_of_a_name_is_found_literally_and_in_either_case(fixture: &Fixture) {
    let start = now();
    for (number, name) in
        (0..).zip(["100%_sure", "100 sure", "a.*b", "$orgName", "ÄRZTE Nord", "back\\slash"])
    {
        let mut stored = app(name);
        stored.app.create_time = start + millis(number);
        fixture.store.insert(&stored).await.unwrap();
    }
    for (part, expected) in [
        ("%", vec!["100%_sure"]),
        ("_", vec!["100%_sure"]),
        ("SURE", vec!["100 sure", "100%_sure"]),
        (".*", vec!["a.*b"]),
        ("$orgname", vec!["$orgName"]),
        ("$", vec!["$orgName"]),
        ("ärzte n", vec!["ÄRZTE Nord"]),
        ("\\", vec!["back\\slash"]),
        ("'; --", vec![]),
    ] {
        let query = AppQuery { org_name: Some(part.into()), status: None };
        let page = fixture.store.list(&query, 1, 10).await.unwrap();
        assert_eq!(names(&page), expected, "{part}");
        assert_eq!(page.total, expected.len() as u64);
    }
    let nothing = AppQuery { org_name: Some(String::new()), status: None };
    assert_eq!(fixture.store.list(&nothing, 1, 10).await.unwrap().total, 6);
}

pub async fn pages_that_cannot_be_are_refused(fixture: &Fixture) {
    for (number, size) in [(0, 10), (1, 0), (1, 201)] {
        let apps = fixture.store.list(&AppQuery::default(), number, size).await;
        assert!(matches!(apps, Err(StoreError::Invalid { .. })));
        let records = fixture.store.page(&super::fixture::all(), number, size).await;
        assert!(matches!(records, Err(StoreError::Invalid { .. })));
    }
    assert!(fixture.store.list(&AppQuery::default(), u64::MAX, 200).await.unwrap().items.is_empty());
    assert!(fixture.store.page(&super::fixture::all(), u64::MAX, 200).await.unwrap().items.is_empty());
}

pub async fn new_details_replace_the_old_ones_and_keep_the_key(fixture: &Fixture) {
    let mut expected = app("Old");
    expected.app.remark = Some("old".into());
    expected.app.expire_time = Some(time("2030-01-01T00:00:00Z"));
    expected.app.last_used_time = Some(time("2026-01-01T00:00:00Z"));
    fixture.store.insert(&expected).await.unwrap();
    expected.app.org_name = "New".into();
    expected.app.remark = None;
    expected.app.expire_time = None;
    expected.app.allowed_models = Some(vec!["m".into()]);
    let change = AppChange::Details {
        org_name: "New".into(),
        expire_time: None,
        remark: None,
        allowed_models: Some(vec!["m".into()]),
    };
    let changed = fixture.store.update(&expected.app.id, change).await.unwrap();
    assert_eq!(changed.as_ref(), Some(&expected));
    assert_eq!(fixture.other.get(&expected.app.id).await.unwrap(), Some(expected));
    let found = |part: &str| AppQuery { org_name: Some(part.into()), status: None };
    assert_eq!(fixture.store.list(&found("new"), 1, 10).await.unwrap().total, 1);
    assert_eq!(fixture.store.list(&found("old"), 1, 10).await.unwrap().total, 0);
}

pub async fn a_status_is_changed_and_found(fixture: &Fixture) {
    let (on, off) = (app("on"), app("off"));
    fixture.store.insert(&on).await.unwrap();
    fixture.store.insert(&off).await.unwrap();
    let changed =
        fixture.store.update(&off.app.id, AppChange::Status(AppStatus::Disabled)).await.unwrap().unwrap();
    assert_eq!(changed.app.status, AppStatus::Disabled);
    assert_eq!(changed.keys, off.keys);
    for (status, name) in [(AppStatus::Enabled, "on"), (AppStatus::Disabled, "off")] {
        let page =
            fixture.store.list(&AppQuery { org_name: None, status: Some(status) }, 1, 10).await.unwrap();
        assert_eq!((names(&page), page.total), (vec![name], 1));
    }
}

pub async fn what_is_not_there_cannot_be_changed_or_deleted(fixture: &Fixture) {
    let rotate = AppChange::Rotate { new: key(), old_valid_until: None };
    for change in [AppChange::Status(AppStatus::Enabled), rotate] {
        assert_eq!(fixture.store.update("nobody", change).await.unwrap(), None);
    }
    assert!(!fixture.store.delete("nobody").await.unwrap());
}

pub async fn a_deleted_app_frees_its_id_and_its_keys(fixture: &Fixture) {
    let stored = app("Acme");
    fixture.store.insert(&stored).await.unwrap();
    assert!(fixture.store.delete(&stored.app.id).await.unwrap());
    assert!(!fixture.store.delete(&stored.app.id).await.unwrap());
    assert_eq!(fixture.other.get(&stored.app.id).await.unwrap(), None);
    assert_eq!(fixture.other.list(&AppQuery::default(), 1, 10).await.unwrap().total, 0);
    fixture.store.insert(&stored).await.unwrap();
    assert_eq!(fixture.other.get(&stored.app.id).await.unwrap(), Some(stored));
}

pub async fn uses_are_noted_and_never_go_back(fixture: &Fixture) {
    let (used, idle) = (app("used"), app("idle"));
    fixture.store.insert(&used).await.unwrap();
    fixture.store.insert(&idle).await.unwrap();
    let (earlier, later) = (time("2026-01-01T00:00:00.001Z"), time("2026-01-01T00:00:00.002Z"));
    let id = used.app.id.clone();
    fixture
        .store
        .touch(&[(id.clone(), later), ("nobody".into(), later), (id.clone(), earlier)])
        .await
        .unwrap();
    fixture.other.touch(&[(id.clone(), earlier)]).await.unwrap();
    fixture.other.touch(&[]).await.unwrap();
    assert_eq!(fixture.store.get(&id).await.unwrap().unwrap().app.last_used_time, Some(later));
    assert_eq!(fixture.store.get(&idle.app.id).await.unwrap().unwrap().app.last_used_time, None);
    assert_eq!(fixture.store.get("nobody").await.unwrap(), None);
}
