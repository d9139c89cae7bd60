//! Events for the journal. They hold no secret.

/// How much an event matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// A normal step.
    Info,
    /// Something is off and is being dealt with.
    Warning,
    /// A person must act.
    Alert,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// How much it matters.
    pub severity: Severity,
    /// Stable and lower-case.
    pub code: String,
    /// One sentence.
    pub message: String,
    /// Details.
    pub fields: Vec<(&'static str, String)>,
}

impl Event {
    /// Makes an event without details.
    pub fn new(severity: Severity, code: &str, message: &str) -> Self {
        Self {
            severity,
            code: code.to_owned(),
            message: message.to_owned(),
            fields: Vec::new(),
        }
    }

    /// Adds why it happened, and what to do about it.
    pub fn explained(self, cause: &str, remedy: &str) -> Self {
        self.with("cause", cause).with("remedy", remedy)
    }

    /// Adds a detail.
    pub fn with(mut self, name: &'static str, value: &str) -> Self {
        self.fields.push((name, value.to_owned()));
        self
    }
}
