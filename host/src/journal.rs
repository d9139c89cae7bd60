//! The journal: what happened, for those who watch.

use std::fmt;

/// A sink for events. `record` must not block for long and must not fail: what cannot be delivered is the sink's to keep.
pub trait Journal: Send + Sync {
    /// Takes one event of the named connection.
    fn record(&self, connection: &str, event: &Event);
}

/// How much an event matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
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
