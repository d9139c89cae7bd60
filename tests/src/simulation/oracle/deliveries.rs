//! What became of the alerts: each reaches people, and none twice that the sink was heard to take.

use std::collections::HashMap;

use procore_auth_host::{Event, Severity, alerts::Alert};

use super::{Breach, broken};

/// What was recorded, and what the sink took.
#[derive(Debug, Default)]
pub(crate) struct Deliveries {
    /// How many alerts were recorded of this name.
    recorded: HashMap<String, u32>,
    /// How many of them the sink took, each once.
    taken: HashMap<String, u32>,
    /// By an alert's id, whether the courier heard that the sink took it.
    heard: HashMap<String, bool>,
}

/// Returns what an alert is known by in the journal and at the sink.
fn name(at: u64, code: &str, fields: &[(String, String)]) -> String {
    format!("{code} of {at} with {fields:?}")
}

impl Deliveries {
    /// Returns how many alerts have reached people.
    pub(crate) fn count(&self) -> u64 {
        self.taken.values().map(|count| u64::from(*count)).sum()
    }

    /// An alert was recorded.
    pub(crate) fn on_recorded(&mut self, event: &Event) {
        let name = name(event.at, &event.code, &event.fields);
        *self.recorded.entry(name).or_default() += 1;
    }

    /// The sink took something.
    pub(crate) fn on_taken(&mut self, alert: &Alert, is_heard: bool) -> Result<(), Breach> {
        match self.heard.insert(alert.id.clone(), is_heard) {
            Some(true) => {
                return broken(
                    "I3 never silent",
                    format!(
                        "{} is delivered again though the sink was heard to take it",
                        alert.code
                    ),
                );
            }
            None if alert.severity == Severity::Alert => {
                let name = name(alert.at, &alert.code, &alert.fields);
                *self.taken.entry(name).or_default() += 1;
            }
            Some(false) | None => {}
        }
        Ok(())
    }

    /// At the end, when the sink has long worked again, everything has been delivered.
    pub(crate) fn on_end(&self) -> Result<(), Breach> {
        let mut recorded = self.recorded.iter();
        let missing = recorded.find(|(name, count)| self.taken.get(*name) < Some(count));
        match missing {
            Some((name, _)) => broken("I3 never silent", format!("nobody got the alert {name}")),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use procore_auth_host::{Event, Severity, alerts::Alert};

    use super::Deliveries;

    fn recorded() -> (Event, Alert) {
        let mut alert = Alert::test("acme", None, 5);
        alert.severity = Severity::Alert;
        let mut event = Event::new(alert.at, alert.severity, &alert.code, &alert.message);
        event.fields.clone_from(&alert.fields);
        (event, alert)
    }

    #[test]
    fn what_nobody_got_is_found() {
        let (event, mut alert) = recorded();
        let mut deliveries = Deliveries::default();
        deliveries.on_recorded(&event);
        deliveries.on_recorded(&event);
        assert!(deliveries.on_end().is_err());
        deliveries.on_taken(&alert, true).expect("once");
        assert!(deliveries.on_end().is_err());
        alert.id = "another".to_owned();
        deliveries.on_taken(&alert, true).expect("once");
        assert!(deliveries.on_end().is_ok());
    }

    #[test]
    fn what_comes_twice_is_found_unless_nobody_heard_of_the_first() {
        let (_, alert) = recorded();
        let mut deliveries = Deliveries::default();
        deliveries.on_taken(&alert, false).expect("once");
        deliveries.on_taken(&alert, true).expect("nobody heard");
        assert!(deliveries.on_taken(&alert, true).is_err());
    }
}
