//! Keeps the local copy up to date: at once for a change made here, soon for one made elsewhere.

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::{Instant, sleep, timeout};

use crate::Directory;
use crate::copy::{BootTime, Content, LocalCopy, Turn};

/// How much older than the last sync the copy may say that it is, while nothing changes.
const REFRESH: Duration = Duration::from_secs(30);
/// The least between two files that are written for changes made elsewhere.
const GAP: Duration = Duration::from_millis(250);

impl Directory {
    /// Brings the copy up to date: what is in force when this is called is in it when this returns. An error means
    /// that the file still says something else.
    pub(crate) async fn keep(&self) -> std::io::Result<()> {
        let Some(copy) = &self.copy else { return Ok(()) };
        let wanted = self.generation();
        let turn = copy.turn().await?;
        if turn.content().is_some_and(|content| content.generation >= wanted) {
            // Somebody else's turn has done it.
            return Ok(());
        }
        self.write(turn).await
    }

    /// For the end of the process: the copy then says how fresh it really is.
    pub async fn keep_finally(&self) {
        if let Some(copy) = &self.copy
            && let Ok(turn) = copy.turn().await
        {
            // Whatever is wrong with the disk has been logged.
            let _ = self.write(turn).await;
        }
    }

    pub(crate) async fn keep_copying(&self) {
        let Some(copy) = &self.copy else { return };
        let refresh = REFRESH.min(self.freshness.max_staleness() / 4);
        let (mut written, mut stuck) = (Instant::now(), false);
        loop {
            let _ = timeout(refresh, self.news.notified()).await;
            match self.keep_up(copy, written.elapsed() >= refresh).await {
                Ok(wrote) => {
                    written = if wrote { Instant::now() } else { written };
                    stuck = false;
                }
                Err(error) => {
                    if !std::mem::replace(&mut stuck, true) {
                        tracing::error!(
                            %error,
                            "the local copy of the apps is old and cannot be removed either: a restart while the store \
                             is away may let in who was shut out since; remove it by hand"
                        );
                    }
                }
            }
            sleep(GAP).await;
        }
    }

    /// Writes the copy if it says something else of the apps, or is to be refreshed; whether it did.
    async fn keep_up(&self, copy: &LocalCopy, refresh: bool) -> std::io::Result<bool> {
        let turn = copy.turn().await?;
        let behind = turn.content().is_none_or(|content| content.generation < self.generation());
        if behind || refresh {
            self.write(turn).await?;
        }
        Ok(behind || refresh)
    }

    async fn write(&self, turn: Turn) -> std::io::Result<()> {
        let synced = self.freshness.synced().filter(|_| self.freshness.is_within(Timestamp::now()));
        let Some((synced, age)) = synced.zip(self.age()) else {
            // Nothing is known, or what is known has had its time: a later restart must not start that anew.
            return turn.remove().await;
        };
        let (generation, apps) = self.everything();
        let content = Content { generation, synced };
        if turn.content() == Some(content) {
            return Ok(());
        }
        let boot = BootTime::now().and_then(|now| now.earlier(age));
        turn.write(content, self.home.identity(), boot, apps).await
    }
}

#[cfg(test)]
mod tests;
