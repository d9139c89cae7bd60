//! What is the matter, for a person.

use std::fmt;

use crate::bindings::procore::auth::types as contract;

/// What is the matter: never a secret, never only a code.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct Diagnosis {
    /// The machine code: stable, lower-case, `-` or `_` between words. Where a server named an OAuth `error`, that very code.
    /// The set is open.
    pub code: String,
    /// What happened, in one sentence.
    pub summary: String,
    /// Why it happened, most likely.
    pub cause: String,
    /// What to do about it: a command, or the exact field to change.
    pub remedy: String,
    /// The facts that the diagnosis rests on, in the order in which they were seen.
    pub evidence: Vec<String>,
}

impl fmt::Display for Diagnosis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} [{}]", self.summary, self.code)
    }
}

impl From<contract::Diagnosis> for Diagnosis {
    fn from(diagnosis: contract::Diagnosis) -> Self {
        let contract::Diagnosis {
            code,
            summary,
            cause,
            remedy,
            evidence,
        } = diagnosis;
        Self {
            code,
            summary,
            cause,
            remedy,
            evidence,
        }
    }
}
