//! The file of the local copy: replaced as a whole, readable by its owner only, set aside when it cannot be trusted.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;

use super::format::Copied;
use super::{BootTime, Restored};
use crate::home::OfStore;

/// All calls block.
pub(super) struct CopyFile {
    path: PathBuf,
}

impl CopyFile {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Replaces it; on the disk when this returns. On an error the old file or the new one is there, whole.
    pub(super) fn write(&self, copied: &Copied) -> io::Result<()> {
        let text = copied.to_text()?;
        let folder = self.folder();
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let new = self.path.with_extension("json.new");
        // Left by a gateway that was killed; made anew, for its permissions.
        remove_if_there(&new)?;
        let written =
            OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new).and_then(|mut file| {
                file.write_all(text.as_bytes())?;
                file.sync_all()
            });
        if let Err(error) = written.and_then(|()| fs::rename(&new, &self.path)) {
            let _ = fs::remove_file(&new);
            return Err(error);
        }
        File::open(folder)?.sync_all()
    }

    /// Removes it, for good also when the power fails.
    pub(super) fn remove(&self) -> io::Result<()> {
        if remove_if_there(&self.path)? { File::open(self.folder())?.sync_all() } else { Ok(()) }
    }

    /// Reads it, if it can be relied on. What cannot is set aside, so that it cannot later either; one that is only too
    /// old still says of which store it is.
    pub(super) fn restore(&self, store: &str, max_staleness: Duration) -> Option<Restored> {
        let path = self.path.display();
        let copied = match self.read() {
            Ok(Some(copied)) => copied,
            Ok(None) => {
                tracing::debug!(%path, "there is no local copy of the apps yet");
                return None;
            }
            Err(reason) => {
                self.set_aside(&format!("cannot be trusted: {reason}"));
                return None;
            }
        };
        if copied.store != store {
            self.set_aside(&format!("is of another store ({}, not {store})", copied.store));
            return None;
        }
        let Copied { identity, apps, .. } = &copied;
        let of = identity.clone().map(|identity| OfStore { identity, apps: apps.len() });
        match age(&copied, Timestamp::now(), BootTime::now().as_ref()) {
            None => {
                self.set_aside("cannot be trusted: the clock is behind the time at which it was written");
                Some(Restored { of, known: None })
            }
            Some(age) if age > max_staleness => {
                self.set_aside(&format!(
                    "is too old: {} s, {} s are allowed",
                    age.as_secs(),
                    max_staleness.as_secs()
                ));
                Some(Restored { of, known: None })
            }
            Some(age) => {
                let apps = copied.apps;
                tracing::debug!(%path, apps = apps.len(), age_seconds = age.as_secs(), "read the local copy");
                Some(Restored { of, known: Some((apps, age)) })
            }
        }
    }

    /// Undoes that it was set aside for its age. It is too old for the next start, too, which shall look at it again.
    pub(super) fn put_back(&self) -> io::Result<()> {
        if self.path.exists() {
            return Ok(());
        }
        match fs::rename(self.aside(), &self.path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            done => done.and_then(|()| File::open(self.folder())?.sync_all()),
        }
    }

    fn aside(&self) -> PathBuf {
        self.path.with_extension("json.refused")
    }

    fn read(&self) -> Result<Option<Copied>, String> {
        let text = match fs::read(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.to_string()),
        };
        let mode = fs::metadata(&self.path).map_err(|error| error.to_string())?.permissions().mode();
        if mode & 0o022 != 0 {
            return Err(format!("others may write it (mode {:o})", mode & 0o777));
        }
        Copied::of_text(&text).map(Some)
    }

    fn set_aside(&self, reason: &str) {
        let aside = self.aside();
        let done = fs::rename(&self.path, &aside).and_then(|()| File::open(self.folder())?.sync_all());
        match done {
            Ok(()) => tracing::error!(
                path = %self.path.display(),
                aside = %aside.display(),
                "the local copy of the apps {reason}; it was set aside, and no key is known until the store answers"
            ),
            Err(error) => tracing::error!(
                path = %self.path.display(),
                %error,
                "the local copy of the apps {reason}; it cannot be set aside either: remove it. No key is known until \
                 the store answers"
            ),
        }
    }

    fn folder(&self) -> &Path {
        self.path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
    }
}

