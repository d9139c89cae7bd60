//! How well a connection is, with the evidence.
//!
//! All times are milliseconds since 1970-01-01T00:00:00Z, by the connection's clock.

use crate::{
    Diagnosis,
    bindings::{exports::procore::auth::auth as contract, procore::auth::types},
};

/// How well a connection is, from good to bad.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Health {
    /// A live token, and the server accepted these credentials within the last token lifetime.
    Healthy,
    /// A live or refreshable token, but no recent evidence that the server accepts it.
    Unverified,
    /// The token lives, and a refresh is overdue or its outcome is unknown. Calls still work.
    AtRisk,
    /// No live token, and the cause is expected to pass by itself.
    Unavailable,
    /// The configuration does not work at the server.
    Misconfigured,
    /// A person must sign in.
    SignInRequired,
}

/// The times of a stored access token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct TokenTimes {
    /// When the request for it was started.
    pub issued_at: u64,
    /// When it is due for a refresh.
    pub refresh_at: u64,
    /// When the server stops accepting it.
    pub expires_at: u64,
}

/// Who an access token acts as.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct Identity {
    /// Procore's id of the user.
    pub id: u64,
    /// The e-mail address that the account signs in with; for a service account, its generated address.
    pub login: String,
    /// The display name; empty where Procore gave none.
    pub name: String,
}

/// How bad a trouble is, from good to bad.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Stage {
    /// Calls work, and there is time.
    Working,
    /// Calls work, and stop soon: less than a quarter of the token's lifetime or 15 minutes is left, whichever is less.
    Urgent,
    /// No token lives: calls do not work.
    Dark,
}

/// A trouble that people were told of: once when it begins, once at each worse stage, and again after each day that it stays; then
/// once that it is over.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct Incident {
    /// When it began.
    pub since: u64,
    /// When people were told of it last.
    pub last_told: u64,
    /// How bad it is now.
    pub stage: Stage,
    /// When calls stop working, or stopped, if nothing is done; `None` where no token says so.
    pub dark_at: Option<u64>,
    /// What it is.
    pub diagnosis: Diagnosis,
}

/// How a connection is.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct Status {
    /// The verdict.
    pub health: Health,
    /// `None` where there is no access token.
    pub token: Option<TokenTimes>,
    /// When the server last accepted these credentials; `None` for never.
    pub last_evidence: Option<u64>,
    /// Who the tokens act as; `None` until it was verified.
    pub identity: Option<Identity>,
    /// Where API calls go: `https` and a host, such as `https://sandbox.procore.com`.
    pub api_origin: String,
    /// How many refreshes this sign-in has had.
    pub refreshes: u64,
    /// The present trouble.
    pub incident: Option<Incident>,
    /// How many requests wait to be replayed.
    pub parked: u32,
    /// How many requests a person must decide about: unknown outcome, or given up.
    pub undecided: u32,
    /// Whether calls have been made as the service account of [`crate::ConnectionBuilder::fallback`] since the user grant died.
    pub fallback_in_use: bool,
}

/// What a visit of the keeper found and did.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct Visit {
    /// Whether the token was refreshed in this visit.
    pub refreshed: bool,
    /// How many parked requests were replayed.
    pub replayed: u32,
    /// When to come back at the latest. At least one second away.
    pub come_back_at: u64,
    /// How the connection is now.
    pub status: Status,
}

impl From<contract::Health> for Health {
    fn from(health: contract::Health) -> Self {
        match health {
            contract::Health::Healthy => Self::Healthy,
            contract::Health::Unverified => Self::Unverified,
            contract::Health::AtRisk => Self::AtRisk,
            contract::Health::Unavailable => Self::Unavailable,
            contract::Health::Misconfigured => Self::Misconfigured,
            contract::Health::SignInRequired => Self::SignInRequired,
        }
    }
}

impl From<contract::TokenTimes> for TokenTimes {
    fn from(times: contract::TokenTimes) -> Self {
        Self {
            issued_at: times.issued_at,
            refresh_at: times.refresh_at,
            expires_at: times.expires_at,
        }
    }
}

impl From<types::Identity> for Identity {
    fn from(identity: types::Identity) -> Self {
        let types::Identity { id, login, name } = identity;
        Self { id, login, name }
    }
}

impl From<contract::Stage> for Stage {
    fn from(stage: contract::Stage) -> Self {
        match stage {
            contract::Stage::Working => Self::Working,
            contract::Stage::Urgent => Self::Urgent,
            contract::Stage::Dark => Self::Dark,
        }
    }
}

impl From<contract::Incident> for Incident {
    fn from(incident: contract::Incident) -> Self {
        Self {
            since: incident.since,
            last_told: incident.last_told,
            stage: incident.stage.into(),
            dark_at: incident.dark_at,
            diagnosis: incident.diagnosis.into(),
        }
    }
}

impl From<contract::ConnectionStatus> for Status {
    fn from(status: contract::ConnectionStatus) -> Self {
        Self {
            health: status.health.into(),
            token: status.token.map(Into::into),
            last_evidence: status.last_evidence,
            identity: status.identity.map(Into::into),
            api_origin: status.api_origin,
            refreshes: status.refreshes,
            incident: status.incident.map(Into::into),
            parked: status.parked,
            undecided: status.undecided,
            fallback_in_use: false,
        }
    }
}

impl From<contract::Visit> for Visit {
    fn from(visit: contract::Visit) -> Self {
        Self {
            refreshed: visit.refreshed,
            replayed: visit.replayed,
            come_back_at: visit.come_back_at,
            status: visit.status.into(),
        }
    }
}

pub mod made {
    //! Makes values of these types, for the tests of the `procore-auth` binary: outside of this crate they cannot be built.

    use super::{Diagnosis, Health, Identity, Incident, Stage, Status, TokenTimes, Visit};

    /// Makes a status of which nothing is known but the verdict.
    pub fn status(health: Health) -> Status {
        Status {
            health,
            api_origin: "https://api.procore.com".to_owned(),
            token: None,
            last_evidence: None,
            identity: None,
            refreshes: 0,
            incident: None,
            parked: 0,
            undecided: 0,
            fallback_in_use: false,
        }
    }

    /// Makes the times of a token.
    pub fn token_times(issued_at: u64, refresh_at: u64, expires_at: u64) -> TokenTimes {
        TokenTimes {
            issued_at,
            refresh_at,
            expires_at,
        }
    }

    /// Makes who a token acts as.
    pub fn identity(login: &str) -> Identity {
        Identity {
            id: 1,
            login: login.to_owned(),
            name: String::new(),
        }
    }

    /// Makes an incident.
    pub fn incident(since: u64, diagnosis: Diagnosis) -> Incident {
        Incident {
            since,
            last_told: since,
            stage: Stage::Dark,
            dark_at: None,
            diagnosis,
        }
    }

    /// Makes a diagnosis without evidence.
    pub fn diagnosis(code: &str, summary: &str, cause: &str, remedy: &str) -> Diagnosis {
        Diagnosis {
            code: code.to_owned(),
            summary: summary.to_owned(),
            cause: cause.to_owned(),
            remedy: remedy.to_owned(),
            evidence: Vec::new(),
        }
    }

    /// Makes a visit that did nothing.
    pub fn visit(come_back_at: u64, status: Status) -> Visit {
        Visit {
            refreshed: false,
            replayed: 0,
            come_back_at,
            status,
        }
    }
}
