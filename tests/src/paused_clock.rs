//! A clock whose sleepers wait for the test, so that a test decides between which two tries something changes.

use std::{sync::Arc, time::Duration};

use fake_procore::VirtualClock;
use procore_auth_host::Clock;
use tokio::sync::watch;

use crate::rig::RigClock;

/// Shows the rig's time. A sleep ends once the test lets it.
#[derive(Clone)]
pub struct PausedClock {
    inner: Arc<RigClock>,
    awake: Arc<watch::Sender<bool>>,
}

impl PausedClock {
    /// Shows the given clock; nobody who sleeps wakes up.
    pub fn new(clock: &VirtualClock) -> Self {
        Self {
            inner: Arc::new(RigClock::new(clock)),
            awake: Arc::new(watch::Sender::new(false)),
        }
    }

    /// Wakes all who sleep. From now on a sleep moves the time on instead of waiting.
    pub fn wake(&self) {
        self.awake.send_replace(true);
    }
}

#[async_trait::async_trait]
impl Clock for PausedClock {
    fn now(&self) -> u64 {
        self.inner.now()
    }

    fn elapsed(&self) -> Duration {
        self.inner.elapsed()
    }

    async fn sleep(&self, duration: Duration) {
        let mut awake = self.awake.subscribe();
        // The sender lives as long as `self`.
        let _ = awake.wait_for(|awake| *awake).await;
        self.inner.sleep(duration).await;
    }
}
