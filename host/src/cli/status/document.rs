//! The status as JSON. The fields are stable.

use procore_auth_host::{Diagnosis, Environment, Health, Identity, Stage, Status};
use serde::Serialize;

use super::undelivered::{self, Undelivered};
use super::{Known, exit_of};
use crate::cli::heartbeat::KeeperDocument;
use crate::cli::report::FailureDocument;
use crate::cli::time;

/// Every connection, and the alerts.
#[derive(Serialize)]
pub(super) struct Document<'a> {
    connections: Vec<ConnectionDocument<'a>>,
    alerts: undelivered::Document<'a>,
}

#[derive(Serialize)]
struct ConnectionDocument<'a> {
    connection: &'a str,
    environment: Environment,
    undelivered_alerts: usize,
    note: Option<String>,
    keeper: KeeperDocument<'a>,
    #[serde(flatten)]
    found: Found<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Found<'a> {
    Status(Box<StatusDocument<'a>>),
    Error { error: FailureDocument<'a> },
}

#[derive(Serialize)]
struct StatusDocument<'a> {
    health: Health,
    exit_code: u8,
    token: Option<TokenDocument>,
    last_evidence: Option<String>,
    identity: Option<&'a Identity>,
    refreshes: u64,
    incident: Option<IncidentDocument<'a>>,
    parked: u32,
    undecided: u32,
    fallback_in_use: bool,
}

#[derive(Serialize)]
struct TokenDocument {
    issued_at: String,
    refresh_at: String,
    expires_at: String,
}

#[derive(Serialize)]
struct IncidentDocument<'a> {
    since: String,
    last_told: String,
    stage: Stage,
    dark_at: Option<String>,
    diagnosis: &'a Diagnosis,
}

impl<'a> Document<'a> {
    /// Makes the document of what is known now.
    pub(super) fn new(all: &'a [Known], alerts: &'a Undelivered, now: u64) -> Self {
        let connection = |known: &'a Known| ConnectionDocument {
            connection: known.name.as_str(),
            environment: known.environment,
            undelivered_alerts: alerts.of(&known.name),
            note: known.note(now),
            keeper: (&known.keeper).into(),
            found: known.into(),
        };
        Self {
            connections: all.iter().map(connection).collect(),
            alerts: alerts.into(),
        }
    }
}

impl<'a> From<&'a Known> for Found<'a> {
    fn from(known: &'a Known) -> Self {
        match &known.status {
            Ok(status) => Self::Status(Box::new(status.into())),
            Err(explained) => Self::Error {
                error: (&**explained).into(),
            },
        }
    }
}

impl<'a> From<&'a Status> for StatusDocument<'a> {
    fn from(status: &'a Status) -> Self {
        Self {
            health: status.health,
            exit_code: exit_of(status).describe().0,
            token: status.token.map(|token| TokenDocument {
                issued_at: time::rfc3339(token.issued_at),
                refresh_at: time::rfc3339(token.refresh_at),
                expires_at: time::rfc3339(token.expires_at),
            }),
            last_evidence: status.last_evidence.map(time::rfc3339),
            identity: status.identity.as_ref(),
            refreshes: status.refreshes,
            incident: status.incident.as_ref().map(|incident| IncidentDocument {
                since: time::rfc3339(incident.since),
                last_told: time::rfc3339(incident.last_told),
                stage: incident.stage,
                dark_at: incident.dark_at.map(time::rfc3339),
                diagnosis: &incident.diagnosis,
            }),
            parked: status.parked,
            undecided: status.undecided,
            fallback_in_use: status.fallback_in_use,
        }
    }
}
