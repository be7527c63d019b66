//! The time since the machine was started: a clock that nobody can set, and that two processes share.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A moment by that clock; only to be compared within the same start of the machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BootTime {
    /// Which start of the machine.
    id: String,
    millis: u64,
}

impl BootTime {
    /// Now; `None` where the system does not say.
    pub(crate) fn now() -> Option<Self> {
        let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
        let uptime = std::fs::read_to_string("/proc/uptime").ok()?;
        let seconds: f64 = uptime.split_ascii_whitespace().next()?.parse().ok()?;
        let millis = Duration::try_from_secs_f64(seconds).ok()?.as_millis();
        Some(Self { id: id.trim().to_owned(), millis: u64::try_from(millis).ok()? })
    }

    /// So much earlier; `None` before the machine was started.
    pub(crate) fn earlier(self, by: Duration) -> Option<Self> {
        let by = u64::try_from(by.as_millis()).ok()?;
        Some(Self { millis: self.millis.checked_sub(by)?, ..self })
    }

    /// How long before `now` that was; `None` if the machine was started in between, or a container was.
    pub(crate) fn until(&self, now: &Self) -> Option<Duration> {
        let length = now.millis.checked_sub(self.millis)?;
        (self.id == now.id).then_some(Duration::from_millis(length))
    }

    #[cfg(test)]
    pub(crate) fn of_another_start() -> Self {
        Self { id: "another".to_owned(), millis: 1 }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn two_moments_of_one_start_of_the_machine_have_a_distance() {
        let now = BootTime::now().unwrap();
        let before = now.clone().earlier(Duration::from_millis(10)).unwrap();
        assert_eq!(before.until(&now), Some(Duration::from_millis(10)));
        assert_eq!(now.until(&before), None);
        assert_eq!(BootTime::of_another_start().until(&now), None);
        assert_eq!(now.earlier(Duration::MAX), None);
    }
}
