//! Why a call gave no result.

use std::fmt;

use crate::{Diagnosis, bindings::procore::auth::types as contract};

/// Why a call gave no result. Contains no secret, at any verbosity.
///
/// `Display` prints one sentence with the machine code; [`Error::diagnosis`] has cause and remedy.
#[derive(Debug, Clone)]
pub struct Error(Box<Content>);

#[derive(Debug, Clone)]
struct Content {
    kind: ErrorKind,
    diagnosis: Diagnosis,
    retry_at: Option<u64>,
}

/// Who can cure an error, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ErrorKind {
    /// The caller's argument is not acceptable. Calling again with the same argument fails again.
    InvalidInput,
    /// The connection's configuration does not work at the server: someone must change it. Stored tokens are kept.
    Configuration,
    /// There is no usable grant: a person must sign in. Calls made before that fail at once and send nothing.
    SignInRequired,
    /// A passing condition (network, server, rate limit). [`Error::retry_at`] says when to come back.
    Unavailable,
    /// Another holder kept the connection's lock for longer than the configured wait.
    Busy,
    /// The store could not be read or written, or its content is not trustworthy.
    Storage,
    /// The request may or may not have been executed, and repeating it is not known to be safe.
    UnknownOutcome,
    /// A defect of the plugin or its host.
    Internal,
}

impl Error {
    /// Makes an error of kind [`ErrorKind::Internal`], with a code that this host defines.
    pub(crate) fn internal(code: &str, summary: String, cause: &str, remedy: &str) -> Self {
        let diagnosis = Diagnosis {
            code: code.to_owned(),
            summary,
            cause: cause.to_owned(),
            remedy: remedy.to_owned(),
            evidence: Vec::new(),
        };
        Self::new(ErrorKind::Internal, diagnosis)
    }

    /// Makes an error of what is the matter.
    pub(crate) fn new(kind: ErrorKind, diagnosis: Diagnosis) -> Self {
        Self(Box::new(Content {
            kind,
            diagnosis,
            retry_at: None,
        }))
    }

    /// Returns the same error, for a call that can go better from this moment on.
    pub(crate) fn with_retry_at(mut self, moment: u64) -> Self {
        self.0.retry_at = Some(moment);
        self
    }

    /// Returns who can cure it.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Returns the machine code: the same as in [`Error::diagnosis`].
    pub fn code(&self) -> &str {
        &self.0.diagnosis.code
    }

    /// Returns what happened, why, and what to do about it.
    pub fn diagnosis(&self) -> &Diagnosis {
        &self.0.diagnosis
    }

    /// Returns the earliest moment at which the same call can go better, in milliseconds since 1970-01-01T00:00:00Z; `None`
    /// where waiting does not help.
    pub fn retry_at(&self) -> Option<u64> {
        self.0.retry_at
    }

    /// Returns whether the caller's argument is not acceptable.
    pub fn is_invalid_input(&self) -> bool {
        self.kind() == ErrorKind::InvalidInput
    }

    /// Returns whether someone must change the configuration.
    pub fn is_configuration(&self) -> bool {
        self.kind() == ErrorKind::Configuration
    }

    /// Returns whether a person must sign in.
    pub fn is_sign_in_required(&self) -> bool {
        self.kind() == ErrorKind::SignInRequired
    }

    /// Returns whether the cause is expected to pass by itself.
    pub fn is_unavailable(&self) -> bool {
        self.kind() == ErrorKind::Unavailable
    }

    /// Returns whether another holder kept the connection's lock, or the store itself.
    pub fn is_busy(&self) -> bool {
        self.kind() == ErrorKind::Busy
    }

    /// Returns whether the store failed.
    pub fn is_storage(&self) -> bool {
        self.kind() == ErrorKind::Storage
    }

    /// Returns whether the request may have been executed.
    pub fn is_unknown_outcome(&self) -> bool {
        self.kind() == ErrorKind::UnknownOutcome
    }

    /// Returns whether the plugin or its host is at fault.
    pub fn is_internal(&self) -> bool {
        self.kind() == ErrorKind::Internal
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.diagnosis.fmt(f)
    }
}

impl std::error::Error for Error {}

impl From<contract::Error> for Error {
    fn from(error: contract::Error) -> Self {
        Self(Box::new(Content {
            kind: error.kind.into(),
            diagnosis: error.diagnosis.into(),
            retry_at: error.retry_at,
        }))
    }
}

impl From<contract::ErrorKind> for ErrorKind {
    fn from(kind: contract::ErrorKind) -> Self {
        match kind {
            contract::ErrorKind::InvalidInput => Self::InvalidInput,
            contract::ErrorKind::Configuration => Self::Configuration,
            contract::ErrorKind::SignInRequired => Self::SignInRequired,
            contract::ErrorKind::Unavailable => Self::Unavailable,
            contract::ErrorKind::Busy => Self::Busy,
            contract::ErrorKind::Storage => Self::Storage,
            contract::ErrorKind::UnknownOutcome => Self::UnknownOutcome,
            contract::ErrorKind::Internal => Self::Internal,
        }
    }
}
