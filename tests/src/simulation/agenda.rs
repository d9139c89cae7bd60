//! Virtual time, in milliseconds since the start of a run.
//!
//! Tokio's paused clock jumps to the next wake-up whenever nothing can run. Each wake-up here has a millisecond of its own, so
//! that one thing runs at a time, and real time has no say in the order.

use std::{
    collections::BTreeSet,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// The wake-ups of a run.
pub(crate) struct Agenda {
    origin: Instant,
    booked: Mutex<BTreeSet<u64>>,
}

impl Agenda {
    /// Starts at zero. To be called inside a runtime whose time stands still.
    pub(crate) fn start() -> Self {
        Self {
            origin: Instant::now(),
            booked: Mutex::default(),
        }
    }

    /// Returns the time.
    pub(crate) fn now(&self) -> u64 {
        u64::try_from(self.origin.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Books the first free millisecond that is not before `at`, and not now.
    pub(crate) fn book(&self, at: u64) -> u64 {
        let now = self.now();
        let mut booked = self.booked.lock().unwrap_or_else(PoisonError::into_inner);
        while booked.first().is_some_and(|first| *first < now) {
            booked.pop_first();
        }
        let mut free = at.max(now + 1);
        while !booked.insert(free) {
            free += 1;
        }
        free
    }

    /// Returns the moment as tokio's.
    pub(crate) fn instant(&self, at: u64) -> Instant {
        self.origin + Duration::from_millis(at)
    }

    /// Waits for a booked moment.
    pub(crate) async fn reach(&self, booked: u64) {
        tokio::time::sleep_until(self.instant(booked)).await;
    }

    /// Books a moment and waits for it.
    pub(crate) async fn until(&self, at: u64) {
        self.reach(self.book(at)).await;
    }
}
