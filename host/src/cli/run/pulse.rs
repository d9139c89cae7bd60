//! The signs of life of a keeper that stays: to systemd's watchdog, and to the clients of the store.
//!
//! Both are given from the keeper's own loop, so that a loop that hangs gives none.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use procore_auth_host::{ConnectionName, Heartbeat, KeeperKind, StoreFailure};

use super::super::open::Opener;
use super::super::time;
use super::service;

/// How often the clients of the store get a sign. Rarely: a machine with nothing else to do should sleep.
const BEAT: Duration = Duration::from_secs(300);

/// Within which time they are promised the next one.
const PROMISE: Duration = Duration::from_secs(900);

/// The signs of life of this process.
pub(super) struct Pulse {
    heartbeat: Heartbeat,
    of: Option<ConnectionName>,
    has_watchdog: bool,
    period: Duration,
    last: Mutex<Option<Given>>,
}

/// When a sign was given, by both clocks: one stands still in a suspension, and the other may be set.
#[derive(Clone, Copy)]
struct Given {
    awake: Instant,
    wall: u64,
}

impl Pulse {
    /// Gives signs for all connections, or for the one that is named.
    pub(super) fn new(opener: &Opener, named: Option<&ConnectionName>) -> Self {
        let watchdog = service::watchdog();
        Self {
            heartbeat: opener.heartbeat(),
            of: named.cloned(),
            has_watchdog: watchdog.is_some(),
            period: watchdog.map_or(BEAT, |within| BEAT.min(within / 2)),
            last: Mutex::new(None),
        }
    }

    /// Returns how often to call [`Pulse::beat`].
    pub(super) fn period(&self) -> Duration {
        self.period
    }

    /// Gives the signs that are due. Does not block.
    pub(super) fn beat(&self) {
        if self.has_watchdog {
            service::alive();
        }
        if !self.is_due() {
            return;
        }
        let (heartbeat, of) = (self.heartbeat.clone(), self.of.clone());
        tokio::task::spawn_blocking(move || {
            note(heartbeat.beat(KeeperKind::Run, of.as_ref(), time::now(), PROMISE));
        });
    }

    /// Says that the keeper ends on purpose.
    pub(super) async fn stop(&self) {
        let (heartbeat, of) = (self.heartbeat.clone(), self.of.clone());
        let stopped = tokio::task::spawn_blocking(move || {
            note(heartbeat.stop(KeeperKind::Run, of.as_ref(), time::now()));
        });
        if let Err(error) = stopped.await {
            tracing::warn!("the end was not noted: {error}");
        }
    }

    fn is_due(&self) -> bool {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Given {
            awake: Instant::now(),
            wall: time::now(),
        };
        let is_due = last.is_none_or(|last| last.is_over(now, self.period));
        if is_due {
            *last = Some(now);
        }
        is_due
    }
}

impl Given {
    /// Whether the next sign is due, by either clock. A clock that was set back tells of a sign from ahead, which does not count.
    fn is_over(self, now: Self, period: Duration) -> bool {
        let awake = now.awake.saturating_duration_since(self.awake);
        let wall = Duration::from_millis(now.wall.abs_diff(self.wall));
        // Half a period early is better than half a period late.
        awake.max(wall) + period / 2 >= BEAT
    }
}

/// The store's own trouble is told by the visits.
fn note(written: Result<(), StoreFailure>) {
    if let Err(failure) = written {
        tracing::warn!(code = failure.code, "no sign of life: {}", failure.message);
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{BEAT, Given};

    const NOW: u64 = 1_795_392_000_123;
    const HOUR_MS: u64 = 3_600_000;
    const PERIOD: Duration = Duration::from_secs(10);

    #[test]
    fn s44_a_sign_is_due_by_the_clock_that_comes_there_first() {
        let first = Given {
            awake: Instant::now(),
            wall: NOW,
        };
        let after = |awake: Duration, wall: u64| {
            let awake = first.awake + awake;
            first.is_over(Given { awake, wall }, PERIOD)
        };
        assert!(!after(PERIOD, NOW + 10_000));
        assert!(after(BEAT, NOW + 300_000));
        assert!(after(PERIOD, NOW + 8 * HOUR_MS), "it was suspended");
        assert!(after(PERIOD, NOW - HOUR_MS), "the clock was set back");
        assert!(after(BEAT, NOW), "and stands where it stood");
    }
}
