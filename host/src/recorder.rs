//! Where the events of one connection go.

use std::sync::{Arc, OnceLock};

use crate::{Clock, ConnectionName, Event, Journal, Severity, news::News};

/// The plugin's word for the end of a trouble.
const RECOVERED: &str = "recovered";

/// Hands the events of one connection, the plugin's and its host's, to every journal.
pub(crate) struct Recorder {
    connection: String,
    clock: Arc<dyn Clock>,
    journals: Vec<Arc<dyn Journal>>,
    news: News,
    stands_in_for: OnceLock<String>,
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
            news: News::default(),
            stands_in_for: OnceLock::new(),
        }
    }

    /// Has every event from now on name the connection that this one is the fallback of. Returns `false` where it is one already.
    pub(crate) fn stand_in_for(&self, name: &ConnectionName) -> bool {
        self.stands_in_for.set(name.to_string()).is_ok()
    }

    pub(crate) fn record(
        &self,
        severity: Severity,
        code: impl Into<String>,
        message: impl Into<String>,
        mut fields: Vec<(String, String)>,
    ) {
        if let Some(name) = self.stands_in_for.get() {
            fields.push(("fallback".to_owned(), name.clone()));
        }
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

    /// Records an event of the plugin: an alert that is no [`News`] as a warning.
    pub(crate) fn record_of_plugin(
        &self,
        severity: Severity,
        code: String,
        message: String,
        fields: Vec<(String, String)>,
    ) {
        let now = self.clock.elapsed();
        let is_repeated = severity == Severity::Alert && !self.news.is_news(&code, &fields, now);
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
        self.news.forget();
    }
}
