//! The disk is full: no journal file can be made, the database cannot grow, nothing dies and nothing is lost.

use std::{io::Write, process::Command};

use jiff::Timestamp;

use crate::{
    clients::Asked,
    ledgers::reconcile,
    outages::Held,
    refusals::refused,
    site::{Site, until},
};

const MIB: u64 = 1 << 20;

#[tokio::test(flavor = "multi_thread")]
async fn without_room_for_a_journal_file_requests_are_refused_until_there_is() {
    let site = Site::sqlite().await;
    let from = Timestamp::now();
    let mut gateway = site.start().await;
    gateway.becomes_ready(200).await;
    let held = Held::new(&site);
    // A write beyond the limit is an error and a signal that ends a process, as it is with some quotas.
    gateway.limit_files(Some(MIB));
    let mut asked = refused(&gateway.data, "tight", 12_000).await;
    assert!(asked.iter().any(Asked::unrecorded), "there was room for 12,000 records");
    assert!(site.journal_bytes() <= 8 * MIB);
    until("it is said", || async { gateway.said().contains("cannot make a new journal file") }).await;
    assert_eq!(gateway.ready().await, (503, "log_unavailable".into()));
    assert!(gateway.is_alive());
    // Now the database may be written to, and cannot grow.
    drop(held);
    until("it is said", || async { gateway.said().contains("cannot store access-log records") }).await;
    gateway.limit_files(None);
    gateway.becomes_ready(200).await;
    asked.extend(refused(&gateway.data, "wide", 1_000).await);
    assert!(asked[12_000..].iter().all(|asked| asked.status == Some(401)));
    gateway.settled().await;
    let records = gateway.records(from).await;
    assert_eq!(records.len(), asked.iter().filter(|asked| !asked.unrecorded()).count());
    reconcile(&asked, &[], &records, false);
    assert!(gateway.is_alive() && !gateway.said().contains("panicked"), "{}", gateway.said());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_starts_without_room_for_its_journal_refuses_until_there_is() {
    let mut site = Site::sqlite().await;
    // In units of 512 or 1024 bytes: enough for a database, too little for a region of 4 MiB.
    site.wrapper = ["sh", "-c", "ulimit -S -f 2000; exec \"$0\" \"$@\""].map(str::to_owned).into();
    let mut gateway = site.start().await;
    until("it starts, and refuses", || async { gateway.ready().await == (503, "log_unavailable".into()) })
        .await;
    let asked = refused(&gateway.data, "none", 100).await;
    assert!(asked.iter().all(Asked::unrecorded));
    assert_eq!(gateway.counts().await.accepted, 0);
    gateway.limit_files(None);
    gateway.becomes_ready(200).await;
    assert!(gateway.is_alive());
}

/// A file system of this size where the gateway keeps its data, which nobody else sees and which ends with the gateway.
fn small_disk(site: &mut Site, mib: u64) {
    std::fs::create_dir_all(site.path("data")).unwrap();
    let script = format!("mount -t tmpfs -o size={mib}m none data && exec \"$0\" \"$@\"");
    site.wrapper = ["unshare", "--map-root-user", "--mount", "sh", "-c", &script].map(str::to_owned).into();
}

fn can_mount() -> bool {
    let script = "mount -t tmpfs -o size=1m none /mnt";
    let tried = Command::new("unshare").args(["--map-root-user", "--mount", "sh", "-c", script]).status();
    tried.is_ok_and(|status| status.success())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_loses_nothing_and_heals_when_there_is_room_again() {
    if !can_mount() {
        // The two tests above do the same with a limit of the file size.
        eprintln!("no file system can be mounted here, so the full disk was not tried");
        return;
    }
    let mut site = Site::sqlite().await;
    small_disk(&mut site, 32);
    let from = Timestamp::now();
    let mut gateway = site.start().await;
    gateway.becomes_ready(200).await;
    let mut asked = refused(&gateway.data, "before", 500).await;
    gateway.settled().await;
    let inside = format!("/proc/{}/root{}", gateway.pid().as_raw_nonzero(), site.path("data").display());
    let ballast = format!("{inside}/ballast");
    let mut file = std::fs::File::create(&ballast).unwrap();
    while file.write_all(&[0; 4096]).is_ok() {}
    asked.extend(refused(&gateway.data, "full", 20_000).await);
    assert_eq!(gateway.ready().await, (503, "log_unavailable".into()));
    for word in ["cannot make a new journal file", "the disk of the database is full"] {
        until(word, || async { gateway.said().contains(word) }).await;
    }
    let waiting = gateway.counts().await.pending;
    assert!(waiting >= 4_096, "{waiting} records wait");
    drop(file);
    std::fs::remove_file(&ballast).unwrap();
    gateway.becomes_ready(200).await;
    asked.extend(refused(&gateway.data, "after", 500).await);
    gateway.settled().await;
    reconcile(&asked, &[], &gateway.records(from).await, false);
    assert!(gateway.is_alive() && !gateway.said().contains("panicked"), "{}", gateway.said());
}
