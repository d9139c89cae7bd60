//! The journal: what happened, for those who watch.

use std::{fmt, sync::Arc};

/// A sink for events. `record` must not block for long and must not fail: what cannot be delivered is the sink's to keep.
pub trait Journal: Send + Sync {
    /// Takes one event of the named connection.
    fn record(&self, connection: &str, event: &Event);
}

/// How much an event matters.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Severity {
    /// For the curious.
    Debug,
    /// A normal step.
    Info,
    /// Something is off and is being dealt with.
    Warning,
    /// A person must act.
    Alert,
}

/// Something that happened. Holds no secret.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Event {
    /// When, in milliseconds since 1970-01-01T00:00:00Z.
    pub at: u64,
    /// How much it matters.
    pub severity: Severity,
    /// Stable, lower-case, `-` between words.
    pub code: String,
    /// One sentence for a person.
    pub message: String,
    /// Details, in the order in which they were given.
    pub fields: Vec<(String, String)>,
}

impl Event {
    /// Makes an event without details. `at` is in milliseconds since 1970-01-01T00:00:00Z.
    pub fn new(
        at: u64,
        severity: Severity,
        code: impl Into<String>,
        message: impl Into<String>,
    ) -> Self {
        Self {
            at,
            severity,
            code: code.into(),
            message: message.into(),
            fields: Vec::new(),
        }
    }

    /// Returns the event with one more detail. It must not be a secret.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.fields.push((name.into(), value.into()));
        self
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Alert => "alert",
        })
    }
}

/// Records events with `tracing`, under the target `procore_auth`.
///
/// Debug, info and warning keep their level; an alert is an error. Control characters are replaced: an event cannot forge a
/// line of the log.
#[derive(Debug, Clone, Copy, Default)]
pub struct TracingJournal;

impl Journal for TracingJournal {
    fn record(&self, connection: &str, event: &Event) {
        macro_rules! record {
            ($level:ident) => {
                tracing::$level!(
                    target: "procore_auth",
                    connection = %printable(connection),
                    code = %printable(&event.code),
                    fields = %printable(&in_a_line(&event.fields)),
                    "{}",
                    printable(&event.message)
                )
            };
        }
        match event.severity {
            Severity::Debug => record!(debug),
            Severity::Info => record!(info),
            Severity::Warning => record!(warn),
            Severity::Alert => record!(error),
        }
    }
}

fn in_a_line(fields: &[(String, String)]) -> String {
    let pairs: Vec<_> = fields
        .iter()
        .map(|(name, value)| format!("{name}={value:?}"))
        .collect();
    pairs.join(" ")
}

fn printable(text: &str) -> String {
    text.replace(char::is_control, "\u{fffd}")
}

/// Hands every event to each of several journals, in their order.
#[derive(Clone, Default)]
pub struct Fanout(pub Vec<Arc<dyn Journal>>);

impl Journal for Fanout {
    fn record(&self, connection: &str, event: &Event) {
        for journal in &self.0 {
            journal.record(connection, event);
        }
    }
}

impl fmt::Debug for Fanout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Fanout").field(&self.0.len()).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tracing::{
        Level, Metadata, Subscriber,
        field::{Field, Visit},
        span,
    };

    use super::{Event, Fanout, Journal, Severity, TracingJournal};

    fn event(severity: Severity) -> Event {
        Event {
            at: 0,
            severity,
            code: "token-refreshed".to_owned(),
            message: "a\nERROR forged\x1b[31m".to_owned(),
            fields: vec![("lifetime".to_owned(), "5400\n".to_owned())],
        }
    }

    #[derive(Default, Clone)]
    struct Seen(Arc<Mutex<Vec<(Level, String)>>>);

    impl Subscriber for Seen {
        fn enabled(&self, metadata: &Metadata<'_>) -> bool {
            metadata.target() == "procore_auth"
        }
        fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
            span::Id::from_u64(1)
        }
        fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
        fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
        fn enter(&self, _: &span::Id) {}
        fn exit(&self, _: &span::Id) {}
        fn event(&self, event: &tracing::Event<'_>) {
            let mut line = Line::default();
            event.record(&mut line);
            let seen = (*event.metadata().level(), line.0);
            self.0.lock().expect("not poisoned").push(seen);
        }
    }

    #[derive(Default)]
    struct Line(String);

    impl Visit for Line {
        fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
            self.0 += &format!("{field}={value:?};");
        }
    }

    #[test]
    fn severities_become_levels_and_an_event_stays_one_line() {
        let seen = Seen::default();
        tracing::subscriber::with_default(seen.clone(), || {
            let journal = Fanout(vec![Arc::new(TracingJournal), Arc::new(TracingJournal)]);
            for severity in [
                Severity::Debug,
                Severity::Info,
                Severity::Warning,
                Severity::Alert,
            ] {
                journal.record("acme", &event(severity));
            }
        });
        let seen = seen.0.lock().expect("not poisoned");
        let levels: Vec<_> = seen.iter().map(|(level, _)| *level).collect();
        assert_eq!(
            levels,
            [Level::DEBUG, Level::INFO, Level::WARN, Level::ERROR]
                .into_iter()
                .flat_map(|level| [level, level])
                .collect::<Vec<_>>()
        );
        for (_, line) in seen.iter() {
            assert!(!line.contains(char::is_control), "{line:?}");
            assert!(line.contains("connection=acme"), "{line}");
            assert!(line.contains("code=token-refreshed"), "{line}");
            assert!(line.contains("lifetime="), "{line}");
        }
    }
}
