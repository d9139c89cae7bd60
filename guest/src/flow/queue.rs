//! Parked requests in the store: found, listed, discarded.

use super::stored::{read, storage};
use crate::{
    capabilities::Capabilities,
    diagnosis::{Diagnosis, Error, ErrorKind, Result},
    event::{Event, Severity},
    parking::{BODY_PREFIX, PREFIX, ParkedRequest, StoredBody, Ticket, is_leftover},
};

/// A parked request under its id.
pub struct Parked {
    /// The id.
    pub id: String,
    /// The request.
    pub request: ParkedRequest,
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
    for (id, _) in tickets(host)? {
        if let Some((mut request, _)) = read::<ParkedRequest>(host, &id)? {
            request.state = request.aged(&policy, now);
            found.push(Parked { id, request });
        }
    }
    Ok(found)
}

/// Deletes a parked request.
pub fn discard(host: &dyn Capabilities, id: &str) -> Result<()> {
    let (request, revision) = find(host, id)?;
    remove(host, id, &request, revision)?;
    let event = Event::new(
        Severity::Info,
        "request-discarded",
        "A parked request was discarded.",
    );
    host.record(&event.with("id", id));
    Ok(())
}

/// Finds a parked request by its id, with its revision.
pub(super) fn find(host: &dyn Capabilities, id: &str) -> Result<(ParkedRequest, u64)> {
    let found = if Ticket::from_key(id).is_some() {
        read(host, id)?
    } else {
        None
    };
    found.ok_or_else(|| {
        let diagnosis = Diagnosis::new(
            "no-such-request",
            "There is no parked request with this id.",
            "",
            "`procore-auth parked list` shows them.",
        );
        Error::new(ErrorKind::InvalidInput, diagnosis)
    })
}

/// Deletes a request, then its body.
pub(super) fn remove(
    host: &dyn Capabilities,
    id: &str,
    request: &ParkedRequest,
    revision: u64,
) -> Result<()> {
    host.delete(id, revision)
        .map_err(|failure| storage(&failure))?;
    if let Some(StoredBody { key, revision, .. }) = &request.stored_body {
        // What stays behind is found by a later replay.
        let _ = host.delete(key, *revision);
    }
    Ok(())
}

/// Deletes the bodies that no request names any more. `parked` was listed before, so that a body whose request was written since
/// is too young to be taken for one.
pub(super) fn remove_leftover_bodies(host: &dyn Capabilities, parked: &[Parked]) -> Result<()> {
    let is_named = |key: &str| {
        let mut stored = parked.iter().filter_map(|p| p.request.stored_body.as_ref());
        stored.any(|body| body.key == key)
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
