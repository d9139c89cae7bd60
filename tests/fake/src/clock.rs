//! The server's time: the system's, or the test's.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// Tells the server's time, in milliseconds since the Unix epoch.
///
/// It may stand still and may jump, also backwards.
pub type TimeSource = Arc<dyn Fn() -> u64 + Send + Sync>;

/// Returns the system's wall clock.
#[must_use]
pub fn system_time() -> TimeSource {
    Arc::new(|| {
        let since_epoch = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX)
    })
}

/// A clock that stands still until a test moves it. Clones share one time.
#[derive(Debug, Clone)]
pub struct VirtualClock(Arc<AtomicU64>);

impl VirtualClock {
    /// Creates a clock that shows a time, in milliseconds since the Unix epoch.
    #[must_use]
    pub fn at(unix_ms: u64) -> Self {
        Self(Arc::new(AtomicU64::new(unix_ms)))
    }

    /// Returns the time shown, in milliseconds since the Unix epoch.
    #[must_use]
    pub fn now(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }

    /// Moves the clock on.
    pub fn advance_seconds(&self, seconds: u64) {
        self.0
            .fetch_add(seconds.saturating_mul(1000), Ordering::SeqCst);
    }

    /// Sets the clock, in milliseconds since the Unix epoch; backwards too.
    pub fn set(&self, unix_ms: u64) {
        self.0.store(unix_ms, Ordering::SeqCst);
    }

    /// Returns this clock as the server's time.
    #[must_use]
    pub fn time_source(&self) -> TimeSource {
        let clock = self.clone();
        Arc::new(move || clock.now())
    }
}
