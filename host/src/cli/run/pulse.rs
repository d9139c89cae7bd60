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
    last: Mutex<Option<Instant>>,
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
        // Half a period early is better than half a period late.
        let is_due = last.is_none_or(|last| last.elapsed() + self.period / 2 >= BEAT);
        if is_due {
            *last = Some(Instant::now());
        }
        is_due
    }
}

/// The store's own trouble is told by the visits.
fn note(written: Result<(), StoreFailure>) {
    if let Err(failure) = written {
        tracing::warn!(code = failure.code, "no sign of life: {}", failure.message);
    }
}
