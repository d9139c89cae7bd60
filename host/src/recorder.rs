//! Where the events of one connection go.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::{Clock, Event, Journal, Severity};

/// For how long an alert that comes again is no news.
const NEWS: Duration = Duration::from_secs(3600);

/// What the plugin says of the state where calls fail; otherwise for how long they still work.
const DARK: &str = "calls do not work";

/// The plugin's word for the end of a trouble.
const RECOVERED: &str = "recovered";

/// Hands the events of one connection, the plugin's and its host's, to every journal.
pub(crate) struct Recorder {
    connection: String,
    clock: Arc<dyn Clock>,
    journals: Vec<Arc<dyn Journal>>,
    /// The plugin's alerts of late: what they told, and when on the scale of the elapsed time.
    told: Mutex<BTreeMap<String, Duration>>,
}

impl Recorder {
    pub(crate) fn new(
        connection: String,
        clock: Arc<dyn Clock>,
        journals: Vec<Arc<dyn Journal>>,
    ) -> Self {
        Self {
            connection,
            clock,
            journals,
            told: Mutex::default(),
        }
    }

    pub(crate) fn record(
        &self,
        severity: Severity,
        code: impl Into<String>,
        message: impl Into<String>,
        fields: Vec<(String, String)>,
    ) {
        let event = Event {
            at: self.clock.now(),
            severity,
            code: code.into(),
            message: message.into(),
            fields,
        };
        for journal in &self.journals {
            journal.record(&self.connection, &event);
        }
    }

    /// Records an event of the plugin.
    ///
    /// The plugin notes in the store what it has told. Where the store cannot be written it tells it at every call: within an
    /// hour, and until a write or the connection works again, the same alert is a warning.
    pub(crate) fn record_of_plugin(
        &self,
        severity: Severity,
        code: String,
        message: String,
        fields: Vec<(String, String)>,
    ) {
        let is_repeated = severity == Severity::Alert && !self.is_news(&code, &fields);
        if code == RECOVERED {
            self.forget();
        }
        let severity = if is_repeated {
            Severity::Warning
        } else {
            severity
        };
        self.record(severity, code, message, fields);
    }

    /// Notes that the store or the connection works: whatever is told from now on is news.
    pub(crate) fn forget(&self) {
        self.told().clear();
    }

    /// Whether no such alert of the present incident was told of late; from now on it was. That calls work no more is news of
    /// its own, and so is everything that is no incident.
    fn is_news(&self, code: &str, fields: &[(String, String)]) -> bool {
        let Some((_, state)) = fields.iter().find(|(name, _)| name == "state") else {
            return true;
        };
        let calls = if state == DARK { "fail" } else { "work" };
        let now = self.clock.elapsed();
        let mut told = self.told();
        told.retain(|_, at| now.saturating_sub(*at) < NEWS);
        match told.entry(format!("{code}, calls {calls}")) {
            Entry::Occupied(_) => false,
            Entry::Vacant(untold) => {
                untold.insert(now);
                true
            }
        }
    }

    fn told(&self) -> MutexGuard<'_, BTreeMap<String, Duration>> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
