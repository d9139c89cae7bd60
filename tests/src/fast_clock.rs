//! A wall clock that runs fast and is the same in several processes, so that real tokens fall due several times a second.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use fake_procore::TimeSource;
use procore_auth_host::Clock;
use serde::{Deserialize, Serialize};

/// The moment at which the fast clocks start: 2026-11-23T00:00:00Z.
const START: u64 = 1_795_392_000_000;

/// What processes agree upon so that their clocks show the same.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Pace {
    /// The system's time at the start, in microseconds since 1970.
    began: u64,
    /// How many times faster than the system's the clock runs.
    speed: u64,
}

impl Pace {
    /// Starts now.
    pub fn start(speed: u64) -> Self {
        Self {
            began: system_microseconds(),
            speed,
        }
    }

    /// Returns the time shown, in milliseconds since 1970.
    pub fn now(&self) -> u64 {
        START + system_microseconds().saturating_sub(self.began) * self.speed / 1000
    }

    /// Returns this time as the server's.
    pub fn time_source(self) -> TimeSource {
        Arc::new(move || self.now())
    }
}

fn system_microseconds() -> u64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH);
    let since_epoch = since_epoch.expect("after 1970").as_micros();
    u64::try_from(since_epoch).expect("not that late")
}

/// Runs fast by the wall. The elapsed time and sleeping are real.
pub struct FastClock {
    pace: Pace,
    began: Instant,
}

impl FastClock {
    /// Shows the time of this pace.
    pub fn new(pace: Pace) -> Self {
        Self {
            pace,
            began: Instant::now(),
        }
    }
}

#[async_trait::async_trait]
impl Clock for FastClock {
    fn now(&self) -> u64 {
        self.pace.now()
    }

    fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }
}
