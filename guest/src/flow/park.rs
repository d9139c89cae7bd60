//! Parking a request: its body first, then the request, then a word to people where they know nothing of it.

use super::{
    attempt::CallRequest,
    notice::{REQUESTS_WAIT, tell_once},
    queue::{Parked, tickets},
    stored::{read_session, storage},
};
use crate::{
    capabilities::{Capabilities, Write},
    diagnosis::{Diagnosis, Error, ErrorKind, Result},
    event::{Event, Severity},
    http::Body,
    json,
    parking::{Lane, ParkedRequest, State, StoredBody, Ticket, admit, body_key},
    session::Stage,
    settings::Settings,
};

/// Parks a request behind those of its order key that wait already, instead of letting it overtake them; `None` where it is not to
/// be parked or none waits.
pub(super) fn park_behind(
    host: &dyn Capabilities,
    settings: &Settings,
    request: &CallRequest,
) -> Result<Option<Parked>> {
    let Some(lane) = lane_of(request).filter(|_| request.park) else {
        return Ok(None);
    };
    if !tickets(host)?.iter().any(|(_, t)| t.lane == Some(lane)) {
        return Ok(None);
    }
    // Of those before it people know.
    keep(host, settings, request, State::Queued, "waits-its-turn").map(Some)
}

/// Parks a request. People are told once of the trouble that it is parked for, where no incident tells them.
pub(super) fn park(
    host: &dyn Capabilities,
    settings: &Settings,
    request: &CallRequest,
    state: State,
    why: &Diagnosis,
) -> Result<Parked> {
    let parked = keep(host, settings, request, state, &why.code)?;
    if !is_told(host, why) {
        let event = match state {
            State::UnknownOutcome => Event::new(
                Severity::Alert,
                "request-unknown-outcome",
                "A request was sent and not answered: a person must look whether it took effect.",
            ),
            _ => Event::new(
                Severity::Alert,
                REQUESTS_WAIT,
                "Requests are parked: they are sent when that is possible again.",
            ),
        };
        let cause = format!("{} {}", why.summary, why.cause);
        tell_once(
            host,
            event
                .with("id", &parked.id)
                .with("reason", &why.code)
                .explained(&cause, &why.remedy),
        );
    }
    Ok(parked)
}

/// Whether the connection's incident tells people what the request is parked for.
fn is_told(host: &dyn Capabilities, why: &Diagnosis) -> bool {
    let session = read_session(host).ok().flatten();
    let incident = session.and_then(|session| session.incident);
    incident.is_some_and(|incident| {
        incident.stage() == Stage::Dark || incident.diagnosis.code == why.code
    })
}

fn lane_of(request: &CallRequest) -> Option<Lane> {
    request.order_key.as_deref().map(Lane::of)
}

/// Keeps a request, with its body in an entry of its own. Where there is no room, people are told and the caller gets an error:
/// nothing is dropped in silence.
fn keep(
    host: &dyn Capabilities,
    settings: &Settings,
    request: &CallRequest,
    state: State,
    reason: &str,
) -> Result<Parked> {
    let mut parked = ParkedRequest::new(
        request.method.clone(),
        request.path.clone(),
        &request.headers,
        reason,
        state,
        host.now(),
    );
    parked.company_id = request.company_id;
    parked.idempotent = request.idempotent;
    parked.order_key.clone_from(&request.order_key);
    let body: &[u8] = match &request.body {
        Body::Bytes(bytes) => bytes,
        Body::Empty | Body::Form(_) | Body::Stored(_) => &[],
    };
    // Asked before the body is written, which may be large, and once more for the place.
    admitted(host, settings, request, body.len() as u64)?;
    if !body.is_empty() {
        parked.stored_body = Some(keep_body(host, body)?);
    }
    // Where that fails the body stays: the request may have been written all the same. A later replay finds what is left over.
    let id = keep_request(host, settings, request, &parked, body.len() as u64)?;
    let path = request.path.split('?').next().unwrap_or_default();
    let message = format!("{} {path} waits.", request.method);
    let event = Event::new(Severity::Warning, "request-parked", &message);
    host.record(&event.with("id", &id).with("why", reason));
    Ok(Parked {
        id,
        content: Ok(parked),
    })
}

fn keep_body(host: &dyn Capabilities, body: &[u8]) -> Result<StoredBody> {
    let key = body_key(host.now(), host.draw());
    match host.put(&key, body, None) {
        Ok(Write::Stored(revision)) => Ok(StoredBody {
            key,
            revision,
            size: body.len() as u64,
        }),
        Ok(Write::Conflict(_)) => Err(contended()),
        Err(failure) => Err(storage(&failure)),
    }
}

fn keep_request(
    host: &dyn Capabilities,
    settings: &Settings,
    request: &CallRequest,
    parked: &ParkedRequest,
    body_size: u64,
) -> Result<String> {
    let bytes = json::write(parked);
    let size = bytes.len() as u64 + body_size;
    // A race for a place is lost at most to each of the others once.
    for _ in 0..100 {
        let key = admitted(host, settings, request, size)?.key();
        match host.put(&key, &bytes, None) {
            Ok(Write::Stored(_)) => return Ok(key),
            Ok(Write::Conflict(_)) => {}
            Err(failure) => return Err(storage(&failure)),
        }
    }
    Err(contended())
}

/// Returns the next ticket; where there is no room, people are told once.
fn admitted(
    host: &dyn Capabilities,
    settings: &Settings,
    request: &CallRequest,
    size: u64,
) -> Result<Ticket> {
    let parked: Vec<Ticket> = tickets(host)?.into_iter().map(|(_, t)| t).collect();
    admit(
        &parked,
        size,
        lane_of(request),
        host.now(),
        &settings.policy,
    )
    .map_err(|full| {
        let event = Event::new(Severity::Alert, &full.code, &full.summary);
        tell_once(host, event.explained(&full.cause, &full.remedy));
        Error::new(ErrorKind::Unavailable, full)
    })
}

fn contended() -> Error {
    Error::new(
        ErrorKind::Busy,
        Diagnosis::new(
            "parking-contended",
            "Too many requests are being parked at once.",
            "",
            "Try again.",
        ),
    )
}
