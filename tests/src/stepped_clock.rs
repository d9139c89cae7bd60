//! A wall clock that is wrong: stepped against the server's, in both directions.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use fake_procore::VirtualClock;
use procore_auth_host::Clock;

/// Shows the server's time plus an offset. The elapsed time follows the server's, or stands still where the machine sleeps.
#[derive(Clone)]
pub struct SteppedClock {
    server: VirtualClock,
    began: u64,
    offset: Arc<AtomicI64>,
    slept: Arc<AtomicI64>,
}

impl SteppedClock {
    /// Begins with the server's time.
    pub fn new(server: &VirtualClock) -> Self {
        Self {
            server: server.clone(),
            began: server.now(),
            offset: Arc::default(),
            slept: Arc::default(),
        }
    }

    /// Steps the wall clock, and it alone.
    pub fn step_minutes(&self, minutes: i64) {
        self.offset.fetch_add(minutes * 60_000, Ordering::SeqCst);
    }

    /// Suspends the machine: time passes for all but the elapsed time.
    pub fn suspend(&self, duration: Duration) {
        self.server.advance_seconds(duration.as_secs());
        let milliseconds = i64::try_from(duration.as_millis()).expect("short");
        self.slept.fetch_add(milliseconds, Ordering::SeqCst);
    }
}

#[async_trait::async_trait]
impl Clock for SteppedClock {
    fn now(&self) -> u64 {
        let offset = self.offset.load(Ordering::SeqCst);
        self.server.now().saturating_add_signed(offset)
    }

    fn elapsed(&self) -> Duration {
        let slept = self.slept.load(Ordering::SeqCst);
        let passed = self.server.now() - self.began;
        Duration::from_millis(passed.saturating_add_signed(-slept))
    }

    async fn sleep(&self, duration: Duration) {
        self.server.advance_seconds(duration.as_secs().max(1));
    }
}