/// How long ago the store was heard; `None` if no clock can tell. Of two clocks the older answer counts.
pub(super) fn age(copied: &Copied, now: Timestamp, boot: Option<&BootTime>) -> Option<Duration> {
    let by_wall = Duration::try_from(now.duration_since(copied.synced)).ok();
    let by_boot = copied.boot.as_ref().zip(boot).and_then(|(then, now)| then.until(now));
    by_wall.max(by_boot)
}

fn remove_if_there(path: &Path) -> io::Result<bool> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use jiff::SignedDuration;
    use tempfile::TempDir;

    use super::*;

    const HOUR: Duration = Duration::from_hours(1);

    fn copied(age: SignedDuration) -> Copied {
        Copied {
            store: "here".into(),
            identity: None,
            synced: Timestamp::now() - age,
            boot: None,
            apps: Vec::new(),
        }
    }

    fn place() -> (TempDir, CopyFile) {
        let folder = TempDir::new().unwrap();
        let file = CopyFile::new(folder.path().join("data/apps.json"));
        (folder, file)
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    fn is_set_aside(file: &CopyFile) -> bool {
        !file.path.exists() && file.path.with_extension("json.refused").exists()
    }

    #[test]
    fn only_the_owner_can_read_it_whatever_lay_there_before() {
        let (_folder, file) = place();
        file.write(&copied(SignedDuration::ZERO)).unwrap();
        fs::write(file.path.with_extension("json.new"), "left by a gateway that was killed").unwrap();
        fs::set_permissions(file.path(), fs::Permissions::from_mode(0o644)).unwrap();
        file.write(&copied(SignedDuration::ZERO)).unwrap();
        assert_eq!((mode(file.path()), mode(file.folder())), (0o600, 0o700));
        assert!(!file.path.with_extension("json.new").exists());
    }

    #[test]
    fn a_copy_within_the_limit_is_restored_with_its_age() {
        let (_folder, file) = place();
        assert!(file.restore("here", HOUR).is_none());
        file.write(&copied(SignedDuration::from_secs(60))).unwrap();
        let (_, age) = file.restore("here", HOUR).unwrap().known.unwrap();
        assert!(age >= Duration::from_secs(60), "{age:?}");
        assert!(file.path.exists());
    }

    #[test]
    fn what_cannot_be_relied_on_is_set_aside() {
        let (_folder, file) = place();
        for (what, age, store) in [
            ("too old", SignedDuration::from_secs(3601), "here"),
            ("from the future", SignedDuration::from_secs(-60), "here"),
            ("of another store", SignedDuration::ZERO, "elsewhere"),
        ] {
            file.write(&copied(age)).unwrap();
            let known = file.restore(store, HOUR).and_then(|restored| restored.known);
            assert!(known.is_none() && is_set_aside(&file), "{what}");
        }
        fs::write(file.path(), "{").unwrap();
        assert!(file.restore("here", HOUR).is_none() && is_set_aside(&file), "damaged");
        file.write(&copied(SignedDuration::ZERO)).unwrap();
        fs::set_permissions(file.path(), fs::Permissions::from_mode(0o660)).unwrap();
        assert!(file.restore("here", HOUR).is_none() && is_set_aside(&file), "writable by others");
    }

    #[test]
    fn of_two_clocks_the_older_answer_counts() {
        let boot = BootTime::now().unwrap();
        let at = |age, boot: Option<BootTime>| Copied { boot, ..copied(age) };
        let now = Timestamp::now();
        let minute_ago = boot.clone().earlier(Duration::from_secs(60));
        let age = |copied: &Copied| age(copied, now, Some(&boot)).map(|age| age.as_secs());
        let (second, hour) = (SignedDuration::from_secs(1), SignedDuration::from_secs(3600));
        assert_eq!(age(&at(-hour, minute_ago.clone())), Some(60), "the wall clock was set back");
        assert_eq!(age(&at(second, minute_ago.clone())), Some(60), "and it was set back by less");
        assert!(age(&at(hour, minute_ago)) >= Some(3599), "it was set forward");
        assert_eq!(age(&at(-hour, Some(BootTime::of_another_start()))), None, "nobody can tell");
        assert_eq!(age(&at(second, Some(BootTime::of_another_start()))).map(|age| age <= 1), Some(true));
    }
}
