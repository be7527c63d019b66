//! The local copy of the apps: what a gateway goes by that starts while the store is away.
//!
//! One file, `apps.json`: digests, never keys. It is replaced as a whole (written beside, synced, renamed), only its
//! owner can read it, and a checksum covers every byte that matters. It names the store that it is of and the time at
//! which that store was last heard. What cannot be trusted is set aside and reported, never used; what cannot be
//! brought up to date is removed, for a key that was withdrawn must not come back by a restart.

mod boot;
mod file;
mod format;
#[cfg(feature = "fuzzing")]
pub mod fuzz;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{Mutex, OwnedMutexGuard};

pub(crate) use self::boot::BootTime;
use self::file::CopyFile;
use self::format::Copied;
use crate::entry::KnownApp;
use crate::home::OfStore;

/// How long a caller waits for the disk.
const PATIENCE: Duration = Duration::from_secs(5);

/// The copy, and what is in it.
pub(crate) struct LocalCopy {
    /// Held while the file is written, also when the caller is gone: files replace each other in order.
    kept: Arc<Mutex<Kept>>,
    store: Arc<str>,
    path: PathBuf,
}

struct Kept {
    file: CopyFile,
    /// What the file says, by the directory's count of changes and the time of the sync; `None` if that is unknown.
    content: Option<Content>,
    failing: bool,
}

/// Which state of the directory that is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Content {
    pub(crate) generation: u64,
    pub(crate) synced: Timestamp,
}

/// What was found at the start.
pub(crate) struct Restored {
    /// Which store it was of, if the copy says so.
    pub(crate) of: Option<OfStore>,
    /// The apps, and how long before now the store was heard; `None` where that is too long, or nobody can tell.
    pub(crate) known: Option<(Vec<KnownApp>, Duration)>,
}

impl LocalCopy {
    pub(crate) fn new(path: PathBuf, store: &str) -> Self {
        let kept = Kept { file: CopyFile::new(path.clone()), content: None, failing: false };
        Self { kept: Arc::new(Mutex::new(kept)), store: store.into(), path }
    }

    /// Reads the copy, if there is one that can be relied on; otherwise says in the log why not.
    pub(crate) async fn restore(&self, max_staleness: Duration) -> Option<Restored> {
        let kept = Arc::clone(&self.kept).lock_owned().await;
        let store = Arc::clone(&self.store);
        let read = tokio::task::spawn_blocking(move || kept.file.restore(&store, max_staleness));
        read.await.unwrap_or_default()
    }

    /// Puts a copy back that [`restore`](Self::restore) has set aside for its age: the next start must see it.
    pub(crate) async fn put_back(&self) -> std::io::Result<()> {
        let kept = Arc::clone(&self.kept).lock_owned().await;
        on_the_disk(move || kept.file.put_back()).await
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Waits for its turn to write, within reason.
    pub(crate) async fn turn(&self) -> std::io::Result<Turn> {
        let turn = tokio::time::timeout(PATIENCE, Arc::clone(&self.kept).lock_owned()).await;
        Ok(Turn { kept: turn.map_err(|_elapsed| too_slow())?, store: Arc::clone(&self.store) })
    }
}

/// The right to write the copy.
pub(crate) struct Turn {
    kept: OwnedMutexGuard<Kept>,
    store: Arc<str>,
}

impl Turn {
    /// What the file says, as far as it is known.
    pub(crate) fn content(&self) -> Option<Content> {
        self.kept.content
    }

    /// Replaces the file. If that fails and the file says something else of the apps, it is removed; an error means
    /// that it is still there.
    pub(crate) async fn write(
        self,
        content: Content,
        identity: Option<String>,
        boot: Option<BootTime>,
        apps: Vec<KnownApp>,
    ) -> std::io::Result<()> {
        let Self { mut kept, store } = self;
        on_the_disk(move || {
            let copied = Copied { store: store.to_string(), identity, synced: content.synced, boot, apps };
            kept.write(content, &copied)
        })
        .await
    }

    /// Removes the file: nothing can be said for what is in it.
    pub(crate) async fn remove(self) -> std::io::Result<()> {
        let mut kept = self.kept;
        on_the_disk(move || kept.remove()).await
    }
}

impl Kept {
    fn write(&mut self, content: Content, copied: &Copied) -> std::io::Result<()> {
        let Err(error) = self.file.write(copied) else {
            if std::mem::take(&mut self.failing) {
                tracing::info!(path = %self.file.path().display(), "the local copy of the apps is up to date again");
            }
            self.content = Some(content);
            return Ok(());
        };
        let says_the_same = self.content.is_some_and(|old| old.generation == content.generation);
        if !std::mem::replace(&mut self.failing, true) {
            tracing::error!(
                %error,
                path = %self.file.path().display(),
                "cannot write the local copy of the apps: a restart while the store is away would know no keys; \
                 look at the disk and its permissions"
            );
        }
        // Only its time is old then, which errs on the safe side.
        if says_the_same { Ok(()) } else { self.remove() }
    }

    fn remove(&mut self) -> std::io::Result<()> {
        self.content = None;
        self.file.remove()
    }
}

/// Does something slow on a thread of its own, to its end; waits for that, within reason.
async fn on_the_disk(work: impl FnOnce() -> std::io::Result<()> + Send + 'static) -> std::io::Result<()> {
    let work = tokio::task::spawn_blocking(work);
    match tokio::time::timeout(PATIENCE, work).await {
        Ok(Ok(done)) => done,
        Ok(Err(panicked)) => Err(std::io::Error::other(panicked)),
        Err(_elapsed) => Err(too_slow()),
    }
}

fn too_slow() -> std::io::Error {
    let message = format!("the disk did not answer within {} s", PATIENCE.as_secs());
    std::io::Error::new(std::io::ErrorKind::TimedOut, message)
}
