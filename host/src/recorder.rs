//! Where the events of one connection go.

use std::sync::Arc;

use crate::{Clock, Event, Journal, Severity};

/// Hands the events of one connection, the plugin's and its host's, to every journal.
pub(crate) struct Recorder {
    connection: String,
    clock: Arc<dyn Clock>,
    journals: Vec<Arc<dyn Journal>>,
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
}
