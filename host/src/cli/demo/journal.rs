//! What the agents reported: the alerts that an admin would get.

use std::sync::{Mutex, PoisonError};

use procore_auth_host::{Event, Journal, Severity};

/// A journal that remembers.
#[derive(Default)]
pub(super) struct Reported(Mutex<Vec<Event>>);

impl Reported {
    /// Returns the alerts, in order.
    pub(super) fn alerts(&self) -> Vec<Event> {
        self.all(|event| event.severity == Severity::Alert)
    }

    /// Returns the notices that an incident is over, in order.
    pub(super) fn recoveries(&self) -> Vec<Event> {
        self.all(|event| event.code == "recovered")
    }

    fn all(&self, wanted: impl Fn(&Event) -> bool) -> Vec<Event> {
        let mut events = self
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        events.retain(wanted);
        events
    }
}

impl Journal for Reported {
    fn record(&self, _: &str, event: &Event) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(event.clone());
    }
}
