//! Parked requests in the store: found, listed, discarded.
//!
//! One that cannot be read is no reason to fail for what concerns the others: it is listed with what is known of it, and left alone.

use super::{
    notice::forget,
    stored::{read, storage},
};
use crate::{
    capabilities::{Capabilities, Write},
    diagnosis::{Diagnosis, Error, ErrorKind, Result},
    event::{Event, Severity},
    json,
    parking::{BODY_PREFIX, PREFIX, ParkedRequest, State, StoredBody, Ticket, is_leftover},
};

/// A parked request under its id.
pub struct Parked {
    /// The id.
    pub id: String,
    /// The request.
    pub content: std::result::Result<ParkedRequest, Unreadable>,
}

/// What is known of a parked request that cannot be read.
pub struct Unreadable {
    /// The size of the request with its body in bytes, by its key.
    pub size: u64,
    /// Why.
    pub error: Error,
}

impl Parked {
    /// Returns the state. One that cannot be read waits: for a better moment, or for a person where none will come by itself.
    pub fn state(&self) -> State {
        match &self.content {
            Ok(request) => request.state,
            Err(unreadable) if passes(&unreadable.error) => State::Queued,
            Err(_) => State::DeadLetter,
        }
    }
}

/// Returns the ids of all parked requests in order, with what they tell.
pub(super) fn tickets(host: &dyn Capabilities) -> Result<Vec<(String, Ticket)>> {
    let keys = host.list(PREFIX).map_err(|failure| storage(&failure))?;
    let read = |key: String| Ticket::from_key(&key).map(|ticket| (key, ticket));
    Ok(keys.into_iter().filter_map(read).collect())
}

/// Lists the parked requests in order, each in the state that time has brought it to. Reads no body.
pub fn list(host: &dyn Capabilities) -> Result<Vec<Parked>> {
    let policy = host.settings().policy;
    let now = host.now();
    let mut found = vec![];
    for (id, ticket) in tickets(host)? {
        let content = match read_request(host, &id) {
            Ok(None) => continue,
            Ok(Some((mut request, _))) => {
                request.state = request.aged(&policy, now);
                Ok(request)
            }
            Err(error) => Err(Unreadable {
                size: ticket.size,
                error,
            }),
        };
        found.push(Parked { id, content });
    }
    Ok(found)
}

/// Deletes a parked request, or what is there in its place.
pub fn discard(host: &dyn Capabilities, id: &str) -> Result<()> {
    let entry = match Ticket::from_key(id) {
        Some(_) => host.get(id).map_err(|failure| explain(storage(&failure)))?,
        None => None,
    };
    let entry = entry.ok_or_else(no_such_request)?;
    let request = json::read::<ParkedRequest>(&entry.value);
    let body = request.and_then(|request| request.stored_body);
    if !remove(host, id, body.as_ref(), entry.revision)? {
        return Err(changed_meanwhile());
    }
    let event = Event::new(
        Severity::Info,
        "request-discarded",
        "A parked request was discarded.",
    );
    host.record(&event.with("id", id));
    // What is told of the others is not forgotten where they cannot be listed.
    if let Ok(parked) = list(host) {
        forget(host, &parked);
    }
    Ok(())
}

fn changed_meanwhile() -> Error {
    let diagnosis = Diagnosis::new(
        "request-changed",
        "The parked request was changed at this very moment: it is being sent, most likely. Nothing was discarded.",
        "",
        "See what became of it with `procore-auth parked list`, and try again.",
    );
    Error::new(ErrorKind::Busy, diagnosis)
}

/// Finds a parked request by its id, with its revision.
pub(super) fn find(host: &dyn Capabilities, id: &str) -> Result<(ParkedRequest, u64)> {
    let found = if Ticket::from_key(id).is_some() {
        read_request(host, id)?
    } else {
        None
    };
    found.ok_or_else(no_such_request)
}

/// Reads a parked request, with its revision.
pub(super) fn read_request(
    host: &dyn Capabilities,
    id: &str,
) -> Result<Option<(ParkedRequest, u64)>> {
    read(host, id).map_err(explain)
}

/// Whether a request that could not be read may be readable a moment later.
pub(super) fn passes(error: &Error) -> bool {
    matches!(error.diagnosis.code.as_str(), "io" | "busy")
}

/// Says what it means for a parked request that its entry cannot be read.
fn explain(error: Error) -> Error {
    if passes(&error) {
        return error;
    }
    let why = &error.diagnosis;
    let (cause, remedy) = match why.code.as_str() {
        "corrupt" => (
            why.cause.as_str(),
            "Restore its file, or move it out of the connection's folder and send the request anew.",
        ),
        "session-unreadable" => (
            "It is no request of the known shape: another version wrote it, or another program.",
            "Replay it with the version that wrote it, or send it anew and `procore-auth parked discard` this one.",
        ),
        _ => (why.cause.as_str(), why.remedy.as_str()),
    };
    let diagnosis = Diagnosis::new(
        "request-unreadable",
        "A parked request cannot be read. It is left as it is; those of its order key wait.",
        cause,
        remedy,
    );
    Error::new(error.kind, diagnosis)
}

fn no_such_request() -> Error {
    let diagnosis = Diagnosis::new(
        "no-such-request",
        "There is no parked request with this id.",
        "",
        "`procore-auth parked list` shows them.",
    );
    Error::new(ErrorKind::InvalidInput, diagnosis)
}

/// Deletes a request, then its body. Returns `false`, and deletes neither, where the request is at another revision.
pub(super) fn remove(
    host: &dyn Capabilities,
    id: &str,
    body: Option<&StoredBody>,
    revision: u64,
) -> Result<bool> {
    let deleted = host
        .delete(id, revision)
        .map_err(|failure| storage(&failure))?;
    if let Write::Conflict(Some(_)) = deleted {
        return Ok(false);
    }
    if let Some(StoredBody { key, revision, .. }) = body {
        // What stays behind is found by a later replay.
        let _ = host.delete(key, *revision);
    }
    Ok(true)
}

/// Deletes the bodies that no request names any more; none while a request cannot be read, which may name any. `parked` was listed
/// before, so that a body whose request was written since is too young to be taken for one.
pub(super) fn remove_leftover_bodies(host: &dyn Capabilities, parked: &[Parked]) -> Result<()> {
    if parked.iter().any(|parked| parked.content.is_err()) {
        return Ok(());
    }
    let is_named = |key: &str| {
        let requests = parked.iter().filter_map(|p| p.content.as_ref().ok());
        let mut bodies = requests.filter_map(|request| request.stored_body.as_ref());
        bodies.any(|body| body.key == key)
    };
    let now = host.now();
    let keys = host
        .list(BODY_PREFIX)
        .map_err(|failure| storage(&failure))?;
    for key in keys {
        if is_leftover(&key, now)
            && !is_named(&key)
            && let Ok(Some(entry)) = host.get(&key)
        {
            let _ = host.delete(&key, entry.revision);
        }
    }
    Ok(())
}
