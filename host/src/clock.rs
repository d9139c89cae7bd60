//! Time, as lent to the plugin and as the keeper waits for it.

#[cfg(any(target_os = "linux", target_os = "android"))]
mod alarm;
#[cfg(any(target_os = "linux", target_os = "android"))]
mod coarse;

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;

use crate::time::millis;

/// A source of time.
///
/// The wall clock may jump in both directions; the elapsed time never decreases. An implementation for tests may let both run
/// as it likes within that.
#[async_trait]
pub trait Clock: Send + Sync {
    /// Returns the wall clock in milliseconds since 1970-01-01T00:00:00Z.
    fn now(&self) -> u64;

    /// Returns the time since a fixed point of this clock's choosing. It may stand still while the machine is suspended.
    fn elapsed(&self) -> Duration;

    /// Returns both as they were a tick of the system ago, usually 10 ms at most: for whoever looks at them often, and compares them with
    /// moments far away.
    ///
    /// Unless overridden, it reads both.
    fn glance(&self) -> (u64, Duration) {
        (self.now(), self.elapsed())
    }

    /// Returns after `duration`.
    async fn sleep(&self, duration: Duration);

    /// Returns once the wall clock shows `moment`, in milliseconds since 1970-01-01T00:00:00Z, or earlier: whoever waits for the
    /// moment looks at [`Clock::now`] again. After a suspension, and after the clock was set, it returns within a minute.
    ///
    /// Unless overridden, it sleeps for a minute at most. May be cancelled.
    async fn sleep_until(&self, moment: u64) {
        let left = Duration::from_millis(moment.saturating_sub(self.now()));
        self.sleep(left.min(LOOK)).await;
    }
}

/// The longest sleep between two looks at the wall clock, where nothing tells that it was set.
const LOOK: Duration = Duration::from_secs(60);

/// The machine's clock.
#[derive(Debug, Clone)]
pub struct SystemClock {
    start: Instant,
    #[cfg(any(target_os = "linux", target_os = "android"))]
    coarse_start: Duration,
}

impl SystemClock {
    /// Starts counting elapsed time now.
    pub fn new() -> Self {
        Self {
            start: Instant::now(),
            #[cfg(any(target_os = "linux", target_os = "android"))]
            coarse_start: coarse::monotonic(),
        }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl Clock for SystemClock {
    fn now(&self) -> u64 {
        let since_epoch = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        millis(since_epoch)
    }

    fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    #[cfg(any(target_os = "linux", target_os = "android"))]
    fn glance(&self) -> (u64, Duration) {
        let elapsed = coarse::monotonic().saturating_sub(self.coarse_start);
        (millis(coarse::wall()), elapsed)
    }

    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }

    /// Is told by the kernel, and looks at nothing meanwhile.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    async fn sleep_until(&self, moment: u64) {
        if let Err(error) = alarm::until(moment).await {
            tracing::debug!("no timer on the wall clock: {error}");
            let left = Duration::from_millis(moment.saturating_sub(self.now()));
            self.sleep(left.min(LOOK)).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_glance_is_never_ahead_and_little_behind() {
        // Usually 10 ms; a virtual machine that was not let run is behind with its ticks.
        const LATE: Duration = Duration::from_secs(1);
        let clock = SystemClock::new();
        for _ in 0..100 {
            let before = (clock.now(), clock.elapsed());
            let (now, elapsed) = clock.glance();
            let after = (clock.now(), clock.elapsed());
            assert!(before.0 <= now + millis(LATE) && now <= after.0, "{now}");
            // Both began at a tick, or after it.
            assert!(before.1 <= elapsed + LATE && elapsed <= after.1 + LATE);
        }
    }
}
