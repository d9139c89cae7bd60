//! The log of all requests.

use std::fmt;

use crate::environment::{Environment, Role};
use crate::form::Form;

/// Tells what a request changed for good, whether or not its reply arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Commit {
    /// A person consented, and a code was issued.
    Code,
    /// Tokens were issued for a code or for client credentials, or an access token without rotation.
    Issue,
    /// A refresh token was used, and a new pair issued.
    Rotation,
    /// A pair was revoked.
    Revocation,
    /// An API call was executed.
    Execution,
}

/// Tells what became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It is still being handled, or held at a gate.
    Pending,
    /// A reply with this status was given to the connection. The client may be gone by then.
    Replied(u16),
    /// The connection was closed without a reply.
    Closed,
}

/// Records one request.
///
/// The fields hold secrets, for tests to compare; `Debug` shows none of them.
#[derive(Clone, PartialEq)]
pub struct Recorded {
    /// When it arrived, in milliseconds since the Unix epoch by the server's clock.
    pub at_ms: u64,
    /// The host that the client named, as it named it.
    pub host: String,
    /// The environment of that host, if it is Procore's.
    pub environment: Option<Environment>,
    /// What that host does, if the fake answers for it.
    pub role: Option<Role>,
    /// The method, in upper case.
    pub method: String,
    /// The path without the query.
    pub path: String,
    /// The query without the question mark.
    pub query: String,
    /// All headers in order, names in lower case. Bytes that are no text are replaced.
    pub headers: Vec<(String, String)>,
    /// The body; empty if it was not read.
    pub body: Vec<u8>,
    /// The parameters of a body that is a form, such as `grant_type` and `refresh_token`.
    pub form: Option<Form>,
    /// What became of it.
    pub outcome: Outcome,
    /// What it changed for good.
    pub commit: Option<Commit>,
}

impl Recorded {
    /// Returns the first header of a name, in any case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// Returns the `grant_type` of a request for tokens.
    #[must_use]
    pub fn grant_type(&self) -> Option<&str> {
        self.form.as_ref()?.get("grant_type")
    }

    /// Returns the refresh token that was presented.
    #[must_use]
    pub fn refresh_token(&self) -> Option<&str> {
        self.form.as_ref()?.get("refresh_token")
    }

    /// Tells whether this is a `POST` to a token endpoint.
    #[must_use]
    pub fn is_token_post(&self) -> bool {
        self.role == Some(Role::Login) && self.method == "POST" && self.path == "/oauth/token"
    }
}

impl fmt::Debug for Recorded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {} https://{}{}",
            self.at_ms, self.method, self.host, self.path
        )?;
        if let Some(grant) = self.grant_type() {
            write!(f, " ({grant})")?;
        }
        write!(f, " -> {:?}", self.outcome)?;
        self.commit
            .map_or(Ok(()), |commit| write!(f, ", committed {commit:?}"))
    }
}

/// A record's number, never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RecordId(usize);

/// Holds the records, oldest first.
#[derive(Debug, Default)]
pub(crate) struct RequestLog {
    forgotten: usize,
    records: Vec<Recorded>,
}

impl RequestLog {
    pub(crate) fn add(&mut self, record: Recorded) -> RecordId {
        self.records.push(record);
        RecordId(self.forgotten + self.records.len() - 1)
    }

    /// Changes a record, unless it was forgotten meanwhile.
    pub(crate) fn update(&mut self, id: RecordId, change: impl FnOnce(&mut Recorded)) {
        if let Some(record) =
            id.0.checked_sub(self.forgotten)
                .and_then(|index| self.records.get_mut(index))
        {
            change(record);
        }
    }

    pub(crate) fn records(&self) -> &[Recorded] {
        &self.records
    }

    pub(crate) fn forget(&mut self) {
        self.forgotten += self.records.len();
        self.records.clear();
    }
}
