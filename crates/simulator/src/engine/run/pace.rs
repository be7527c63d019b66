//! The pace of tokens.

use tokio::time::{Duration, Instant, sleep_until};

use super::{Pulse, Run};

impl Run {
    /// Whether the next token is there already, so that nothing needs to be flushed before it.
    pub(crate) fn is_due(&self, tokens: u32) -> bool {
        let gap = self.gap(f64::from(tokens.max(1)));
        !self.control.is_still()
            && !self.watch.has_changed().unwrap_or(false)
            && (gap.is_zero() || self.last + gap <= Instant::now())
    }

    fn gap(&self, factor: f64) -> Duration {
        let speed = self.control.speed;
        if self.first_token.is_none() { speed.ttft } else { speed.itl.mul_f64(factor) }
    }

    /// Waits until the next `tokens` are due. Late ones do not delay those after them.
    pub(crate) async fn tick(&mut self, tokens: u32) -> Pulse {
        let jitter = self.control.speed.jitter.clamp(0.0, 1.0);
        let factor = if jitter > 0.0 { 1.0 + jitter * self.pace.signed() } else { 1.0 };
        let factor = factor * f64::from(tokens.max(1));
        loop {
            if self.watch.has_changed().unwrap_or(false)
                && let Some(end) = self.look()
            {
                return end;
            }
            if self.control.is_still() {
                if self.watch.changed().await.is_err() {
                    return Pulse::Abort;
                }
                self.last = Instant::now();
                if let Some(end) = self.look() {
                    return end;
                }
                continue;
            }
            let gap = self.gap(factor);
            if gap.is_zero() {
                break;
            }
            let due = self.last + gap;
            if due > Instant::now() {
                tokio::select! {
                    () = sleep_until(due) => {}
                    _ = self.watch.changed() => {
                        if let Some(end) = self.look() {
                            return end;
                        }
                        continue;
                    }
                }
            }
            self.last = due;
            break;
        }
        if self.first_token.is_none() {
            let now = Instant::now();
            self.first_token = Some(now);
            self.last = self.last.max(now);
        }
        Pulse::Token
    }
}
