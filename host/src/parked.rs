//! Requests that are kept for later.

use crate::{Diagnosis, bindings::exports::procore::auth::api as contract};

/// What is to become of a parked request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ParkedState {
    /// Will be replayed.
    Queued,
    /// May have been executed; a person decides.
    UnknownOutcome,
    /// Was refused, failed too often or became too old; a person decides.
    DeadLetter,
}

/// A request that is kept for later. Shows neither headers nor body.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct ParkedRequest {
    /// Names it in [`crate::Connection::replay`] and [`crate::Connection::discard`].
    pub id: String,
    /// What is to become of it.
    pub state: ParkedState,
    /// Its method; empty where the store does not let the request be read, of which [`reason`](Self::reason) says why. Then nothing
    /// but its id, its size and its reason is known.
    pub method: String,
    /// Its path.
    pub path: String,
    /// The size of the body in bytes.
    pub size: u64,
    /// When it was parked, in milliseconds since 1970-01-01T00:00:00Z; 0 where that is not known.
    pub parked_at: u64,
    /// How many tries count against it: the server failed at this request, rather than at all.
    pub replays: u32,
    /// Why it is parked: the code of a diagnosis.
    pub reason: String,
    /// What it keeps its order with, as in [`crate::ApiRequest::order_key`].
    pub order_key: Option<String>,
}

/// The server's answer to a replayed request.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct Replayed {
    /// The request's id.
    pub id: String,
    /// The HTTP status.
    pub status: u16,
}

/// What a replay came to.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct ReplayReport {
    /// What the server answered, in the order of sending.
    pub replayed: Vec<Replayed>,
    /// How many requests still wait.
    pub remaining: u32,
    /// Why the replay stopped early; `None` where it went through.
    pub stopped: Option<Diagnosis>,
}

impl From<contract::ParkedState> for ParkedState {
    fn from(state: contract::ParkedState) -> Self {
        match state {
            contract::ParkedState::Queued => Self::Queued,
            contract::ParkedState::UnknownOutcome => Self::UnknownOutcome,
            contract::ParkedState::DeadLetter => Self::DeadLetter,
        }
    }
}

impl From<contract::ParkedRequest> for ParkedRequest {
    fn from(request: contract::ParkedRequest) -> Self {
        Self {
            id: request.id,
            state: request.state.into(),
            method: request.method,
            path: request.path,
            size: request.size,
            parked_at: request.parked_at,
            replays: request.replays,
            reason: request.reason,
            order_key: request.order_key,
        }
    }
}

impl From<contract::ReplayReport> for ReplayReport {
    fn from(report: contract::ReplayReport) -> Self {
        Self {
            replayed: report
                .replayed
                .into_iter()
                .map(|contract::Replayed { id, status }| Replayed { id, status })
                .collect(),
            remaining: report.remaining,
            stopped: report.stopped.map(Into::into),
        }
    }
}
