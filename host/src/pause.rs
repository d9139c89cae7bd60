//! Until when a connection's next request waits for the rate limit.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use crate::{
    Clock,
    time::{from_millis, millis},
};

/// The latest pause that a reply asked for. In this process's memory: other processes learn of a spent window from their own
/// replies.
///
/// Kept on the scale of the elapsed time, so that a wall clock that is set back does not prolong it.
#[derive(Debug, Default)]
pub(crate) struct Pause(Mutex<Duration>);

impl Pause {
    /// Notes a moment of the wall clock; an earlier one than is known changes nothing.
    pub(crate) fn note(&self, until: Option<u64>, clock: &dyn Clock) {
        let wait = until.map_or(0, |until| until.saturating_sub(clock.now()));
        if wait == 0 {
            return;
        }
        let end = clock.elapsed().saturating_add(from_millis(wait));
        let mut latest = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *latest = end.max(*latest);
    }

    /// Returns the moment on the wall clock as it is now; `None` where nothing is to be waited for.
    pub(crate) fn until(&self, clock: &dyn Clock) -> Option<u64> {
        let latest = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let left = latest.checked_sub(clock.elapsed())?;
        // Rounded up: a moment too early is refused.
        let left = left.saturating_add(Duration::from_nanos(999_999));
        Some(clock.now().saturating_add(millis(left))).filter(|until| *until > clock.now())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use async_trait::async_trait;

    use super::*;

    /// A wall clock and an elapsed time, in milliseconds.
    struct Hands(AtomicU64, AtomicU64);

    #[async_trait]
    impl Clock for Hands {
        fn now(&self) -> u64 {
            self.0.load(Ordering::Relaxed)
        }

        fn elapsed(&self) -> Duration {
            Duration::from_millis(self.1.load(Ordering::Relaxed))
        }

        async fn sleep(&self, _: Duration) {}
    }

    #[test]
    fn the_latest_pause_is_kept_until_it_is_over() {
        let clock = Hands(AtomicU64::new(1_000_000), AtomicU64::new(50));
        let pause = Pause::default();
        assert_eq!(pause.until(&clock), None);
        pause.note(Some(1_000_300), &clock);
        pause.note(Some(1_000_200), &clock);
        pause.note(None, &clock);
        assert_eq!(pause.until(&clock), Some(1_000_300));
        // The wall clock is set back: what is left stays the same.
        clock.0.store(1000, Ordering::Relaxed);
        assert_eq!(pause.until(&clock), Some(1300));
        clock.1.store(350, Ordering::Relaxed);
        assert_eq!(pause.until(&clock), None);
    }
}
