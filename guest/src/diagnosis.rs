//! Diagnoses and errors: what is the matter, why, and what to do about it.

use miniserde::{Deserialize, Serialize};

/// What is the matter, for a person. Never holds a secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Diagnosis {
    /// Stable and lower-case; where a server named an OAuth `error`, that very code.
    pub code: String,
    /// What happened, in one sentence.
    pub summary: String,
    /// Why, most likely.
    pub cause: String,
    /// What to do about it.
    pub remedy: String,
    /// The facts that it rests on.
    pub evidence: Vec<String>,
}

/// What to do about trouble that passes by itself.
pub const PATIENCE: &str = "Nothing to do at first: it is tried again. If it lasts, look at the network between and at Procore's status page.";

impl Diagnosis {
    /// Makes a diagnosis without evidence.
    pub fn new(code: &str, summary: &str, cause: &str, remedy: &str) -> Self {
        Self {
            code: code.to_owned(),
            summary: summary.to_owned(),
            cause: cause.to_owned(),
            remedy: remedy.to_owned(),
            evidence: Vec::new(),
        }
    }

    /// Adds facts behind those that are there.
    pub fn with_evidence(mut self, facts: Vec<String>) -> Self {
        self.evidence.extend(facts);
        self
    }
}

/// Who can cure an error, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The caller's argument is not acceptable.
    InvalidInput,
    /// Someone must change the configuration.
    Configuration,
    /// A person must sign in.
    SignInRequired,
    /// It is expected to pass by itself.
    Unavailable,
    /// Another holder kept the lock.
    Busy,
    /// The store is in trouble.
    Storage,
    /// It may have been executed.
    UnknownOutcome,
    /// A defect.
    Internal,
}

/// Why a call gave no result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// Who can cure it.
    pub kind: ErrorKind,
    /// What it is.
    pub diagnosis: Diagnosis,
    /// When the same call can go better, in milliseconds since the epoch.
    pub retry_at: Option<u64>,
}

impl Error {
    /// Makes an error that waiting does not cure.
    pub fn new(kind: ErrorKind, diagnosis: Diagnosis) -> Self {
        Self {
            kind,
            diagnosis,
            retry_at: None,
        }
    }

    /// Says when the same call can go better.
    pub fn retry_at(mut self, at: u64) -> Self {
        self.retry_at = Some(at);
        self
    }
}

/// The result of a step that may fail.
pub type Result<T> = std::result::Result<T, Error>;
