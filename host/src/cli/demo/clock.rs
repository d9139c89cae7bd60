//! The virtual time that the agents and the server share.

use std::time::{Duration, Instant};

use async_trait::async_trait;
use fake_procore::VirtualClock;
use procore_auth_host::Clock;

/// The moment at which the story begins: Saturday, 2026-11-21T00:20:00Z.
const START: u64 = 1_795_220_400_000;

const MINUTE: u64 = 60_000;

/// A clock that stands still until the story moves it on. Who sleeps moves it on instead of waiting.
#[derive(Clone)]
pub(super) struct StoryClock {
    shown: VirtualClock,
    set_up: Instant,
}

impl StoryClock {
    /// Shows the beginning of the story.
    pub(super) fn new() -> Self {
        Self {
            shown: VirtualClock::at(START),
            set_up: Instant::now(),
        }
    }

    /// Returns this clock as the server's.
    pub(super) fn time_source(&self) -> fake_procore::TimeSource {
        self.shown.time_source()
    }

    /// Returns how many minutes of the story have passed.
    pub(super) fn minutes(&self) -> u64 {
        self.since_start() / MINUTE
    }

    /// Lets time pass until so many minutes of the story have.
    pub(super) fn move_to(&self, minutes: u64) {
        self.shown
            .set(self.shown.now().max(START + minutes * MINUTE));
    }

    /// Returns the milliseconds since the beginning of the story.
    fn since_start(&self) -> u64 {
        self.shown.now().saturating_sub(START)
    }
}

#[async_trait]
impl Clock for StoryClock {
    fn now(&self) -> u64 {
        self.shown.now()
    }

    fn elapsed(&self) -> Duration {
        // With the real time, so that a defect ends at a deadline and not never.
        self.set_up.elapsed() + Duration::from_millis(self.since_start())
    }

    async fn sleep(&self, duration: Duration) {
        self.shown.advance_seconds(duration.as_secs().max(1));
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::time::rfc3339;
    use super::{Clock as _, StoryClock};

    #[test]
    fn the_app_is_revoked_on_saturday_at_two() {
        let clock = StoryClock::new();
        clock.move_to(100);
        assert_eq!(rfc3339(clock.now()), "2026-11-21T02:00:00Z");
        clock.move_to(72);
        assert_eq!(clock.minutes(), 100);
    }
}
